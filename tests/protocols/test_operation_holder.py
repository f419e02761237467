"""Who holds an operation: entries doubled, taken, taken over and released, runners that die, freeze and come back, ends
that are reported and not applied, and a Redis that forgets, in any order.

Time: the lease is an hour; one runs out where a rule makes its entry old. A run is alive while its entry is its
runner's own: one that was taken over may run on until it hears of that, as a frozen process does.
"""

import asyncio
import itertools
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.ids import new_operation_id
from sluiceway.operation.completions import Completions
from sluiceway.operation.publishing import Operations
from sluiceway.queue.work_queue import Delivery, WorkQueue
from sluiceway.store import Store
from sluiceway.store.operations.operations import NewOperation, Started
from sluiceway.store.records import Operation
from sluiceway.store.turns.accepting import NewTurn
from sluiceway.stream.operation_entries import OperationEntries
from tool_runner.runner.beginning import Beginning

from tests.protocols.machine import Machine, play

KIND = keys.tool_queue("default")
KEY = keys.work_queue(KIND)
NAMES = ("ada", "bob", "cid")
LEASE = timedelta(hours=1)
OLD_MS = int(LEASE.total_seconds() * 1000) + 1
MOMENT = timedelta(milliseconds=1)

names = st.sampled_from(NAMES)
picks = st.integers(0, 20)
rarely = st.sampled_from((False, False, False, True))


@dataclass
class Runner:
    """As it sees itself: the entries that it has, and those of them under which it runs the tool."""

    queue: WorkQueue
    beginning: Beginning
    has: dict[str, Delivery] = field(default_factory=dict)
    runs: set[str] = field(default_factory=set)

    def drop(self, entry_id: str) -> None:
        self.has.pop(entry_id, None)
        self.runs.discard(entry_id)


