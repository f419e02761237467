"""Users take turns: nobody waits for more than one entry of each other user, however many that one has queued."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.queue.queue_state import queue_states
from sluiceway.queue.work_queue import Producer, WorkQueue
from sluiceway.redis.client import commands, open_redis

LEASE = timedelta(seconds=30)
SHORT = timedelta(milliseconds=50)
LONG = timedelta(seconds=5)


@pytest.fixture
async def queue(redis: Redis, valkey_url: str) -> AsyncIterator[WorkQueue]:
    async with open_redis(valkey_url, name="reader", blocking=True) as blocking:
        queue = WorkQueue(redis, blocking, keys.CHAT, "worker-1", lease=LEASE)
        await queue.ensure_group()
        yield queue


@pytest.fixture
def producer(redis: Redis) -> Producer:
    return Producer(redis, keys.CHAT)


async def _add(producer: Producer, user: str, *bodies: str, begun: bool = False) -> list[str]:
    return [await producer.add(body.encode(), user_id=user, begun=begun) for body in bodies]


async def _read(queue: WorkQueue, count: int = 1) -> list[str]:
    return [one.body.decode() for one in await queue.read(count, SHORT)]


async def _drained(queue: WorkQueue) -> list[str]:
    """One entry at a time, as a worker with one slot takes them."""
    seen: list[str] = []
    while found := await _read(queue):
        seen += found
    return seen


@pytest.mark.requirement("GW-11")
async def test_a_flood_of_one_user_is_taken_in_turns_with_the_others(queue: WorkQueue, producer: Producer) -> None:
    await _add(producer, "flood", *(f"f{n}" for n in range(500)))
    for other in ("a", "b", "c"):
        await _add(producer, other, f"{other}0", f"{other}1")
    seen = await _drained(queue)
    assert seen[:9] == ["f0", "a0", "b0", "c0", "f1", "a1", "b1", "c1", "f2"]
    assert len(seen) == len(set(seen)) == 506
    assert [body for body in seen if body[0] == "f"] == [f"f{n}" for n in range(500)]


async def test_no_slot_stays_free_while_one_user_alone_has_work(queue: WorkQueue, producer: Producer) -> None:
    """A reader that waits gets what comes, one after the other, with nothing between but Redis."""
    await _add(producer, "only", *(str(n) for n in range(40)))
    seen: list[str] = []
    async with asyncio.timeout(5):
        while len(seen) < 40:
            seen += [one.body.decode() for one in await queue.read(40 - len(seen), LONG)]
    assert seen == [str(n) for n in range(40)]


async def test_a_turn_that_was_begun_goes_before_those_of_its_user_that_were_not(
    redis: Redis, queue: WorkQueue, producer: Producer
) -> None:
    await _add(producer, "u", "1", "2", "3")
    answers = await commands(redis, [producer.adding(b"next step", user_id="u", begun=True)])
    assert producer.entry_id(answers[0]).startswith("lane:")
    assert await _drained(queue) == ["1", "next step", "2", "3"]


async def test_nobody_in_particular_and_queues_without_turns_have_no_lanes(redis: Redis, producer: Producer) -> None:
    for _ in range(2):
        assert not (await producer.add(b"x")).startswith("lane:")
        assert not (await Producer(redis, keys.COMPLETIONS).add(b"x", user_id="u")).startswith("lane:")
    assert await redis.keys("sw:lanes:*") == []


async def test_what_waits_in_lanes_is_queued_counted_and_as_old_as_it_is(queue: WorkQueue, producer: Producer) -> None:
    entries = await _add(producer, "u", "1", "2", "3")
    states = await producer.states([*entries, "lane:1-1"], LEASE)
    assert [states[one].where for one in entries] == ["waiting", "waiting", "waiting"]
    assert states["lane:1-1"].where == "gone"
    await _read(queue)
    (state,) = await queue_states(queue._redis, [keys.CHAT])
    assert (state.waiting, state.in_lanes, state.in_flight) == (2, 1, 1)
    states = await producer.states(entries, LEASE)
    assert [states[one].where for one in entries] == ["held", "gone", "waiting"]
    await _read(queue)
    await _read(queue)
    (state,) = await queue_states(queue._redis, [keys.CHAT])
    assert (state.waiting, state.in_lanes, state.waiting_seconds) == (0, 0, None)


async def test_only_lanes_with_something_in_them_leave_keys(redis: Redis, queue: WorkQueue, producer: Producer) -> None:
    for user in ("a", "b"):
        await _add(producer, user, "1", "2")
    await _drained(queue)
    assert await redis.xlen(keys.lane_entries(keys.CHAT)) == 0
    assert await redis.keys("sw:lanes:*") == [keys.lane_entries(keys.CHAT).encode()]


async def test_the_next_of_a_lane_follows_though_the_reader_died_over_it(
    redis: Redis, queue: WorkQueue, producer: Producer
) -> None:
    """An older version reads as if there were no lanes; the next reading of ours makes up for it."""
    await _add(producer, "u", "1", "2", "3")
    read = ("XREADGROUP", "GROUP", keys.GROUP, "old", "COUNT", 1, "STREAMS", queue.key, ">")
    await redis.execute_command(*read)  # type: ignore[no-untyped-call]
    await _add(producer, "u", "4")
    assert await _read(queue) == []
    assert await _read(queue) == ["2"]
    await redis.execute_command(*read)  # type: ignore[no-untyped-call]
    # Where there are only such readers, the reconciler does it.
    assert [await producer.advance(), await producer.advance()] == [1, 0]
    assert await _drained(queue) == ["4"]


async def test_the_next_of_a_lane_follows_on_a_server_that_has_forgotten_its_scripts(
    redis: Redis, queue: WorkQueue, producer: Producer
) -> None:
    await _add(producer, "u", "1", "2", "3")
    for expected in ("1", "2", "3"):
        await redis.script_flush()
        assert await _read(queue) == [expected]


async def test_what_a_hand_took_out_of_the_lanes_is_let_through(
    redis: Redis, queue: WorkQueue, producer: Producer
) -> None:
    await _add(producer, "u", "1", "2", "3", "4")
    await redis.delete(keys.lane_heads(keys.CHAT), keys.lane(keys.CHAT, "u"))
    seen = await _drained(queue)
    assert sorted(seen) == ["1", "2", "3", "4"]


async def test_a_flush_of_redis_leaves_nothing_that_would_hold_a_user_back(
    redis: Redis, queue: WorkQueue, producer: Producer
) -> None:
    await _add(producer, "u", "1", "2")
    await redis.flushall()
    await _add(producer, "u", "3", "4")
    assert await queue.read(1, SHORT) == []  # the group is made again
    assert await _drained(queue) == ["3", "4"]


async def test_many_producers_and_readers_at_once_lose_and_double_nothing(
    redis: Redis, valkey_url: str, producer: Producer
) -> None:
    seen: list[str] = []
    sent = [f"{user} {n}" for n in range(40) for user in ("a", "b", "c", "d")]

    async def reads(name: str) -> None:
        async with open_redis(valkey_url, name=name, blocking=True) as blocking:
            queue = WorkQueue(redis, blocking, keys.CHAT, name, lease=LEASE)
            await queue.ensure_group()
            while len(seen) < len(sent):
                for one in await queue.read(3, SHORT):
                    seen.append(one.body.decode())
                    await queue.ack(one.entry_id)

    async with asyncio.timeout(20):
        adding = (_add(producer, user, *(body for body in sent if body[0] == user)) for user in "abcd")
        await asyncio.gather(*(reads(name) for name in ("one", "two", "three")), *adding)
    assert sorted(seen) == sorted(sent)
