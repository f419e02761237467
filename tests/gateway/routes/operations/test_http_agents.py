"""A task's agent events over HTTP: waited for, replayed, followed to their end; by their owner only."""

import asyncio
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.feeds.agent_events import AgentEvent, AgentStreams

from harness.clients.sse import Event, SseStream, follow
from harness.databases.valkey import Valkey
from harness.processes.services import Service, Services
from harness.retention import RETENTION
from harness.waiting import wait_until
from tests.gateway.callers import SECRET, bearer
from tests.gateway.conftest import client_of


@pytest.fixture
def streams(redis: Redis) -> AgentStreams:
    return AgentStreams(redis, RETENTION)


def _events(gateway: Service, task_id: str = "t", query: str = "") -> str:
    return f"{gateway.url}/api/chat/agents/{task_id}/events{query}"


async def _publish(streams: AgentStreams, count: int, task_id: str = "t") -> list[AgentEvent]:
    return [await streams.publish(task_id, "engineer", "thought", f"Gedanke {n} 河") for n in range(count)]


async def _read(stream: SseStream, count: int) -> list[Event]:
    """Read on until so many events have come in all."""
    assert stream.status == 200, stream.response.text
    if len(stream.events) < count:
        await stream.read_until(lambda _: len(stream.events) >= count)
    assert len(stream.events) == count
    return stream.events


async def _read_to_end(stream: SseStream) -> list[dict[str, Any]]:
    """The events of a stream that ends as it should."""
    assert stream.status == 200, stream.response.text
    await stream.read_to_end()
    assert (stream.end, stream.events[-1].data) == ("clean", "[DONE]")
    chunks = [event.chunk for event in stream.events[:-1]]
    assert [chunk["event_type"] for chunk in chunks].index("connection_end") == len(chunks) - 1
    return chunks


def _numbers(chunks: list[dict[str, Any]]) -> list[int]:
    return [chunk["sequence"] for chunk in chunks]


async def _when_followed(redis: Redis, then: Callable[[], Awaitable[Any]]) -> Any:
    """Do something once the gateway's hub waits for the stream's next change."""

    async def tracked() -> bool:
        found: Any = await redis.info("stats")
        return int(found["tracking_total_keys"]) > 0

    await wait_until(tracked, what="the stream is followed")
    return await then()


@pytest.mark.requirement("AG-4")
async def test_agents_are_replayed_then_live_each_event_as_it_was_stored_until_the_end(
    gateway: Service, streams: AgentStreams, redis: Redis
) -> None:
    generation = await streams.create("t")
    await _publish(streams, 2)
    async with follow(_events(gateway)) as stream:
        await _read(stream, 2)
        await _publish(streams, 2)
        await _read(stream, 4)
        await streams.close("t")
        chunks = await _read_to_end(stream)
    assert _numbers(chunks) == [1, 2, 3, 4, 5]
    stored: Any = await redis.xrange(keys.agent_events("t", 0))
    assert [event.data.encode() for event in stream.events[:-1]] == [fields[b"d"] for _, fields in stored]
    assert [event.id for event in stream.events] == [*(f"{generation}-{n}" for n in range(1, 6)), None]
    assert "河" in stream.events[0].data
    assert stream.retry_ms is not None
    headers = stream.response.headers
    assert headers["content-type"] == "text/event-stream"
    assert headers["cache-control"] == "no-cache, no-transform"
    assert "x-vercel-ai-ui-message-stream" not in headers
    async with follow(_events(gateway)) as replayed:
        assert await _read_to_end(replayed) == chunks


