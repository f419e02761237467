"""Task streams on a real Valkey: created with a TTL, appended under a fence, ended once."""

import asyncio
from collections.abc import Sequence

import pytest
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.errors import Fenced
from sluiceway.stream.retracted import parse_retracted
from sluiceway.wire.entry_id import format_entry_id, parse_entry_id
from sluiceway.wire.events import Abort, Error, Event, Finish, Start, StartStep, TextDelta, TextStart
from sluiceway.wire.task import TaskFields

from harness.clients.turns import Streams
from harness.retention import retention

TASK = TaskFields(
    task_id="task_1",
    session_id="ses_1",
    user_id="ada",
    message_id="msg_1",
    created_at="2026-11-22T00:00:00+00:00",
)


@pytest.fixture
def streams(redis: Redis) -> Streams:
    return Streams(redis, retention(live_seconds=60, ended_seconds=5))


async def event_ids(streams: Streams) -> list[str]:
    return [format_entry_id(entry.entry_id) for entry in await streams.reader.read(TASK.task_id)]


@pytest.mark.requirement("TS-1")
async def test_metadata_is_one_hash_with_a_ttl_and_a_session_leads_to_its_active_task(
    streams: Streams, redis: Redis
) -> None:
    assert await streams.registry.create(TASK)

    meta = await streams.registry.meta(TASK.task_id)
    assert meta is not None
    assert (meta.task_id, meta.session_id, meta.user_id) == ("task_1", "ses_1", "ada")
    assert (meta.status, meta.attempt, meta.created_at) == ("queued", 0, TASK.created_at)
    assert await streams.registry.active("ses_1") == TASK.task_id
    for key in (keys.task_meta("task_1"), keys.session_active("ses_1")):
        assert 0 < await redis.pttl(key) <= 60_000


@pytest.mark.requirement("TS-1")
async def test_creating_a_task_again_does_not_overwrite_a_running_one(streams: Streams) -> None:
    await streams.registry.create(TASK)
    await streams.writer.begin(TASK, 3, entry_id="5-1")

    assert not await streams.registry.create(TASK)

    meta = await streams.registry.meta(TASK.task_id)
    assert meta is not None
    assert (meta.status, meta.attempt, meta.held_entry) == ("running", 3, "5-1")


@pytest.mark.requirement("TS-2")
async def test_the_ttl_of_a_silent_task_is_renewed_by_its_holders_heartbeat(redis: Redis) -> None:
    streams = Streams(redis, retention(live_seconds=60))
    await streams.registry.create(TASK)
    await streams.writer.begin(TASK, 1)
    assert await streams.writer.append(TASK.task_id, 1, 1, [Start(message_id="msg_1")]) == "ok"
    for key in (keys.task_meta(TASK.task_id), keys.task_events(TASK.task_id)):
        await redis.pexpire(key, 20_000)

    assert await streams.writer.heartbeat(TASK.task_id, 1) == "ok"

    for key in (keys.task_meta(TASK.task_id), keys.task_events(TASK.task_id)):
        assert await redis.pttl(key) > 50_000


@pytest.mark.requirement("TS-11")
async def test_an_attempt_that_has_a_successor_cannot_write_one_more_event(streams: Streams) -> None:
    await streams.registry.create(TASK)
    await streams.writer.begin(TASK, 1)
    await streams.writer.append(TASK.task_id, 1, 1, [Start(message_id="msg_1"), StartStep()])
    await streams.writer.begin(TASK, 2)

    assert await streams.writer.append(TASK.task_id, 1, 2, [TextStart(id="0")]) == "fenced"
    assert await streams.writer.append(TASK.task_id, 2, 1, [StartStep()]) == "ok"
    assert await streams.writer.append(TASK.task_id, 1, 3, [TextStart(id="0")]) == "fenced"

    assert await event_ids(streams) == ["1-0", "1-1", "2-0"]
    with pytest.raises(Fenced):
        await streams.writer.begin(TASK, 1)


@pytest.mark.requirement("TS-11")
async def test_a_batch_that_is_sent_again_after_a_lost_answer_adds_nothing_twice(streams: Streams) -> None:
    await streams.registry.create(TASK)
    await streams.writer.begin(TASK, 1)
    for _ in range(3):
        assert await streams.writer.append(TASK.task_id, 1, 1, [Start(message_id="msg_1")]) == "ok"
    assert await streams.writer.append(TASK.task_id, 1, 2, [StartStep()]) == "ok"

    assert await event_ids(streams) == ["1-0", "1-1"]