class Holding(Machine):
    def __init__(self, loop: asyncio.AbstractEventLoop, redis: Redis, store: Store) -> None:
        super().__init__(loop)
        self.redis = redis
        self.store = store
        self.operations = Operations(redis, OperationEntries(redis))
        self.runners: dict[str, Runner] = {}
        self.reported = False
        self.attempts = itertools.count(1)

    @initialize(entries=st.integers(1, 3))
    def begin_with(self, entries: int) -> None:
        self.run(self.redis.flushall())
        self.operation = self.run(self.made())
        self.runners = {name: self.runner(name) for name in NAMES}
        self.run(self.runners["ada"].queue.ensure_group())
        self.publish(entries)

    def runner(self, name: str) -> Runner:
        queue = WorkQueue(self.redis, self.redis, KIND, name, lease=LEASE)
        return Runner(queue, Beginning(self.redis, self.store, name, LEASE))

    async def made(self) -> Operation:
        asked = NewTurn(session_id=f"ses_{uuid4().hex}", user_id=None, text="please", create_session=True)
        task = await self.store.turns.claim((await self.store.turns.accept(asked)).task.id)
        assert task is not None
        new = NewOperation(new_operation_id(), 1, "call_1", "add", {}, "default", "pending", 3600)
        await self.store.turns.pause(task, [{"type": "step-start"}], [new], None)
        (operation,) = await self.store.operations.of_task(task.id)
        return operation

    def owners(self) -> dict[str, str]:
        """Of the entries that somebody has in flight."""
        pending: Any = self.run(self.pending())
        return {one["message_id"].decode(): one["consumer"].decode() for one in pending}

    async def pending(self) -> Any:
        return await self.redis.xpending_range(KEY, keys.GROUP, "-", "+", 1000)

    def alive(self) -> set[str]:
        owners = self.owners()
        return {entry for name, one in self.runners.items() for entry in one.runs if owners.get(entry) == name}

    # What comes

    @rule(entries=st.integers(1, 2))
    def publish(self, entries: int) -> None:
        """Sent again as its answer was lost, or by a reconciler that thinks it is in no queue."""
        for _ in range(entries):
            self.run(self.operations.publish([self.operation]))

    @rule(name=names, then_begin=st.booleans())
    def take(self, name: str, then_begin: bool) -> None:
        if self.run(self.redis.xlen(KEY)) > len(self.owners()):
            for delivery in self.run(self.runners[name].queue.read(1, MOMENT)):
                self.runners[name].has[delivery.entry_id] = delivery
        if then_begin:
            self.begin(name, -1)

    @rule(name=names, pick=picks)
    def begin(self, name: str, pick: int) -> None:
        self.begin_at_once([(name, pick)])

    @rule(chosen=st.lists(st.tuples(names, picks), min_size=2, max_size=3))
    def race_to_begin(self, chosen: list[tuple[str, int]]) -> None:
        self.begin_at_once(chosen)

    def begin_at_once(self, chosen: list[tuple[str, int]]) -> None:
        beginning: dict[tuple[str, str], Delivery] = {}
        for name, pick in chosen:
            idle = [one for one in self.runners[name].has.values() if one.entry_id not in self.runners[name].runs]
            if idle:
                delivery = idle[pick % len(idle)]
                beginning[name, delivery.entry_id] = delivery
        alive = self.alive()
        begun = self.run(self.begun(beginning))
        started = {place: one for place, one in begun.items() if one is not None}
        assert len(started) <= 1, "it was begun twice at once"
        assert not (started and alive), "it was begun while somebody alive has it"
        assert not (started and self.reported), "it was begun again, although its end was reported"
        for (name, entry_id), one in begun.items():
            if one is None:
                self.done(name, entry_id)
            else:
                assert one.operation.attempt == next(self.attempts)
                self.runners[name].runs.add(entry_id)

    async def begun(self, beginning: dict[tuple[str, str], Delivery]) -> dict[tuple[str, str], Started | None]:
        begin = [self.runners[name].beginning.begin(self.operation.id, one) for (name, _), one in beginning.items()]
        return dict(zip(beginning, await asyncio.gather(*begin), strict=True))

    def done(self, name: str, entry_id: str) -> None:
        self.run(self.runners[name].queue.ack(entry_id))
        self.runners[name].drop(entry_id)

    @rule(name=names, really=rarely)
    def report(self, name: str, really: bool) -> None:
        """Also one that does not know yet that it was taken over: the first word counts."""
        for entry_id in sorted(self.runners[name].runs) if really else ():
            completions = Completions(self.redis)
            operation = self.operation
            self.run(completions.publish_operation_complete(operation.id, operation.task_id, True, 1))
            self.reported = True
            self.done(name, entry_id)

    # What befalls them

    @rule(pick=picks)
    def a_lease_runs_out(self, pick: int) -> None:
        owners = sorted(self.owners().items())
        if owners:
            entry_id, owner = owners[pick % len(owners)]
            self.run(self.redis.xclaim(KEY, keys.GROUP, owner, 0, [entry_id], idle=OLD_MS, justid=True))

    @rule(name=names)
    def sweep(self, name: str) -> None:
        for delivery in self.run(self.runners[name].queue.sweep(1)):
            self.runners[name].drop(delivery.entry_id)
            self.runners[name].has[delivery.entry_id] = delivery

    @rule(name=names)
    def renew(self, name: str) -> None:
        for entry_id in self.run(self.runners[name].queue.renew(list(self.runners[name].has))):
            self.runners[name].drop(entry_id)

    @rule(name=names)
    def drain(self, name: str) -> None:
        self.runners[name] = self.runner(name)
        self.run(self.runners[name].queue.leave())

    @rule(name=names)
    def die_and_come_back(self, name: str) -> None:
        self.runners[name] = self.runner(name)
        for delivery in self.run(self.runners[name].queue.own_pending(100)):
            self.runners[name].has[delivery.entry_id] = delivery

    @rule(really=rarely)
    def redis_forgets(self, really: bool) -> None:
        if really:
            self.run(self.redis.flushall())
            self.run(asyncio.sleep(0.002))  # entry ids are moments: no new one is an old one
            self.run(self.runners["ada"].queue.ensure_group())
            self.reported = False

    def finish(self) -> None:
        """All die. Whoever comes then begins it, where its end was not reported."""
        if not self.runners:
            return
        last = self.runner("last")
        self.runners = {"last": last}
        for entry_id, owner in self.owners().items():
            self.run(self.redis.xclaim(KEY, keys.GROUP, owner, 0, [entry_id], idle=OLD_MS, justid=True))
        for delivery in self.run(last.queue.sweep(100)):
            last.has[delivery.entry_id] = delivery
        self.publish(1)
        for delivery in self.run(last.queue.read(100, MOMENT)):
            last.has[delivery.entry_id] = delivery
        for pick in range(len(last.has)):
            self.begin("last", pick)
        assert bool(last.runs) != self.reported


@pytest.mark.requirement("CC-3", "CH-9")
def test_an_operation_is_begun_by_one_and_again_only_when_nobody_alive_has_it(
    server: Redis, stores: tuple[Store, Store], loop: asyncio.AbstractEventLoop
) -> None:
    play(lambda: Holding(loop, server, stores[0]), examples=25, steps=25)
