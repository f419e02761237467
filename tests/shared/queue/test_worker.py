"""The work queue and the worker loop on a real Valkey: nothing is lost, nobody is robbed, poison is dead-lettered."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.errors import StoreUnavailable
from sluiceway.process.lifecycle import Stopping
from sluiceway.queue.partitioned_queue import PartitionedQueue
from sluiceway.queue.ramp import RAMP_SECONDS, Ramp
from sluiceway.queue.work_queue import Delivery, Producer
from sluiceway.queue.worker import Unreadable, Worker, WorkerOptions, persistently
from sluiceway.redis.client import open_redis

from harness.databases.valkey import Valkey
from harness.waiting import wait_until

LEASE = timedelta(milliseconds=600)
Handle = Callable[[Delivery], Awaitable[None]]


class Bench:
    """Workers of one queue, and what they did."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.partitions = 1
        self.handled: list[str] = []
        self.dead_lettered: list[tuple[bytes, str]] = []
        self._stack = contextlib.AsyncExitStack()

    async def queue(self, name: str) -> PartitionedQueue:
        redis = await self._stack.enter_async_context(open_redis(self.url, name=name))
        blocking = await self._stack.enter_async_context(open_redis(self.url, name=name, blocking=True))
        return PartitionedQueue(redis, blocking, "test", name, lease=LEASE, partitions=self.partitions)

    async def dead_letter(self, delivery: Delivery, reason: str) -> None:
        self.dead_lettered.append((delivery.body, reason))

    @asynccontextmanager
    async def worker(
        self, name: str, handle: Handle, *, slots: int = 4, drain: float = 0.1, max_deliveries: int = 3
    ) -> AsyncIterator[Stopping]:
        """A running worker; it drains at the end of the context, or when `stopping` is set before."""
        stopping = Stopping()
        options = WorkerOptions(slots=slots, drain=timedelta(seconds=drain), max_deliveries=max_deliveries)
        worker = Worker(await self.queue(name), handle, self.dead_letter, options, stopping)
        running = asyncio.create_task(worker.run())
        try:
            yield stopping
        finally:
            stopping.set()
            await running

    async def record(self, delivery: Delivery) -> None:
        self.handled.append(delivery.body.decode())

    async def close(self) -> None:
        await self._stack.aclose()


@pytest.fixture
async def bench(valkey_url: str) -> AsyncIterator[Bench]:
    bench = Bench(valkey_url)
    yield bench
    await bench.close()


@pytest.fixture
def producer(redis: Redis) -> Producer:
    return Producer(redis, "test")


async def pending(redis: Redis) -> int:
    groups = await redis.xinfo_groups(keys.work_queue("test")) if await redis.exists(keys.work_queue("test")) else []
    return sum(int(group["pending"]) for group in groups)


async def left(redis: Redis) -> int:
    return int(await redis.xlen(keys.work_queue("test")))


async def never(_: Delivery) -> None:
    await asyncio.Event().wait()


@pytest.mark.requirement("CH-11")
async def test_what_was_queued_before_the_first_worker_came_is_handled(
    bench: Bench, producer: Producer, redis: Redis
) -> None:
    for n in range(10):
        await producer.add(f"job {n}".encode())

    async with bench.worker("a", bench.record):
        await wait_until(lambda: len(bench.handled) == 10)
        await wait_until(lambda: _equals(left(redis), 0))

    assert sorted(bench.handled) == [f"job {n}" for n in range(10)]


async def test_never_more_entries_are_in_flight_than_there_are_slots(
    bench: Bench, producer: Producer, redis: Redis
) -> None:
    for n in range(6):
        await producer.add(b"%d" % n)

    async with bench.worker("a", never, slots=2):
        await wait_until(lambda: _equals(pending(redis), 2))
        assert await pending(redis) == 2

    assert await left(redis) == 6


async def _equals(count: Awaitable[int], wanted: int) -> bool:
    return await count == wanted


