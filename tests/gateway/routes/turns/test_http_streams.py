"""Following a turn over HTTP: cursors, protocol versions, ends, owners of what went."""

import asyncio

import httpx
import pytest
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.wire.events import ResetStep, TextEnd, TextStart

from harness.clients.sse import follow, replay
from harness.processes.services import Service, Services
from harness.waiting import wait_until
from tests.gateway.stand_in import StandIn


async def _turn(http: httpx.AsyncClient, session_id: str = "s") -> str:
    """The id of a new queued turn."""
    await http.post("/api/chat/sessions", json={"id": session_id})
    response = await http.post(f"/api/chat/sessions/{session_id}/messages", json={"message": "hello"})
    assert response.status_code == 202, response.text
    return str(response.json()["task_id"])


def _stream(gateway: Service, task_id: str, query: str = "") -> str:
    return f"{gateway.url}/api/chat/tasks/{task_id}/stream{query}"


@pytest.mark.requirement("GW-3", "TS-3")
async def test_a_stream_has_ids_a_retry_and_the_headers_of_the_protocol_and_ends_cleanly(
    gateway: Service, http: httpx.AsyncClient, worker: StandIn
) -> None:
    task_id = await _turn(http)
    async with follow(_stream(gateway, task_id)) as stream:
        await worker.answer(task_id, "one ", "two ", "three")
        await stream.read_to_end()
    headers = stream.response.headers
    assert headers["content-type"] == "text/event-stream"
    assert headers["cache-control"] == "no-cache, no-transform"
    assert headers["x-accel-buffering"] == "no"
    assert headers["x-vercel-ai-ui-message-stream"] == "v1"
    assert headers["x-request-id"].startswith("req_")
    assert stream.text == "one two three"
    assert stream.retry_ms is not None
    assert stream.end == "clean"
    assert stream.types[-1] == "[DONE]"
    assert [event.id for event in stream.events[:-1]] == [f"1-{number}" for number in range(len(stream.events) - 1)]


@pytest.mark.requirement("GW-3")
async def test_a_silent_stream_says_comments_in_between(services: Services) -> None:
    gateway = await services.gateway(HEARTBEAT_SECONDS="0.5")
    async with httpx.AsyncClient(base_url=gateway.url, trust_env=False) as http:
        task_id = await _turn(http)
        async with follow(_stream(gateway, task_id)) as stream:
            reading = asyncio.create_task(stream.read_to_end())
            await wait_until(lambda: len(stream.comments) >= 2, what="two heartbeats have come")
            await http.post(f"/api/chat/tasks/{task_id}/cancel")
            await reading
    assert set(stream.comments) == {"keep-alive"}
    assert stream.end == "clean"


@pytest.mark.requirement("GW-3", "TS-3")
async def test_a_client_continues_after_any_event_by_header_or_by_query(
    gateway: Service, http: httpx.AsyncClient, worker: StandIn
) -> None:
    task_id = await _turn(http)
    await worker.answer(task_id, "one ", "two ", "three")
    whole = (await replay(_stream(gateway, task_id))).events
    for seen, event in enumerate(whole[:-2]):
        by_header = await replay(_stream(gateway, task_id), last_event_id=event.id)
        assert by_header.events == whole[seen + 1 :]
        by_query = await replay(_stream(gateway, task_id, f"?after={event.id}"))
        assert by_query.events == whole[seen + 1 :]
        by_count = await replay(_stream(gateway, task_id, f"?startIndex={seen + 1}"))
        assert by_count.events == whole[seen + 1 :]


@pytest.mark.requirement("GW-3")
async def test_the_header_wins_over_the_query_which_is_as_old_as_the_event_source(
    gateway: Service, http: httpx.AsyncClient, worker: StandIn
) -> None:
    task_id = await _turn(http)
    await worker.answer(task_id, "one ", "two ", "three")
    for query in ("?after=1-0", "?startIndex=1"):
        stream = await replay(_stream(gateway, task_id, query), last_event_id="1-4")
        assert stream.events[0].id == "1-5"


