"""Erasing from Redis what was deleted in Postgres: streams, agent events, job events, and what counts for them.

Guarantees: idempotent; a holder that still writes is fenced, and so is one that comes late; who follows a live turn
sees it aborted. Methods raise RedisUnavailable; calling them again then is right: `erasures` in Postgres is the outbox.
Not guaranteed: what a program outside publishes later under the id of a job that was deleted lives for RETENTION. The
routes show it to nobody.
"""

from collections.abc import Sequence

from redis.asyncio import Redis

from sluiceway import keys
from sluiceway.feeds.agent_events import AgentStreams
from sluiceway.process.retention import Retention
from sluiceway.redis_client import answered, commands
from sluiceway.store import Store
from sluiceway.store.erasing import Erasure
from sluiceway.stream.reader import TaskReader
from sluiceway.stream.registry import TaskRegistry
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
        snapshot = (await self._registry.snapshots([task_id]))[0]
        await self._writer.erase(task_id, await self._closing(task_id) if _is_live(snapshot.answer) else ())

    async def _erase(self, erasures: Sequence[Erasure]) -> None:
        for one, seen in zip(erasures, await self._registry.snapshots([one.task_id for one in erasures]), strict=True):
            closing = await self._closing(one.task_id) if _is_live(seen.answer) else ()
            await self._writer.erase(one.task_id, closing)
            await self._registry.inactive(one.session_id, one.task_id)
            await self._agents.erase(one.task_id)
        operations = [operation_id for one in erasures for operation_id in one.operation_ids]
        names = [name for one in operations for name in (keys.job_events(one), keys.webhook_rate(one))]
        for answer in await commands(self._redis, [("DEL", name) for name in names]):
            answered(answer)

    async def _closing(self, task_id: str) -> list[Event]:
        """What ends the stream for its followers, as they have seen it."""
        try:
            fold, _ = as_shown(await self._reader.read(task_id), Durable())
        except UNREADABLE:
            return [Abort(), Finish()]
        return [*fold.abandoned_calls(_CANCELLED), *fold.closers(), Abort(), Finish()]


def _is_live(answer: object) -> bool:
    status = answer.get(b"status") if isinstance(answer, dict) else None
    return status in (b"queued", b"running", b"waiting")
