"""What is known of a turn that does not end, from Postgres, Redis and the queue.

Guarantees: however many turns, Postgres is asked twice and Redis in a few round trips. Not guaranteed: one moment for
all of it; what has just changed may be told half.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.queue.queue_state import EntryHolder, EntryPlace, entry_places
from sluiceway.redis.client import commands, server_time_ms
from sluiceway.store.operating.ops import OperationSeen, TurnSeen
from sluiceway.stream.task_meta import TaskMeta

_STATUS = "data-status"


@dataclass(frozen=True, slots=True)
class OperationEvidence:
    """`holder`: the runner that has it in flight; None: nobody, or an outside service or a person is waited for."""

    seen: OperationSeen
    holder: EntryHolder | None = None
    queued: bool = False


@dataclass(frozen=True, slots=True)
class Evidence:
    """`meta`: what Redis has; None: it does not know the turn. `entry`: its queue entry, `queued` where it is still
    there, `holder` who has it. `shown`: how many events its stream has, `newest` the type of the last, and
    nothing followed it for `quiet_seconds`; None: not for long. `status`: what the worker last told the browser, where
    nothing was said since."""

    seen: TurnSeen
    meta: TaskMeta | None
    entry: str | None
    queued: bool
    holder: EntryHolder | None
    shown: int
    status: Mapping[str, Any] | None
    newest: str | None = None
    quiet_seconds: float | None = None
    operations: Sequence[OperationEvidence] = field(default_factory=tuple)


def entry_of(meta: TaskMeta | None) -> str | None:
    """The queue entry by which a turn is worked on, or will be."""
    if meta is None:
        return None
    return meta.held_entry if meta.status == "running" and meta.held_entry is not None else meta.queue_entry


async def evidence_of(redis: Redis, turns: Sequence[TurnSeen], operations: Sequence[OperationSeen]) -> list[Evidence]:
    """Of turns, in their order; `operations`: those of them that are open. Raises RedisUnavailable."""
    asked: list[tuple[str | int, ...]] = []
    for turn in turns:
        events = keys.task_events(turn.task.id)
        asked += [
            ("HGETALL", keys.task_meta(turn.task.id)),
            ("XLEN", events),
            ("XREVRANGE", events, "+", "-", "COUNT", 1),
        ]
    answers = iter(await commands(redis, asked))
    now_ms = await server_time_ms(redis)
    told = list(zip(answers, answers, answers, strict=True))
    metas = [TaskMeta.read(fields) if isinstance(fields, dict) else None for fields, _, _ in told]
    entries = [entry_of(meta) for meta in metas]
    places = await entry_places(redis, [(keys.CHAT, entry) for entry in entries if entry is not None])
    of_task: dict[str, list[OperationEvidence]] = {}
    for one in await operations_of(redis, operations):
        of_task.setdefault(one.seen.operation.task_id, []).append(one)
    return [
        Evidence(
            seen=turn,
            meta=meta,
            entry=entry,
            queued=place.queued,
            holder=place.holder,
            shown=length if isinstance(length, int) else 0,
            status=_status(last),
            newest=_type(last),
            quiet_seconds=_since(meta.quiet_since, now_ms) if meta is not None else None,
            operations=of_task.get(turn.task.id, ()),
        )
        for turn, meta, entry, (_, length, last) in zip(turns, metas, entries, told, strict=True)
        for place in [places.get((keys.CHAT, entry or ""), EntryPlace())]
    ]


async def operations_of(redis: Redis, seen: Sequence[OperationSeen]) -> list[OperationEvidence]:
    """Who has them, in their order. Raises RedisUnavailable."""
    asked = [("HGET", keys.task_meta(one.operation.task_id), f"entry:{one.operation.id}") for one in seen]
    noted = [answer.decode() if isinstance(answer, bytes) else None for answer in await commands(redis, asked)]
    known = [(keys.tool_queue(one.operation.queue), entry or "") for one, entry in zip(seen, noted, strict=True)]
    places = await entry_places(redis, [place for place in known if place[1]])
    return [
        OperationEvidence(one, place.holder, place.queued)
        for one, place in zip(seen, (places.get(one, EntryPlace()) for one in known), strict=True)
    ]


def _type(newest: Any) -> str | None:
    try:
        return str(newest[0][1][b"t"].decode())
    except (LookupError, TypeError, AttributeError):
        return None


def _since(at: int | None, now_ms: int) -> float | None:
    return max(0.0, now_ms / 1000 - at) if at is not None else None


def _status(newest: Any) -> Mapping[str, Any] | None:
    """Of the newest entry of a stream, if it is what the browser was told of how the turn stands."""
    if not isinstance(newest, list) or not newest or newest[0][1].get(b"t") != _STATUS.encode():
        return None
    try:
        data = json.loads(newest[0][1][b"d"])["data"]
    except (ValueError, KeyError, TypeError):
        return None
    return data if isinstance(data, dict) else None