@pytest.mark.requirement("GW-3", "TS-3")
async def test_who_comes_back_to_an_ended_stream_with_its_last_id_is_told_to_stop(
    gateway: Service, http: httpx.AsyncClient, worker: StandIn
) -> None:
    task_id = await _turn(http)
    await worker.answer(task_id, "all")
    whole = await replay(_stream(gateway, task_id))
    over = await http.get(f"/api/chat/tasks/{task_id}/stream", headers={"last-event-id": whole.last_event_id or ""})
    assert (over.status_code, over.content) == (204, b"")
    counted = await http.get(f"/api/chat/tasks/{task_id}/stream?startIndex={len(whole.chunks)}")
    assert counted.status_code == 204


@pytest.mark.requirement("TS-12")
async def test_a_cursor_that_the_stream_does_not_reach_says_where_to_read_on(
    http: httpx.AsyncClient, worker: StandIn, redis: Redis
) -> None:
    task_id = await _turn(http)
    await worker.answer(task_id, "one ", "two ", "three")
    await redis.xtrim(keys.task_events(task_id), maxlen=3, approximate=False)
    for headers in ({}, {"last-event-id": "1-1"}):
        response = await http.get(f"/api/chat/tasks/{task_id}/stream", headers=headers)
        assert (response.status_code, response.json()["code"]) == (409, "STREAM_TRUNCATED")
        assert response.json()["read_on_from"]
    read_on = await http.get(f"/api/chat/tasks/{task_id}/stream?after={response.json()['read_on_from']}")
    assert read_on.status_code == 200


@pytest.mark.requirement("TS-3")
async def test_a_client_that_knows_version_7_gets_its_chunks_and_others_do_not(
    gateway: Service, http: httpx.AsyncClient, worker: StandIn
) -> None:
    task_id = await _turn(http)
    task = await worker.begin(task_id)
    await worker.say(task, "dropped")
    await worker.append_for(task, 6, TextEnd(id="t1"))
    await worker.append_for(task, 7, ResetStep())
    await worker.append(task, TextStart(id="t1"))
    await worker.say(task, "kept")
    await worker.finish(task)
    six = await replay(_stream(gateway, task_id))
    assert "reset-step" not in six.types
    assert six.types.count("text-end") == 2
    seven = await replay(_stream(gateway, task_id, "?protocol=7"))
    assert "reset-step" in seven.types
    assert seven.types.count("text-end") == 1
    assert (await replay(_stream(gateway, task_id), protocol=7)).events == seven.events


@pytest.mark.requirement("TS-7", "GW-3")
async def test_cursors_and_versions_that_cannot_be_are_refused(http: httpx.AsyncClient) -> None:
    task_id = await _turn(http)
    bad = [
        ("?after=x", {}, "INVALID_CURSOR"),
        ("?after=1", {}, "INVALID_CURSOR"),
        ("?after=1-", {}, "INVALID_CURSOR"),
        ("?after=-1-1", {}, "INVALID_CURSOR"),
        ("?after=1-%D9%A1", {}, "INVALID_CURSOR"),
        ("?after=18446744073709551616-0", {}, "INVALID_CURSOR"),
        ("?after=1-1&startIndex=1", {}, "INVALID_CURSOR"),
        ("?startIndex=-1", {}, "INVALID_PARAMETER"),
        ("?startIndex=x", {}, "INVALID_PARAMETER"),
        ("?startIndex=99999999999", {}, "INVALID_PARAMETER"),
        ("?protocol=8", {}, "INVALID_PARAMETER"),
        ("", {"x-ui-message-stream-version": "v1"}, "INVALID_PARAMETER"),
        ("", {"last-event-id": "nonsense"}, "INVALID_CURSOR"),
    ]
    for query, headers, code in bad:
        response = await http.get(f"/api/chat/tasks/{task_id}/stream{query}", headers=headers)
        assert (response.status_code, response.json()["code"]) == (400, code), (query, headers)


