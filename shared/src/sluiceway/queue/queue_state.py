"""How far behind a work queue is, and who works on it: asked of Redis, and of nobody else.

Times are Redis's own: an entry's id says when it was queued. Not guaranteed: one moment for all numbers of a queue.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from redis.asyncio import Redis

from sluiceway import keys
from sluiceway.queue.partitions import partitions_in_use
from sluiceway.queue.work_queue import Producer
from sluiceway.redis.client import commands

_NOTHING_DELIVERED = b"0-0"
# Who has an entry is told with his silence, whatever the lease.
_ANY_LEASE = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class ConsumerState:
    """A worker, by its name at the queue. `idle_seconds`: since it last asked for, or renewed, an entry."""

    name: str
    in_flight: int
    idle_seconds: float


@dataclass(frozen=True, slots=True)
class QueueState:
    """`waiting`: entries that no worker has, the oldest for `waiting_seconds`; `in_lanes` of them wait behind another
    one of their user or organisation. `in_flight`: entries that a worker has; the oldest was queued
    `in_flight_seconds` ago. None: there is none."""

    kind: str
    waiting: int
    in_flight: int
    waiting_seconds: float | None
    in_flight_seconds: float | None
    consumers: tuple[ConsumerState, ...]
    in_lanes: int = 0


async def queue_states(redis: Redis, kinds: Sequence[str]) -> list[QueueState]:
    """In their order, the partitions of each as one, in three round trips. Raises RedisUnavailable."""
    partitions = await partitions_in_use(redis, kinds)
    names = [(kind, partition) for kind, used in zip(kinds, partitions, strict=True) for partition in used]
    states = await _partition_states(redis, names)
    return [_together([state for state in states if state.kind == kind]) for kind in kinds]


async def _partition_states(redis: Redis, partitions: Sequence[tuple[str, int]]) -> list[QueueState]:
    names = [(keys.work_queue(*one), keys.lane_entries(*one)) for one in partitions]
    asked = [
        ask
        for name, lanes in names
        for ask in (
            ("XLEN", name),
            ("XINFO", "GROUPS", name),
            ("XINFO", "CONSUMERS", name, keys.GROUP),
            ("XLEN", lanes),
        )
    ]
    answers = iter(await commands(redis, asked))
    seen = [
        (_number(length), _group(groups), consumers, _number(in_lanes))
        for length, groups, consumers, in_lanes in zip(answers, answers, answers, answers, strict=True)
    ]
    ends: list[tuple[str | bytes | int, ...]] = [("TIME",)]
    for (name, lanes), (_, group, _, _) in zip(names, seen, strict=True):
        behind = b"(" + group.get(b"last-delivered-id", _NOTHING_DELIVERED)
        ends += [("XRANGE", name, start, "+", "COUNT", 1) for start in ("-", behind)]
        ends.append(("XRANGE", lanes, "-", "+", "COUNT", 1))
    (seconds, micros), *firsts = await commands(redis, ends)
    now_ms = int(seconds) * 1000 + int(micros) // 1000
    return [
        _state(kind, *told, firsts[place * 3 : place * 3 + 3], now_ms)
        for place, ((kind, _), told) in enumerate(zip(partitions, seen, strict=True))
    ]


def _together(states: Sequence[QueueState]) -> QueueState:
    if len(states) == 1:
        return states[0]
    consumers: dict[str, ConsumerState] = {}
    for one in (one for state in states for one in state.consumers):
        known = consumers.get(one.name, ConsumerState(one.name, 0, one.idle_seconds))
        idle_seconds = min(known.idle_seconds, one.idle_seconds)
        consumers[one.name] = ConsumerState(one.name, known.in_flight + one.in_flight, idle_seconds)
    return QueueState(
        kind=states[0].kind,
        waiting=sum(state.waiting for state in states),
        in_flight=sum(state.in_flight for state in states),
        waiting_seconds=_longest(state.waiting_seconds for state in states),
        in_flight_seconds=_longest(state.in_flight_seconds for state in states),
        consumers=tuple(consumers[name] for name in sorted(consumers)),
        in_lanes=sum(state.in_lanes for state in states),
    )


def _longest(seconds: Iterable[float | None]) -> float | None:
    return max((one for one in seconds if one is not None), default=None)


def _state(
    kind: str, length: int, group: dict[bytes, Any], consumers: Any, in_lanes: int, firsts: Sequence[Any], now_ms: int
) -> QueueState:
    """`firsts`: the oldest entry of the queue, of those that no worker had, and of those in lanes."""
    first, unread, of_lane = (_age(entries, now_ms) for entries in firsts)
    in_flight = int(group.get(b"pending", 0))
    unread_number = max(0, length - in_flight)
    waits = [age for age, number in ((unread, unread_number), (of_lane, in_lanes)) if number and age is not None]
    return QueueState(
        kind=kind,
        waiting=unread_number + in_lanes,
        in_flight=in_flight,
        waiting_seconds=max(waits, default=None),
        in_flight_seconds=first if in_flight else None,
        consumers=tuple(_consumer(_pairs(one)) for one in consumers) if isinstance(consumers, list) else (),
        in_lanes=in_lanes,
    )


def _group(answer: Any) -> dict[bytes, Any]:
    """A queue that nothing was put into, or that nobody has read, has none."""
    groups = [_pairs(one) for one in answer] if isinstance(answer, list) else []
    return next((one for one in groups if one.get(b"name") == keys.GROUP.encode()), {})


def _consumer(told: dict[bytes, Any]) -> ConsumerState:
    return ConsumerState(told[b"name"].decode(errors="replace"), int(told[b"pending"]), int(told[b"idle"]) / 1000)


def _pairs(flat: Any) -> dict[bytes, Any]:
    """As RESP2 and redis-py's own parsers tell of it."""
    if isinstance(flat, dict):
        return {name if isinstance(name, bytes) else str(name).encode(): value for name, value in flat.items()}
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _number(answer: Any) -> int:
    return answer if isinstance(answer, int) else 0


def _age(entries: Any, now_ms: int) -> float | None:
    if not isinstance(entries, list) or not entries:
        return None
    return max(0, now_ms - int(entries[0][0].split(b"-")[0])) / 1000


@dataclass(frozen=True, slots=True)
class EntryHolder:
    """Who has an entry in flight, dead or alive: `idle_seconds` ago it last renewed its lease."""

    consumer: str
    idle_seconds: float


@dataclass(frozen=True, slots=True)
class EntryPlace:
    """`queued`: it is in its queue, in flight or waiting. `holder`: who has it in flight."""

    queued: bool = False
    holder: EntryHolder | None = None


async def entry_places(redis: Redis, entries: Sequence[tuple[str, str]]) -> dict[tuple[str, str], EntryPlace]:
    """Of entries, each (kind of queue, entry id). Raises RedisUnavailable."""
    places: dict[tuple[str, str], EntryPlace] = {}
    for kind in sorted({kind for kind, _ in entries}):
        ids = [entry for of_kind, entry in entries if of_kind == kind]
        for entry, state in (await Producer(redis, kind).states(ids, _ANY_LEASE)).items():
            holder = EntryHolder(state.consumer, state.silent_ms / 1000) if state.consumer is not None else None
            places[kind, entry] = EntryPlace(state.where != "gone", holder)
    return places
