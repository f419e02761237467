"""The life of an agent stream: created, created again, closed, cleaned up, forgotten; and how long its keys live."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.errors import (
    AgentStreamClosed,
    AgentStreamUnknown,
)
from sluiceway.feeds.agent_events import AgentEvent, AgentStreams

from harness.retention import retention
from harness.waiting import wait_until
from tests.shared.feeds.agents import numbers, publish, stored

_PROCESS = Path(__file__).parents[3] / "harness" / "processes" / "agents_process.py"


@pytest.mark.requirement("AG-3", "AG-4")
async def test_creating_a_stream_again_ends_the_old_one_and_counts_from_one(
    streams: AgentStreams, redis: Redis
) -> None:
    first = await streams.create("t", "ada")
    await publish(streams, "t", 3)
    second = await streams.create("t")
    assert second > first
    assert await streams.events("t") == []
    assert numbers(await publish(streams, "t", 2)) == [1, 2]
    old, new = await stored(redis, "t", 0), await stored(redis, "t", 1)
    assert [entry_id for entry_id, _ in old] == [f"{first}-{number}" for number in (1, 2, 3, 4)]
    assert [fields[b"t"] for _, fields in old] == [b"thought"] * 3 + [b"connection_end"]
    assert AgentEvent.model_validate_json(old[-1][1][b"d"]).sequence == 4
    assert [entry_id for entry_id, _ in new] == [f"{second}-1", f"{second}-2"]
    stream = await streams.get("t")
    assert stream is not None
    assert (stream.generation, stream.sequence, stream.open, stream.user_id) == (second, 2, True, None)
    third = await streams.create("t")
    assert third > second
    assert await stored(redis, "t", 0) == []
    assert len(await stored(redis, "t", 1)) == 3


@pytest.mark.requirement("AG-3")
async def test_streams_that_are_created_again_under_publishing_have_no_gap_and_no_stranger(
    streams: AgentStreams, redis: Redis
) -> None:
    async def publish(author: int) -> None:
        while not done:
            await streams.publish("t", str(author), "thought")

    async def publish_fenced(own: int) -> int:
        published = 0
        try:
            while True:
                await streams.publish("t", "fenced", "thought", str(own), generation=own)
                published += 1
        except AgentStreamClosed:
            return published

    done = False
    fenced = []
    generations = [await streams.create("t")]
    authors = [asyncio.create_task(publish(author)) for author in range(8)]
    for _ in range(25):
        fenced.append(asyncio.create_task(publish_fenced(generations[-1])))
        generations.append(await streams.create("t"))
        slot = (len(generations) - 2) % 2
        old = await stored(redis, "t", slot)
        assert [entry_id for entry_id, _ in old] == [f"{generations[-2]}-{n + 1}" for n in range(len(old))]
        assert [fields[b"t"] for _, fields in old].index(b"connection_end") == len(old) - 1
        events = [AgentEvent.model_validate_json(fields[b"d"]) for _, fields in old]
        assert numbers(events) == list(range(1, len(old) + 1))
        assert {event.content for event in events if event.agent_name == "fenced"} <= {str(generations[-2])}
    done = True
    await asyncio.gather(*authors, *fenced)
    assert generations == sorted(set(generations))


@pytest.mark.requirement("AG-4")
async def test_a_stream_is_known_while_it_is_open_and_for_a_while_after(streams: AgentStreams, redis: Redis) -> None:
    assert await streams.get("t") is None
    assert await streams.list_active() == []
    generation = await streams.create("t", "ada")
    await streams.create("u")
    await publish(streams, "t", 2)
    stream = await streams.get("t")
    assert stream is not None
    assert (stream.task_id, stream.generation, stream.sequence, stream.user_id) == ("t", generation, 2, "ada")
    assert stream.open
    assert stream.created_at <= stream.active_at <= datetime.now(UTC) + timedelta(seconds=1)
    assert {each.task_id for each in await streams.list_active()} == {"t", "u"}
    assert await streams.close("t")
    assert not await streams.close("t")
    assert not await streams.close("nobody")
    assert [each.task_id for each in await streams.list_active()] == ["u"]
    closed = await streams.get("t")
    assert closed is not None
    assert (closed.open, closed.sequence) == (False, 3)
    assert [event.event_type for event in await streams.events("t")] == ["thought", "thought", "connection_end"]
    assert [await redis.zscore(keys.AGENT_STREAMS, name) is not None for name in ("t", "u")] == [False, True]


@pytest.mark.requirement("AG-4")
async def test_closing_by_its_generation_leaves_the_next_stream_open(streams: AgentStreams) -> None:
    first = await streams.create("t")
    second = await streams.create("t")
    assert not await streams.close("t", generation=first)
    assert [stream.generation for stream in await streams.list_active()] == [second]
    assert await streams.close("t", generation=second)


@pytest.mark.requirement("AG-4")
async def test_publishing_where_no_stream_is_or_where_it_has_ended_says_which(streams: AgentStreams) -> None:
    with pytest.raises(AgentStreamUnknown):
        await streams.publish("t", "a", "start")
    generation = await streams.create("t")
    await streams.close("t")
    with pytest.raises(AgentStreamClosed):
        await streams.publish("t", "a", "start")
    await streams.create("t")
    with pytest.raises(AgentStreamClosed):
        await streams.publish("t", "a", "start", generation=generation)
    assert await streams.events("t") == []


@pytest.mark.requirement("AG-4")
async def test_old_streams_are_cleaned_up_and_those_that_are_heard_of_are_not(
    streams: AgentStreams, redis: Redis
) -> None:
    for task_id in ("old", "lively", "gone", "new"):
        await streams.create(task_id)
    # As if all but one had begun an hour ago; one of them has published since, one is forgotten.
    for task_id in ("old", "lively", "gone"):
        await redis.zadd(keys.AGENT_STREAMS, {task_id: 1})
        await redis.hset(keys.agent_stream(task_id), "active", "1")
    await publish(streams, "lively", 1)
    await redis.delete(keys.agent_stream("gone"))
    assert await streams.clean_up(timedelta(minutes=1)) == ["old"]
    assert {stream.task_id for stream in await streams.list_active()} == {"lively", "new"}
    assert [event.event_type for event in await streams.events("old")] == ["connection_end"]
    assert await redis.zscore(keys.AGENT_STREAMS, "gone") is None
    assert await streams.clean_up(timedelta(minutes=1)) == []
    assert set(await streams.clean_up(timedelta(0))) == {"lively", "new"}
    assert await redis.exists(keys.AGENT_STREAMS) == 0


@pytest.mark.requirement("AG-4")
async def test_many_clean_up_at_once_and_each_stream_is_closed_once(streams: AgentStreams) -> None:
    for number in range(40):
        await streams.create(f"t{number}")
    answers = await asyncio.gather(*(streams.clean_up(timedelta(0)) for _ in range(5)))
    assert sorted(task_id for answer in answers for task_id in answer) == sorted(f"t{number}" for number in range(40))
    assert numbers(await streams.events("t7")) == [1]


@pytest.mark.requirement("AG-4")
async def test_every_key_is_kept_for_as_long_as_was_promised(redis: Redis) -> None:
    streams = AgentStreams(redis, retention(live_seconds=100, ended_seconds=10))

    async def left(key: str) -> float:
        return float(await redis.pttl(key)) / 1000

    await streams.create("t")
    await redis.pexpire(keys.agent_stream("t"), 5_000)
    await publish(streams, "t", 1)
    for key in (keys.agent_stream("t"), keys.agent_published("t"), keys.agent_events("t", 0)):
        assert 90 < await left(key) <= 100
    assert 100 < await left(keys.AGENT_STREAMS) <= 200
    await streams.create("t")
    assert 5 < await left(keys.agent_events("t", 0)) <= 10
    await publish(streams, "t", 1)
    await streams.close("t")
    for key in (keys.agent_stream("t"), keys.agent_published("t"), keys.agent_events("t", 1)):
        assert 5 < await left(key) <= 10


@pytest.mark.requirement("AG-4")
async def test_a_stream_that_is_still_published_to_is_listed_again_when_the_list_was_lost(
    streams: AgentStreams, redis: Redis
) -> None:
    await streams.create("t")
    await redis.delete(keys.AGENT_STREAMS)
    await redis.hset(keys.agent_stream("t"), "listed", "1")
    await publish(streams, "t", 2)
    assert [stream.task_id for stream in await streams.list_active()] == ["t"]


@pytest.mark.requirement("AG-4")
async def test_what_was_forgotten_begins_again_with_a_greater_generation(streams: AgentStreams, redis: Redis) -> None:
    first = await streams.create("t")
    await redis.flushall()
    with pytest.raises(AgentStreamUnknown):
        await streams.publish("t", "a", "thought")
    await wait_until(lambda: time.time() * 1000 > first + 1, what="the clock, which is all that is left, has moved")
    second = await streams.create("t")
    assert second > first
    assert (await streams.publish("t", "a", "thought")).sequence == 1
