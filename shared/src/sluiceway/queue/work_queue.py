"""Work queues: a Redis stream and one consumer group each.

Guarantees
- At least once: an entry is gone only after `ack`, or after `requeue` has put a new one in its place.
- The pending entry is the lease. `renew` and `ack` first look whether the entry is still the consumer's own.
- Entries are never deleted before they were delivered, and queues are never trimmed: the group's lag stays right.
- What was queued before the first worker came is delivered: the group begins at 0, and is made again when lost.
- Users take turns (queues of `keys.IN_TURNS`): of each one entry waits in the queue, at its end; the others wait in his
  lane, in his order, and the next of them follows in the round trip in which a worker gets the one before it. So nobody
  waits for more than one entry of each other user, and no slot stays free while anybody waits.
- An organisation's users take turns as one: as many of its entries wait in the queue as it has weight, and each that
  is delivered is followed by one of the next of its people who has any. So nobody waits for more entries of another
  organisation than its weight, and nobody in one for more than one entry of each other of its people, beside those
  that have its seats already.
Not guaranteed: order between workers; that an entry is delivered once.
"""

import contextlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, ResponseError

from sluiceway import keys
from sluiceway.errors import RedisUnavailable
from sluiceway.ids import ORG_PREFIX, org_of
from sluiceway.process.org_weights import EQUAL, OrgWeights
from sluiceway.queue.partitions import (
    by_partition,
    mark_of,
    partition_for,
    partition_of,
    partitions_in_use,
    placed,
)
from sluiceway.redis.client import answered, command, commands, redis_errors
from sluiceway.scripts import Call, Scripts, source

# A consumer that was silent for this long and holds nothing is forgotten: new pods have new names.
_GONE = timedelta(hours=1)
_MANY = 10_000
# What the id of an entry in a lane begins with; see `queue/admit.lua`.
LANE = "lane:"
# A larger body is not read for what it is for.
_READ_BYTES = 64 * 1024
_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class EntryState:
    """Where an entry is. `held`: in flight, and its lease was renewed in time. `waiting`: to be delivered, or to be
    taken over. `consumer`: who has it in flight, dead or alive, and has not renewed its lease for `silent_ms`."""

    where: Literal["held", "waiting", "gone"]
    consumer: str | None = None
    silent_ms: int = 0

    @property
    def held(self) -> bool:
        return self.where == "held"


@dataclass(frozen=True, slots=True)
class Delivery:
    """An entry in flight. `deliveries` counts this one, and those before a release."""

    entry_id: str
    body: bytes
    deliveries: int

    @property
    def ids(self) -> dict[str, str]:
        """What its job is for, for a log line: `task_id`, `operation_id`, `trace_id`; those that are ids."""
        try:
            job = json.loads(self.body) if len(self.body) <= _READ_BYTES else None
        except (ValueError, RecursionError):
            job = None
        if not isinstance(job, dict):
            return {}
        trace = str(job.get("traceparent", "")).split("-")
        named = {"task_id": job.get("task_id"), "operation_id": job.get("operation_id"), "trace_id": (*trace, "")[1]}
        return {name: value for name, value in named.items() if isinstance(value, str) and _ID.fullmatch(value)}


