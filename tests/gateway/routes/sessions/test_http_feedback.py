"""What people think of answers: kept with them, shown to their owner and to operators, gone with them."""

import json

import pytest

from harness.clients.sse import follow
from harness.databases.database import Database
from harness.processes.services import Services
from tests.gateway.callers import SECRET, add_key, bearer
from tests.gateway.conftest import client_of
from tests.gateway.stand_in import StandIn

ALICE = bearer("alice")


@pytest.mark.requirement("GW-8", "LC-1", "LC-3")
async def test_a_thumb_is_kept_with_its_answer_and_seen_by_operators(
    services: Services, worker: StandIn, database: Database
) -> None:
    gateway = await services.gateway(JWT_SECRET=SECRET)
    operator = await add_key(database, "night-shift", ["ops:look"])
    message = {"id": "m", "role": "user", "parts": [{"type": "text", "text": "hi"}]}
    posted = {"id": "s", "messages": [message]}
    async with follow(f"{gateway.url}/api/chat", method="POST", json=posted, headers=ALICE) as stream:
        await worker.answer(stream.response.headers["x-workflow-run-id"], "Hello.")
        await stream.read_to_end()
    async with client_of(gateway) as http:

        async def given() -> list[object]:
            messages = (await http.get("/api/chat/sessions/s", headers=ALICE)).json()["messages"]
            return [one["feedback"] for one in messages]

        question, answer = (await http.get("/api/chat/sessions/s", headers=ALICE)).json()["messages"]
        path = "/api/chat/sessions/s/messages/{}/feedback"
        assert await given() == [None, None]
        for body, status in (({"rating": "sideways"}, 422), ({}, 422), ({"rating": "up", "comment": "\x00"}, 422)):
            assert (await http.put(path.format(answer["id"]), json=body, headers=ALICE)).status_code == status
        for unknown in (question["id"], "nobody-s"):
            refused = await http.put(path.format(unknown), json={"rating": "up"}, headers=ALICE)
            assert refused.json()["code"] == "MESSAGE_NOT_FOUND"

        path = path.format(answer["id"])
        told = json.dumps({"model": "m-1", "taskId": "task_1"})
        await database.execute("UPDATE messages SET metadata = metadata || $1 WHERE id = $2", told, answer["id"])
        for body in ({"rating": "up"}, {"rating": "down", "comment": "Too short."}):
            assert (await http.put(path, json=body, headers=ALICE)).status_code == 204
        assert await given() == [None, {"rating": "down", "comment": "Too short."}]

        seen = (await http.get("/api/ops/feedback", headers=operator)).json()
        assert seen["sums"] == [{"model": "m-1", "up": 0, "down": 1}]
        (one,) = seen["feedback"]
        assert (one["message_id"], one["user_id"], one["comment"]) == (answer["id"], "alice", "Too short.")
        assert one["task_id"] == "task_1"
        assert (await http.get("/api/ops/feedback?rating=up", headers=operator)).json()["feedback"] == []

        exported = (await http.get("/api/chat/me/export", headers=ALICE)).text.splitlines()
        (row,) = [row for row in map(json.loads, exported) if row["kind"] == "feedback"]
        assert (row["message_id"], row["rating"], row["comment"]) == (answer["id"], -1, "Too short.")

        assert (await http.delete(path, headers=ALICE)).status_code == 204
        assert await given() == [None, None]
        await http.put(path, json={"rating": "up"}, headers=ALICE)
        assert (await http.delete("/api/chat/me", headers=ALICE)).status_code == 200
    assert await database.fetchval("SELECT count(*) FROM feedback") == 0
    assert "Too short" not in gateway.output
