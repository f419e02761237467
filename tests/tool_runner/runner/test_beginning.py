"""Which queue entry begins an operation, from real queues and rows, without a process beside them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.operation.completions import Completions
from sluiceway.queue.work_queue import Delivery, WorkQueue
from sluiceway.redis.client import open_redis
from sluiceway.store.operations.operations import Started
from sluiceway.store.records import Operation
from tool_runner.runner.beginning import Beginning
from tool_runner.runner.held_operations import HeldOperations

from harness.waiting import wait_until
from tests.tool_runner.operations import Caller

pytestmark = pytest.mark.requirement("CC-3", "CH-9")
LEASE = timedelta(seconds=20)
NO_LEASE = timedelta(milliseconds=1)
QUEUE = keys.tool_queue("default")


@dataclass
class Runner:
    """One of several, under one lease: the others of its system believe in that, too."""

    redis: Redis
    caller: Caller
    name: str
    lease: timedelta = LEASE
    queue: WorkQueue = field(init=False)
    held: HeldOperations = field(init=False)

    def __post_init__(self) -> None:
        self.queue = WorkQueue(self.redis, self.redis, QUEUE, self.name, lease=self.lease)
        self.held = HeldOperations(self.redis, self.name, self.lease)

    async def take(self) -> Delivery:
        (delivery,) = await self.queue.read(1, timedelta(seconds=1))
        return delivery

    async def sweep(self) -> Delivery:
        """Take over the first entry whose lease ran out."""
        (delivery,) = await wait_until(lambda: self.queue.sweep(1), what="a lease has run out")
        return delivery

    async def begin(self, operation: Operation, delivery: Delivery) -> Started | None:
        beginning = Beginning(self.redis, self.caller.store, self.name, self.lease)
        return await beginning.begin(operation.id, delivery)


@pytest.fixture
async def runners(valkey_url: str, caller: Caller) -> AsyncIterator[list[Runner]]:
    async with open_redis(valkey_url, name="runners") as redis:
        runners = [Runner(redis, caller, f"runner-{number}") for number in range(3)]
        await runners[0].queue.ensure_group()
        yield runners


def attempt(started: Started | None) -> int | None:
    return None if started is None else started.operation.attempt


async def again(caller: Caller, operation: Operation) -> None:
    """One more entry for it, as after an answer that was lost."""
    await caller.operations.publish([operation])


async def test_of_many_entries_at_once_one_begins_it(caller: Caller, runners: list[Runner]) -> None:
    operation = await caller.call("add")
    for _ in range(5):
        await again(caller, operation)
    deliveries = [(runner, await runner.take()) for runner in runners * 2]
    begun = await asyncio.gather(*(runner.begin(operation, delivery) for runner, delivery in deliveries))
    assert [attempt(one) for one in begun if one is not None] == [1]


async def test_a_second_entry_begins_nothing_while_the_first_is_in_flight_or_is_about_to_be_taken_over(
    caller: Caller, runners: list[Runner]
) -> None:
    first, second, _ = runners
    operation = await caller.call("add")
    assert attempt(await first.begin(operation, await first.take())) == 1
    await again(caller, operation)
    late = await second.take()
    assert await second.begin(operation, late) is None
    second.lease = NO_LEASE  # no lease is renewed so often: the first entry waits for whoever sweeps
    assert await second.begin(operation, late) is None


async def test_who_takes_an_entry_over_begins_again_and_its_holder_of_before_does_not(
    caller: Caller, runners: list[Runner]
) -> None:
    first, second, _ = runners
    operation = await caller.call("add")
    delivery = await first.take()
    begun = await first.begin(operation, delivery)
    assert begun is not None
    with first.held.hold(begun.operation, QUEUE, delivery.entry_id) as held:
        await first.held._look()
        assert not held.lost
        second.queue.lease = NO_LEASE
        taken = await second.sweep()
        assert taken.entry_id == delivery.entry_id
        # It was frozen before it began, or before it knew that it had.
        assert await first.begin(operation, delivery) is None
        assert attempt(await second.begin(operation, taken)) == 2
        assert await first.begin(operation, delivery) is None
        await first.held._look()
        assert held.lost
    assert len(first.held) == 0


async def test_an_entry_that_was_released_begins_it_again_at_once(caller: Caller, runners: list[Runner]) -> None:
    first, second, _ = runners
    operation = await caller.call("add")
    delivery = await first.take()
    assert attempt(await first.begin(operation, delivery)) == 1
    await first.queue.requeue([delivery.entry_id])
    released = await second.take()
    assert released.entry_id != delivery.entry_id
    assert attempt(await second.begin(operation, released)) == 2


async def test_a_restarted_runner_of_the_same_name_begins_it_again(caller: Caller, runners: list[Runner]) -> None:
    operation = await caller.call("add")
    assert attempt(await runners[0].begin(operation, await runners[0].take())) == 1
    restarted = Runner(runners[0].redis, caller, runners[0].name)
    (own,) = await restarted.queue.own_pending(1)
    assert attempt(await restarted.begin(operation, own)) == 2


async def test_what_was_reported_is_not_begun_again_until_redis_forgets_it(
    caller: Caller, runners: list[Runner]
) -> None:
    """Its completion is not applied yet. Where Redis forgot that, it forgot the completion, too."""
    first, second, _ = runners
    operation = await caller.call("add")
    delivery = await first.take()
    assert attempt(await first.begin(operation, delivery)) == 1
    await Completions(first.redis).publish_operation_complete(operation.id, operation.task_id, True, 2)
    assert 0 < await first.redis.pttl(keys.operation_reported(operation.id)) <= 60_000
    await first.queue.ack(delivery.entry_id)
    await again(caller, operation)
    assert await second.begin(operation, await second.take()) is None
    await first.redis.flushall()
    await second.queue.ensure_group()
    await again(caller, operation)
    assert attempt(await second.begin(operation, await second.take())) == 2


async def test_an_operation_that_has_ended_begins_nothing(caller: Caller, runners: list[Runner]) -> None:
    operation = await caller.call("add")
    delivery = await runners[0].take()
    await caller.cancel(operation)
    assert await runners[0].begin(operation, delivery) is None


async def test_what_an_older_version_holds_is_its_own_as_long_as_it_says_so(
    caller: Caller, runners: list[Runner]
) -> None:
    """It notes no entry, and keeps its name in Redis under a lease."""
    first, second, third = runners
    operation = await caller.call("add")
    delivery = await first.take()
    assert await caller.store.operations.start(operation.id, "old/1") is not None
    await first.redis.set(keys.operation_reported(operation.id), "old", ex=60)
    await again(caller, operation)
    assert await second.begin(operation, await second.take()) is None
    third.queue.lease = NO_LEASE
    assert delivery.entry_id in {(taken := await third.sweep()).entry_id}
    assert attempt(await third.begin(operation, taken)) == 2
