"""The reconciler's look at what is old enough to go: some of each kind in a round, as long as there is more.

A kind of which nothing more was found is not asked for again for a minute. The words of sessions that go are erased
from Redis as those of sessions that their owners delete.
"""

import time
from datetime import timedelta
from functools import partial

from sluiceway.process.logs import get_logger
from sluiceway.store import Store
from sluiceway.store.operating.retention import KeptFor, RowKind, SessionKind
from sluiceway.turn.erasing import TurnErasing

from completion_consumer.reconciler.round import Round

_ROWS_AT_ONCE = 500
_SESSIONS_AT_ONCE = 20
_AGAIN_SECONDS = 60.0


class Retention:
    def __init__(self, store: Store, erasing: TurnErasing, kept_for: KeptFor) -> None:
        self._store = store
        self._erasing = erasing
        self._kept_for = kept_for
        self._not_before: dict[str, float] = {}
        self._log = get_logger()

    async def look(self, current: Round) -> None:
        """Raises LeadershipLost."""
        for kind, age in self._kept_for.rows.items():
            await current.part("retention", partial(self._purge, kind, age))
        for kind_of_session, age in self._kept_for.sessions.items():
            await current.part("retention", partial(self._purge_sessions, kind_of_session, age))

    async def _purge(self, kind: RowKind, age: timedelta, current: Round) -> None:
        if self._is_due(kind):
            found = await self._store.retention.purge(kind, age, _ROWS_AT_ONCE)
            self._note(current, kind, found, full=found == _ROWS_AT_ONCE)

    async def _purge_sessions(self, kind: SessionKind, age: timedelta, current: Round) -> None:
        if self._is_due(kind):
            deleted = await self._store.retention.purge_sessions(kind, age, _SESSIONS_AT_ONCE)
            self._note(current, kind, len(deleted), full=len(deleted) == _SESSIONS_AT_ONCE)
            # Where this breaks off it is due all the same: see due_erasures.py.
            await self._erasing.erase([erasure for session in deleted for erasure in session])

    def _is_due(self, kind: str) -> bool:
        return time.monotonic() >= self._not_before.get(kind, 0.0)

    def _note(self, current: Round, kind: str, found: int, *, full: bool) -> None:
        self._not_before[kind] = time.monotonic() + (0 if full else _AGAIN_SECONDS)
        if found:
            current.count(kind, found)
            self._log.info("retention", kind=kind, rows=found)