async def test_a_live_owner_is_not_robbed_however_long_it_takes(bench: Bench, producer: Producer, redis: Redis) -> None:
    finish = asyncio.Event()
    started: list[str] = []

    async def long_work(delivery: Delivery) -> None:
        started.append("a")
        await finish.wait()
        bench.handled.append("a")

    async def steal(delivery: Delivery) -> None:
        bench.handled.append("stolen")

    await producer.add(b"job")
    async with bench.worker("a", long_work, drain=5):
        await wait_until(lambda: bool(started))
        async with bench.worker("b", steal):
            entry = await oldest_pending(redis)
            waited = asyncio.get_running_loop().time() + 4 * LEASE.total_seconds()
            await wait_until(lambda: asyncio.get_running_loop().time() > waited)
            assert (await oldest_pending(redis)) == entry
        finish.set()
        await wait_until(lambda: bench.handled == ["a"])


async def oldest_pending(redis: Redis) -> tuple[str, str]:
    entries = await redis.xpending_range(keys.work_queue("test"), keys.GROUP, "-", "+", 1)
    return str(entries[0]["message_id"]), str(entries[0]["consumer"])


async def test_the_entry_of_a_dead_owner_is_taken_over_while_the_queue_is_idle(
    bench: Bench, producer: Producer
) -> None:
    dead = await bench.queue("dead")
    await dead.ensure_group()
    await producer.add(b"job")
    assert len(await dead.read(1, timedelta(milliseconds=10))) == 1

    async with bench.worker("a", bench.record):
        await wait_until(lambda: bench.handled == ["job"])


async def test_a_restarted_process_of_the_same_name_takes_up_at_once_what_it_had_in_flight(
    bench: Bench, producer: Producer
) -> None:
    before = await bench.queue("same")
    await before.ensure_group()
    await producer.add(b"job")
    await before.read(1, timedelta(milliseconds=10))

    async with bench.worker("same", bench.record):
        await wait_until(lambda: bench.handled == ["job"], timeout=LEASE.total_seconds())


class SweptFirst(PartitionedQueue):
    """The sweep takes what the first look at what was left has read, before that look's answer is there."""

    def __init__(self, queue: PartitionedQueue) -> None:
        self.__dict__.update(queue.__dict__)
        self._swept = asyncio.Event()

    async def own_pending(self, count: int) -> list[Delivery]:
        found = await super().own_pending(count)
        await self._swept.wait()
        return found

    async def sweep(self, count: int) -> list[Delivery]:
        taken = await super().sweep(count)
        if taken:
            # The loop that asked for it has to go first.
            asyncio.get_running_loop().call_later(0.05, self._swept.set)
        return taken


@pytest.mark.requirement("CH-11")
async def test_what_the_sweep_and_the_first_look_find_at_once_is_handled_once(
    bench: Bench, producer: Producer, redis: Redis
) -> None:
    before = await bench.queue("same")
    await before.ensure_group()
    await producer.add(b"job")
    await before.read(1, timedelta(milliseconds=10))
    finish, stopping = asyncio.Event(), Stopping()

    async def work(delivery: Delivery) -> None:
        await bench.record(delivery)
        await finish.wait()

    queue = SweptFirst(await bench.queue("same"))
    worker = Worker(queue, work, bench.dead_letter, WorkerOptions(slots=4, drain=timedelta(seconds=5)), stopping)
    running = asyncio.create_task(worker.run())
    await wait_until(lambda: worker.reading)
    finish.set()
    await wait_until(lambda: _equals(left(redis), 0))
    stopping.set()
    await running
    assert bench.handled == ["job"]
    assert worker.busy == 0


@pytest.mark.requirement("TS-11")
async def test_a_frozen_worker_that_wakes_up_does_not_get_its_entry_back_by_renewing_or_acknowledging(
    bench: Bench, producer: Producer, redis: Redis
) -> None:
    frozen, successor = await bench.queue("frozen"), await bench.queue("successor")
    await frozen.ensure_group()
    await producer.add(b"job")
    [delivery] = await frozen.read(1, timedelta(milliseconds=10))
    [taken] = await wait_until(lambda: successor.sweep(1))
    assert (taken.entry_id, taken.deliveries) == (delivery.entry_id, 2)

    assert await frozen.renew([delivery.entry_id]) == {delivery.entry_id}
    assert not await frozen.ack(delivery.entry_id)
    assert await frozen.requeue([delivery.entry_id]) == 0
    assert await oldest_pending(redis) == (str(delivery.entry_id.encode()), str(b"successor"))
    assert await successor.ack(delivery.entry_id)
    assert await left(redis) == 0


