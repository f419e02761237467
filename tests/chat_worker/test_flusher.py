"""The flusher on a real Valkey: order, merging, one round trip for many streams, nothing lost while Redis is away."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from chat_worker import flusher
from redis.asyncio import Redis
from sluiceway.errors import Fenced
from sluiceway.redis.client import open_redis
from sluiceway.wire.events import (
    MAX_DELTA_CHARS,
    Event,
    Start,
    StartStep,
    TextDelta,
    TextEnd,
    TextStart,
    ToolInputDelta,
)
from sluiceway.wire.task import TaskFields

from harness.databases.valkey import Valkey
from harness.waiting import wait_until
from tests.chat_worker.flusher_desk import Desk


@pytest.fixture
async def desk(valkey_url: str) -> AsyncIterator[Desk]:
    async with open_redis(valkey_url, name="flusher-test") as redis:
        desk = Desk(redis)
        running = asyncio.create_task(desk.flusher.run())
        yield desk
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


@pytest.mark.requirement("TS-2")
async def test_events_arrive_in_order_and_adjacent_deltas_of_a_part_are_merged(desk: Desk) -> None:
    writer = await desk.writer("task_1")
    opening: list[Event] = [Start(message_id="msg_1"), StartStep(), TextStart(id="0")]
    for event in [*opening, *(TextDelta(id="0", delta=f"{n} ") for n in range(100)), TextEnd(id="0")]:
        writer.write(event)
    await writer.drained()

    types = [entry.event.type for entry in await desk.streams.reader.read("task_1")]
    assert types == ["start", "start-step", "text-start", "text-delta", "text-end"]
    assert await desk.text("task_1") == "".join(f"{n} " for n in range(100))


@pytest.mark.requirement("TS-10")
async def test_a_text_that_comes_at_once_is_shown_in_entries_that_a_slow_reader_can_hold(desk: Desk) -> None:
    writer = await desk.writer("task_1")
    sizes = [7, MAX_DELTA_CHARS, 1_000_000, *[MAX_DELTA_CHARS // 3] * 10]
    for size in sizes:
        writer.write(TextDelta(id="0", delta="x" * size))
    writer.write(ToolInputDelta(tool_call_id="c", input_text_delta="y" * 100_000))
    await writer.drained()
    events = [entry.event for entry in await desk.streams.reader.read("task_1")]
    texts = [event.delta for event in events if isinstance(event, TextDelta)]
    inputs = [event.input_text_delta for event in events if isinstance(event, ToolInputDelta)]
    assert (sum(map(len, texts)), sum(map(len, inputs))) == (sum(sizes), 100_000)
    assert max(map(len, [*texts, *inputs])) == MAX_DELTA_CHARS


async def test_deltas_of_different_parts_are_not_merged(desk: Desk) -> None:
    writer = await desk.writer("task_1")
    for part_id, delta in [("0", "a"), ("1", "b"), ("0", "c"), ("0", "d")]:
        writer.write(TextDelta(id=part_id, delta=delta))
    await writer.drained()

    events = [entry.event for entry in await desk.streams.reader.read("task_1")]
    assert events == [TextDelta(id="0", delta="a"), TextDelta(id="1", delta="b"), TextDelta(id="0", delta="cd")]


async def test_many_streams_share_round_trips(desk: Desk) -> None:
    writers = [await desk.writer(f"task_{n}") for n in range(100)]
    before = desk.scripts.round_trips
    for _ in range(5):
        for writer in writers:
            writer.write(TextDelta(id="0", delta="x"))
        await asyncio.gather(*(writer.drained() for writer in writers))

    assert desk.scripts.round_trips - before <= 15
    assert [await desk.text(f"task_{n}") for n in range(100)] == ["x" * 5] * 100


@pytest.mark.requirement("TS-11")
async def test_a_writer_learns_that_its_successor_has_begun_and_never_drains(desk: Desk) -> None:
    writer = await desk.writer("task_1", attempt=1)
    await desk.writer("task_1", attempt=2)
    writer.write(TextDelta(id="0", delta="late"))

    with pytest.raises(Fenced):
        await asyncio.wait_for(writer.drained(), 5)

    assert await writer.interrupted() == "fenced"
    assert await desk.text("task_1") == ""


@pytest.mark.requirement("CH-13")
async def test_a_silent_writer_learns_within_a_second_that_its_task_was_cancelled(desk: Desk) -> None:
    writer = await desk.writer("task_1")
    await desk.streams.registry.request_cancel("task_1")

    assert await asyncio.wait_for(writer.interrupted(), 1) == "cancelled"
    writer.write(TextDelta(id="0", delta="kept"))
    await writer.drained()
    assert await desk.text("task_1") == "kept"


@pytest.mark.requirement("OP-7")
async def test_a_writer_learns_that_redis_forgot_its_task(desk: Desk, redis: Redis) -> None:
    writer = await desk.writer("task_1")
    await redis.flushall()

    assert await asyncio.wait_for(writer.interrupted(), 5) == "lost"


@pytest.mark.requirement("TS-3")
async def test_what_was_written_while_redis_hung_arrives_once_when_it_is_back(desk: Desk, valkey: Valkey) -> None:
    writer = await desk.writer("task_1")
    writer.write(TextDelta(id="0", delta="a"))
    await writer.drained()

    valkey.freeze()
    for n in range(50):
        writer.write(TextDelta(id="0", delta=f"{n},"))
    draining = asyncio.create_task(writer.drained())
    await wait_until(lambda: desk.flusher.flushes >= 2)
    valkey.thaw()
    await draining

    assert await desk.text("task_1") == "a" + "".join(f"{n}," for n in range(50))


@pytest.mark.requirement("CH-9")
async def test_who_waits_until_all_is_sent_does_not_wait_for_a_batch_to_form(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flusher, "MIN_PAUSE_SECONDS", 60.0)
    monkeypatch.setattr(flusher, "MAX_PAUSE_SECONDS", 60.0)
    writer = await desk.writer("task_1")
    writer.write(Start(message_id="msg_1"))
    await writer.drained()

    writer.write(StartStep())
    async with asyncio.timeout(10):
        await writer.drained()

    assert [entry.event.type for entry in await desk.streams.reader.read("task_1")] == ["start", "start-step"]


@pytest.mark.requirement("TS-11", "TS-5")
async def test_whenever_a_successor_begins_what_it_is_told_of_its_predecessor_fits_what_that_has_shown(
    desk: Desk,
) -> None:
    task = TaskFields("task_1", "ses_1", None, "msg_1", "2026-11-22T00:00:00+00:00")
    writer, shown = await desk.writer("task_1"), 0
    writer.write(Start(message_id="msg_1"))
    for attempt in range(2, 40):
        for number in range(shown + 1, shown + 26):
            writer.write(TextDelta(id="0", delta=f"{number} "))
            writer.note(str(number))
            if number % 3:
                await desk.streams.reader.last_id("task_1")  # a round trip, in which batches may go out or not
        begun = await desk.streams.writer.begin(task, attempt)
        desk.flusher.close(writer)
        writer = desk.flusher.open("task_1", attempt)

        words = (await desk.text("task_1")).split()
        assert words == [str(number) for number in range(1, len(words) + 1)]
        assert int(begun.reached or 0) == len(words)
        shown = len(words)
    assert shown > 100


async def test_a_stream_that_shows_nothing_for_long_says_since_when_until_it_shows_something(desk: Desk) -> None:
    writer = await desk.writer("task_1")
    writer.write(Start(message_id="msg_1"))
    await writer.drained()
    assert await desk.quiet_since("task_1") is None

    writer._batched -= 60  # as if a minute had gone by
    await wait_until(lambda: desk.quiet_since("task_1"), what="it is told that nothing is shown")

    writer.write(StartStep())
    await writer.drained()
    assert await desk.quiet_since("task_1") is None