@pytest.mark.requirement("TS-11")
async def test_a_writer_of_before_a_flush_cannot_write_into_the_restored_task(streams: Streams, redis: Redis) -> None:
    await streams.registry.create(TASK)
    await streams.writer.begin(TASK, 1)
    await redis.flushall()
    assert await streams.writer.append(TASK.task_id, 1, 1, [StartStep()]) == "lost"

    await streams.registry.create(TASK)

    assert await streams.writer.append(TASK.task_id, 1, 2, [StartStep()]) == "lost"
    assert await streams.reader.read(TASK.task_id) == []


@pytest.mark.requirement("TS-5")
async def test_of_many_who_end_a_task_exactly_one_does_and_the_others_learn_it(streams: Streams) -> None:
    await streams.registry.create(TASK)
    await streams.writer.begin(TASK, 1)
    await streams.writer.append(TASK.task_id, 1, 1, [Start(message_id="msg_1")])
    endings: list[tuple[str, Sequence[Event]]] = [
        ("completed", [Finish(finish_reason="stop")]),
        ("failed", [Error(error_text="no")]),
        ("cancelled", [Abort(), Finish()]),
    ] * 5

    answers = await asyncio.gather(*(streams.writer.close(TASK, 1, status, events) for status, events in endings))  # type: ignore[arg-type]

    assert len(set(answers)) == 1
    standing = answers[0]
    types = [entry.event.type for entry in await streams.reader.read(TASK.task_id)]
    assert sum(kind in {"finish", "error"} for kind in types) == 1
    assert types[-1] in {"finish", "error"}
    meta = await streams.registry.meta(TASK.task_id)
    assert meta is not None
    assert meta.status == standing
    assert await streams.writer.append(TASK.task_id, 1, 2, [StartStep()]) == "fenced"
    assert await streams.registry.active(TASK.session_id) is None


@pytest.mark.requirement("TS-5")
async def test_a_task_that_nobody_had_begun_ends_with_a_whole_stream(streams: Streams, redis: Redis) -> None:
    await streams.registry.create(TASK)

    assert await streams.writer.close(TASK, 0, "cancelled", [Abort(), Finish()]) == "cancelled"

    assert [entry.event.type for entry in await streams.reader.read(TASK.task_id)] == ["start", "abort", "finish"]
    assert 0 < await redis.pttl(keys.task_events(TASK.task_id)) <= 5_000


@pytest.mark.requirement("TS-6")
async def test_the_active_task_is_found_with_its_last_event_and_no_key_is_scanned(
    streams: Streams, redis: Redis
) -> None:
    await streams.registry.create(TASK)
    await streams.writer.begin(TASK, 1)
    await streams.writer.append(TASK.task_id, 1, 1, [Start(message_id="msg_1"), StartStep()])
    await redis.config_resetstat()

    active = await streams.registry.active(TASK.session_id)
    assert active == TASK.task_id
    assert await streams.reader.last_id(active) == (1, 1)

    used = {name.removeprefix("cmdstat_") for name in await redis.info("commandstats")}
    assert not used & {"scan", "keys", "hscan", "sscan"}


@pytest.mark.requirement("TS-12")
async def test_a_running_stream_is_never_trimmed(streams: Streams) -> None:
    await streams.registry.create(TASK)
    await streams.writer.begin(TASK, 1)
    events: list[Event] = [TextDelta(id="0", delta=f"{n} ") for n in range(500)]
    for batch in range(1, 6):
        assert await streams.writer.append(TASK.task_id, 1, batch, events) == "ok"

    assert await event_ids(streams) == [f"1-{n}" for n in range(2500)]


async def test_the_cancel_flag_is_told_to_the_next_append_which_is_kept(streams: Streams) -> None:
    await streams.registry.create(TASK)
    await streams.writer.begin(TASK, 1)
    assert await streams.registry.request_cancel(TASK.task_id)

    assert await streams.writer.append(TASK.task_id, 1, 1, [Start(message_id="msg_1")]) == "cancelled"
    assert await event_ids(streams) == ["1-0"]
    assert not await streams.registry.request_cancel("task_unknown")


@pytest.mark.parametrize("text", ["", "1", "1-", "-1", "a-b", "1-2-3", " 1-2", "1-2 ", "\u0661-2", f"{2**64}-0"])
def test_what_is_no_entry_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="entry id"):
        parse_entry_id(text)


def test_retracted_ranges_read_back_as_pairs() -> None:
    assert parse_retracted("1-1>2-4,2-9>3-2") == (((1, 1), (2, 4)), ((2, 9), (3, 2)))
    assert parse_retracted("") == ()
