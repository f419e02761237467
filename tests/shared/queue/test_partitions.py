"""A queue in several partitions is one queue: nothing is lost, taken twice, or held up, whatever their number is."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.queue.partitioned_queue import PartitionedQueue
from sluiceway.queue.partitions import partition_for, partitions_in_use, placed
from sluiceway.queue.queue_places import QueuePlaces, Waiting
from sluiceway.queue.queue_state import entry_places, queue_states
from sluiceway.queue.work_queue import Delivery, Producer
from sluiceway.redis.client import open_redis
from sluiceway.redis.slots import slot_of

from harness.waiting import wait_until

pytestmark = pytest.mark.requirement("OP-8")
LEASE = timedelta(seconds=30)
SHORT, LONG = timedelta(milliseconds=50), timedelta(seconds=5)
KIND = keys.tool_queue("test")
# By the partition, of three, that they go to.
USERS = {
    partition: next(user for user in "abcdefghijkl" if partition_for(user.encode(), 3) == partition)
    for partition in range(3)
}

Open = Callable[..., Awaitable[PartitionedQueue]]


@pytest.fixture
async def open_queue(valkey_url: str, redis: Redis) -> AsyncIterator[Open]:
    queues: list[PartitionedQueue] = []
    async with AsyncExitStack() as stack:

        async def open_one(
            partitions: int, name: str = "worker-1", kind: str = KIND, lease: timedelta = LEASE
        ) -> PartitionedQueue:
            blocking = await stack.enter_async_context(open_redis(valkey_url, name="reader", blocking=True))
            queue = PartitionedQueue(redis, blocking, kind, name, lease=lease, partitions=partitions)
            queues.append(queue)
            await queue.ensure_group()
            return queue

        yield open_one
        for queue in queues:
            await queue.leave()


async def _drained(queue: PartitionedQueue, expected: int, *, seconds: float = 10) -> list[Delivery]:
    found: list[Delivery] = []
    async with asyncio.timeout(seconds):
        while len(found) < expected:
            for one in await queue.read(2, SHORT):
                assert await queue.ack(one.entry_id)
                found.append(one)
    assert not await queue.read(2, SHORT), "nothing comes twice"
    return found


async def _left(redis: Redis, kind: str = KIND) -> int:
    return sum([await redis.xlen(keys.work_queue(kind, partition)) for partition in range(keys.MOST_PARTITIONS)])


async def test_every_entry_of_every_partition_is_delivered_once_and_its_id_says_where_it_was(
    redis: Redis, open_queue: Open
) -> None:
    queue, producer = await open_queue(3), Producer(redis, KIND, 3)
    added = [await producer.add(str(number).encode()) for number in range(60)]
    assert {placed(entry_id)[0] for entry_id in added} == {0, 1, 2}
    assert all(state.where == "waiting" for state in (await producer.states(added, LEASE)).values())
    found = await _drained(queue, 60)
    assert sorted(one.entry_id for one in found) == sorted(added)
    assert sorted(int(one.body) for one in found) == list(range(60))
    assert {state.where for state in (await producer.states(added, LEASE)).values()} == {"gone"}
    assert await _left(redis) == 0


async def test_with_one_partition_keys_and_ids_are_what_they_were(redis: Redis, open_queue: Open) -> None:
    queue, producer = await open_queue(1, kind=keys.CHAT), Producer(redis, keys.CHAT)
    entry_id = await producer.add(b"x", user_id="u")
    assert await redis.xlen("sw:q:chat:0") == 1
    (delivery,) = await queue.read(4, SHORT)
    assert delivery.entry_id == entry_id
    assert "@" not in entry_id
    assert list(await redis.keys("sw:q:*")) == [b"sw:q:chat:0"]


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1), (4, 2)])
async def test_the_number_is_raised_and_lowered_while_entries_wait_and_are_in_flight(
    redis: Redis, open_queue: Open, before: int, after: int
) -> None:
    """Whichever process is restarted first."""
    old, old_producer = await open_queue(before, "old"), Producer(redis, KIND, before)
    for number in range(20):
        await old_producer.add(f"old {number}".encode())
    in_flight = await old.read(4, SHORT)
    new, new_producer = await open_queue(after, "new"), Producer(redis, KIND, after)
    for number in range(20):
        await new_producer.add(f"new {number}".encode())
    assert await old.renew([one.entry_id for one in in_flight]) == set()
    assert await old.requeue([in_flight[0].entry_id]) == 1
    for one in in_flight[1:]:
        assert await old.ack(one.entry_id)
    # The new ones alone drain all that the old ones have left.
    found = [one.body for one in (*in_flight[1:], *await _drained(new, 40 - len(in_flight) + 1, seconds=20))]
    assert len(found) == len(set(found)) == 40
    await new_producer.add(b"late")
    await old_producer.add(b"late, too")
    # And where they went the other way.
    assert {one.body for one in await _drained(old, 2, seconds=20)} == {b"late", b"late, too"}
    assert await _left(redis) == 0


async def test_no_more_is_taken_than_there_are_free_slots_and_a_waiting_consumer_is_woken(
    redis: Redis, open_queue: Open
) -> None:
    queue, producer = await open_queue(3), Producer(redis, KIND, 3)
    for number in range(6):
        waiting = asyncio.create_task(queue.read(1, LONG))
        await asyncio.sleep(0.02)
        began = time.monotonic()
        for extra in range(3):
            await producer.add(f"{number} {extra}".encode())
        assert len(await waiting) == 1
        assert time.monotonic() - began < 2, "it is woken, whichever partition it is"
        for _ in range(2):
            assert len(await queue.read(1, LONG)) == 1
    states = {state.kind: state for state in await queue_states(redis, [KIND])}
    assert (states[KIND].waiting, states[KIND].in_flight) == (0, 18)
    assert [one.in_flight for one in states[KIND].consumers] == [18]


async def test_many_idle_consumers_get_what_comes_once_each(redis: Redis, open_queue: Open) -> None:
    queues = [await open_queue(3, f"worker-{number}") for number in range(4)]
    producer, found, stop = Producer(redis, KIND, 3), list[bytes](), asyncio.Event()

    async def work(queue: PartitionedQueue) -> None:
        while not stop.is_set():
            for one in await queue.read(1, SHORT):
                found.append(one.body)
                await queue.ack(one.entry_id)

    workers = [asyncio.create_task(work(queue)) for queue in queues]
    for number in range(40):
        await producer.add(str(number).encode())
        await asyncio.sleep(0.002)
    await wait_until(lambda: len(found) >= 40, 10, "all are taken")
    stop.set()
    await asyncio.gather(*workers)
    assert sorted(map(int, found)) == list(range(40))


@pytest.mark.requirement("GW-11")
async def test_users_of_all_partitions_take_turns(redis: Redis, open_queue: Open) -> None:
    """One who is alone in his partition gets no more than those who share theirs."""
    queue, producer = await open_queue(3, kind=keys.CHAT), Producer(redis, keys.CHAT, 3)
    crowd = [f"u{number}" for number in range(60) if partition_for(f"u{number}".encode(), 3) == 0][:6]
    alone = USERS[1]
    for number in range(8):
        await producer.add(f"alone {number}".encode(), user_id=alone)
    for user in crowd:
        await asyncio.sleep(0.002)  # an id says the millisecond
        await producer.add(f"{user} 0".encode(), user_id=user)
    seen: list[str] = []
    while found := await queue.read(1, SHORT):
        seen += [one.body.decode() for one in found]
        await asyncio.sleep(0.002)
    assert seen[:8] == ["alone 0", *(f"{user} 0" for user in crowd), "alone 1"]
    assert seen[8:] == [f"alone {number}" for number in range(2, 8)]


async def test_places_count_what_waits_in_all_partitions(redis: Redis, open_queue: Open) -> None:
    queue, producer = await open_queue(3, kind=keys.CHAT), Producer(redis, keys.CHAT, 3)
    asked: list[Waiting] = []
    for name, user in (("t0", USERS[0]), ("t1", USERS[1]), ("t2", USERS[2]), ("t3", USERS[1])):
        body = f'{{"task_id":"{name}"}}'.encode()
        asked.append(Waiting(name, user, await producer.add(body, user_id=user)))
        await asyncio.sleep(0.002)
    places = QueuePlaces(redis, keys.CHAT)
    assert (await places.find(asked)).ahead == {"t0": 0, "t1": 1, "t2": 2, "t3": 3}
    (first,) = await queue.read(1, SHORT)
    assert first.ids == {"task_id": "t0"}
    found = await places.find(asked)
    assert found.ahead == {"t1": 0, "t2": 1, "t3": 2}
    assert found.delivered == 1
    assert (await queue_states(redis, [keys.CHAT]))[0].in_lanes == 1


async def test_the_leases_of_a_dead_consumer_are_taken_over_in_every_partition(redis: Redis, open_queue: Open) -> None:
    lease = timedelta(milliseconds=200)
    dead, alive = await open_queue(3, "dead", lease=lease), await open_queue(3, "alive", lease=lease)
    producer = Producer(redis, KIND, 3)
    added = {await producer.add(str(number).encode()) for number in range(9)}
    held = [one for _ in range(9) for one in await dead.read(1, SHORT)]
    assert {one.entry_id for one in held} == added
    (where,) = {
        place.holder.consumer
        for place in (await entry_places(redis, [(KIND, one) for one in added])).values()
        if place.holder
    }
    assert where == "dead"
    taken: list[Delivery] = []

    async def swept() -> bool:
        taken.extend(await alive.sweep(2))
        return len(taken) >= 9

    await wait_until(swept, 10, "all leases are taken over")
    assert {one.entry_id for one in taken} == added
    assert {one.deliveries for one in taken} == {2}
    assert await dead.renew([one.entry_id for one in held]) == added, "they are not its own any more"
    assert not [one for one in held if await dead.ack(one.entry_id)]


async def test_a_consumer_that_comes_back_under_its_name_has_what_it_had(redis: Redis, open_queue: Open) -> None:
    first, producer = await open_queue(3, "same"), Producer(redis, KIND, 3)
    added = {await producer.add(str(number).encode()) for number in range(7)}
    assert len([one for _ in range(7) for one in await first.read(1, SHORT)]) == 7
    again = await open_queue(3, "same")
    assert {one.entry_id for one in await again.own_pending(20)} == added
    await again.leave()
    assert {one.body for one in await _drained(await open_queue(3, "other"), 7)} == {b"%d" % n for n in range(7)}


async def test_a_flush_loses_the_groups_and_they_are_made_again(redis: Redis, open_queue: Open) -> None:
    queue, producer = await open_queue(3), Producer(redis, KIND, 3)
    await producer.add(b"before")
    await queue.read(1, SHORT)
    waiting = asyncio.create_task(queue.read(1, LONG))
    await asyncio.sleep(0.02)
    await redis.flushall()
    for number in range(6):
        await producer.add(str(number).encode())
    await waiting
    found = [*waiting.result(), *await _drained(queue, 6 - len(waiting.result()))]
    assert sorted(int(one.body) for one in found) == list(range(6))


async def test_a_partition_is_in_use_as_long_as_anything_is_in_it(redis: Redis) -> None:
    assert await partitions_in_use(redis, [KIND, keys.CHAT], 2) == [(0, 1), (0, 1)]
    await redis.xadd(keys.work_queue(KIND, 5), {"d": "x"})
    await redis.xadd(keys.lane_entries(keys.CHAT, 9), {"d": "x"})
    assert await partitions_in_use(redis, [KIND, keys.CHAT], 2) == [(0, 1, 5), (0, 1, 9)]


@pytest.mark.parametrize("kind", [keys.CHAT, keys.COMPLETIONS, keys.tool_queue("default")])
def test_four_partitions_are_on_all_of_three_primaries(kind: str) -> None:
    slots = [slot_of(keys.work_queue(kind, partition)) for partition in range(4)]
    assert {slot * 4 // 16384 for slot in slots} == {0, 1, 2, 3}, "one in each quarter"
    assert {slot * 3 // 16384 for slot in slots} == {0, 1, 2}


@pytest.mark.parametrize("told", ["1-1", "lane:1-1", "", "@", "x@", "1-1@0", "1-1@01", "1-1@16", "1-1@99"])
def test_what_names_no_partition_is_in_the_first(told: str) -> None:
    assert placed(told) == (0, told)