@pytest.mark.requirement("AG-4")
async def test_a_reader_continues_after_any_event_by_header_or_query_and_the_header_wins(
    gateway: Service, http: httpx.AsyncClient, streams: AgentStreams
) -> None:
    generation = await streams.create("t")
    await _publish(streams, 4)
    ids = [f"{generation}-{number}" for number in range(1, 6)]
    readers = []
    for seen in range(4):
        readers.append(_rest(_events(gateway), ids[seen]))
        readers.append(_rest(_events(gateway, query=f"?after={ids[seen]}"), None))
        readers.append(_rest(_events(gateway, query=f"?after={ids[0]}"), ids[seen]))
    running = [asyncio.create_task(reader) for reader in readers]
    await streams.close("t")
    found = await asyncio.gather(*running)
    assert found == [list(range(seen + 2, 6)) for seen in range(4) for _ in range(3)]
    at_end = await http.get("/api/chat/agents/t/events", headers={"last-event-id": ids[-1]})
    assert (at_end.status_code, at_end.content) == (204, b"")


async def _rest(url: str, cursor: str | None) -> list[int]:
    async with follow(url, last_event_id=cursor) as stream:
        return _numbers(await _read_to_end(stream))


@pytest.mark.requirement("AG-4")
async def test_there_is_no_seam_between_replay_and_live_whenever_one_joins(
    gateway: Service, streams: AgentStreams
) -> None:
    generation = await streams.create("t")
    viewers = []
    for number in range(300):
        await _publish(streams, 1)
        if number % 20 == 0:
            cursor = number // 2 + 1 if number % 40 else 0
            url = _events(gateway, query=f"?after={generation}-{cursor}" if cursor else "")
            viewers.append((cursor, asyncio.create_task(_rest(url, None))))
    await streams.close("t")
    for cursor, viewer in viewers:
        assert await viewer == list(range(cursor + 1, 302))


@pytest.mark.requirement("AG-4")
async def test_agents_that_have_not_begun_are_waited_for(gateway: Service, streams: AgentStreams, redis: Redis) -> None:
    async with follow(_events(gateway)) as stream:
        await _when_followed(redis, lambda: streams.create("t"))
        await _publish(streams, 1)
        await _read(stream, 1)
        await streams.close("t")
        assert _numbers(await _read_to_end(stream)) == [1, 2]


@pytest.mark.requirement("AG-3", "AG-4")
async def test_when_agents_begin_anew_the_old_follower_gets_its_end_and_the_new_one_the_new_events(
    gateway: Service, http: httpx.AsyncClient, streams: AgentStreams
) -> None:
    async with follow(_events(gateway)) as old:
        first = await streams.create("t")
        await _publish(streams, 2)
        await _read(old, 2)
        second = await streams.create("t")
        async with follow(_events(gateway)) as new:
            await _publish(streams, 1)
            assert [event.id for event in await _read(new, 1)] == [f"{second}-1"]
            assert _numbers(await _read_to_end(old)) == [1, 2, 3]
            assert [event.id for event in old.events[:-1]] == [f"{first}-{number}" for number in (1, 2, 3)]
            async with follow(_events(gateway), last_event_id=f"{first}-1") as late:
                assert _numbers(await _read_to_end(late)) == [2, 3]
            ended = await http.get(f"/api/chat/agents/t/events?after={first}-3")
            assert ended.status_code == 204
            third = await streams.create("t")
            assert _numbers(await _read_to_end(new)) == [1, 2]
    lost = await http.get(f"/api/chat/agents/t/events?after={first}-1")
    assert (lost.status_code, lost.json()["code"]) == (409, "STREAM_TRUNCATED")
    assert lost.json()["read_on_from"] == "0-0"
    async with follow(_events(gateway, query="?after=0-0")) as again:
        await _publish(streams, 1)
        assert [event.id for event in await _read(again, 1)] == [f"{third}-1"]


@pytest.mark.requirement("AG-3", "AG-4")
async def test_however_often_agents_begin_anew_no_follower_sees_two_streams_in_one(
    gateway: Service, streams: AgentStreams
) -> None:
    async def read_all() -> Counter[str]:
        ends: Counter[str] = Counter()
        while not done:
            async with follow(_events(gateway)) as stream:
                chunks = [event.chunk for event in await stream.read_to_end() if event.data != "[DONE]"]
                assert _numbers(chunks) == list(range(1, len(chunks) + 1))
                types = [chunk["event_type"] for chunk in chunks]
                # Two others have begun before its end was read: that is broken, never ended.
                assert types.count("connection_end") == stream.done == (stream.end == "clean")
                assert len({chunk["content"] for chunk in chunks if chunk["event_type"] == "thought"}) <= 1
                ends[stream.end] += 1
        return ends

    done = False
    await streams.create("t")
    readers = [asyncio.create_task(read_all()) for _ in range(5)]
    for number in range(40):
        generation = await streams.create("t")
        for _ in range(20):
            await streams.publish("t", "a", "thought", str(number), generation=generation)
    done = True
    await streams.close("t")
    ends = sum(await asyncio.gather(*readers), Counter[str]())
    assert ends["clean"] >= 5
    assert set(ends) <= {"clean", "broken"}


