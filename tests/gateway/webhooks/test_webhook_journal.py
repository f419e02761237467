"""The journal of webhooks and the state of operations, for trusted callers and, the latter, for owners."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from harness.databases.database import Database
from harness.databases.valkey import Valkey
from harness.processes.services import Services
from tests.gateway.callers import SECRET, bearer
from tests.gateway.conftest import client_of
from tests.gateway.outside import BY_KEY, add_operation, end_operation, journal, queued, send, webhook_gateway

_LIST = "/api/chat/webhooks"


@pytest.fixture
async def http(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(await webhook_gateway(services)) as client:
        yield client


async def _page(http: httpx.AsyncClient, **query: str) -> dict[str, Any]:
    response = await http.get(_LIST, params=query, headers=BY_KEY)
    assert response.status_code == 200, response.text
    body = response.json()
    assert isinstance(body, dict)
    return body


async def _entries(http: httpx.AsyncClient, **query: str) -> list[tuple[str, str, str]]:
    """(operation, kind, outcome) of each entry on all pages."""
    found: list[tuple[str, str, str]] = []
    while True:
        page = await _page(http, **query)
        found += [(each["operation_id"], each["kind"], each["outcome"]) for each in page["webhooks"]]
        if page["next_cursor"] is None:
            return found
        query["cursor"] = page["next_cursor"]


@pytest.mark.requirement("WH-4")
async def test_every_accepted_webhook_is_listed_with_what_came_of_it(
    http: httpx.AsyncClient, database: Database
) -> None:
    first, second = await add_operation(database), await add_operation(database)
    await send(http, first, {"percent": 10}, "progress")
    await send(http, first, {"success": True, "result": [1]}, webhook_id="one")
    await send(http, second, {"success": False, "error": "no"})
    await end_operation(database, first)
    await send(http, first, {"success": True}, webhook_id="two")
    assert await _entries(http, limit="1") == [
        (first, "complete", "late"),
        (second, "complete", "received"),
        (first, "complete", "received"),
        (first, "progress", "received"),
    ]
    assert await _entries(http, operation_id=second) == [(second, "complete", "received")]
    assert await _entries(http, outcome="late") == [(first, "complete", "late")]
    assert await _entries(http, operation_id=second, outcome="late") == []
    entry = (await _page(http, operation_id=first))["webhooks"][1]
    assert entry["body"] == {"success": True, "result": [1], "error": None}
    assert (entry["webhook_id"], entry["sender"], entry["task_id"]) == (
        "one",
        "signature",
        first.replace("op_", "task-"),
    )
    assert entry["received_at"]
    assert entry["applied_at"] is None


@pytest.mark.requirement("WH-4")
async def test_a_replay_asks_for_the_same_again_under_the_same_receipt(
    http: httpx.AsyncClient, database: Database, redis: Redis
) -> None:
    operation_id = await add_operation(database)
    await send(http, operation_id, {"success": True, "result": "größe"})
    await send(http, operation_id, {"percent": 7}, "progress")
    for row in await journal(database, operation_id):
        replayed = await http.post(f"{_LIST}/{row['id']}/replay", headers=BY_KEY)
        assert (replayed.status_code, replayed.json()) == (202, {"operation_id": operation_id, "status": "accepted"})
    complete, progress, complete_again, progress_again = await queued(redis)
    assert (complete_again, progress_again) == (complete, progress)
    assert len(await journal(database, operation_id)) == 2


@pytest.mark.requirement("WH-4")
async def test_a_replay_of_what_is_not_there_or_without_redis_is_told(
    http: httpx.AsyncClient, database: Database, valkey: Valkey
) -> None:
    for number, status in (
        ("1", 404),
        ("999999999999999999", 404),
        ("0", 400),
        ("x", 400),
        ("-1", 400),
        ("1" * 19, 400),
    ):
        response = await http.post(f"{_LIST}/{number}/replay", headers=BY_KEY)
        assert response.status_code == status, number
    operation_id = await add_operation(database)
    await send(http, operation_id, {"success": True})
    [row] = await journal(database, operation_id)
    valkey.stop()
    away = await http.post(f"{_LIST}/{row['id']}/replay", headers=BY_KEY)
    assert (away.status_code, away.json()["code"]) == (503, "REDIS_UNAVAILABLE")
    assert "retry-after" in away.headers


@pytest.mark.requirement("WH-4")
async def test_a_page_that_cannot_be_is_refused(http: httpx.AsyncClient) -> None:
    for query, code in (
        ({"cursor": "x"}, "INVALID_CURSOR"),
        ({"cursor": "0"}, "INVALID_CURSOR"),
        ({"cursor": "9" * 19}, "INVALID_CURSOR"),
        ({"outcome": "lost"}, "INVALID_PARAMETER"),
        ({"operation_id": "a b"}, "INVALID_PARAMETER"),
        ({"limit": "0"}, "INVALID_PARAMETER"),
        ({"limit": "201"}, "INVALID_PARAMETER"),
    ):
        response = await http.get(_LIST, params=query, headers=BY_KEY)
        assert (response.status_code, response.json()["code"]) == (400, code), query


@pytest.mark.requirement("WH-4", "WH-2")
async def test_the_journal_is_for_trusted_callers_alone(services: Services) -> None:
    async with client_of(await webhook_gateway(services, JWT_SECRET=SECRET)) as http:
        for method, path in (("GET", _LIST), ("POST", f"{_LIST}/1/replay")):
            for headers, code in (
                ({}, "UNAUTHENTICATED"),
                (bearer("alice"), "UNAUTHENTICATED"),
                ({"x-api-key": "a key that nobody has"}, "INVALID_API_KEY"),
            ):
                response = await http.request(method, path, headers=headers)
                assert (response.status_code, response.json()["code"]) == (401, code)


@pytest.mark.requirement("CH-8", "TS-4")
async def test_an_operation_is_read_by_its_owner_and_by_trusted_callers_with_its_whole_result(
    services: Services, database: Database
) -> None:
    operation_id = await add_operation(database, user_id="alice")
    path = f"/api/chat/operations/{operation_id}"
    async with client_of(await webhook_gateway(services, JWT_SECRET=SECRET)) as http:
        for headers, status in (
            (bearer("alice"), 200),
            (BY_KEY, 200),
            (bearer("bob"), 403),
            ({}, 401),
            ({"x-api-key": "a key that nobody has"}, 401),
        ):
            assert (await http.get(path, headers=headers)).status_code == status, headers
        running = (await http.get(path, headers=BY_KEY)).json()
        assert (running["status"], running["tool_name"], running["attempt"]) == ("accepted", "http_operation", 1)
        assert running["output"] is None
        assert running["ended_at"] is None
        assert running["deadline_at"]
        whole = {"text": "x" * 100_000}
        await end_operation(database, operation_id, output=whole)
        ended = (await http.get(path, headers=bearer("alice"))).json()
        assert (ended["status"], ended["output"], ended["error"]) == ("succeeded", whole, None)
        unknown = await http.get("/api/chat/operations/op_unknown", headers=BY_KEY)
        assert (unknown.status_code, unknown.json()["code"]) == (404, "OPERATION_NOT_FOUND")


@pytest.mark.requirement("TS-6", "TS-1")
async def test_an_operation_names_its_task_also_after_redis_forgot(
    http: httpx.AsyncClient, database: Database, redis: Redis
) -> None:
    operation_id = await add_operation(database)
    await redis.flushall()
    found = (await http.get(f"/api/chat/operations/{operation_id}", headers=BY_KEY)).json()
    task_id = await database.fetchval("SELECT task_id FROM operations WHERE id = $1", operation_id)
    assert (found["task_id"], found["tool_name"]) == (task_id, "http_operation")
    assert found["tool_call_id"]


@pytest.mark.requirement("CH-1")
async def test_the_words_of_these_routes_are_no_ids_of_sessions(http: httpx.AsyncClient) -> None:
    for word in ("operations", "webhooks"):
        refused = await http.post("/api/chat/sessions", json={"id": word})
        assert refused.json()["errors"][0]["pointer"] == "/id"
