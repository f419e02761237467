"""Where a subscriber comes in: what it gets first, what it does not get, and what it is refused."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from redis.asyncio import Redis

from harness.clients.sse import follow, replay
from harness.waiting import wait_until
from tests.gateway.hub_app import HubServer, Publisher, hub_server


@pytest.fixture
async def server(valkey_url: str) -> AsyncIterator[HubServer]:
    async with hub_server(valkey_url) as running:
        yield running


@pytest.fixture
def publisher(redis: Redis) -> Publisher:
    return Publisher(redis, "stream")


async def written(publisher: Publisher, texts: int) -> list[str]:
    """A start and so many texts; their ids."""
    return [await publisher.start(), *[await publisher.text(f"{number} ") for number in range(texts)]]


async def status_and_body(url: str) -> tuple[int, dict[str, str]]:
    async with httpx.AsyncClient(trust_env=False) as client:
        response = await client.get(url)
        return response.status_code, response.json() if response.content else {}


@pytest.mark.requirement("TS-3")
async def test_everything_after_the_cursor_comes_and_nothing_before(server: HubServer, publisher: Publisher) -> None:
    ids = await written(publisher, 5)
    await publisher.finish()
    for position, cursor in enumerate(ids):
        seen = await replay(server.url("stream"), last_event_id=cursor)
        assert [event.id for event in seen.events[:-1]] == [
            entry_id for entry_id, _ in publisher.entries[position + 1 :]
        ]
        assert seen.done


@pytest.mark.requirement("TS-3")
async def test_a_replay_of_many_pages_is_complete_and_verbatim(server: HubServer, publisher: Publisher) -> None:
    await written(publisher, 1700)
    await publisher.finish()
    seen = await replay(server.url("stream"))
    assert [(event.id, event.data.encode()) for event in seen.events[:-1]] == publisher.entries


@pytest.mark.requirement("TS-3")
async def test_there_is_no_seam_between_replay_and_live_whenever_one_joins(
    server: HubServer, publisher: Publisher
) -> None:
    await publisher.start()
    viewers = []
    for number in range(600):
        await publisher.text(str(number))
        if number % 12 == 0:
            cursor = publisher.entries[number * 7 % len(publisher.entries)][0] if number % 24 else None
            viewers.append((cursor, asyncio.create_task(replay(server.url("stream"), last_event_id=cursor))))
    await publisher.finish()
    ids = [entry_id for entry_id, _ in publisher.entries]
    for cursor, viewer in viewers:
        expected = ids[ids.index(cursor) + 1 :] if cursor else ids
        assert [event.id for event in (await viewer).events[:-1]] == expected


@pytest.mark.requirement("TS-3")
async def test_a_turn_that_has_not_begun_is_waited_for(server: HubServer, publisher: Publisher) -> None:
    async with follow(server.url("stream")) as stream:
        await wait_until(lambda: server.stats().streams == 1)
        await publisher.start()
        assert (await stream.read_until("start")).id == "1-0"


@pytest.mark.requirement("TS-5")
@pytest.mark.parametrize("kind", ["finish", "error"])
async def test_a_terminal_entry_ends_the_response_cleanly_live_and_replayed(
    server: HubServer, publisher: Publisher, kind: str
) -> None:
    await written(publisher, 1)
    async with follow(server.url("stream")) as live:
        await live.read_until("text-delta")
        await publisher.append(kind, b'{"type":"%b"}' % kind.encode())
        await live.read_to_end()
    replayed = await replay(server.url("stream"))
    for seen in (live, replayed):
        assert (seen.types, seen.end) == (["start", "text-delta", kind, "[DONE]"], "clean")


@pytest.mark.requirement("TS-5")
async def test_nothing_is_shown_after_a_terminal_entry(server: HubServer, publisher: Publisher) -> None:
    await written(publisher, 1)
    await publisher.finish()
    await publisher.text("a ghost")
    seen = await replay(server.url("stream"))
    assert seen.types == ["start", "text-delta", "finish", "[DONE]"]


@pytest.mark.requirement("GW-2")
@pytest.mark.parametrize("cursor", ["1-3", "1-9", "7-0"])
async def test_who_has_seen_the_end_is_told_that_there_is_nothing_to_follow(
    server: HubServer, publisher: Publisher, cursor: str
) -> None:
    await written(publisher, 2)
    await publisher.finish()
    assert await status_and_body(server.url("stream", f"after={cursor}")) == (204, {})


@pytest.mark.requirement("TS-12")
async def test_a_lost_beginning_is_said_with_where_to_read_on(
    server: HubServer, publisher: Publisher, redis: Redis
) -> None:
    await written(publisher, 5)
    await publisher.finish()
    await redis.xtrim("stream", minid="1-3", approximate=False)
    for query in ("", "after=1-0", "after=1-1"):
        assert await status_and_body(server.url("stream", query)) == (
            409,
            {"code": "STREAM_TRUNCATED", "read_on_from": "1-2"},
        )
    rest = await replay(server.url("stream"), last_event_id="1-2")
    assert [event.id for event in rest.events[:-1]] == ["1-3", "1-4", "1-5", "1-6"]


@pytest.mark.requirement("TS-12")
async def test_a_lost_beginning_at_an_attempt_s_first_entry_is_said_too(
    server: HubServer, publisher: Publisher, redis: Redis
) -> None:
    await written(publisher, 2)
    await publisher.text("again", attempt=2)
    await redis.xtrim("stream", minid="2-0", approximate=False)
    status, problem = await status_and_body(server.url("stream"))
    assert (status, problem["read_on_from"]) == (409, "1-1")
    async with follow(server.url("stream"), last_event_id="1-1") as rest:
        assert (await rest.read_until("text-delta")).id == "2-0"


@pytest.mark.requirement("TS-12")
async def test_a_turn_that_began_again_is_read_from_its_new_beginning(
    server: HubServer, publisher: Publisher, redis: Redis
) -> None:
    await written(publisher, 2)
    await redis.flushall()
    again = Publisher(redis, "stream")
    await again.append("start", b'{"type":"start"}', attempt=2)
    assert await status_and_body(server.url("stream", "after=1-2")) == (
        409,
        {"code": "STREAM_TRUNCATED", "read_on_from": "0-0"},
    )


@pytest.mark.requirement("TS-12")
@pytest.mark.parametrize("exists", [True, False], ids=["past the last entry", "of a stream that is gone"])
async def test_a_cursor_of_another_life_is_refused(server: HubServer, publisher: Publisher, exists: bool) -> None:
    if exists:
        await written(publisher, 2)
    status, problem = await status_and_body(server.url("stream", "after=1-3"))
    assert (status, problem["read_on_from"]) == (409, "0-0")


@pytest.mark.requirement("TS-12")
async def test_an_empty_stream_that_should_have_begun_is_refused(server: HubServer) -> None:
    status, problem = await status_and_body(server.url("stream", "started="))
    assert (status, problem["read_on_from"]) == (409, "0-0")


@pytest.mark.requirement("TS-8")
async def test_an_unknown_type_passes_through_untouched_and_is_counted(server: HubServer, publisher: Publisher) -> None:
    await publisher.start()
    odd = b'{"type":"hologram",  "ids":["\xc3\xa4"]}'
    await publisher.append("hologram", odd)
    await publisher.append("data-anything", b'{"type":"data-anything","data":1}')
    await publisher.finish()
    seen = await replay(server.url("stream"))
    assert seen.events[1].data.encode() == odd
    assert server.stats().unknown_types == 1
