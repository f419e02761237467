"""How workers share what comes: bursts, and slots over several partitions."""

import asyncio
import contextlib

import pytest
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.queue.ramp import RAMP_SECONDS, Ramp
from sluiceway.queue.work_queue import Delivery, Producer

from harness.waiting import wait_until
from tests.shared.queue.bench import Bench, Handle


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
