"""Agent streams on a real Valkey: numbers without a gap from many processes, one stream a task, and how they end."""

import asyncio
import json
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
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
from sluiceway.feeds.agent_events import AgentEvent, AgentStreams
from sluiceway.redis.client import open_redis

from harness.databases.valkey import Valkey
from harness.proxies.proxy import Proxy
from harness.retention import RETENTION, retention
from harness.waiting import wait_until

_PROCESS = Path(__file__).parents[3] / "harness" / "processes" / "agents_process.py"


@pytest.fixture
def streams(redis: Redis) -> AgentStreams:
    return AgentStreams(redis, RETENTION)


async def _publish(streams: AgentStreams, task_id: str, count: int) -> list[AgentEvent]:
    return [await streams.publish(task_id, "engineer", "thought", f"{task_id} {n}") for n in range(count)]


def _numbers(events: list[AgentEvent]) -> list[int]:
    return [event.sequence for event in events]


async def _stored(redis: Redis, task_id: str, slot: int) -> list[tuple[str, dict[bytes, bytes]]]:
    found: Any = await redis.xrange(keys.agent_events(task_id, slot))
    return [(entry_id.decode(), fields) for entry_id, fields in found]


@pytest.mark.requirement("AG-1")
async def test_an_event_says_who_did_what_and_when_and_is_stored_as_it_says(
    streams: AgentStreams, redis: Redis
) -> None:
    generation = await streams.create("t")
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    event = await streams.publish("t", "Köchin 料理", "action", "würzt 🧂", {"tool": "Löffel", "deep": [{"x": None}]})
    assert (event.task_id, event.sequence, event.agent_name, event.event_type) == ("t", 1, "Köchin 料理", "action")
    assert (event.content, event.metadata) == ("würzt 🧂", {"tool": "Löffel", "deep": [{"x": None}]})
    assert before <= event.timestamp <= datetime.now(UTC)
    [(entry_id, fields)] = await _stored(redis, "t", 0)
    assert entry_id == f"{generation}-1"
    assert fields[b"t"] == b"action"
    assert fields[b"d"] == event.encode()
    assert list(json.loads(fields[b"d"])) == [
        "task_id",
        "sequence",
        "agent_name",
        "event_type",
        "content",
        "timestamp",
        "metadata",
    ]
    assert json.loads(fields[b"d"])["timestamp"].endswith("Z")
    assert "würzt 🧂".encode() in fields[b"d"]
    assert await streams.events("t") == [event]


@pytest.mark.requirement("AG-1")
def test_an_event_is_a_frame_of_an_event_stream_with_its_letters() -> None:
    event = AgentEvent(
        task_id="t",
        sequence=3,
        agent_name="ä",
        event_type="output",
        content="two\nlines 河",
        timestamp=datetime(2026, 11, 22, 5, 4, 3, 21_999, timezone(timedelta(hours=2))),
    )
    frame = event.sse("17-3").decode()
    assert frame.startswith("id: 17-3\ndata: {")
    assert frame.endswith("}\n\n")
    assert frame.count("\n") == 3
    assert "河" in frame
    assert '"timestamp": "2026-11-22T03:04:03.021Z"' in frame
    assert event.sse().startswith(b"data: ")
    assert AgentEvent.model_validate_json(event.encode()) == event.model_copy(
        update={"timestamp": datetime(2026, 11, 22, 3, 4, 3, 21_000, UTC)}
    )


@pytest.mark.requirement("AG-1")
def test_an_event_as_it_was_first_stored_is_still_read() -> None:
    stored = (
        '{"task_id": "t", "sequence": 7, "agent_name": "a", "event_type": "complete", "content": "x",'
        ' "timestamp": "2026-11-22T01:02:03.004Z", "metadata": {}, "a member of later": 1}'
    )
    event = AgentEvent.model_validate_json(stored)
    assert (event.sequence, event.timestamp) == (7, datetime(2026, 11, 22, 1, 2, 3, 4000, UTC))


