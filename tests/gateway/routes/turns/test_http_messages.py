"""Sending messages in the background: repeats, races, policies, limits, and what happens while something is away."""

import asyncio
import re
from collections.abc import Sequence
from typing import Any

import asyncpg
import httpx
import pytest
from gateway.api.whitespace import TEXT_PATTERN, is_whitespace
from redis.asyncio import Redis
from sluiceway.operation.model_windows import publish_windows

from harness.clients.sse import follow
from harness.clients.streams import entry_ids
from harness.databases.database import Database
from harness.databases.postgres import Postgres
from harness.databases.valkey import Valkey
from harness.processes.services import Service, Services
from harness.waiting import wait_until
from tests.gateway.conftest import client_of
from tests.gateway.stand_in import StandIn


async def _session(http: httpx.AsyncClient, session_id: str = "s") -> str:
    response = await http.post("/api/chat/sessions", json={"id": session_id})
    assert response.status_code in (200, 201)
    return f"/api/chat/sessions/{session_id}/messages"


async def _send(http: httpx.AsyncClient, path: str, message: str, **more: Any) -> dict[str, Any]:
    response = await http.post(path, json={"message": message, **more})
    assert response.status_code == 202, response.text
    body = response.json()
    assert isinstance(body, dict)
    return body


async def _status(http: httpx.AsyncClient, task_id: str) -> str:
    return str((await http.get(f"/api/chat/tasks/{task_id}")).json()["status"])


@pytest.mark.requirement("CH-11")
async def test_a_message_is_durable_when_it_is_accepted(
    gateway: Service, http: httpx.AsyncClient, database_url: str
) -> None:
    path = await _session(http)
    accepted = await _send(http, path, "hello", id="m1")
    gateway.kill9()
    database = await asyncpg.connect(database_url)
    stored = await database.fetchrow("SELECT role, parts->0->>'text' AS text FROM messages WHERE id = 'm1'")
    task = await database.fetchrow("SELECT id, status, message_id FROM tasks")
    await database.close()
    assert stored is not None
    assert task is not None
    assert (stored["role"], stored["text"]) == ("user", "hello")
    assert tuple(task) == (accepted["task_id"], "queued", accepted["assistant_message_id"])
    assert accepted["message_id"] == "m1"
    assert accepted["stream_url"] == f"/api/chat/tasks/{accepted['task_id']}/stream"


@pytest.mark.requirement("CH-2")
async def test_a_message_that_is_sent_again_answers_the_same_turn_also_when_it_has_ended(
    http: httpx.AsyncClient, worker: StandIn
) -> None:
    path = await _session(http)
    first = await _send(http, path, "hello", id="m1")
    assert await _send(http, path, "hello", id="m1") == first
    await worker.answer(first["task_id"], "hi")
    again = await _send(http, path, "hello", id="m1")
    assert again == {**first, "status": "completed"}
    session = (await http.get("/api/chat/sessions/s")).json()
    assert [message["role"] for message in session["messages"]] == ["user", "assistant"]


@pytest.mark.requirement("CH-2")
async def test_a_message_that_races_itself_on_two_gateways_is_stored_once_and_starts_one_turn(
    services: Services, redis: Redis, database_url: str
) -> None:
    one, other = await asyncio.gather(services.gateway(), services.gateway())
    async with client_of(one) as first, client_of(other) as second:
        path = await _session(first)
        posts = [
            http.post(path, json={"id": f"m{number}", "message": f"question {number}"})
            for number in range(5)
            for http in (first, second, first, second)
        ]
        answers = await asyncio.gather(*posts)
    assert {answer.status_code for answer in answers} == {202}
    tasks = {(answer.json()["message_id"], answer.json()["task_id"]) for answer in answers}
    assert len(tasks) == 5
    database = await asyncpg.connect(database_url)
    stored = [row["id"] for row in await database.fetch("SELECT id FROM messages WHERE role = 'user' ORDER BY id")]
    places = [row["sequence"] for row in await database.fetch("SELECT sequence FROM messages ORDER BY sequence")]
    await database.close()
    assert stored == ["m0", "m1", "m2", "m3", "m4"]
    assert places == list(range(1, 11))
    assert await redis.xlen("sw:q:chat:0") == 1