@pytest.mark.requirement("AG-3")
async def test_agents_of_different_tasks_do_not_mix(gateway: Service, streams: AgentStreams) -> None:
    tasks = [f"t{number}" for number in range(20)]
    readers = {}
    for task_id in tasks:
        await streams.create(task_id)
        readers[task_id] = asyncio.create_task(_contents(_events(gateway, task_id)))
    await asyncio.gather(*(_publish_names(streams, task_id) for task_id in tasks))
    for task_id in tasks:
        assert await readers[task_id] == [(task_id, task_id)] * 30


async def _contents(url: str) -> list[tuple[str, str]]:
    async with follow(url) as stream:
        return [(chunk["task_id"], chunk["content"]) for chunk in (await _read_to_end(stream))[:-1]]


async def _publish_names(streams: AgentStreams, task_id: str) -> None:
    for _ in range(30):
        await streams.publish(task_id, "a", "output", task_id)
    await streams.close(task_id)


@pytest.mark.requirement("AG-4")
async def test_large_events_over_many_pages_come_whole(gateway: Service, streams: AgentStreams) -> None:
    await streams.create("t")
    large = "Wörter " * 30_000
    await streams.publish("t", "a", "output", large)
    await _publish(streams, 1100)
    await streams.publish("t", "a", "output", large)
    await streams.close("t")
    async with follow(_events(gateway)) as stream:
        chunks = await _read_to_end(stream)
    assert _numbers(chunks) == list(range(1, 1104))
    assert chunks[0]["content"] == chunks[-2]["content"] == large


@pytest.mark.requirement("AG-4")
async def test_agents_that_have_an_owner_are_followed_by_nobody_else(services: Services, streams: AgentStreams) -> None:
    gateway = await services.gateway(JWT_SECRET=SECRET)
    await streams.create("t", "ada")
    await _publish(streams, 1)
    async with client_of(gateway) as http:
        for path in ("t", "t/events"):
            response = await http.get(f"/api/chat/agents/{path}", headers=bearer("grace"))
            assert (response.status_code, response.json()["code"]) == (403, "ACCESS_DENIED")
            assert (await http.get(f"/api/chat/agents/{path}")).status_code == 401
        assert (await http.head("/api/chat/agents/t/events", headers=bearer("grace"))).status_code == 403
        assert (await http.get("/api/chat/agents/t", headers=bearer("ada"))).status_code == 200
    async with follow(_events(gateway), headers=bearer("ada")) as stream:
        await _read(stream, 1)
    await streams.create("t")
    async with follow(_events(gateway), headers=bearer("grace")) as stream:
        await _publish(streams, 1)
        await _read(stream, 1)
        assert stream.events[0].chunk["content"].startswith("Gedanke")


@pytest.mark.requirement("AG-4")
async def test_who_waits_for_agents_that_become_another_s_sees_nothing_of_them(
    services: Services, streams: AgentStreams, redis: Redis
) -> None:
    gateway = await services.gateway(JWT_SECRET=SECRET)
    async with (
        follow(_events(gateway), headers=bearer("grace")) as stranger,
        follow(_events(gateway), headers=bearer("ada")) as owner,
    ):
        await _when_followed(redis, lambda: streams.create("t", "ada"))
        await _publish(streams, 3)
        await _read(owner, 3)
        await streams.close("t")
        assert _numbers(await _read_to_end(owner)) == [1, 2, 3, 4]
        assert [event.data for event in await stranger.read_to_end()] == ["[DONE]"]


