"""The reconciler's look at Redis: turns that it knows as live and that Postgres does not have any more.

After a restore, PITR, or a failover to an asynchronous standby, Postgres is as it was a little while before. Turns that
were accepted since then are gone from it, and live on in Redis, where nobody would ever end those that wait: they are
aborted, so that whoever follows one learns of it. The look goes through all tasks of Redis, some in each round,
whenever the mark in Redis is not behind that of Postgres (see `store/operating/rewinding.py`), whenever the server of
Postgres is another one, and when a leader begins. What Postgres has as live, and Redis further, is
`turn/catch_up.py`'s.

Not promised: that a turn which Redis knows as ended, and Postgres not at all, is in any history. Its stream expires.
"""

import time
from datetime import datetime

from redis.asyncio import Redis
from redis.exceptions import ResponseError
from sluiceway import keys
from sluiceway.process.logs import get_logger
from sluiceway.redis.client import command
from sluiceway.store import Store
from sluiceway.store.operating.rewinding import StoreMark
from sluiceway.stream.registry import TaskRegistry
from sluiceway.stream.task_meta import TaskMeta
from sluiceway.stream.task_snapshot import TaskSnapshot
from sluiceway.turn.ending import TurnEnding

from completion_consumer.reconciler.round import Round

_PAGE_KEYS = 1000
# Of a round, so that half a million keys are looked through within a minute.
_PAGES = 20
_NEWS_SECONDS = 900.0


class LostTurns:
    def __init__(
        self, redis: Redis, store: Store, registry: TaskRegistry, ending: TurnEnding, *, live_ttl_ms: int
    ) -> None:
        self._redis = redis
        self._store = store
        self._registry = registry
        self._ending = ending
        self._live_ttl_ms = live_ttl_ms
        self._server: datetime | None = None
        # Where in the keys of Redis the look is; None: it is through.
        self._cursor: int | None = None
        self._went_back: float | None = None
        self._lost = 0
        self._log = get_logger()

    async def told(self) -> str | None:
        """For operators, while it is news: Postgres went back, and what that took."""
        seconds = time.monotonic() - self._went_back if self._went_back is not None else _NEWS_SECONDS
        if seconds >= _NEWS_SECONDS:
            return None
        back = f"Postgres went back {seconds / 60:.0f} min ago (a restore or failover)"
        return f"{back}: what was stored since then is gone; {self._lost} turns were lost while they ran"

    async def look(self, current: Round) -> None:
        """Raises LeadershipLost."""
        await current.part("lost_turns", self._compare)
        await current.part("lost_turns", self._look_through)

    async def _compare(self, current: Round) -> None:
        told = await self._told()  # read before the next mark is made: no other leader's can be greater then
        mark = await self._store.rewinding.mark()
        if told is not None and told.number >= mark.number:
            self._log.error("store_went_back", told=told.number, found=mark.number)
            await self._store.rewinding.skip(told)
            current.count("store_went_back")
            self._cursor, self._went_back, self._lost = 0, time.monotonic(), 0
        if mark.server != self._server:
            self._server, self._cursor = mark.server, 0
        number = max(mark.number, told.number if told is not None else 0)
        text = f"{number} {mark.journal_id} {mark.server.isoformat()}"
        await command(self._redis, "SET", keys.STORE_MARK, text, "PX", self._live_ttl_ms)

    async def _told(self) -> StoreMark | None:
        """What Redis was told last; None, too, where nobody here has written what is there."""
        text = await command(self._redis, "GET", keys.STORE_MARK)
        if text is None:
            return None
        try:
            number, journal_id, server = text.decode().split()
            return StoreMark(int(number), int(journal_id), datetime.fromisoformat(server))
        except ValueError:
            self._log.error("store_mark_unreadable")
            return None

    async def _look_through(self, current: Round) -> None:
        for _ in range(_PAGES if self._cursor is not None else 0):
            after, task_ids = await self._registry.scan(self._cursor or 0, _PAGE_KEYS)
            live = await self._live(task_ids)
            unknown = await self._store.rewinding.unknown(list(live)) if live else set()
            await current.each("lost_turns", {task_id: live[task_id] for task_id in unknown}, self._abort)
            self._cursor = after or None
            if not after:
                return

    async def _live(self, task_ids: list[str]) -> dict[str, TaskMeta]:
        """Those that have not ended, as far as Redis knows."""
        seen = await self._registry.snapshots(task_ids)
        read = ((task_id, _meta_of(one)) for task_id, one in zip(task_ids, seen, strict=True))
        return {task_id: meta for task_id, meta in read if meta is not None and not meta.ended}

    async def _abort(self, meta: TaskMeta) -> str:
        await self._ending.forget(meta.task_id)
        self._log.error("turn_lost", task_id=meta.task_id, session_id=meta.session_id, status=meta.status)
        self._lost += 1
        return "turn_lost"


def _meta_of(seen: TaskSnapshot) -> TaskMeta | None:
    """What no script of ours has written is no task."""
    try:
        return seen.meta
    except (ResponseError, ValueError, KeyError):
        return None