@pytest.mark.requirement("CH-2")
async def test_the_same_question_asked_again_is_a_new_message_and_an_id_belongs_to_one_text(
    http: httpx.AsyncClient,
) -> None:
    path = await _session(http)
    first = await _send(http, path, "again?", id="m1")
    second = await _send(http, path, "again?")
    assert second["task_id"] != first["task_id"]
    assert second["message_id"].startswith("msg_")
    conflict = await http.post(path, json={"id": "m1", "message": "something else"})
    assert (conflict.status_code, conflict.json()["code"]) == (409, "MESSAGE_ID_CONFLICT")
    elsewhere = await _send(http, await _session(http, "other"), "something else", id="m1")
    assert elsewhere["message_id"] == "m1"


@pytest.mark.requirement("CH-12")
async def test_a_second_message_waits_for_the_first_unless_it_says_otherwise(
    http: httpx.AsyncClient, worker: StandIn
) -> None:
    path = await _session(http)
    first = await _send(http, path, "one")
    await worker.begin(first["task_id"])
    second = await _send(http, path, "two")
    third = await _send(http, path, "three", policy="enqueue")
    assert [turn["position"] for turn in (first, second, third)] == [0, 1, 2]
    assert {turn["status"] for turn in (second, third)} == {"queued"}
    refused = await http.post(path, json={"message": "four", "policy": "reject"})
    assert (refused.status_code, refused.json()["code"]) == (409, "SESSION_BUSY")
    detail = (await http.get("/api/chat/sessions/s")).json()
    assert len(detail["messages"]) == 3
    assert detail["active_task"]["task_id"] == first["task_id"]


@pytest.mark.requirement("CH-12", "CH-13")
async def test_an_interrupt_ends_what_waits_and_what_runs_and_is_next(http: httpx.AsyncClient, worker: StandIn) -> None:
    path = await _session(http)
    running = await _send(http, path, "one")
    task = await worker.begin(running["task_id"])
    waiting = await _send(http, path, "two")
    interrupting = await _send(http, path, "three", policy="interrupt")
    assert interrupting["position"] == 1
    assert await _status(http, waiting["task_id"]) == "cancelled"
    meta = await worker.streams.registry.meta(task.id)
    assert meta is not None
    assert meta.cancel
    await worker.finish(task)
    active = (await http.get("/api/chat/sessions/s")).json()["active_task"]
    assert active["task_id"] == interrupting["task_id"]
    assert await worker.streams.registry.active("s") == interrupting["task_id"]


@pytest.mark.requirement("CH-13", "TS-5")
async def test_a_queued_turn_is_cancelled_at_once_and_a_cancel_can_be_repeated(
    http: httpx.AsyncClient, gateway: Service, redis: Redis
) -> None:
    turn = await _send(http, await _session(http), "hello")
    async with follow(gateway.url + turn["stream_url"]) as stream:
        answers = [await http.post(f"/api/chat/tasks/{turn['task_id']}/cancel") for _ in range(3)]
        await stream.read_to_end()
    assert [answer.status_code for answer in answers] == [202, 202, 202]
    assert {answer.json()["status"] for answer in answers} == {"cancelled"}
    assert stream.types == ["start", "abort", "finish", "[DONE]"]
    assert stream.end == "clean"
    assert len(await entry_ids(redis, turn["task_id"])) == 3


@pytest.mark.requirement("CH-13")
async def test_a_running_turn_is_flagged_from_any_gateway_and_one_that_has_ended_stays_as_it_was(
    services: Services, worker: StandIn
) -> None:
    one, other = await asyncio.gather(services.gateway(), services.gateway())
    async with client_of(one) as http, client_of(other) as elsewhere:
        path = await _session(http)
        turn = await _send(http, path, "hello")
        task = await worker.begin(turn["task_id"])
        cancelled = await elsewhere.post(f"/api/chat/tasks/{task.id}/cancel")
        assert (cancelled.status_code, cancelled.json()["status"]) == (202, "running")
        meta = await worker.streams.registry.meta(task.id)
        assert meta is not None
        assert meta.cancel
        await worker.finish(task)
        late = await http.post(f"/api/chat/tasks/{task.id}/cancel")
        assert (late.status_code, late.json()["status"]) == (202, "completed")


