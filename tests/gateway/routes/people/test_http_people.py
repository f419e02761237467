"""A person gets all that is stored of him, and has it erased, by himself or by an operator; others lose nothing."""

import hashlib
import json
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis
from sluiceway.store import Store

from harness.databases.database import Database
from harness.processes.services import Services
from tests.gateway.callers import SECRET, add_key, bearer
from tests.gateway.conftest import client_of
from tests.gateway.outside import add_operation

ALICE, BOB = bearer("alice"), bearer("bob")


async def say(http: httpx.AsyncClient, session_id: str, text: str, headers: dict[str, str]) -> str:
    await http.post("/api/chat/sessions", json={"id": session_id, "title": f"about {text}"}, headers=headers)
    path = f"/api/chat/sessions/{session_id}/messages"
    sent = await http.post(path, json={"message": text}, headers=headers)
    assert sent.status_code == 202, sent.text
    return str(sent.json()["task_id"])


def rows_of(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("application/x-ndjson")
    return [json.loads(line) for line in response.text.splitlines()]


@pytest.mark.requirement("LC-3")
async def test_a_person_exports_and_erases_what_is_his_and_gets_a_receipt(
    services: Services, database: Database, redis: Redis
) -> None:
    gateway = await services.gateway(JWT_SECRET=SECRET)
    async with client_of(gateway) as http:
        task_id = await say(http, "hers", "rain", ALICE)
        operation_id = await add_operation(database, user_id="alice")
        await say(http, "his", "snow", BOB)

        rows = rows_of(await http.get("/api/chat/me/export", headers=ALICE))
        assert {row["id"] for row in rows if row["kind"] == "session"} >= {"hers"}
        assert [row["parts"] for row in rows if row["kind"] == "message" and row["session_id"] == "hers"] == [
            [{"type": "text", "text": "rain"}],
            [],
        ]
        assert task_id in {row["id"] for row in rows if row["kind"] == "turn"}
        assert operation_id in {row["id"] for row in rows if row["kind"] == "operation"}
        assert not any("snow" in json.dumps(row) for row in rows)
        end = rows[-1]
        assert end["kind"] == "end"
        assert sum(end["counts"].values()) == len(rows) - 1

        erased = await http.delete("/api/chat/me", headers=ALICE)
        receipt = erased.json()
        assert erased.status_code == 200
        assert receipt["counts"]["sessions"] == end["counts"]["session"]
        assert receipt["counts"]["messages"] == end["counts"]["message"]
        assert (receipt["erased_by"], receipt["person"]) == ("self", hashlib.sha256(b"alice").hexdigest())
        stored = await database.fetchrow("SELECT * FROM erasure_receipts WHERE id = $1", receipt["id"])
        assert stored is not None
        assert json.loads(stored["counts"]) == receipt["counts"]
        assert rows_of(await http.get("/api/chat/me/export", headers=ALICE)) == [{"kind": "end", "counts": {}}]
        assert (await http.get(f"/api/chat/tasks/{task_id}/stream", headers=ALICE)).status_code == 404
        again = (await http.delete("/api/chat/me", headers=ALICE)).json()
        assert set(again["counts"].values()) == {0}
        assert len(rows_of(await http.get("/api/chat/me/export", headers=BOB))) == 5


@pytest.mark.requirement("LC-3")
async def test_an_operator_exports_and_erases_a_person_with_a_key_that_may(
    services: Services, database: Database
) -> None:
    gateway = await services.gateway(JWT_SECRET=SECRET)
    reader, actor = await add_key(database, "reader", ["read"]), await add_key(database, "actor", ["ops:act"])
    async with client_of(gateway) as http:
        await say(http, "odd", "rain", bearer("auth0|é ü/1"))
        path, export, who = "/api/chat/people", "/api/chat/people/export", {"user_id": "auth0|é ü/1"}
        assert (await http.delete(path, params=who, headers=reader)).status_code == 403
        assert (await http.get(export, params=who, headers=actor)).status_code == 403
        assert (await http.get(export, headers=reader)).status_code == 400
        assert (await http.head(export, params=who, headers=reader)).status_code == 200
        exported = await http.get(export, params=who, headers=reader)
        nobody = await http.delete(path, params={"user_id": "nobody"}, headers=actor)
        assert nobody.json()["counts"]["sessions"] == 0
        erased = await http.delete(path, params=who, headers=actor)
    assert rows_of(exported)[-1]["counts"] == {"session": 1, "message": 2, "turn": 1}
    assert erased.json()["counts"]["sessions"] == 1
    assert erased.json()["erased_by"] == "service:actor"
    assert await database.fetchval("SELECT count(*) FROM sessions") == 0


@pytest.mark.requirement("LC-3")
async def test_an_export_follows_its_pages_and_an_erasure_its_batches(database_url: str, database: Database) -> None:
    """More sessions than a page has, and more messages in one."""
    await database.execute(
        "INSERT INTO sessions (id, user_id) SELECT 's-' || n, 'ada' FROM generate_series(1, 205) n;"
        "INSERT INTO sessions (id, user_id) VALUES ('bobs', 'bob');"
        "INSERT INTO messages (session_id, id, sequence, role, parts, done)"
        " SELECT 's-7', 'm-' || n, n, 'user', '[]', true FROM generate_series(1, 41) n"
    )
    async with Store.open(database_url, max_size=2, application_name="test") as store:
        rows = [row async for row in store.people.export("ada")]
        assert len({row["id"] for row in rows if row["kind"] == "session"}) == 205
        assert [row["sequence"] for row in rows if row["kind"] == "message"] == list(range(1, 42))
        erased = 0
        while (batch := await store.people.erase_some("ada")) is not None:
            assert batch.counts["sessions"] <= 20
            erased += batch.counts["sessions"]
    assert erased == 205
    assert [row["id"] for row in await database.fetch("SELECT id FROM sessions")] == ["bobs"]
