"""Leases of a work queue: claim, renew, sweep, acknowledge, release, leave, die, freeze and wake, in any order; and the
same of one in three partitions, which is one queue to all who use it.

Time: the lease is an hour, so that none runs out by itself; one runs out where a rule makes its entry old, by XCLAIM …
IDLE on the server. A frozen consumer is one that still acts on entries which others took over meanwhile: consumers
forget an entry only when an answer tells them to.
"""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.queue.partitioned_queue import PartitionedQueue
from sluiceway.queue.partitions import placed
from sluiceway.queue.work_queue import Delivery, EntryState, Producer, WorkQueue
from sluiceway.scripts import Scripts

from tests.protocols.machine import Machine, play
from tests.protocols.queue_seen import (
    KIND,
    LEASE,
    MOMENT,
    NAMES,
    OLD_MS,
    Consumer,
    Queue,
    Stored,
    look,
    look_at,
    position,
)

names = st.sampled_from(NAMES)
counts = st.integers(1, 3)
some_partitions = st.sets(st.integers(0, 2), min_size=1)
picks = st.integers(0, 20)
# What ends whatever was going on, and would else be most of what happens.
rarely = st.sampled_from((False, False, False, True))


class Leases(Machine):
    def __init__(self, loop: asyncio.AbstractEventLoop, redis: Redis, partitions: int) -> None:
        super().__init__(loop)
        self.redis = redis
        self.partitions = partitions
        self.keys = [keys.work_queue(KIND, partition) for partition in range(partitions)]
        self.added = 0
        # Bodies that were added and not acknowledged, with how often each was delivered, releases taken off.
        self.open: Counter[str] = Counter()
        self.known: set[str] = set()
        # XINFO's lag is only promised for a group that has seen every entry since the queue began.
        self.first_group = True
        self.consumers = {name: self.consumer(name) for name in NAMES}

    def consumer(self, name: str) -> Consumer:
        if self.partitions == 1:
            return Consumer(WorkQueue(self.redis, self.redis, KIND, name, lease=LEASE))
        queue = PartitionedQueue(self.redis, self.redis, KIND, name, lease=LEASE, partitions=self.partitions)
        return Consumer(queue)

    def look(self) -> Queue:
        return self.run(look(self.redis, self.partitions))

    def somebody(self, pick: int) -> str:
        """Of those who hold something, if there is one."""
        holders = [name for name in NAMES if self.consumers[name].held] or list(NAMES)
        return holders[pick % len(holders)]

    @initialize(waiting=counts)
    def begin(self, waiting: int) -> None:
        self.run(self.redis.flushall())
        self.add(waiting)

    # What producers and consumers do

    @rule(count=counts)
    def add(self, count: int) -> None:
        for _ in range(count):
            self.run(self.adding())

    async def adding(self) -> None:
        self.added += 1
        self.known.add(str(self.added))
        await Producer(self.redis, KIND, self.partitions).add(str(self.added).encode())

    @rule(name=names, count=counts)
    def read(self, name: str, count: int) -> None:
        before = self.look()
        if before.grouped and not before.undelivered:
            return  # a server that has nothing answers when it looks at its clock, ten times a second
        taken = self.run(self.consumers[name].queue.read(count, MOMENT))
        # What waited longest; where a group is gone it is made, and its entries come with the next read.
        expected = {each.entry_id for each in before.undelivered[:count] if each.grouped}
        assert {each.entry_id for each in taken} == expected
        assert len(taken) == len(expected)
        assert [position(placed(each.entry_id)[1].encode()) for each in taken] == sorted(
            position(placed(each.entry_id)[1].encode()) for each in taken
        )
        self.take(name, taken)

    @rule(name=names, count=counts)
    def read_and_lose_the_answer(self, name: str, count: int) -> None:
        if self.look().undelivered:
            for delivery in self.run(self.consumers[name].queue.read(count, MOMENT)):
                self.open[delivery.body.decode()] += 1

    @rule(name=names, count=counts)
    def sweep(self, name: str, count: int) -> None:
        before = self.look()
        taken = self.run(self.consumers[name].queue.sweep(count))
        old = {each.entry_id for each in before.old}
        assert {each.entry_id for each in taken} <= old, "a lease was taken that had not run out"
        assert len(taken) == min(count, len(old)), "a lease ran out, and its entry was left"
        self.take(name, taken)
        self.others_stand(before, {each.entry_id for each in taken})

    @rule(pick=picks)
    def renew(self, pick: int) -> None:
        before = self.look()
        name = self.somebody(pick)
        consumer = self.consumers[name]
        lost = self.run(consumer.queue.renew(list(consumer.held)))
        assert lost == {entry_id for entry_id in consumer.held if before.owner(entry_id) != name}
        after = self.look()
        assert after.claims() == before.claims(), "a renewal has taken something"
        assert not any(entry.entry_id in consumer.held and entry.owner == name for entry in after.old)
        for entry_id in lost:
            del consumer.held[entry_id]

    @rule(pick=picks)
    def acknowledge(self, pick: int) -> None:
        self.acknowledge_another_s(self.somebody(pick), pick)

    @rule(name=names, pick=picks)
    def acknowledge_another_s(self, name: str, pick: int) -> None:
        delivery = self.consumers[self.somebody(pick)].nth(pick)
        if delivery is not None:
            self.acknowledge_as(name, delivery)

    def acknowledge_as(self, name: str, delivery: Delivery) -> None:
        before = self.look()
        acknowledged = self.run(self.consumers[name].queue.ack(delivery.entry_id))
        assert acknowledged == (before.owner(delivery.entry_id) == name), "an entry was another's, or one's own"
        self.consumers[name].held.pop(delivery.entry_id, None)
        if acknowledged:
            self.known.remove(delivery.body.decode())
            del self.open[delivery.body.decode()]
            self.others_stand(before, {delivery.entry_id})
        else:
            assert self.look().claims() == before.claims(), "an acknowledgement of another's entry changed something"

    @rule(chosen=st.lists(picks, min_size=1, max_size=3))
    def release(self, chosen: list[int]) -> None:
        name = self.somebody(chosen[0])
        consumer = self.consumers[name]
        if not consumer.held:
            return
        before = self.look()
        ids = list({list(consumer.held)[pick % len(consumer.held)]: None for pick in chosen})
        count = self.run(consumer.queue.requeue(ids))
        owned = [entry for entry in before.entries if entry.entry_id in ids and entry.owner == name]
        assert count == len(owned)
        self.count_releases(owned)
        for entry_id in ids:
            del consumer.held[entry_id]
        self.others_stand(before, set(ids))

    @rule(name=names)
    def leave(self, name: str) -> None:
        before = self.look()
        self.run(self.consumers[name].queue.leave())
        self.count_releases([entry for entry in before.entries if entry.owner == name])
        self.consumers[name].held.clear()
        assert not any(entry.owner == name for entry in self.look().entries)
        assert name not in self.known_consumers()

    def count_releases(self, entries: list[Stored]) -> None:
        for entry in entries:
            self.open[entry.body] -= 1

    # What goes wrong

    @rule(name=names, count=counts)
    def die_and_start_again(self, name: str, count: int) -> None:
        """A process of the same name takes up what its predecessor had in flight."""
        before = self.look()
        self.consumers[name].held.clear()
        taken = self.run(self.consumers[name].queue.own_pending(count))
        own = [entry.entry_id for entry in before.entries if entry.owner == name]
        assert len(taken) == min(count, len(own))
        for key in {placed(each.entry_id)[0] for each in taken}:
            there = [each.entry_id for each in taken if placed(each.entry_id)[0] == key]
            assert there == [entry_id for entry_id in own if placed(entry_id)[0] == key][: len(there)]
        self.take(name, taken)
        self.others_stand(before, {each.entry_id for each in taken})

    @rule(pick=picks, other=names)
    def freeze_until_another_has_swept(self, pick: int, other: str) -> None:
        frozen = self.somebody(pick)
        self.age([entry for entry in self.look().entries if entry.owner == frozen])
        self.sweep(other, 3)

    @rule(name=names)
    def come_with_a_crowd_of_leases(self, name: str) -> None:
        """More than a sweep looks at in one go."""
        self.add(12)
        self.read(name, 12)

    @rule(pick=picks)
    def a_lease_runs_out(self, pick: int) -> None:
        claimed = [entry for entry in self.look().entries if entry.owner is not None]
        if claimed:
            self.age([claimed[pick % len(claimed)]])

    def age(self, entries: list[Stored]) -> None:
        for entry in entries:
            partition, there = placed(entry.entry_id)
            key, owner = self.keys[partition], entry.owner or ""
            self.run(self.redis.xclaim(key, keys.GROUP, owner, 0, [there], idle=OLD_MS, justid=True))

    @rule(name=names)
    def silent_consumers_are_forgotten(self, name: str) -> None:
        """The sweep's second half, as if every silence had been long: nobody who holds something is forgotten."""
        if self.look().grouped:
            never_ms = OLD_MS * 1000
            for key in self.keys:
                self.run(Scripts(self.redis).run("queue/sweep", [key], [keys.GROUP, name, never_ms, 1, 0]))

    @rule(really=rarely, of=some_partitions)
    def the_group_is_destroyed(self, really: bool, of: set[int]) -> None:
        """What anybody had in flight is queued again, as it was added or released."""
        if not really:
            return
        before = self.look()
        lost = {partition % self.partitions for partition in of}
        for key in (self.keys[partition] for partition in lost):
            if self.run(self.redis.exists(key)):
                self.run(self.redis.xgroup_destroy(key, keys.GROUP))
                self.first_group = False
        for entry in before.entries:
            if placed(entry.entry_id)[0] in lost:
                self.open[entry.body] = entry.before

    @rule(really=rarely)
    def everything_is_flushed(self, really: bool) -> None:
        """Whoever knew of an entry goes on knowing: its acknowledgements must not reach what comes later."""
        if not really:
            return
        self.run(self.redis.flushall())
        self.open.clear()
        self.known.clear()
        self.first_group = True

    # Several at once

    @rule(
        calls=st.lists(
            st.tuples(st.sampled_from(("add", "read", "sweep", "ack", "requeue", "leave")), names, counts),
            min_size=2,
            max_size=4,
        )
    )
    def race(self, calls: list[tuple[str, str, int]]) -> None:
        queue = self.look()
        before = {entry.body: entry for entry in queue.entries}
        if not queue.undelivered and all(kind != "add" for kind, _, _ in calls):
            calls = [each for each in calls if each[0] != "read"]  # as in `read`
        releases = sum(kind in ("requeue", "leave") for kind, _, _ in calls)
        delivered: Counter[str] = Counter()
        for taken in self.run(self.all_at_once([self.call(*each) for each in calls])):
            delivered.update(taken)
        for entry in self.look().entries:
            known = before.get(entry.body)
            most = (known.deliveries if known else 0) + delivered[entry.body]
            stayed = known is not None and known.entry_id == entry.entry_id
            assert most - (0 if stayed else releases) <= entry.deliveries <= most
            self.open[entry.body] = entry.deliveries

    async def all_at_once(self, calls: list[Coroutine[Any, Any, list[str]]]) -> list[list[str]]:
        return await asyncio.gather(*calls)

    async def call(self, kind: str, name: str, count: int) -> list[str]:
        """The bodies that were delivered by one call among others."""
        consumer = self.consumers[name]
        chosen = list(consumer.held.values())[:count]
        if kind == "add":
            await self.adding()
        elif kind == "ack":
            for delivery in chosen:
                consumer.held.pop(delivery.entry_id, None)
                if await consumer.queue.ack(delivery.entry_id):
                    self.known.remove(delivery.body.decode())  # a KeyError: it was acknowledged twice
                    del self.open[delivery.body.decode()]
        elif kind == "requeue":
            await consumer.queue.requeue([delivery.entry_id for delivery in chosen])
        elif kind == "leave":
            await consumer.queue.leave()
        else:
            read = consumer.queue.read(count, MOMENT) if kind == "read" else consumer.queue.sweep(count)
            taken = await read
            consumer.held.update((each.entry_id, each) for each in taken)
            return [each.body.decode() for each in taken]
        return []

    # What must hold

    def take(self, name: str, taken: list[Delivery]) -> None:
        """Note what a consumer has got, and that it was told how often each was delivered."""
        for delivery in taken:
            body = delivery.body.decode()
            self.open[body] += 1
            assert delivery.deliveries == self.open[body], f"{body} was delivered {self.open[body]} times"
            self.consumers[name].held[delivery.entry_id] = delivery
        after = self.look()
        assert all(after.owner(each.entry_id) == name for each in taken)

    def others_stand(self, before: Queue, but: set[str]) -> None:
        """All entries but these are as they were."""
        expected = [claim for claim in before.claims() if claim[0] not in but]
        kept = {claim[0] for claim in expected}
        assert [claim for claim in self.look().claims() if claim[0] in kept] == expected

    def known_consumers(self) -> set[str]:
        known: set[str] = set()
        for partition, key in enumerate(self.keys):
            if self.run(look_at(self.redis, partition)).grouped:
                consumers: Any = self.run(self.redis.xinfo_consumers(key, keys.GROUP))
                known |= {consumer["name"].decode() for consumer in consumers}
        return known

    @invariant()
    def nothing_is_lost_and_nothing_doubled(self) -> None:
        queue = self.look()
        assert sorted(entry.body for entry in queue.entries) == sorted(self.known)
        for entry in queue.entries:
            assert entry.deliveries == self.open[entry.body], f"{entry} was delivered {self.open[entry.body]} times"
        if queue.lag is not None and self.first_group:
            assert queue.lag == len(queue.undelivered)
        self.who_holds_what_is_told(queue)

    def who_holds_what_is_told(self, queue: Queue) -> None:
        """The proof of life says what a sweep goes by: what is held, no sweep takes."""
        lost = ("1-1", "no entry id")
        asked = [*(entry.entry_id for entry in queue.entries), *lost]
        states = self.run(Producer(self.redis, KIND, self.partitions).states(asked, LEASE))
        for entry in queue.entries:
            held = entry.owner is not None and entry not in queue.old
            state = states[entry.entry_id]
            assert (state.where, state.consumer) == ("held" if held else "waiting", entry.owner)
        assert all(states[entry_id] == EntryState("gone") for entry_id in lost)

    def finish(self) -> None:
        """All die but a newcomer, who gets everything, once. Those who wake up later change nothing any more."""
        self.age([entry for entry in self.look().entries if entry.owner is not None])
        last = self.consumers["last"] = self.consumer("last")
        self.run(last.queue.ensure_group())
        while not {each.body.decode() for each in last.held.values()} >= self.known:
            before = len(last.held)
            self.sweep("last", 4)
            self.read("last", 4)
            assert len(last.held) > before, "the survivor does not get the rest"
        all_of_them = self.look().claims()
        for name in NAMES:
            for entry_id in self.consumers[name].held:
                assert not self.run(self.consumers[name].queue.ack(entry_id)), "an entry was another's"
        assert self.look().claims() == all_of_them, "an acknowledgement of another's entry changed something"
        for entry_id in last.held:
            assert self.run(last.queue.ack(entry_id)), "an entry was one's own"
        assert self.look().entries == ()

    def teardown(self) -> None:
        super().teardown()
        for consumer in self.consumers.values():  # ends what waits for entries
            self.run(consumer.queue.leave())


@pytest.mark.requirement("CC-1", "CC-2", "CC-3", "CC-10", "OP-8")
@pytest.mark.parametrize(("partitions", "examples"), [(1, 32), (3, 10)])
def test_leases_lose_rob_and_double_nothing_in_whatever_order(
    partitions: int, examples: int, server: Redis, loop: asyncio.AbstractEventLoop
) -> None:
    play(lambda: Leases(loop, server, partitions), examples=examples, steps=30)