@pytest.mark.requirement("TS-7")
async def test_a_task_that_never_was_and_one_that_has_expired_are_told_apart(
    gateway: Service, http: httpx.AsyncClient, worker: StandIn, redis: Redis
) -> None:
    never = await http.get(f"/api/chat/tasks/task_{'0' * 32}/stream")
    assert (never.status_code, never.json()["code"]) == (404, "TASK_NOT_FOUND")
    task_id = await _turn(http)
    await worker.answer(task_id, "gone soon")
    await redis.delete(keys.task_meta(task_id), keys.task_events(task_id))
    expired = await http.get(f"/api/chat/tasks/{task_id}/stream")
    assert (expired.status_code, expired.json()["code"]) == (410, "TASK_EXPIRED")
    known = await http.get(f"/api/chat/tasks/{task_id}")
    assert (known.status_code, known.json()["status"]) == (200, "completed")
    unknown = await http.get(f"/api/chat/tasks/task_{'0' * 32}")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "TASK_NOT_FOUND")


@pytest.mark.requirement("TS-6")
async def test_a_session_s_stream_is_its_running_turn_from_the_beginning_and_nothing_afterwards(
    gateway: Service, http: httpx.AsyncClient, worker: StandIn
) -> None:
    path = "/api/chat/sessions/s/stream"
    assert (await http.get(path)).json()["code"] == "SESSION_NOT_FOUND"
    await http.post("/api/chat/sessions", json={"id": "s"})
    assert (await http.get(path)).status_code == 204
    task_id = await _turn(http)
    task = await worker.begin(task_id)
    await worker.say(task, *["word "] * 50)
    async with follow(gateway.url + path) as stream:
        await stream.read_text(250)
        await worker.say(task, "live")
        await worker.finish(task)
        await stream.read_to_end()
    assert stream.text == "word " * 50 + "live"
    assert stream.types[0] == "start"
    assert stream.types.count("text-delta") < 50
    assert (await http.get(path)).status_code == 204


@pytest.mark.requirement("CH-2", "GW-3")
async def test_a_message_can_be_sent_and_followed_in_one_request_and_again(
    gateway: Service, http: httpx.AsyncClient, worker: StandIn
) -> None:
    await http.post("/api/chat/sessions", json={"id": "s"})
    url, body = f"{gateway.url}/api/chat/sessions/s/stream", {"id": "m1", "message": "hello"}
    async with follow(url, method="POST", json=body) as stream, follow(url, method="POST", json=body) as again:
        task_id = stream.response.headers["x-workflow-run-id"]
        await worker.answer(task_id, "hi")
        await stream.read_to_end()
        await again.read_to_end()
    assert stream.text == "hi"
    assert again.events == stream.events
    async with follow(url, method="POST", json=body) as late:
        await late.read_to_end()
    assert late.events == stream.events


@pytest.mark.requirement("TS-7", "CH-2")
async def test_a_repeat_of_a_message_whose_stream_has_expired_does_not_wait_for_ever(
    http: httpx.AsyncClient, worker: StandIn, redis: Redis
) -> None:
    await http.post("/api/chat/sessions", json={"id": "s"})
    body = {"id": "m1", "message": "hello"}
    accepted = (await http.post("/api/chat/sessions/s/messages", json=body)).json()
    await worker.answer(accepted["task_id"], "hi")
    await redis.delete(keys.task_meta(accepted["task_id"]), keys.task_events(accepted["task_id"]))
    repeat = await http.post("/api/chat/sessions/s/stream", json=body)
    assert (repeat.status_code, repeat.json()["code"]) == (410, "TASK_EXPIRED")


@pytest.mark.requirement("GW-3")
async def test_the_head_of_a_stream_can_be_asked_for_alone(http: httpx.AsyncClient) -> None:
    task_id = await _turn(http)
    for path in (f"tasks/{task_id}/stream", "sessions/s/stream", "s/stream"):
        response = await http.head(f"/api/chat/{path}")
        assert (response.status_code, response.headers["content-type"]) == (200, "text/event-stream"), path
    assert (await http.head("/api/chat/sessions/s")).status_code == 200
