"""What writers are told by a Redis that took over and lacks the last writes, on a real primary and its replica."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from chat_worker.flusher import Flusher
from redis.asyncio import Redis
from sluiceway.errors import Fenced, Forgotten, RedisUnavailable
from sluiceway.queue.work_queue import WorkQueue
from sluiceway.redis.client import command, open_redis
from sluiceway.scripts import Scripts, digest
from sluiceway.wire.entry_id import format_entry_id
from sluiceway.wire.events import Event, Finish, Start, StartStep, TextDelta, TextStart
from sluiceway.wire.task import TaskFields

from harness.clients.turns import Streams
from harness.databases.redis_pair import RedisPair
from harness.proxies.proxy import Fate
from harness.waiting import wait_until

_LEASE, _SOON = timedelta(seconds=30), timedelta(milliseconds=10)
TASK = TaskFields("task_1", "ses_1", None, "msg_1", "2026-11-22T00:00:00+00:00")
BEGINNING: list[Event] = [Start(message_id="msg_1"), StartStep(), TextStart(id="0")]
MORE: list[Event] = [TextDelta(id="0", delta="more")]


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[RedisPair]:
    pair = RedisPair(tmp_path)
    await pair.start()
    yield pair
    await pair.stop()


@pytest.fixture
async def redis(pair: RedisPair) -> AsyncIterator[Redis]:
    async with open_redis(pair.url, name="test") as client:
        yield client


@pytest.fixture
async def streams(redis: Redis) -> Streams:
    """With a task whose attempt 1 has written a batch that the replica has."""
    streams = Streams(redis)
    await streams.registry.create(TASK)
    await streams.writer.begin(TASK, 1)
    assert await streams.writer.append(TASK.task_id, 1, 1, BEGINNING) == "ok"
    return streams


async def forget(pair: RedisPair, streams: Streams) -> None:
    """Attempt 1 writes a second batch that is acknowledged, and gone after the failover."""
    await pair.in_step()
    pair.freeze_replication()
    assert await streams.writer.append(TASK.task_id, 1, 2, MORE) == "ok"
    await _fail_over(pair, streams)


async def _fail_over(pair: RedisPair, streams: Streams) -> None:
    await pair.fail_over()

    async def back() -> bool:
        try:
            return await streams.registry.meta(TASK.task_id) is not None
        except RedisUnavailable:
            return False

    await wait_until(back, what="Redis answers again")


async def ids(streams: Streams) -> list[str]:
    return [format_entry_id(entry.entry_id) for entry in await streams.reader.read(TASK.task_id)]


@pytest.mark.requirement("TS-11", "TS-12", "OP-7")
async def test_nothing_is_written_behind_a_batch_that_was_forgotten(pair: RedisPair, streams: Streams) -> None:
    await forget(pair, streams)
    assert await streams.writer.append(TASK.task_id, 1, 3, MORE) == "lost"
    assert await ids(streams) == ["1-0", "1-1", "1-2"]


@pytest.mark.requirement("TS-11", "OP-7")
async def test_a_writer_continues_where_the_replica_has_everything(pair: RedisPair, streams: Streams) -> None:
    await pair.in_step()
    await _fail_over(pair, streams)
    assert await streams.writer.append(TASK.task_id, 1, 1, BEGINNING) == "ok"
    assert await streams.writer.append(TASK.task_id, 1, 2, MORE) == "ok"
    assert await streams.writer.wait(TASK.task_id, 1, {}, written=2) == "ok"
    assert await streams.output.show(TASK.task_id, "op", MORE) == "ok"
    assert await ids(streams) == ["1-0", "1-1", "1-2", "1-3", "1-4"]


@pytest.mark.requirement("TS-11", "TS-12", "OP-7")
async def test_the_next_attempt_begins_the_stream_again_under_ids_that_nobody_has_seen(
    pair: RedisPair, streams: Streams
) -> None:
    await streams.writer.mark_retracted(TASK.task_id, "1-0>1-1")
    await forget(pair, streams)
    begun = await streams.writer.begin(TASK, 2)
    assert (begun.last_id, begun.retracted, begun.dropped) == (None, "", True)
    assert await streams.writer.append(TASK.task_id, 2, 1, BEGINNING) == "ok"
    assert await ids(streams) == ["2-0", "2-1", "2-2"]
    assert not (await streams.writer.begin(TASK, 3)).dropped, "nothing happened since"


@pytest.mark.requirement("TS-5", "TS-12", "OP-7")
async def test_no_end_is_put_behind_a_gap(pair: RedisPair, streams: Streams) -> None:
    await forget(pair, streams)
    assert await streams.writer.close(TASK, 1, "completed", [Finish()], proof=2) == "lost"
    assert await streams.writer.close(TASK, 1, "completed", [Finish()]) == "lost", "nobody can know what is there"
    assert await ids(streams) == ["1-0", "1-1", "1-2"]
    assert (
        await streams.writer.close(TASK, 2, "completed", [*BEGINNING[1:], *MORE, Finish()], proof="rebuild")
        == "completed"
    )
    assert await ids(streams) == ["2-0", "2-1", "2-2", "2-3", "2-4"]
    assert await streams.writer.close(TASK, 3, "failed", [Finish()], proof="rebuild") == "completed", "it ends once"


@pytest.mark.requirement("TS-5", "OP-7")
async def test_a_writer_whose_batches_are_all_there_may_end_its_stream(pair: RedisPair, streams: Streams) -> None:
    await pair.in_step()
    await _fail_over(pair, streams)
    assert await streams.writer.close(TASK, 1, "completed", [Finish()], proof=1) == "completed"
    assert await ids(streams) == ["1-0", "1-1", "1-2", "1-3"]


@pytest.mark.requirement("TS-11", "OP-7")
async def test_what_operations_say_is_not_told_under_ids_that_may_have_been_seen(
    pair: RedisPair, streams: Streams
) -> None:
    assert await streams.writer.wait(TASK.task_id, 1, {}, written=1) == "ok"
    await pair.in_step()
    pair.freeze_replication()
    assert await streams.output.show(TASK.task_id, "op", MORE) == "ok"
    await _fail_over(pair, streams)
    assert await streams.output.show(TASK.task_id, "op", MORE) == "lost"
    assert await ids(streams) == ["1-0", "1-1", "1-2"]


@pytest.mark.requirement("TS-11", "OP-7")
async def test_an_attempt_that_was_forgotten_is_told_so_and_not_that_another_one_writes(
    pair: RedisPair, streams: Streams
) -> None:
    await pair.in_step()
    pair.freeze_replication()
    await streams.writer.begin(TASK, 2)
    assert await streams.writer.append(TASK.task_id, 2, 1, MORE) == "ok"
    await _fail_over(pair, streams)
    assert await streams.writer.append(TASK.task_id, 2, 2, MORE) == "lost"
    assert await streams.writer.heartbeat(TASK.task_id, 2) == "lost"
    assert await streams.writer.wait(TASK.task_id, 2, {}, written=1) == "lost"
    assert await ids(streams) == ["1-0", "1-1", "1-2"]


@pytest.mark.requirement("TS-11", "OP-7")
async def test_a_silent_writer_learns_from_its_heartbeat_that_something_was_forgotten(
    pair: RedisPair, streams: Streams, redis: Redis
) -> None:
    flusher = Flusher(Scripts(redis), live_ttl_ms=60_000)
    running = asyncio.create_task(flusher.run())
    await streams.writer.begin(TASK, 2)
    writer = flusher.open(TASK.task_id, 2)
    await pair.in_step()
    pair.freeze_replication()
    writer.write(StartStep())
    await writer.drained()
    await pair.fail_over()
    assert await asyncio.wait_for(writer.interrupted(), 20) == "lost"
    assert isinstance(writer.loss(), Forgotten)
    running.cancel()


@pytest.mark.requirement("TS-11")
async def test_what_gathers_while_a_batch_is_sent_again_goes_out_by_itself(
    pair: RedisPair, streams: Streams, redis: Redis
) -> None:
    flusher = Flusher(Scripts(redis), live_ttl_ms=60_000)
    running = asyncio.create_task(flusher.run())
    await streams.writer.begin(TASK, 2)
    writer = flusher.open(TASK.task_id, 2)

    def cut_one_flush_and_write(data: bytes) -> Fate:
        if digest("stream/append").encode() not in data:
            return "pass"
        pair.address.on_client_bytes = None
        writer.write(TextStart(id="0"))
        return "cut_before"

    pair.address.on_client_bytes = cut_one_flush_and_write
    writer.write(StartStep())
    await asyncio.wait_for(writer.drained(), 20)
    assert [entry.event.type for entry in await streams.reader.read(TASK.task_id)][3:] == ["start-step", "text-start"]
    running.cancel()


@pytest.mark.requirement("OP-7")
async def test_a_connection_that_died_while_it_was_idle_fails_nobodys_write(
    pair: RedisPair, streams: Streams, redis: Redis
) -> None:
    await asyncio.gather(*(command(redis, "SET", f"sw:{number}", "1", "PX", "9999") for number in range(5)))
    for break_all in (pair.address.reset_all, pair.primary.restart):
        calm = pair.address.connections
        break_all()
        await wait_until(lambda: pair.address.connections < calm, what="the connections are dead")  # noqa: B023
        assert await command(redis, "SET", "sw:first", "1", "PX", "9999")


@pytest.mark.requirement("OP-7", "CC-8")
async def test_a_server_that_became_a_replica_is_left_by_who_writes_and_by_who_waits(
    pair: RedisPair, streams: Streams
) -> None:
    async with open_redis(pair.url, name="test") as redis, open_redis(pair.url, name="r", blocking=True) as blocking:
        queue = WorkQueue(redis, blocking, "chat", "w", lease=_LEASE)
        await queue.ensure_group()
        waiting = asyncio.create_task(queue.read(1, _LEASE))
        await wait_until(lambda: b"cmd=xreadgroup" in pair.primary.ask("CLIENT", "LIST"), what="somebody waits")
        await pair.in_step()
        await pair.fail_over(demote=True)
        # The server says so to the reading, and closes before it carries out what was sent behind that.
        with pytest.raises(RedisUnavailable, match=r"UNBLOCKED|closed by server"):
            await waiting
        with pytest.raises(RedisUnavailable, match="read only"):
            await command(redis, "SET", "sw:x", "1", "PX", "1000")
        assert await command(redis, "SET", "sw:x", "1", "PX", "1000")
        assert await queue.read(1, _SOON) == []
    with pytest.raises(Fenced):
        await streams.writer.begin(TASK, 1)
