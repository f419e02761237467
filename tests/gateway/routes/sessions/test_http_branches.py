"""The routes of branches, and what stock clients post that makes them."""

from typing import Any

import httpx
import pytest

from harness.clients.sse import follow
from harness.processes.services import Service
from tests.gateway.stand_in import StandIn


def _user(text: str, message_id: str) -> dict[str, Any]:
    return {"id": message_id, "role": "user", "parts": [{"type": "text", "text": text}]}


async def _post(gateway: Service, worker: StandIn, answer: str, **body: Any) -> None:
    """As `useChat` posts it to the chat `c`; the answer is read to its end."""
    async with follow(f"{gateway.url}/api/chat", method="POST", json={"id": "c", **body}) as stream:
        assert stream.status == 200, stream.response.text
        await worker.answer(stream.response.headers["x-workflow-run-id"], answer)
        await stream.read_to_end()


async def _messages(http: httpx.AsyncClient, session_id: str = "c") -> list[dict[str, Any]]:
    found = (await http.get(f"/api/chat/sessions/{session_id}")).json()["messages"]
    return [one | {"text": "".join(part.get("text", "") for part in one["parts"])} for one in found]


async def _texts(http: httpx.AsyncClient, session_id: str = "c") -> list[str]:
    return [one["text"] for one in await _messages(http, session_id)]


@pytest.mark.requirement("CH-22", "GW-2")
async def test_every_way_to_edit_and_regenerate_makes_a_branch_that_can_be_gone_back_to(
    gateway: Service, http: httpx.AsyncClient, worker: StandIn
) -> None:
    one, two = _user("one", "m1"), _user("two", "m2")
    await _post(gateway, worker, "1", messages=[one])
    first = (await _messages(http))[1]
    history = [one, {"id": first["id"], "role": "assistant", "parts": first["parts"]}]
    await _post(gateway, worker, "2", messages=[*history, two])
    # assistant-ui: a new message behind a history that ends before the old one, and an answer by the history alone.
    await _post(gateway, worker, "2b", messages=[*history, _user("deux", "m3")])
    assert await _texts(http) == ["one", "1", "deux", "2b"]
    await _post(gateway, worker, "1b", messages=[one], trigger="regenerate-message")
    assert await _texts(http) == ["one", "1b"]
    # The first one, with nothing before it: only `parentId` says so.
    await _post(gateway, worker, "3", messages=[_user("three", "m4")])
    await _post(gateway, worker, "4", messages=[_user("four", "m5")], parentId=None)
    assert await _texts(http) == ["four", "4"]
    assert (await _messages(http))[0]["siblings"] == ["m1", "m5"]
    # `useChat`: the id of the message, and another text.
    await _post(gateway, worker, "5", messages=[_user("five", "m5")], messageId="m5")
    assert [one["id"] for one in await _messages(http)] == ["m5", (await _messages(http))[1]["id"]]
    for message_id, texts in (
        ("m2", ["one", "1", "two", "2"]),
        (first["id"], ["one", "1", "two", "2"]),
        ("m4", ["one", "1b", "three", "3"]),
        ("m5", ["five", "5"]),
    ):
        gone = await http.post("/api/chat/sessions/c/branch", json={"message_id": message_id})
        assert gone.status_code == 204, gone.text
        assert await _texts(http) == texts
        # What a client that lost its connection gets is the last turn, and no other branch's.
        assert (await http.get("/api/chat/c/stream")).status_code == (200 if texts == ["five", "5"] else 204)
    # A question whose parts cannot be taken is known by its id.
    unknown = {"id": "m5", "role": "user", "parts": [{"type": "odd"}]}
    await _post(gateway, worker, "5b", messages=[unknown], trigger="regenerate-message")
    assert await _texts(http) == ["five", "5b"]
    exported = (await http.get("/api/chat/sessions/c/export", params={"branches": "all"})).json()["messages"]
    assert sorted(one["superseded"] for one in exported) == [False] * 2 + [True] * 12
    assert {one["parent_id"] for one in exported} <= {"", *(one["id"] for one in exported)}


@pytest.mark.requirement("CH-22")
async def test_a_plain_client_edits_forks_and_is_told_what_it_cannot_do(
    gateway: Service, http: httpx.AsyncClient, worker: StandIn
) -> None:
    await _post(gateway, worker, "1", messages=[_user("one", "m1")])
    question = (await _messages(http))[0]
    body = {"id": "m2", "message": "uno", "parent_id": question["parent_id"]}
    sent = await http.post("/api/chat/sessions/c/messages", json=body)
    assert sent.status_code == 202, sent.text
    busy = await http.post("/api/chat/sessions/c/branch", json={"message_id": "m1"})
    assert (busy.status_code, busy.json()["code"]) == (409, "SESSION_BUSY")
    await worker.answer(sent.json()["task_id"], "1b")
    assert await _texts(http) == ["uno", "1b"]
    forked = await http.post("/api/chat/sessions/c/fork", json={"message_id": "m1", "id": "f"})
    assert (forked.status_code, forked.headers["location"]) == (201, "/api/chat/sessions/f")
    assert await _texts(http, "f") == ["one"]
    assert (await http.post("/api/chat/sessions/c/fork", json={"message_id": "m1", "id": "f"})).status_code == 200
    whole = (await http.post("/api/chat/sessions/c/fork", json={})).json()
    assert await _texts(http, whole["id"]) == ["uno", "1b"]
    for path, body, status, code in (
        ("c/branch", {"message_id": "none"}, 404, "MESSAGE_NOT_FOUND"),
        ("c/fork", {"message_id": "none"}, 404, "MESSAGE_NOT_FOUND"),
        ("none/branch", {"message_id": "m1"}, 404, "SESSION_NOT_FOUND"),
        ("none/fork", {}, 404, "SESSION_NOT_FOUND"),
        ("c/branch", {}, 422, "INVALID_BODY"),
        ("c/messages", {"message": "x", "parent_id": "no id"}, 422, "INVALID_BODY"),
    ):
        refused = await http.post(f"/api/chat/sessions/{path}", json=body)
        assert (refused.status_code, refused.json()["code"]) == (status, code), path