@pytest.mark.requirement("CH-14")
async def test_every_limit_on_messages_has_an_error_that_names_it(services: Services) -> None:
    gateway = await services.gateway(
        MAX_MESSAGE_CHARS="10", MAX_BODY_BYTES="1024", MAX_QUEUED_PER_SESSION="2", MODEL="fake", MODELS='["large"]'
    )
    async with client_of(gateway) as http:
        path = await _session(http)
        long = await http.post(path, json={"message": "12345678901"})
        assert (long.status_code, long.json()["code"]) == (422, "MESSAGE_TOO_LONG")
        assert long.json()["max_message_chars"] == 10
        await _send(http, path, "🌊" * 10, model="large")
        large = await http.post(path, json={"message": "x", "more": "x" * 1024})
        assert (large.status_code, large.json()["code"]) == (413, "BODY_TOO_LARGE")
        assert large.json()["max_body_bytes"] == 1024
        unknown = await http.post(path, json={"message": "x", "model": "unheard-of"})
        assert (unknown.status_code, unknown.json()["code"]) == (422, "MODEL_NOT_ALLOWED")
        answers = [await http.post(path, json={"message": "x"}) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [202, 202, 429]
        assert answers[-1].json()["code"] == "TOO_MANY_TASKS"


@pytest.mark.requirement("CH-23")
async def test_a_message_comes_with_its_page_and_says_that_it_is_not_its_users(
    http: httpx.AsyncClient, services: Services
) -> None:
    path = await _session(http)
    page = {"url": "https://example.org/a", "content": "Rivers flow."}
    await _send(http, path, "what is this?", context=page, is_user_message=False)
    await _send(http, path, "and this?", is_user_message=True)
    first, second = (await http.get(path.removesuffix("/messages"))).json()["messages"]
    assert first["metadata"] == {"context": page, "isUserMessage": False}
    assert second["metadata"] is None
    gateway = await services.gateway(MAX_CONTEXT_CHARS="5")
    async with client_of(gateway) as other:
        long = await other.post(path, json={"message": "x", "context": {**page, "content": "123456"}})
        assert (long.status_code, long.json()["code"], long.json()["max_context_chars"]) == (422, "CONTEXT_TOO_LONG", 5)
        assert (await other.get("/config")).json()["limits"]["max_context_chars"] == 5


@pytest.mark.requirement("CH-23")
@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"message": "x", "temperature": 1}, "/temperature"),
        ({"message": "x", "isUserMessage": False}, "/isUserMessage"),
        ({"message": "x", "is_user_message": 0}, "/is_user_message"),
        ({"message": "x", "context": {"url": "a", "content": "b", "title": "c"}}, "/context/title"),
        ({"message": "x", "context": {"url": "a"}}, "/context/content"),
        ({"message": "x", "context": {"url": "a", "content": "b\u0000"}}, "/context/content"),
    ],
)
async def test_an_unknown_field_is_refused_by_its_name_and_nothing_is_stored(
    http: httpx.AsyncClient, body: dict[str, Any], pointer: str
) -> None:
    path = await _session(http)
    refused = await http.post(path, json=body)
    assert (refused.status_code, refused.json()["code"]) == (422, "INVALID_BODY")
    assert [error["pointer"] for error in refused.json()["errors"]] == [pointer]
    assert (await http.get(path.removesuffix("/messages"))).json()["messages"] == []


