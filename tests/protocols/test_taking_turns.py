"""Turns of users and organisations: queued, begun, read, released, with weights that change, by processes of this
version and of one before organisations, with a Redis that loses its group or everything, in any order.

"As before" is what a version before organisations does: it queues people of organisations like everybody else, and
reads without looking at organisations.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.ids import org_of, owner_in_org
from sluiceway.process.org_weights import OrgWeights
from sluiceway.queue.work_queue import Delivery, Producer, WorkQueue, lane_names
from sluiceway.scripts import Scripts

from tests.protocols.machine import Machine, play

KEY, ENTRIES, HEADS = keys.work_queue(keys.CHAT), keys.lane_entries(keys.CHAT), keys.lane_heads(keys.CHAT)
PEOPLE = (*(owner_in_org(org, user) for org, users in (("x", "abc"), ("y", "de")) for user in users), "f", "g")
LEASE = timedelta(hours=1)
MOMENT = timedelta(milliseconds=1)
WEIGHTS = tuple(OrgWeights.parse(text) for text in ("", "x=3", "x=2,y=3", "*=2"))
NO_ORGS = "sw:lanes:{sw:q:chat:0}:unknown"

people = st.sampled_from(PEOPLE)
counts = st.integers(1, 4)
rarely = st.sampled_from((False, False, False, True))


@dataclass(frozen=True)
class Place:
    """What the server has: bodies in the queue, delivered or not, and in lanes."""

    delivered: tuple[str, ...]
    waiting: tuple[str, ...]
    in_lanes: tuple[str, ...]

    @property
    def all(self) -> list[str]:
        return sorted((*self.delivered, *self.waiting, *self.in_lanes))


async def look(redis: Redis) -> Place:
    async with redis.pipeline(transaction=False) as pipe:
        pipe.xrange(KEY)
        pipe.xinfo_groups(KEY)
        pipe.xrange(ENTRIES)
        queue, groups, lanes = await pipe.execute(raise_on_error=False)
    last = _id(groups[0]["last-delivered-id"]) if isinstance(groups, list) and groups else (0, 0)
    bodies = {entry_id: fields[b"d"].decode() for entry_id, fields in queue}
    return Place(
        tuple(body for entry_id, body in bodies.items() if _id(entry_id) <= last),
        tuple(body for entry_id, body in bodies.items() if _id(entry_id) > last),
        tuple(fields[b"d"].decode() for _, fields in lanes),
    )


def _id(raw: bytes) -> tuple[int, int]:
    moment, _, number = raw.partition(b"-")
    return int(moment), int(number)


def who(body: str) -> str:
    return body.partition(" ")[0]


def group(user: str) -> str:
    return org_of(user) or user


class Turns(Machine):
    def __init__(self, loop: asyncio.AbstractEventLoop, redis: Redis) -> None:
        super().__init__(loop)
        self.redis = redis
        self.added = 0
        self.known: set[str] = set()
        # Bodies of turns that were delivered, and of those that were begun: they overtake others of their user.
        self.seen: list[str] = []
        self.begun: set[str] = set()
        self.weights = WEIGHTS[0]

    def look(self) -> Place:
        return self.run(look(self.redis))

    @property
    def queue(self) -> WorkQueue:
        return WorkQueue(self.redis, self.redis, keys.CHAT, "reader", lease=LEASE, weights=self.weights)

    @initialize(weights=st.sampled_from(WEIGHTS))
    def begin(self, weights: OrgWeights) -> None:
        self.run(self.redis.flushall())
        self.weights = weights
        self.run(self.queue.ensure_group())

    # What producers do

    def body(self, user: str) -> str:
        self.added += 1
        body = f"{user} {self.added}"
        self.known.add(body)
        return body

    @rule(user=people, count=counts)
    def add(self, user: str, count: int) -> None:
        for _ in range(count):
            self.run(self.adding(user))

    @rule(user=people)
    def flood(self, user: str) -> None:
        self.add(user, 6)

    @rule(user=people)
    def add_one_that_was_begun(self, user: str) -> None:
        self.run(self.adding(user, begun=True))

    async def adding(self, user: str, *, begun: bool = False) -> None:
        body = self.body(user)
        if begun:
            self.begun.add(body)
        entry_id = await Producer(self.redis, keys.CHAT, 1, self.weights).add(body.encode(), user_id=user, begun=begun)
        if entry_id.startswith("lane:"):
            assert await self.redis.exists(KEY), "it waits behind nobody"

    @rule(user=people)
    def add_as_before(self, user: str) -> None:
        names = [KEY, ENTRIES, HEADS, keys.lane(keys.CHAT, user)]
        arguments = [keys.GROUP, user, "", self.body(user), ""]
        self.run(Scripts(self.redis).run("queue/admit", names, arguments))

    @rule(weights=st.sampled_from(WEIGHTS))
    def weights_change(self, weights: OrgWeights) -> None:
        self.weights = weights

    # What readers do

    @rule(count=counts)
    def read(self, count: int) -> None:
        before = self.look()
        if not before.waiting:
            return  # a server that has nothing answers when it looks at its clock, ten times a second
        self.take(self.run(self.reading(count)))
        assert self.seen[-len(before.waiting[:count]) :] == list(before.waiting[:count])

    async def reading(self, count: int) -> list[Delivery]:
        queue = self.queue
        deliveries = await queue.read(count, MOMENT)
        for delivery in deliveries:
            await queue.ack(delivery.entry_id)
        return deliveries

    @rule()
    def read_as_before(self) -> None:
        if self.look().waiting:
            self.run(self.reading_as_before())

    async def reading_as_before(self) -> None:
        read = ("XREADGROUP", "GROUP", keys.GROUP, "reader", "COUNT", 1, "STREAMS", KEY, ">")
        answer: Any = await self.redis.execute_command(*read)  # type: ignore[no-untyped-call]
        arguments: list[str | int] = [keys.GROUP, *lane_names(keys.CHAT, 0), 200, 1]
        await Scripts(self.redis).run("queue/advance", [KEY, ENTRIES, HEADS, NO_ORGS], arguments)
        for entry_id, fields in answer[0][1]:
            await self.queue.ack(entry_id.decode())
            self.take([Delivery(entry_id.decode(), fields[b"d"], 1)])

    @rule()
    def read_and_release(self) -> None:
        if self.look().waiting:
            for delivery in self.run(self.queue.read(1, MOMENT)):
                assert self.run(self.queue.requeue([delivery.entry_id])) == 1
                self.begun.add(delivery.body.decode())  # it is behind others of its user now

    @rule()
    def the_reconciler_looks(self) -> None:
        self.run(Producer(self.redis, keys.CHAT, 1, self.weights).advance())

    def take(self, deliveries: list[Delivery]) -> None:
        """In the order of the queue, whoever of several was answered first."""
        for delivery in sorted(deliveries, key=lambda one: _id(one.entry_id.encode())):
            body = delivery.body.decode()
            self.known.remove(body)  # a KeyError: it was delivered twice
            self.seen.append(body)

    # What goes wrong

    @rule(really=rarely)
    def the_group_is_destroyed(self, really: bool) -> None:
        if really and self.run(self.redis.exists(KEY)):
            self.run(self.redis.xgroup_destroy(KEY, keys.GROUP))
            self.run(self.queue.ensure_group())

    @rule(really=rarely)
    def everything_is_flushed(self, really: bool) -> None:
        if really:
            self.run(self.redis.flushall())
            self.known.clear()
            self.run(self.queue.ensure_group())

    # Several at once

    @rule(
        calls=st.lists(
            st.tuples(st.sampled_from(("add", "begun", "read")), people),
            min_size=2,
            max_size=5,
            unique_by=lambda call: call[1],
        )
    )
    def race(self, calls: list[tuple[str, str]]) -> None:
        if not self.look().waiting:
            calls = [call for call in calls if call[0] != "read"]
        answers = self.run(self.all_at_once([self.call(*each) for each in calls]))
        self.take([delivery for answer in answers for delivery in answer])

    async def all_at_once(self, calls: list[Coroutine[Any, Any, list[Delivery]]]) -> list[list[Delivery]]:
        return await asyncio.gather(*calls)

    async def call(self, kind: str, user: str) -> list[Delivery]:
        if kind == "read":
            return await self.reading(1)
        await self.adding(user, begun=kind == "begun")
        return []

    # What must hold

    @invariant()
    def nothing_is_lost_and_nothing_doubled_and_a_slot_has_something(self) -> None:
        """Of what is in lanes, the next is moved by whoever reads: by a worker of this version within one read."""
        place = self.look()
        assert place.all == sorted(self.known)
        if place.in_lanes and not place.waiting:
            self.the_reconciler_looks()
            assert self.look().waiting

    def nothing_was_overtaken_by_another_of_its_user(self) -> None:
        numbers: dict[str, list[int]] = defaultdict(list)
        for body in self.seen:
            if body not in self.begun:
                numbers[who(body)].append(int(body.split()[1]))
        for user, mine in numbers.items():
            assert mine == sorted(mine), f"{user} is answered in another order"

    def finish(self) -> None:
        """A worker of this version gets everything; those who wait all the while, by their weights."""
        self.the_reconciler_looks()
        waiting = len(self.look().waiting)
        self.take(self.run(self.reading(waiting or 1)))  # it came under other weights, or was released
        # Whoever has a head of a version before has turns of his own beside his organisation's, until that is gone.
        heads: Any = self.run(self.redis.zrange(HEADS, 0, -1))
        mixed = {org_of(user.decode()) for user in heads} - {""}
        drained: list[str] = []
        while (place := self.look()).waiting:
            self.take(self.run(self.reading(1)))
            drained.append(self.seen[-1])
            self.shares_are_by_weight(drained, place, mixed)
        assert not self.known
        self.nothing_was_overtaken_by_another_of_its_user()

    def shares_are_by_weight(self, drained: list[str], before: Place, mixed: set[str]) -> None:
        """Among those, and within an organisation those of its people, who have had something in their lanes from the
        beginning of the drain until now: a round has as many turns of each as he has weight."""
        rest = Counter(map(who, before.in_lanes))
        had = Counter(map(who, drained))
        of_groups = Counter(map(group, map(who, drained)))
        waits = {group(user) for user in rest} - mixed
        rounds = [of_groups[one] / self.weight(one) for one in waits]
        assert max(rounds, default=0) - min(rounds, default=0) <= 1, f"{of_groups}, of which {waits} wait still"
        for one in waits:
            mine = [had[user] for user in rest if group(user) == one]
            assert max(mine) - min(mine) <= 1, f"{had}, of which {sorted(rest)} wait still"

    def weight(self, one: str) -> int:
        return self.weights.of(one) if one in "xy" else 1


@pytest.mark.requirement("GW-11")
def test_turns_are_by_weight_and_none_is_lost_doubled_or_overtaken(
    server: Redis, loop: asyncio.AbstractEventLoop
) -> None:
    play(lambda: Turns(loop, server), examples=25, steps=18)
