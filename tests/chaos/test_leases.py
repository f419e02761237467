"""Leases of dead workers are found, however many living ones stand before them."""

import time
from datetime import timedelta

import pytest
from redis.asyncio import Redis
from sluiceway.queue.work_queue import Producer, WorkQueue

from harness.waiting import wait_until

LEASE = timedelta(seconds=0.5)
MOMENT = timedelta(milliseconds=10)


@pytest.mark.requirement("OP-7")
async def test_entries_of_a_dead_worker_are_taken_over_though_many_living_leases_are_older(redis: Redis) -> None:
    living = WorkQueue(redis, redis, "chat", "living", lease=LEASE)
    dead = WorkQueue(redis, redis, "chat", "dead", lease=LEASE)
    producer = Producer(redis, "chat")
    await living.ensure_group()
    for _ in range(200):
        await producer.add(b"{}")
    held = [delivery.entry_id for delivery in await living.read(150, MOMENT)]
    left_behind = {delivery.entry_id for delivery in await dead.read(50, MOMENT)}
    died_at = time.monotonic()

    async def lease_ran_out() -> bool:
        assert not await living.renew(held)
        return time.monotonic() - died_at > LEASE.total_seconds() * 1.2

    await wait_until(lease_ran_out)
    taken = {delivery.entry_id for delivery in await living.sweep(5)}
    assert len(taken) == 5
    taken |= {delivery.entry_id for delivery in await living.sweep(100)}
    assert taken == left_behind