class Producer:
    """Adds entries, to so many partitions. Needs no group: a queue exists as soon as something is in it. `key`: what
    the queue is known by; the key of its first partition. `weights`: of organisations, where they take turns."""

    def __init__(self, redis: Redis, kind: str, partitions: int = 1, weights: OrgWeights = EQUAL) -> None:
        self.key = keys.work_queue(kind)
        self._kind = kind
        self._partitions = partitions
        self._weights = weights
        self._redis = redis
        self._scripts = Scripts(redis)

    async def add(self, body: bytes, *, user_id: str | None = None, begun: bool = False) -> str:
        """Queue an entry; its id. Sent once: on RedisUnavailable it may or may not be queued.

        `user_id`: whose turn it is, where users take turns; entries of nobody in particular wait for nobody's. `begun`:
        it goes before those of the user's that wait in his lane.
        """
        if user_id is None or self._kind not in keys.IN_TURNS:
            return self.entry_id(await command(self._redis, *self.adding(body)))
        return self.entry_id(await self._scripts.run(*self._admitting(user_id, begun, body)))

    def adding(self, body: bytes, *, user_id: str | None = None, begun: bool = False) -> tuple[str | bytes | int, ...]:
        """The command that queues an entry, to be sent along with others. `entry_id` reads its answer."""
        if user_id is None or self._kind not in keys.IN_TURNS:
            partition = self._partition(None, body)
            return _putting(keys.work_queue(self._kind, partition), mark_of(partition), body)
        script, names, arguments = self._admitting(user_id, begun, body)
        return ("EVAL", source(script), len(names), *names, *arguments)

    @staticmethod
    def entry_id(answer: Any) -> str:
        """Raises the ResponseError where the answer is one."""
        return str(answered(answer).decode())

    async def advance(self) -> int:
        """Do what whoever reads does: the next of each lane whose user has none in the queue follows; how many did. For
        readers of an older version."""
        [partitions] = await partitions_in_use(self._redis, [self._kind], self._partitions)
        return sum([await self._advance(partition) for partition in partitions])

    async def _advance(self, partition: int) -> int:
        try:
            names, arguments = _advancing(self._kind, partition, self._weights)
            return int(await self._scripts.run("queue/advance", names, arguments))
        except ResponseError as error:
            if not _group_is_gone(error):
                raise
            return 0

    async def holds_any(self, entry_ids: Sequence[str]) -> bool:
        """Whether one of the entries is still queued or in flight."""
        states = await self.states(entry_ids, timedelta(0))
        return any(state.where != "gone" for state in states.values())

    async def states(self, entry_ids: Collection[str], lease: timedelta) -> dict[str, EntryState]:
        """Where the entries are, by Redis's clock. This is the proof of life: who has an entry that is held lives, as
        its lease was renewed."""
        states: dict[str, EntryState] = {}
        # One after the other: a script for thousands would hold up everybody's tokens.
        for call in self.asking(list(entry_ids), lease):
            states |= states_of(call, await self._scripts.run(call.script, call.keys, call.arguments))
        return states

    def asking(self, entry_ids: Sequence[str], lease: timedelta) -> list[Call]:
        """The calls by which `states` asks, to be sent along with others; `states_of` reads their answers."""
        lease_ms = int(lease.total_seconds() * 1000)
        calls: list[Call] = []
        for partition, ids in by_partition(entry_ids).items():
            names = [keys.work_queue(self._kind, partition), keys.lane_entries(self._kind, partition)]
            pages = (ids[first : first + _AT_ONCE] for first in range(0, len(ids), _AT_ONCE))
            calls += [Call("queue/entry_states", names, [keys.GROUP, lease_ms, *page]) for page in pages]
        return calls

    async def after(self, entry_id: str, count: int) -> list[tuple[str, bytes]]:
        """At most `count` entries of its partition behind that one ("0-0": all), queued or in flight, with their
        bodies."""
        partition, there = placed(entry_id)
        key = keys.work_queue(self._kind, partition)
        entries = await command(self._redis, "XRANGE", key, f"({there}", "+", "COUNT", count)
        return [(found.decode() + mark_of(partition), fields.get(b"d", b"")) for found, fields in entries]

    def _admitting(self, user_id: str, begun: bool, body: bytes) -> tuple[str, list[str], list[str | bytes | int]]:
        """Script, keys and arguments."""
        partition, org = self._partition(user_id, body), org_of(user_id)
        first, mark = "1" if begun else "", mark_of(partition)
        names = _queue_keys(self._kind, partition)
        if not org:
            lane = keys.lane(self._kind, user_id, partition)
            user_names = [*names, keys.lane_heads(self._kind, partition), lane]
            return "queue/admit", user_names, [keys.GROUP, user_id, first, body, mark]
        org_names = [*names, keys.lane_orgs(self._kind, partition)]
        turn: list[str | bytes | int] = [keys.GROUP, org, self._weights.of(org), user_id, first, body, mark]
        return "queue/admit_of_org", org_names, [*turn, *lane_names(self._kind, partition)]

    def _partition(self, user_id: str | None, body: bytes) -> int:
        """All entries of a user, or an organisation, that takes turns go to one; others anywhere."""
        if user_id is None:
            return partition_for(body, self._partitions)
        org = org_of(user_id)
        name = f"{ORG_PREFIX}{org}" if org else user_id
        return partition_for(name.encode("utf-8", "surrogatepass"), self._partitions)


