"""Who has an entry: a live owner is not robbed, a dead one is taken over, a frozen one is fenced off."""

import asyncio
from datetime import timedelta

import pytest
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.process.lifecycle import Stopping
from sluiceway.queue.partitioned_queue import PartitionedQueue
from sluiceway.queue.work_queue import Delivery, Producer
from sluiceway.queue.worker import Worker, WorkerOptions

from harness.waiting import wait_until
from tests.shared.queue.bench import LEASE, Bench, equals, left, pending


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
    await wait_until(lambda: equals(left(redis), 0))
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
        await wait_until(lambda: equals(pending(redis), 1))
        await redis.flushall()
        await asyncio.wait_for(cancelled.wait(), 5)
