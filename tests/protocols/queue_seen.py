"""A work queue as the server has it: of several partitions one, as whoever uses it sees it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any

from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.queue.partitioned_queue import PartitionedQueue
from sluiceway.queue.partitions import mark_of, placed
from sluiceway.queue.work_queue import Delivery, WorkQueue

KIND = "chat"
NAMES = ("ada", "bob", "cid")
LEASE = timedelta(hours=1)
OLD_MS = int(LEASE.total_seconds() * 1000) + 1
MOMENT = timedelta(milliseconds=1)


@dataclass(frozen=True)
class Stored:
    """An entry as the server has it. `before`: deliveries before a release. `owner`: None while undelivered. `grouped`:
    its partition has a group, which may deliver it."""

    entry_id: str
    body: str
    before: int
    owner: str | None
    times: int = 0
    idle_ms: int = 0
    grouped: bool = True

    @cached_property
    def age(self) -> tuple[tuple[int, int], int]:
        """What is smaller was queued earlier; at the same moment the lower partition is asked first."""
        partition, there = placed(self.entry_id)
        return position(there.encode()), partition

    @property
    def deliveries(self) -> int:
        return self.before + self.times


@dataclass(frozen=True)
class Queue:
    """The whole queue at a moment, or a partition of it. `lag`: what autoscaling stands on; None where Redis does not
    know it. `grouped`: every partition has a group."""

    entries: tuple[Stored, ...]
    lag: int | None
    grouped: bool = True

    @classmethod
    def of(cls, partitions: "Sequence[Queue]") -> "Queue":
        entries = sorted((entry for one in partitions for entry in one.entries), key=lambda entry: entry.age)
        lags = [one.lag for one in partitions if one.lag is not None]
        lag = sum(lags) if len(lags) == len(partitions) else None
        return cls(tuple(entries), lag, all(one.grouped for one in partitions))

    @property
    def undelivered(self) -> list[Stored]:
        return [entry for entry in self.entries if entry.owner is None]

    @property
    def old(self) -> list[Stored]:
        return [entry for entry in self.entries if entry.owner is not None and entry.idle_ms >= OLD_MS - 1]

    def owner(self, entry_id: str) -> str | None:
        return next((entry.owner for entry in self.entries if entry.entry_id == entry_id), None)

    def claims(self) -> list[tuple[str, str | None, int]]:
        """Everything but the age of leases."""
        return [(entry.entry_id, entry.owner, entry.deliveries) for entry in self.entries]


@dataclass
class Consumer:
    """A worker as it sees itself: what it took and was not told to be without."""

    queue: WorkQueue | PartitionedQueue
    held: dict[str, Delivery] = field(default_factory=dict)

    def nth(self, pick: int) -> Delivery | None:
        return list(self.held.values())[pick % len(self.held)] if self.held else None


async def look(redis: Redis, partitions: int) -> Queue:
    """Read the queue past the classes under test."""
    return Queue.of([await look_at(redis, partition) for partition in range(partitions)])


async def look_at(redis: Redis, partition: int) -> Queue:
    key, mark = keys.work_queue(KIND, partition), mark_of(partition)
    async with redis.pipeline(transaction=False) as pipe:
        pipe.xrange(key)
        pipe.xinfo_groups(key)
        pipe.xpending_range(key, keys.GROUP, "-", "+", 1000)
        raw, groups, claims = await pipe.execute(raise_on_error=False)
    if not isinstance(groups, list) or not groups:
        entries = tuple(_stored(entry_id, mark, fields, None, grouped=False) for entry_id, fields in raw)
        return Queue(entries, None, grouped=False)
    pending = {claim["message_id"]: claim for claim in claims}
    entries = tuple(_stored(entry_id, mark, fields, pending.get(entry_id)) for entry_id, fields in raw)
    delivered = position(groups[0]["last-delivered-id"])
    for entry in entries:
        undelivered = entry.age[0] > delivered
        assert undelivered == (entry.owner is None), f"{entry} was delivered, and nobody has it"
    assert len(pending) == sum(entry.owner is not None for entry in entries), "a claim without its entry"
    return Queue(entries, groups[0]["lag"])


def _stored(entry_id: bytes, mark: str, fields: dict[bytes, bytes], claim: Any, *, grouped: bool = True) -> Stored:
    placed_id, body, before = entry_id.decode() + mark, fields[b"d"].decode(), int(fields.get(b"n", b"0"))
    if claim is None:
        return Stored(placed_id, body, before, None, grouped=grouped)
    owner = claim["consumer"].decode()
    times, idle_ms = claim["times_delivered"], claim["time_since_delivered"]
    return Stored(placed_id, body, before, owner, times, idle_ms)


def position(raw: bytes) -> tuple[int, int]:
    moment, _, sequence = raw.partition(b"-")
    return int(moment), int(sequence)