@pytest.mark.requirement("CH-23")
async def test_every_plain_route_refuses_fields_that_it_does_not_know(http: httpx.AsyncClient) -> None:
    path = await _session(http)
    session = path.removesuffix("/messages")
    requests: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/api/chat/sessions", {}),
        ("PATCH", session, {"title": "x"}),
        ("POST", f"{session}/stream", {"message": "x"}),
        ("POST", "/api/chat/tasks/task_1/approvals/call_1", {"approved": True}),
        ("POST", "/api/chat/tasks/task_1/outputs/call_1", {"output": 1}),
    ]
    for method, url, body in requests:
        refused = await http.request(method, url, json={**body, "colour": "red"})
        assert refused.status_code == 422, url
        assert [error["pointer"] for error in refused.json()["errors"]] == ["/colour"]


@pytest.mark.requirement("CH-14", "GW-7")
async def test_a_message_that_cannot_be_is_refused_and_nothing_is_stored(http: httpx.AsyncClient) -> None:
    path = await _session(http)
    bad: Sequence[tuple[Any, int, str]] = [
        ({}, 422, "INVALID_BODY"),
        ({"message": None}, 422, "INVALID_BODY"),
        ({"message": ""}, 422, "EMPTY_MESSAGE"),
        ({"message": " \n\t"}, 422, "EMPTY_MESSAGE"),
        ({"message": "a\u0000b"}, 422, "INVALID_BODY"),
        ({"message": ["a"]}, 422, "INVALID_BODY"),
        ({"message": "a", "id": "not an id"}, 422, "INVALID_BODY"),
        ({"message": "a", "policy": "hope"}, 422, "INVALID_BODY"),
        ({"message": "a", "model": "no model\n"}, 422, "INVALID_BODY"),
        (b'{"message": "\\ud800"}', 400, "MALFORMED_JSON"),
        (b'{"message": "\xff"}', 400, "MALFORMED_JSON"),
        (b'{"message": "a"', 400, "MALFORMED_JSON"),
        (b"[" * 50_000, 400, "MALFORMED_JSON"),
        (b'{"message": "a", "more": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}", 400, "MALFORMED_JSON"),
    ]
    for body, status, code in bad:
        options: dict[str, Any] = {"content": body} if isinstance(body, bytes) else {"json": body}
        response = await http.post(path, headers={"content-type": "application/json"}, **options)
        assert (response.status_code, response.json()["code"]) == (status, code), body
    missing = await http.post("/api/chat/sessions/nobody/messages", json={"message": "a"})
    assert (missing.status_code, missing.json()["code"]) == (404, "SESSION_NOT_FOUND")
    assert (await http.get("/api/chat/sessions/s")).json()["messages"] == []


@pytest.mark.requirement("CH-11")
async def test_while_redis_is_away_a_start_in_the_background_is_accepted_and_one_with_a_stream_is_not_stored(
    http: httpx.AsyncClient, valkey: Valkey
) -> None:
    path = await _session(http)
    valkey.stop()
    accepted = await _send(http, path, "hello", id="m1")
    assert accepted["status"] == "queued"
    streamed = await http.post("/api/chat/sessions/s/stream", json={"id": "m2", "message": "hello"})
    assert (streamed.status_code, streamed.json()["code"]) == (503, "REDIS_UNAVAILABLE")
    assert int(streamed.headers["retry-after"]) > 0
    followed = await http.get(accepted["stream_url"])
    assert (followed.status_code, followed.json()["code"]) == (503, "REDIS_UNAVAILABLE")
    detail = (await http.get("/api/chat/sessions/s")).json()
    assert [message["id"] for message in detail["messages"]] == ["m1"]
    assert detail["active_task"]["task_id"] == accepted["task_id"]
    valkey.start()


@pytest.mark.requirement("CH-11")
async def test_while_postgres_is_away_messages_get_a_503_with_retry_after_and_later_they_are_taken_again(
    http: httpx.AsyncClient, postgres: Postgres
) -> None:
    path = await _session(http)
    postgres.stop()
    response = await http.post(path, json={"id": "m1", "message": "hello"})
    assert (response.status_code, response.json()["code"]) == (503, "STORE_UNAVAILABLE")
    assert int(response.headers["retry-after"]) > 0
    assert "postgres" not in response.text.lower()
    postgres.start()

    async def taken() -> bool:
        return (await http.post(path, json={"id": "m1", "message": "hello"})).status_code == 202

    await wait_until(taken, what="the message is taken again")


@pytest.mark.requirement("GW-7")
@pytest.mark.parametrize("whitespace", ["", " \n\t", "\x1c\x1f", "\x85\xa0", "\u2003\u3000\ufeff", "\x01\x7f"])
def test_the_document_and_the_gateway_agree_on_what_is_no_text(whitespace: str) -> None:
    assert is_whitespace(whitespace)
    assert not re.search(TEXT_PATTERN, whitespace)
    assert not is_whitespace(f"{whitespace}x")
    assert re.search(TEXT_PATTERN, f"{whitespace}x{whitespace}")


@pytest.mark.requirement("CH-6")
async def test_a_message_larger_than_its_models_window_is_refused_before_it_is_stored(
    services: Services, redis: Redis, database: Database
) -> None:
    """As far as workers have told; a message that surely fits passes, and so does any to a model of unknown window."""
    await publish_windows(redis, {"": 1000, "fake": 1000, "large": 100_000})
    gateway = await services.gateway(MODELS='["large", "unknown"]')
    words = "the river had risen in the night and by morning the meadow was a lake "
    async with client_of(gateway) as http:
        path = await _session(http)
        for route in (path, path.replace("/messages", "/stream")):
            refused = await http.post(route, json={"message": words * 200})
            assert (refused.status_code, refused.json()["code"]) == (422, "MESSAGE_EXCEEDS_WINDOW")
            assert refused.json()["window_tokens"] == 1000
            assert refused.json()["message_tokens"] > 1000
        chat = {"id": "ses-1", "trigger": "submit-message"}
        message = {"id": "m-1", "role": "user", "parts": [{"type": "text", "text": words * 200}]}
        assert (await http.post("/api/chat", json={**chat, "messages": [message]})).status_code == 422
        assert await database.fetchval("SELECT count(*) FROM messages") == 0
        assert (await http.get("/config")).json()["model_windows"] == {"": 1000, "fake": 1000, "large": 100_000}
        await _send(http, path, words * 20)
        await _send(http, path, words * 200, model="large")
        await _send(http, path, words * 200, model="unknown")


@pytest.mark.requirement("CH-6")
async def test_without_redis_no_message_is_refused_for_its_length_in_tokens(
    services: Services, redis: Redis, valkey: Valkey
) -> None:
    await publish_windows(redis, {"": 1000})
    gateway = await services.gateway()
    async with client_of(gateway) as http:
        path = await _session(http)
        valkey.stop()
        sent = await http.post(path, json={"message": "the river had risen " * 1000})
        assert sent.status_code == 202


@pytest.mark.requirement("CH-12", "GW-9")
async def test_a_message_that_waits_is_taken_back_and_one_that_has_begun_is_not(
    http: httpx.AsyncClient, worker: StandIn
) -> None:
    path = await _session(http)
    running = await _send(http, path, "one", id="m1")
    task = await worker.begin(running["task_id"])
    waiting = [await _send(http, path, text, id=text) for text in ("two", "three")]
    assert (await http.delete(f"{path}/two")).status_code == 204
    assert (await http.delete(f"{path}/two")).status_code == 204
    assert await _status(http, waiting[0]["task_id"]) == "cancelled"
    meta = await worker.streams.registry.meta(waiting[0]["task_id"])
    assert meta is not None
    assert meta.ended  # who follows its stream is told
    begun, unknown = await http.delete(f"{path}/m1"), await http.delete(f"{path}/nothing")
    assert (begun.status_code, begun.json()["code"]) == (409, "MESSAGE_NOT_WAITING")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "MESSAGE_NOT_FOUND")
    await worker.finish(task)
    active = (await http.get("/api/chat/sessions/s")).json()["active_task"]
    assert active["task_id"] == waiting[1]["task_id"]
    assert [
        one["id"] for one in (await http.get("/api/chat/sessions/s")).json()["messages"] if one["role"] == "user"
    ] == ["m1", "three"]