@pytest.mark.requirement("AG-4", "GW-4")
async def test_a_gateway_that_stops_breaks_the_stream_and_it_continues_at_another(
    services: Services, streams: AgentStreams
) -> None:
    first, second = await asyncio.gather(services.gateway(), services.gateway())
    await streams.create("t")
    await _publish(streams, 2)
    async with follow(_events(first)) as before:
        await _read(before, 2)
        first.send(signal.SIGTERM)
        await _publish(streams, 1)
        await before.read_to_end()
    assert before.end == "broken"
    assert await first.exited() == 0
    async with follow(_events(second), last_event_id=before.last_event_id) as after:
        await _publish(streams, 1)
        await streams.close("t")
        rest = _numbers(await _read_to_end(after))
    assert _numbers([event.chunk for event in before.events]) + rest == [1, 2, 3, 4, 5]


@pytest.mark.requirement("AG-4")
async def test_agents_that_redis_forgets_break_the_stream_and_a_cursor_of_theirs_says_so(
    gateway: Service, http: httpx.AsyncClient, streams: AgentStreams, valkey: Valkey
) -> None:
    await streams.create("t")
    await _publish(streams, 2)
    async with follow(_events(gateway)) as stream:
        await _read(stream, 2)
        valkey.flush()
        await stream.read_to_end()
    assert stream.end == "broken"
    for _ in range(2):
        response = await http.get("/api/chat/agents/t/events", headers={"last-event-id": str(stream.last_event_id)})
        assert (response.status_code, response.json()["code"]) == (409, "STREAM_TRUNCATED")
        await streams.create("t")


@pytest.mark.requirement("AG-4")
async def test_the_state_of_a_task_s_agents_is_told(http: httpx.AsyncClient, streams: AgentStreams) -> None:
    unknown = await http.get("/api/chat/agents/t")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "AGENT_STREAM_NOT_FOUND")
    await streams.create("t")
    await _publish(streams, 2)
    told = (await http.get("/api/chat/agents/t")).json()
    assert (told["task_id"], told["status"], told["sequence"]) == ("t", "open", 2)
    assert told["created_at"] <= told["active_at"]
    assert (await http.head(told["events_url"])).status_code == 200
    await streams.close("t")
    closed = (await http.get("/api/chat/agents/t")).json()
    assert (closed["status"], closed["sequence"]) == ("closed", 3)


@pytest.mark.requirement("AG-4")
async def test_ids_and_cursors_that_cannot_be_are_refused(http: httpx.AsyncClient, streams: AgentStreams) -> None:
    await streams.create("t")
    bad = [
        ("t/events?after=x", {}, "INVALID_CURSOR"),
        ("t/events", {"last-event-id": "nonsense"}, "INVALID_CURSOR"),
        (f"{'t' * 65}/events", {}, "INVALID_PARAMETER"),
        ("a%20b", {}, "INVALID_PARAMETER"),
        ("%7Bt%7D/events", {}, "INVALID_PARAMETER"),
    ]
    for path, headers, code in bad:
        response = await http.get(f"/api/chat/agents/{path}", headers=headers)
        assert (response.status_code, response.json()["code"]) == (400, code), path
    ahead = await http.get("/api/chat/agents/t/events?after=9999999999999-1")
    assert (ahead.status_code, ahead.json()["code"]) == (409, "STREAM_TRUNCATED")
    for method in ("POST", "DELETE"):
        assert (await http.request(method, "/api/chat/agents/t/events")).status_code == 405
    assert (await http.options("/api/chat/agents/t/events")).headers["allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.requirement("AG-4")
async def test_while_redis_is_away_agents_are_asked_for_later(http: httpx.AsyncClient, valkey: Valkey) -> None:
    valkey.stop()
    for path in ("t", "t/events"):
        response = await http.get(f"/api/chat/agents/{path}")
        assert (response.status_code, response.json()["code"]) == (503, "REDIS_UNAVAILABLE")
        assert int(response.headers["retry-after"]) > 0
