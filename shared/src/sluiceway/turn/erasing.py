"""Erasing from Redis what was deleted in Postgres: streams, agent events, job events, and what counts for them.

Guarantees: idempotent; a holder that still writes is fenced, and so is one that comes late; who follows a live turn
sees it aborted. Methods raise RedisUnavailable; calling them again then is right: `erasures` in Postgres is the outbox.
Not guaranteed: what a program outside publishes later under the id of a job that was deleted lives for RETENTION. The
routes show it to nobody.
"""

import contextlib
from collections.abc import Sequence

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from sluiceway import keys
from sluiceway.errors import Fenced
from sluiceway.feeds.agent_events import AgentStreams
from sluiceway.process.retention import Retention
from sluiceway.redis.client import answered, commands
from sluiceway.store import Store
from sluiceway.store.sessions.erasing import Erasure
from sluiceway.stream.reader import TaskReader
from sluiceway.stream.registry import TaskRegistry
from sluiceway.stream.task_meta import TaskMeta
from sluiceway.stream.task_snapshot import TaskSnapshot
from sluiceway.stream.writer import TaskWriter
from sluiceway.turn.shown import UNREADABLE, Durable, as_shown
from sluiceway.wire.events import Abort, Event, Finish

_AT_ONCE = 200
_CANCELLED = "CANCELLED: The turn was deleted before the tool had ended."


class TurnErasing:
    def __init__(
        self,
        redis: Redis,
        store: Store,
        registry: TaskRegistry,
        writer: TaskWriter,
        reader: TaskReader,
        kept: Retention,
    ) -> None:
        self._redis = redis
        self._store = store
        self._registry = registry
        self._writer = writer
        self._reader = reader
        self._agents = AgentStreams(redis, kept)

    async def erase(self, erasures: Sequence[Erasure]) -> None:
        """Everything that Redis has of these turns. Raises also StoreUnavailable: then it is done again."""
        for begin in range(0, len(erasures), _AT_ONCE):
            some = erasures[begin : begin + _AT_ONCE]
            await self._erase(some)
            await self._store.erasures.erased([one.task_id for one in some])

    async def erase_stream(self, task_id: str) -> None:
        """The stream of one turn that Postgres does not have any more."""
        await self._erase_streams([task_id])

    async def _erase(self, erasures: Sequence[Erasure]) -> None:
        task_ids = [one.task_id for one in erasures]
        await self._erase_streams(task_ids)
        operations = [operation_id for one in erasures for operation_id in one.operation_ids]
        # A tool that has agents tells of them under the id of its operation.
        await self._agents.erase([*task_ids, *operations])
        names = [name for one in operations for name in (keys.job_events(one), keys.rate(keys.PROGRESS_RATE, one))]
        for answer in await commands(self._redis, [("DEL", name) for name in names]):
            answered(answer)

    async def _erase_streams(self, task_ids: Sequence[str]) -> None:
        for task_id, seen in zip(task_ids, await self._registry.snapshots(task_ids), strict=True):
            meta = _live(seen)
            await self._writer.erase(task_id, await self._closing(meta) if meta is not None else ())
            if meta is not None:
                await self._registry.inactive(meta.session_id, task_id)

    async def _closing(self, meta: TaskMeta) -> list[Event]:
        """What ends a live stream for its followers, as they have seen it. Its holder adds nothing to that any more."""
        with contextlib.suppress(Fenced):  # it has ended
            await self._writer.begin(meta.fields, meta.attempt + 1)
        try:
            fold, _ = as_shown(await self._reader.read(meta.task_id), Durable())
        except UNREADABLE:
            return [Abort(), Finish()]
        return [*fold.abandoned_calls(_CANCELLED), *fold.closers(), Abort(), Finish()]


def _live(seen: TaskSnapshot) -> TaskMeta | None:
    """What Redis has of a turn that has not ended."""
    try:
        meta = seen.meta
    except (ResponseError, *UNREADABLE):
        return None
    return meta if meta is not None and not meta.ended else None
