"""What Postgres does not keep for ever: old rows, batch by batch.

Guarantees: a batch is one short transaction that waits for no lock longer than a second and leaves out what others
have locked; each finds its rows by an index. Nothing of a live turn goes. What makes a request that is sent again the
same request stays: the turn of a message and the message's id for as long as their session, a webhook's id for as long
as KEEP_JOURNAL_DAYS.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import asyncpg

from sluiceway.errors import StoreUnavailable
from sluiceway.store.database.pool import Pool
from sluiceway.store.records import LIVE
from sluiceway.store.sessions.erasing import Erasure, delete_session

RowKind = Literal["old_operations", "old_journal", "old_dead_letters", "old_superseded", "old_erasures"]
SessionKind = Literal["old_sessions", "old_anonymous_sessions", "old_temporary_sessions"]


@dataclass(frozen=True, slots=True)
class KeptFor:
    """How long rows are kept; those of a kind that is not named, for ever."""

    rows: dict[RowKind, timedelta]
    sessions: dict[SessionKind, timedelta]


_LOCK = "SET LOCAL lock_timeout = '1s'"
# With their inputs and whole results; the journal of each goes with it. The conversation has what it shows of them.
_OPERATIONS = (
    "DELETE FROM operations WHERE id IN (SELECT o.id FROM operations o JOIN tasks t ON t.id = o.task_id"
    " WHERE o.ended_at < now() - $1::interval AND t.ended_at IS NOT NULL"
    " ORDER BY o.ended_at LIMIT OF_BATCH FOR UPDATE OF o SKIP LOCKED)"
)
_JOURNAL = (
    "DELETE FROM webhook_journal WHERE id IN (SELECT id FROM webhook_journal WHERE received_at < now() - $1::interval"
    " AND outcome <> 'received' ORDER BY received_at LIMIT OF_BATCH FOR UPDATE SKIP LOCKED)"
)
_DEAD_LETTERS = (
    "DELETE FROM dead_letters WHERE id IN (SELECT id FROM dead_letters WHERE created_at < now() - $1::interval"
    " ORDER BY created_at LIMIT OF_BATCH FOR UPDATE SKIP LOCKED)"
)
# The words go, the row stays: by its id a message that is sent again is recognised.
_SUPERSEDED = (
    "WITH old AS (SELECT session_id, id FROM messages WHERE superseded AND parts <> '[]' AND done"
    " AND coalesce(superseded_at, created_at) < now() - $1::interval"
    " ORDER BY coalesce(superseded_at, created_at) LIMIT OF_BATCH FOR UPDATE SKIP LOCKED)"
    " , said AS (DELETE FROM feedback f USING old WHERE f.session_id = old.session_id AND f.message_id = old.id)"
    " UPDATE messages m SET parts = '[]', metadata = NULL FROM old"
    " WHERE m.session_id = old.session_id AND m.id = old.id"
)
_ERASURES = (
    "DELETE FROM erasures WHERE id IN (SELECT id FROM erasures WHERE deleted_at < now() - $1::interval"
    " AND due_at IS NULL ORDER BY deleted_at LIMIT OF_BATCH FOR UPDATE SKIP LOCKED)"
)
_ROWS: dict[RowKind, str] = {
    "old_operations": _OPERATIONS,
    "old_journal": _JOURNAL,
    "old_dead_letters": _DEAD_LETTERS,
    "old_superseded": _SUPERSEDED,
    "old_erasures": _ERASURES,
}
# A turn in the background is none that is active, and yet the session lives.
_IDLE = (
    "SELECT id FROM sessions s WHERE active_task_id IS NULL AND updated_at < now() - $1::interval"
    f" AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.session_id = s.id AND t.{LIVE})"
)
_SESSIONS: dict[SessionKind, str] = {
    "old_sessions": _IDLE,
    "old_anonymous_sessions": f"{_IDLE} AND user_id LIKE 'anon:%'",
    "old_temporary_sessions": f"{_IDLE} AND temporary",
}
_BY_AGE = "ORDER BY updated_at LIMIT OF_BATCH FOR UPDATE SKIP LOCKED"


class RetentionStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def purge(self, kind: RowKind, older_than: timedelta, limit: int) -> int:
        """Let go of the oldest, at most so many; how many they were."""
        status = "0"
        async with _unless_locked(), self._pool.transaction() as connection:
            await connection.execute(_LOCK)
            status = await connection.execute(_at_most(limit, _ROWS[kind]), older_than)
        return int(status.rpartition(" ")[2])

    async def purge_sessions(self, kind: SessionKind, idle_for: timedelta, limit: int) -> list[list[Erasure]]:
        """Delete the sessions in which nothing happened for so long, at most so many; what is to be erased, of each."""
        async with _unless_locked(), self._pool.transaction() as connection:
            await connection.execute(_LOCK)
            rows = await connection.fetch(_at_most(limit, f"{_SESSIONS[kind]} {_BY_AGE}"), idle_for)
            return [await delete_session(connection, row["id"]) for row in rows]
        return []


def _at_most(limit: int, statement: str) -> str:
    """With the number in the text: of a parameter Postgres thinks it may be a tenth of the table, and reads it all."""
    return statement.replace("LIMIT OF_BATCH", f"LIMIT {limit:d}")


@asynccontextmanager
async def _unless_locked() -> AsyncIterator[None]:
    """Nothing happens where others have locked what would go along: it goes another time."""
    try:
        yield
    except StoreUnavailable as error:
        if not isinstance(error.__cause__, asyncpg.LockNotAvailableError):
            raise