async def test_a_handler_is_cancelled_when_its_lease_was_lost(bench: Bench, producer: Producer, redis: Redis) -> None:
    cancelled = asyncio.Event()

    async def work(_: Delivery) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    await producer.add(b"job")
    async with bench.worker("a", work):
        await wait_until(lambda: _equals(pending(redis), 1))
        await redis.flushall()
        await asyncio.wait_for(cancelled.wait(), 5)


async def test_an_entry_that_always_fails_goes_to_the_dead_letters_with_its_reason(
    bench: Bench, producer: Producer, redis: Redis
) -> None:
    attempts: list[int] = []

    async def fail(delivery: Delivery) -> None:
        attempts.append(delivery.deliveries)
        raise RuntimeError("broken")

    await producer.add(b"poison")
    async with bench.worker("a", fail, max_deliveries=2):
        await wait_until(lambda: bool(bench.dead_lettered))
        await wait_until(lambda: _equals(left(redis), 0))

    assert attempts == [1, 2]
    assert bench.dead_lettered == [(b"poison", "delivered 2 times without success")]


async def test_an_unreadable_entry_goes_to_the_dead_letters_at_once_with_its_bytes(
    bench: Bench, producer: Producer, redis: Redis
) -> None:
    async def refuse(_: Delivery) -> None:
        raise Unreadable("not JSON")

    await producer.add(b"\xff\x00")
    async with bench.worker("a", refuse):
        await wait_until(lambda: bench.dead_lettered == [(b"\xff\x00", "not JSON")])
        await wait_until(lambda: _equals(left(redis), 0))


async def test_while_postgres_is_away_an_entry_is_tried_again_in_place_and_never_a_dead_letter(
    bench: Bench, producer: Producer
) -> None:
    attempts: list[int] = []

    async def wait_for_postgres(delivery: Delivery) -> None:
        attempts.append(delivery.deliveries)
        if len(attempts) < 5:
            raise StoreUnavailable("away")
        bench.handled.append("done")

    await producer.add(b"job")
    async with bench.worker("a", wait_for_postgres, max_deliveries=2):
        await wait_until(lambda: bench.handled == ["done"])

    assert attempts == [1] * 5
    assert bench.dead_lettered == []


async def test_what_a_stopping_worker_cannot_finish_is_delivered_to_another_at_once(
    bench: Bench, producer: Producer, redis: Redis
) -> None:
    deliveries: list[int] = []

    async def record(delivery: Delivery) -> None:
        deliveries.append(delivery.deliveries)

    await producer.add(b"job")
    async with bench.worker("a", never) as stopping:
        await wait_until(lambda: _equals(pending(redis), 1))
        async with bench.worker("b", record):
            stopping.set()
            await wait_until(lambda: deliveries == [1])  # a release is no failure

    consumers = await redis.xinfo_consumers(keys.work_queue("test"), keys.GROUP)
    assert consumers == []


async def test_a_handler_may_finish_within_the_drain_time(bench: Bench, producer: Producer, redis: Redis) -> None:
    finish = asyncio.Event()

    async def work(_: Delivery) -> None:
        await finish.wait()
        bench.handled.append("done")

    await producer.add(b"job")
    async with bench.worker("a", work, drain=10) as stopping:
        await wait_until(lambda: _equals(pending(redis), 1))
        stopping.set()
        finish.set()

    assert bench.handled == ["done"]
    assert await left(redis) == 0


async def test_after_a_flush_the_group_is_made_again_and_new_entries_are_handled(
    bench: Bench, producer: Producer, redis: Redis
) -> None:
    async with bench.worker("a", bench.record):
        await producer.add(b"before")
        await wait_until(lambda: bench.handled == ["before"])
        await redis.flushall()
        await producer.add(b"after")
        await wait_until(lambda: bench.handled == ["before", "after"])


