"""Titles that a model makes for sessions: asked for by one turn at a time, and never over a title that is there."""

from datetime import timedelta

from sluiceway.store.database.pool import Pool


class TitleStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def begin(self, session_id: str, task_id: str, patience: timedelta, *, resumed: bool = False) -> bool:
        """Whether this turn is to make the session's title. False: there is one, it is temporary, or another turn is at
        it, and has not been for longer than `patience`. A turn that was taken over begins again: who was at it is dead.
        Not so one that is resumed behind its tools."""
        async with self._pool.connection() as connection:
            begun = await connection.fetchval(
                "UPDATE sessions SET title_task_id = $2, title_begun_at = now()"
                " WHERE id = $1 AND title IS NULL AND NOT title_by_user AND NOT temporary"
                " AND (title_task_id IS NULL OR title_task_id = $2 AND NOT $4"
                "   OR title_begun_at < now() - $3::interval)"
                " RETURNING true",
                session_id,
                task_id,
                patience,
                resumed,
            )
        return begun is not None

    async def give(self, session_id: str, title: str) -> bool:
        """Give the session its title. False: it has one, of a person or of another turn, or is gone."""
        async with self._pool.connection() as connection:
            given = await connection.fetchval(
                "UPDATE sessions SET title = $2 WHERE id = $1 AND title IS NULL AND NOT title_by_user RETURNING true",
                session_id,
                title,
            )
        return given is not None
