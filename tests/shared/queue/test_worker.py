"""The work queue and the worker loop on a real Valkey: nothing is lost, nobody is robbed, poison is dead-lettered."""

import asyncio
from datetime import timedelta

import pytest
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.errors import StoreUnavailable
from sluiceway.queue.work_queue import Delivery, Producer
from sluiceway.queue.worker import Unreadable, persistently

from harness.databases.valkey import Valkey
from harness.waiting import wait_until
from tests.shared.queue.bench import Bench, equals, left, never, pending


@pytest.mark.requirement("CH-11")
async def test_what_was_queued_before_the_first_worker_came_is_handled(
    bench: Bench, producer: Producer, redis: Redis
) -> None:
    for n in range(10):
        await producer.add(f"job {n}".encode())

    async with bench.worker("a", bench.record):
        await wait_until(lambda: len(bench.handled) == 10)
        await wait_until(lambda: equals(left(redis), 0))

    assert sorted(bench.handled) == [f"job {n}" for n in range(10)]


async def test_never_more_entries_are_in_flight_than_there_are_slots(
    bench: Bench, producer: Producer, redis: Redis
) -> None:
    for n in range(6):
        await producer.add(b"%d" % n)

    async with bench.worker("a", never, slots=2):
        await wait_until(lambda: equals(pending(redis), 2))
        assert await pending(redis) == 2

    assert await left(redis) == 6


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
        await wait_until(lambda: equals(left(redis), 0))

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
        await wait_until(lambda: equals(left(redis), 0))


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
        await wait_until(lambda: equals(pending(redis), 1))
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
        await wait_until(lambda: equals(pending(redis), 1))
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