async def test_the_worker_waits_for_a_redis_that_is_away_and_continues(
    bench: Bench, producer: Producer, valkey: Valkey
) -> None:
    async with bench.worker("a", bench.record):
        await producer.add(b"before")
        await wait_until(lambda: bench.handled == ["before"])
        valkey.stop()
        valkey.start()
        await persistently(lambda: producer.add(b"after"))
        await wait_until(lambda: "after" in bench.handled)


async def test_the_lag_of_the_group_stays_known_whatever_is_acknowledged_or_released(
    bench: Bench, producer: Producer, redis: Redis
) -> None:
    queue = await bench.queue("a")
    await queue.ensure_group()
    for n in range(5):
        await producer.add(b"%d" % n)
    deliveries = await queue.read(3, timedelta(milliseconds=10))
    await queue.ack(deliveries[0].entry_id)
    await queue.requeue([deliveries[1].entry_id])

    [group] = await redis.xinfo_groups(keys.work_queue("test"))
    assert group["lag"] == 3


async def test_a_burst_is_shared_by_workers_that_come_up_one_after_the_other(bench: Bench, producer: Producer) -> None:
    held: dict[str, int] = {"first": 0, "second": 0}
    ended = asyncio.Event()

    def holding(name: str) -> Handle:
        async def handle(_: Delivery) -> None:
            held[name] += 1
            await ended.wait()

        return handle

    for number in range(100):
        await producer.add(str(number).encode())
    async with bench.worker("first", holding("first"), slots=100, drain=5):
        await wait_until(lambda: held["first"] >= 8, what="the first one works")
        async with bench.worker("second", holding("second"), slots=100, drain=5):
            await wait_until(lambda: sum(held.values()) == 100, what="all are held")
            ended.set()
    assert min(held.values()) >= 25


async def test_a_burst_is_shared_by_workers_that_are_idle(bench: Bench, producer: Producer, redis: Redis) -> None:
    held: dict[str, int] = {"first": 0, "second": 0, "third": 0}
    ended = asyncio.Event()

    def holding(name: str) -> Handle:
        async def handle(_: Delivery) -> None:
            held[name] += 1
            await ended.wait()

        return handle

    async with contextlib.AsyncExitStack() as stack:
        for name in held:
            await stack.enter_async_context(bench.worker(name, holding(name), slots=100, drain=5))
        ramp = Ramp(100)
        await wait_until(lambda: ramp.over, what="all have been there for a while")
        async with redis.pipeline(transaction=True) as burst:
            for number in range(90):
                burst.xadd(keys.work_queue("test"), {"d": str(number)})
            await burst.execute()
        await wait_until(lambda: sum(held.values()) >= 90, what="all are held")
        ended.set()
    assert min(held.values()) >= 20


def test_a_ramp_ends_with_all_slots_and_holds_no_small_worker_back() -> None:
    now = [100.0]
    large, small = Ramp(100, lambda: now[0]), Ramp(4, lambda: now[0])
    assert (large.limit(), small.limit(), small.over) == (8, 4, True)
    now[0] += RAMP_SECONDS / 2
    assert (large.limit(), large.over) == (50, False)
    now[0] += RAMP_SECONDS / 2
    assert (large.limit(), large.over) == (100, True)


@pytest.mark.requirement("OP-8")
async def test_slots_are_shared_by_all_partitions_of_a_queue(bench: Bench, redis: Redis) -> None:
    bench.partitions = 3
    producer, in_flight, most = Producer(redis, "test", 3), set[str](), 0

    async def handle(delivery: Delivery) -> None:
        nonlocal most
        in_flight.add(delivery.entry_id)
        most = max(most, len(in_flight))
        await asyncio.sleep(0.01)
        in_flight.discard(delivery.entry_id)
        await bench.record(delivery)

    async with bench.worker("w", handle, slots=2):
        for number in range(24):
            await producer.add(str(number).encode())
        await wait_until(lambda: len(bench.handled) == 24, 10, "all are handled")
    assert sorted(map(int, bench.handled)) == list(range(24))
    assert most == 2
    assert sum([await redis.xlen(keys.work_queue("test", partition)) for partition in range(3)]) == 0
