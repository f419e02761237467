"""What a publisher of agent events can rely on: stored once however often it tries, refused by name, never hanging."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from sluiceway import keys
from sluiceway.errors import (
    AgentEventError,
    AgentEventRejected,
    AgentEventUnavailable,
    AgentStreamClosed,
    AgentStreamUnknown,
    RedisUnavailable,
)
from sluiceway.feeds.agent_event import MAX_EVENT_BYTES, MAX_NAME_CHARS
from sluiceway.feeds.agent_events import AgentStreams
from sluiceway.redis.client import open_redis

from harness.databases.valkey import Valkey
from harness.proxies.proxy import Proxy
from harness.retention import RETENTION
from tests.shared.feeds.agents import numbers, publish


@pytest.mark.requirement("AG-1")
async def test_the_same_publish_again_is_there_once_also_after_the_end(streams: AgentStreams) -> None:
    await streams.create("t")
    first = await streams.publish("t", "a", "thought", "x", publish_id="p1")
    other = await streams.publish("t", "a", "thought", "y", publish_id="p2")
    again = await streams.publish("t", "a", "thought", "x", publish_id="p1")
    assert (first.sequence, other.sequence, again.sequence) == (1, 2, 1)
    await streams.close("t")
    assert (await streams.publish("t", "a", "thought", "y", publish_id="p2")).sequence == 2
    await streams.create("t")
    assert (await streams.publish("t", "a", "thought", "y", publish_id="p2")).sequence == 2
    assert await streams.events("t") == []


@pytest.mark.requirement("AG-1")
async def test_only_the_last_publishes_are_remembered(streams: AgentStreams, redis: Redis) -> None:
    await streams.create("t")
    for number in range(600):
        await streams.publish("t", "a", "thought", publish_id=f"p{number}")
    assert (await streams.publish("t", "a", "thought", publish_id="p350")).sequence == 351
    assert (await streams.publish("t", "a", "thought", publish_id="p10")).sequence == 601
    assert await redis.hlen(keys.agent_published("t")) == 2 * 256


@pytest.mark.requirement("AG-1")
async def test_a_publish_whose_answer_was_lost_is_tried_again_and_is_there_once(
    valkey: Valkey, streams: AgentStreams
) -> None:
    await streams.create("t")
    # Frozen for longer than its client waits for an answer: it has the command already when it wakes up.
    async with Redis.from_url(valkey.url, socket_timeout=0.3, retry=Retry(NoBackoff(), 0)) as impatient:
        publishing = AgentStreams(impatient, RETENTION)
        await publishing.publish("t", "a", "thought", "first")
        valkey.freeze()
        tasks = [asyncio.create_task(publishing.publish("t", "a", "thought", str(n))) for n in range(5)]
        await asyncio.wait(tasks, timeout=1.0)
        valkey.thaw()
        answered = await asyncio.gather(*tasks)
    events = await streams.events("t")
    assert numbers(events) == [1, 2, 3, 4, 5, 6]
    assert sorted(events[1:], key=lambda event: event.content) == answered


@pytest.mark.requirement("AG-1")
@pytest.mark.parametrize(
    "arguments",
    [
        ("a", "thought", "x", {"value": float("nan")}),
        ("a", "thought", "x", {"value": object()}),
        ("a", "thought", "x", {"value": b"bytes"}),
        ("a", "thought", "x", {("a", "tuple"): 1}),
        ("a", "thought", "x", ["no", "object"]),
        ("a", "thought", "half of a pair: \ud83d", None),
        ("\ud83d", "thought", "x", None),
        ("a", "thought", "x", {"\ud83d": 1}),
        ("a", "thought", b"bytes", None),
        ("a", "thought", 7, None),
        ("a", "thought", None, None),
        ("a", "thought", "c" * MAX_EVENT_BYTES, None),
        ("", "thought", "x", None),
        ("a" * (MAX_NAME_CHARS + 1), "thought", "x", None),
        (7, "thought", "x", None),
        ("a", "connection_end", "x", None),
        ("a", "pondering", "x", None),
        ("a", ["start"], "x", None),
        ("a", None, "x", None),
    ],
    ids=range(19),
)
async def test_what_is_no_event_is_refused_and_leaves_no_gap(streams: AgentStreams, arguments: Any) -> None:
    await streams.create("t")
    with pytest.raises(AgentEventRejected):
        await streams.publish("t", *arguments)
    assert (await streams.publish("t", "a", "thought")).sequence == 1


@pytest.mark.requirement("AG-1")
async def test_metadata_that_nobody_could_read_back_is_refused(streams: AgentStreams) -> None:
    await streams.create("t")
    circle: dict[str, Any] = {}
    circle["me"] = circle
    deep: Any = 0
    for _ in range(300):
        deep = [deep]
    for metadata in (circle, {"deep": deep}, {"number": 10**5000}):
        with pytest.raises(AgentEventRejected):
            await streams.publish("t", "a", "thought", "", metadata)
    assert await streams.events("t") == []


@pytest.mark.requirement("AG-1")
async def test_odd_content_comes_back_as_it_went(streams: AgentStreams) -> None:
    await streams.create("t")
    odd = ["", "\x00\x1f\x7f", "line\r\nline\rline", '"},{"sequence": 9', "\u2028\u2029\x85", "🧂" * 50, "%s %d {0}"]
    for content in odd:
        await streams.publish("t", content or "-", "output", content, {content: content})
    events = await streams.events("t")
    assert [(event.content, event.metadata) for event in events] == [(content, {content: content}) for content in odd]
    assert all(len(event.encode().decode().splitlines()) == 1 for event in events), "one line for every reader"
    largest = "c" * (MAX_EVENT_BYTES - 200)
    assert (await streams.publish("t", "a", "output", largest)).content == largest


@pytest.mark.requirement("AG-1")
@pytest.mark.parametrize("task_id", ["", "a b", "{a}", "t" * 65, "ä", "a\n", None, 7])
async def test_an_id_that_cannot_be_one_is_refused_everywhere(
    streams: AgentStreams, redis: Redis, task_id: Any
) -> None:
    for call in (
        lambda: streams.create(task_id),
        lambda: streams.get(task_id),
        lambda: streams.publish(task_id, "a", "start"),
        lambda: streams.close(task_id),
        lambda: streams.publish("t", "a", "start", publish_id="#1"),
    ):
        with pytest.raises(AgentEventRejected):
            await call()
    assert await redis.dbsize() == 0


@pytest.mark.requirement("AG-1")
async def test_while_redis_is_away_a_publish_waits_for_it_and_then_says_so(valkey: Valkey) -> None:
    async with Proxy(valkey.port) as proxy, open_redis(f"redis://127.0.0.1:{proxy.port}/0", name="test") as client:
        streams = AgentStreams(client, RETENTION, timeout_seconds=0.5)
        await streams.create("t")
        await proxy.refuse()
        proxy.reset_all()
        with pytest.raises(AgentEventUnavailable):
            await streams.publish("t", "a", "thought")
        for call in (lambda: streams.create("t"), lambda: streams.get("t"), lambda: streams.list_active()):
            with pytest.raises(RedisUnavailable):
                await call()
        patient = AgentStreams(client, RETENTION, timeout_seconds=20)
        publishing = asyncio.create_task(patient.publish("t", "a", "thought"))
        await proxy.admit()
        assert (await publishing).sequence == 1


@pytest.mark.requirement("AG-1")
async def test_a_redis_that_says_nothing_costs_the_publisher_no_more_than_its_time(valkey: Valkey) -> None:
    async with open_redis(valkey.url, name="test") as client:
        streams = AgentStreams(client, RETENTION, timeout_seconds=0.5)
        await streams.create("t")
        valkey.freeze()
        loop = asyncio.get_running_loop()
        begun = loop.time()
        with pytest.raises(AgentEventUnavailable):
            await streams.publish("t", "a", "thought")
        assert loop.time() - begun < 2
        valkey.thaw()


@pytest.mark.requirement("AG-1")
async def test_a_client_that_answers_text_does_as_well(valkey_url: str) -> None:
    async with Redis.from_url(valkey_url, decode_responses=True) as client:
        streams = AgentStreams(client, RETENTION)
        generation = await streams.create("t")
        assert numbers(await publish(streams, "t", 2)) == [1, 2]
        stream = await streams.get("t")
        assert stream is not None
        assert (stream.generation, stream.sequence) == (generation, 2)
        assert [each.task_id for each in await streams.list_active()] == ["t"]
        assert numbers(await streams.events("t")) == [1, 2]
        assert await streams.clean_up(timedelta(0)) == ["t"]


@pytest.mark.requirement("AG-1")
def test_every_failure_is_an_agent_event_error() -> None:
    for error in (AgentEventRejected, AgentEventUnavailable, AgentStreamClosed, AgentStreamUnknown):
        assert issubclass(error, AgentEventError)