class WorkQueue:
    """One consumer's view of one partition of a queue. `blocking` is a client of its own for waiting reads."""

    def __init__(
        self,
        redis: Redis,
        blocking: Redis,
        kind: str,
        consumer: str,
        *,
        lease: timedelta,
        partition: int = 0,
        weights: OrgWeights = EQUAL,
    ) -> None:
        self.kind = kind
        self.key = keys.work_queue(kind, partition)
        self._partition = partition
        self._weights = weights
        self.consumer = consumer
        self.lease = lease
        self._redis = redis
        self._blocking = blocking
        self._scripts = Scripts(redis)

    async def ensure_group(self) -> None:
        """Make the group, at 0; one that exists is fine."""
        try:
            await command(self._redis, "XGROUP", "CREATE", self.key, keys.GROUP, "0", "MKSTREAM")
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    async def read(self, count: int, block: timedelta) -> list[Delivery]:
        """New entries, waiting for the first. Empty when none came; the group is made again when it is gone."""
        block_ms = max(1, int(block.total_seconds() * 1000))  # 0 would mean for ever
        return await self._group_read(
            self._blocking, "COUNT", count, "BLOCK", block_ms, "STREAMS", self.key, ">", then=self._advancing()
        )

    async def take(self, count: int) -> list[Delivery]:
        """New entries that are there now."""
        return await self._group_read(self._redis, "COUNT", count, "STREAMS", self.key, ">", then=self._advancing())

    async def own_pending(self, count: int) -> list[Delivery]:
        """What a process of this consumer's name, now dead, left in flight. For the start, before anything is read."""
        own = await self._group_read(self._redis, "COUNT", count, "STREAMS", self.key, "0")
        # A process that dies of an entry, and keeps its name, must see the count grow, or it does so for ever.
        times = await self._pending() if own else {}
        return [replace(one, deliveries=one.deliveries - 1 + times.get(one.entry_id, 1)) for one in own]

    async def renew(self, entry_ids: Sequence[str]) -> set[str]:
        """Renew leases; answers the entries that are not the consumer's own any more."""
        if not entry_ids:
            return set()
        try:
            lost = await self._scripts.run("queue/renew", [self.key], [keys.GROUP, self.consumer, *_there(entry_ids)])
        except ResponseError as error:
            if not _group_is_gone(error):
                raise
            return set(entry_ids)
        return {entry_id.decode() + mark_of(self._partition) for entry_id in lost}

    async def sweep(self, count: int) -> list[Delivery]:
        """Take over entries whose lease ran out."""
        lease_ms, gone_ms = (int(period.total_seconds() * 1000) for period in (self.lease, _GONE))
        arguments: list[str | int] = [keys.GROUP, self.consumer, lease_ms, count, gone_ms]
        try:
            taken = await self._scripts.run("queue/sweep", [self.key], arguments)
        except ResponseError as error:
            if not _group_is_gone(error):
                raise
            await self.ensure_group()
            return []
        return [
            self._delivery(entry_id, dict(zip(flat[::2], flat[1::2], strict=True)), deliveries)
            for entry_id, flat, deliveries in taken
        ]

    async def ack(self, entry_id: str) -> bool:
        """Done with it. False when it was not the consumer's own any more."""
        try:
            return bool(
                await self._scripts.run("queue/ack", [self.key], [keys.GROUP, self.consumer, *_there([entry_id])])
            )
        except ResponseError as error:
            if not _group_is_gone(error):
                raise
            return False

    async def requeue(self, entry_ids: Sequence[str]) -> int:
        """Release entries, to be delivered to any consumer at once; how many were still the consumer's own."""
        return await self._release("", *_there(entry_ids)) if entry_ids else 0

    async def leave(self) -> None:
        """Release all that this consumer still has, known or not (a reply may have been lost), and be forgotten. In one
        script: what is delivered to it in between would be lost with it."""
        await self._release("1")

    async def _release(self, *arguments: str) -> int:
        try:
            return int(await self._scripts.run("queue/requeue", [self.key], [keys.GROUP, self.consumer, *arguments]))
        except ResponseError as error:
            if not _group_is_gone(error):
                raise
            return 0

    async def _pending(self) -> dict[str, int]:
        """The entries that the server has as this consumer's, with how often each was delivered."""
        async with redis_errors(self._redis):
            entries = await self._redis.xpending_range(self.key, keys.GROUP, "-", "+", _MANY, self.consumer)
        mark = mark_of(self._partition)
        return {entry["message_id"].decode() + mark: int(entry["times_delivered"]) for entry in entries}  # type: ignore[union-attr]

    def _advancing(self) -> tuple[Call, ...]:
        """Whose entry is delivered, the next of his lane, or of his organisation, follows: in the same round trip, so
        that it costs nobody any time, and is done though this process dies."""
        if self.kind not in keys.IN_TURNS:
            return ()
        return (Call("queue/advance", *_advancing(self.kind, self._partition, self._weights)),)

    async def _group_read(self, client: Redis, *arguments: str | int, then: Sequence[Call] = ()) -> list[Delivery]:
        reading = ("XREADGROUP", "GROUP", keys.GROUP, self.consumer, *arguments)
        answer, *followed = await commands(client, [reading, *(call.command() for call in then)])
        await self._again([call for call, told in zip(then, followed, strict=True) if isinstance(told, NoScriptError)])
        try:
            entries = answered(answer)
        except ResponseError as error:
            if not _group_is_gone(error):
                raise
            await self.ensure_group()
            return []
        found = entries[0][1] if entries else []
        return [self._delivery(entry_id, fields, 1) for entry_id, fields in found if fields]

    async def _again(self, calls: Sequence[Call]) -> None:
        """What a server that is new did not know. What was delivered is told in any case: the next read makes up."""
        with contextlib.suppress(RedisUnavailable, ResponseError):
            for call in calls:
                await self._scripts.run(call.script, call.keys, call.arguments)

    def _delivery(self, entry_id: bytes, fields: Mapping[bytes, bytes], deliveries: int) -> Delivery:
        placed_id = entry_id.decode() + mark_of(self._partition)
        return Delivery(placed_id, _body(fields), deliveries + int(fields.get(b"n", b"0")))