@pytest.mark.requirement("AG-1", "AG-2", "AG-3")
async def test_many_threads_of_many_processes_publish_to_many_tasks_without_a_gap_a_repeat_or_a_mixture(
    streams: AgentStreams, valkey_url: str
) -> None:
    tasks, events, threads, processes = ["a", "b", "c", "d"], 8, 20, 3
    for task_id in tasks:
        await streams.create(task_id)
    command = [sys.executable, str(_PROCESS), valkey_url]
    running = [
        await asyncio.create_subprocess_exec(*command, f"p{number}", str(threads), str(events), *tasks)
        for number in range(processes)
    ]
    assert await asyncio.gather(*(process.wait() for process in running)) == [0] * processes
    for task_id in tasks:
        found = await streams.events(task_id)
        assert _numbers(found) == list(range(1, processes * threads * events + 1))
        assert all(event.content == f"{task_id} {event.agent_name}" for event in found)
        assert set(Counter(event.agent_name for event in found).values()) == {events}
        for author in {event.agent_name for event in found}:
            said = [event.metadata["number"] for event in found if event.agent_name == author]
            assert said == list(range(events))


@pytest.mark.requirement("AG-3", "AG-4")
async def test_creating_a_stream_again_ends_the_old_one_and_counts_from_one(
    streams: AgentStreams, redis: Redis
) -> None:
    first = await streams.create("t", "ada")
    await _publish(streams, "t", 3)
    second = await streams.create("t")
    assert second > first
    assert await streams.events("t") == []
    assert _numbers(await _publish(streams, "t", 2)) == [1, 2]
    old, new = await _stored(redis, "t", 0), await _stored(redis, "t", 1)
    assert [entry_id for entry_id, _ in old] == [f"{first}-{number}" for number in (1, 2, 3, 4)]
    assert [fields[b"t"] for _, fields in old] == [b"thought"] * 3 + [b"connection_end"]
    assert AgentEvent.model_validate_json(old[-1][1][b"d"]).sequence == 4
    assert [entry_id for entry_id, _ in new] == [f"{second}-1", f"{second}-2"]
    stream = await streams.get("t")
    assert stream is not None
    assert (stream.generation, stream.sequence, stream.open, stream.user_id) == (second, 2, True, None)
    third = await streams.create("t")
    assert third > second
    assert await _stored(redis, "t", 0) == []
    assert len(await _stored(redis, "t", 1)) == 3


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
        old = await _stored(redis, "t", slot)
        assert [entry_id for entry_id, _ in old] == [f"{generations[-2]}-{n + 1}" for n in range(len(old))]
        assert [fields[b"t"] for _, fields in old].index(b"connection_end") == len(old) - 1
        events = [AgentEvent.model_validate_json(fields[b"d"]) for _, fields in old]
        assert _numbers(events) == list(range(1, len(old) + 1))
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
    await _publish(streams, "t", 2)
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
    await _publish(streams, "lively", 1)
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
    assert _numbers(await streams.events("t7")) == [1]


@pytest.mark.requirement("AG-4")
async def test_every_key_is_kept_for_as_long_as_was_promised(redis: Redis) -> None:
    streams = AgentStreams(redis, retention(live_seconds=100, ended_seconds=10))

    async def left(key: str) -> float:
        return float(await redis.pttl(key)) / 1000

    await streams.create("t")
    await redis.pexpire(keys.agent_stream("t"), 5_000)
    await _publish(streams, "t", 1)
    for key in (keys.agent_stream("t"), keys.agent_published("t"), keys.agent_events("t", 0)):
        assert 90 < await left(key) <= 100
    assert 100 < await left(keys.AGENT_STREAMS) <= 200
    await streams.create("t")
    assert 5 < await left(keys.agent_events("t", 0)) <= 10
    await _publish(streams, "t", 1)
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
    await _publish(streams, "t", 2)
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
    assert _numbers(events) == [1, 2, 3, 4, 5, 6]
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
        assert _numbers(await _publish(streams, "t", 2)) == [1, 2]
        stream = await streams.get("t")
        assert stream is not None
        assert (stream.generation, stream.sequence) == (generation, 2)
        assert [each.task_id for each in await streams.list_active()] == ["t"]
        assert _numbers(await streams.events("t")) == [1, 2]
        assert await streams.clean_up(timedelta(0)) == ["t"]


@pytest.mark.requirement("AG-1")
def test_every_failure_is_an_agent_event_error() -> None:
    for error in (AgentEventRejected, AgentEventUnavailable, AgentStreamClosed, AgentStreamUnknown):
        assert issubclass(error, AgentEventError)
