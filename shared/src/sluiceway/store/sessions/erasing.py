"""Deleting a session with all that is in it, and the outbox of what has to be erased outside of Postgres then.

Guarantees: the rows of the session, its dead letters, its parked completions and the files that no other session has
go in one transaction, and in the same one the ids of its turns and operations are noted. What is due is erased from
Redis by whoever deleted, or by the reconciler; and once more after a while, as a program that was under way may have
written again. A late word about what was deleted (a completion, a dead letter) is known by its id, and is not kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sluiceway.store.database.pool import Connection, Pool
from sluiceway.store.sessions.files import lock_files

# The deleting process has so long to do it itself.
_DUE_AFTER = timedelta(seconds=5)
_AGAIN_AFTER = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Erasure:
    """A turn that was deleted, with its operations."""

    task_id: str
    session_id: str
    operation_ids: tuple[str, ...] = ()


async def delete_session(connection: Connection, session_id: str) -> list[Erasure]:
    """Delete a session, whose row the caller holds; what is to be erased then."""
    # Live turns are locked first, as completions do it, before their messages: the cascade alone begins with those.
    await connection.execute(
        "SELECT 1 FROM tasks WHERE session_id = $1 AND status IN ('queued', 'running', 'waiting') FOR UPDATE",
        session_id,
    )
    await connection.execute(
        "INSERT INTO erasures (id, task_id, session_id, due_at)"
        " SELECT id, id, session_id, now() + $2::interval FROM tasks WHERE session_id = $1"
        " UNION ALL SELECT id, task_id, session_id, NULL FROM operations WHERE session_id = $1 ON CONFLICT DO NOTHING",
        session_id,
        _DUE_AFTER,
    )
    await connection.execute(
        "DELETE FROM dead_letters WHERE task_id IN (SELECT id FROM tasks WHERE session_id = $1)", session_id
    )
    await connection.execute(
        "DELETE FROM parked_completions WHERE task_id IN (SELECT id FROM tasks WHERE session_id = $1)"
        " OR operation_id IN (SELECT id FROM operations WHERE session_id = $1)",
        session_id,
    )
    found = await _of_tasks(connection, "SELECT id FROM tasks WHERE session_id = $1", session_id)
    await lock_files(connection, session_id)
    await connection.execute("DELETE FROM sessions WHERE id = $1", session_id)
    return found


class ErasureStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def due(self, limit: int, without: Sequence[str] = ()) -> list[Erasure]:
        """Turns whose keys are to be erased from Redis now, the oldest first."""
        async with self._pool.connection() as connection:
            return await _of_tasks(
                connection,
                "SELECT id FROM erasures WHERE due_at <= now() AND NOT id = ANY($2::text[]) ORDER BY due_at LIMIT $1",
                limit,
                without,
            )

    async def of_session(self, session_id: str) -> list[Erasure]:
        """What of a session that was deleted lately is still to be erased."""
        async with self._pool.connection() as connection:
            return await _of_tasks(
                connection,
                "SELECT id FROM erasures WHERE session_id = $1 AND due_at IS NOT NULL AND passes = 0",
                session_id,
            )

    async def session_of(self, task_id: str) -> str | None:
        """The session with which a turn was deleted; None: it was not, or longer ago than this is kept."""
        async with self._pool.connection() as connection:
            found: str | None = await connection.fetchval("SELECT session_id FROM erasures WHERE id = $1", task_id)
        return found

    async def erased(self, task_ids: Sequence[str]) -> None:
        """Redis has nothing of these any more. After the first time they are due once again."""
        async with self._pool.connection() as connection:
            await connection.execute(
                "UPDATE erasures SET passes = passes + 1, due_at = CASE WHEN passes = 0 THEN now() + $2::interval END"
                " WHERE id = ANY($1::text[]) AND due_at IS NOT NULL",
                task_ids,
                _AGAIN_AFTER,
            )


async def _of_tasks(connection: Connection, turns: str, *arguments: object) -> list[Erasure]:
    rows = await connection.fetch(
        "SELECT task_id, session_id, array_remove(array_agg(id), task_id) AS operations FROM erasures"
        f" WHERE task_id IN ({turns}) GROUP BY task_id, session_id",
        *arguments,
    )
    return [Erasure(row["task_id"], row["session_id"], tuple(row["operations"])) for row in rows]
