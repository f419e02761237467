"""The reconciler's look back: turns that were finalized, and whose end Redis may have forgotten since.

After a failover, or a restart from disk, Redis is as it was a little while before. A turn that has ended may be live in
it again, with a stream that stops in mid-sentence, and nothing would ever end it: its row says that it was
finalized. Whenever the replication id of Redis differs from the last round's, and when a leader begins, the turns that
ended lately are compared with what Redis has of them. What is live there, or gone, is finalized again: the latest
first, as somebody may follow it, and some in each round, after those who wait for their answer.
Not promised: that a failover by which Redis falls back further than LATELY is noticed here.
"""

from datetime import datetime, timedelta

from redis.exceptions import ResponseError
from sluiceway.process.logs import get_logger
from sluiceway.store import Store
from sluiceway.store.records import Task
from sluiceway.stream.reader import TaskReader
from sluiceway.stream.registry import TaskRegistry
from sluiceway.stream.task_snapshot import TaskSnapshot
from sluiceway.turn.ending import TurnEnding

from completion_consumer.reconciler.round import Round

LATELY = timedelta(minutes=5)
_PAGE = 100
_LAST_ID = "~"


class ForgottenEnds:
    """`retention`: what ended longer ago may be gone from Redis by right."""

    def __init__(
        self, store: Store, registry: TaskRegistry, reader: TaskReader, ending: TurnEnding, *, retention: timedelta
    ) -> None:
        self._store = store
        self._registry = registry
        self._reader = reader
        self._ending = ending
        self._period = min(LATELY, retention / 2)
        self._replication_ids: frozenset[str] | None = None
        # Where in the turns that have ended lately the look is, and how far back it goes; None: it is through.
        self._place: tuple[datetime, str] | None = None
        self._since = datetime.min
        self._log = get_logger()

    async def look(self, current: Round) -> None:
        """Raises LeadershipLost."""
        await current.part("ends", self._look_back)

    async def _look_back(self, current: Round) -> None:
        replication_ids = await self._reader.replication_ids()
        if replication_ids != self._replication_ids:
            if self._replication_ids is not None:
                self._log.warning("redis_replaced")
            now = await self._store.now()
            self._since = now - self._period
            self._replication_ids, self._place = replication_ids, (now + self._period, _LAST_ID)
        if self._place is None:
            return
        page = await self._store.turns.ended_before(*self._place, self._since, _PAGE)
        seen = await self._registry.snapshots([task.id for task in page])
        last = page[-1] if len(page) == _PAGE else None
        self._place = (last.ended_at, last.id) if last is not None and last.ended_at is not None else None
        live = {task.id: task for task, one in zip(page, seen, strict=True) if not _has_ended(one)}
        await current.each("ends", live, self._end_again)

    async def _end_again(self, task: Task) -> str:
        await self._ending.finalize(task)
        self._log.info("turn_finalized", task_id=task.id, session_id=task.session_id, status=task.status)
        return "turn_finalized"


def _has_ended(seen: TaskSnapshot) -> bool:
    """What cannot be read has not: seeing to it fails, and says so."""
    try:
        return seen.meta is not None and seen.meta.ended
    except (ResponseError, ValueError, KeyError):
        return False