def _there(entry_ids: Sequence[str]) -> list[str]:
    """Their ids in their partition."""
    return [there for _, there in map(placed, entry_ids)]


def _putting(key: str, mark: str, body: bytes) -> tuple[str | bytes | int, ...]:
    return ("EVAL", source("queue/put"), 1, key, mark, body) if mark else ("XADD", key, "*", "d", body)


def _queue_keys(kind: str, partition: int) -> list[str]:
    return [keys.work_queue(kind, partition), keys.lane_entries(kind, partition)]


def lane_names(kind: str, partition: int) -> list[str]:
    """What the keys of lanes, of the seats of organisations, and of their people begin with."""
    return [name(kind, "", partition) for name in (keys.lane, keys.lane_seats, keys.lane_people)]


def _advancing(kind: str, partition: int, weights: OrgWeights) -> tuple[list[str], list[str | int]]:
    names = [*_queue_keys(kind, partition), keys.lane_heads(kind, partition), keys.lane_orgs(kind, partition)]
    return names, [keys.GROUP, *lane_names(kind, partition), _AT_ONCE, *weights.arguments]


def states_of(call: Call, answer: Any) -> dict[str, EntryState]:
    """What `Producer.asking` asked, by entry; nothing where Redis refused to say."""
    if not isinstance(answer, list):
        return {}
    mark = mark_of(partition_of(call.keys[0]))
    return {f"{there!s}{mark}": _state(told) for there, told in zip(call.arguments[2:], answer, strict=True)}


def _state(told: Sequence[Any]) -> EntryState:
    where, consumer, silent_ms = told
    return EntryState(where.decode(), consumer.decode() or None, silent_ms)


def _body(fields: Mapping[bytes, bytes]) -> bytes:
    """Ours stands in `d`. What others have added stands in `data`, or in fields, which become one JSON object."""
    for name in (b"d", b"data"):
        if name in fields:
            return fields[name]
    texts = {key.decode(errors="replace"): text.decode(errors="replace") for key, text in fields.items() if key != b"n"}
    return json.dumps(texts).encode() if texts else b""


def _group_is_gone(error: ResponseError) -> bool:
    text = str(error)
    return "NOGROUP" in text or "no such key" in text.lower()
