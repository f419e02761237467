"""Parked completions: those that came before their operation was known.

They wait for it, and are given up after a while. Each method is one statement, and may be done again.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sluiceway.store.database.pool import Pool


@dataclass(frozen=True, slots=True)
class Parked:
    """`fits`: whose it is can be told by now. `outdated`: it waits for too long."""

    id: int
    body: dict[str, Any]
    fits: bool
    outdated: bool


class ParkedStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(self, operation_id: str | None, task_id: str | None, body: dict[str, Any]) -> bool:
        """Keep a completion until its operation is known. `body` is clean JSON; the same one again changes nothing.
        False: what it is about was deleted, and it is not kept."""
        async with self._pool.connection() as connection:
            if await connection.fetchval(
                "SELECT EXISTS (SELECT 1 FROM erasures WHERE id IN ($1, $2))", operation_id, task_id
            ):
                return False
            await connection.execute(
                "INSERT INTO parked_completions (operation_id, task_id, body) SELECT $1::text, $2::text, $3::jsonb"
                " WHERE NOT EXISTS (SELECT 1 FROM parked_completions WHERE operation_id IS NOT DISTINCT FROM $1::text"
                " AND task_id IS NOT DISTINCT FROM $2::text AND body = $3::jsonb)",
                operation_id,
                task_id,
                body,
            )
        return True

    async def page(self, after_id: int, older_than: timedelta, limit: int) -> list[Parked]:
        """A page, in order of id; `outdated` are those that wait for longer than `older_than`. Each with whether its
        operation is known, or its task waits for just one, or waits for nothing any more."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                "SELECT p.id, p.body, p.parked_at < now() - $2::interval AS outdated,"
                " o.id IS NOT NULL OR coalesce(t.ended_at IS NOT NULL OR t.open_operations = 1, false) AS fits"
                " FROM (SELECT * FROM parked_completions WHERE id > $1 ORDER BY id LIMIT $3) p"
                " LEFT JOIN operations o ON o.id = p.operation_id LEFT JOIN tasks t ON t.id = p.task_id ORDER BY p.id",
                after_id,
                older_than,
                limit,
            )
        return [Parked(**dict(row)) for row in rows]

    async def remove(self, parked_id: int) -> None:
        """It was applied."""
        async with self._pool.connection() as connection:
            await connection.execute("DELETE FROM parked_completions WHERE id = $1", parked_id)

    async def give_up(self, parked_id: int, queue: str, reason: str) -> None:
        """Make a dead letter of it."""
        async with self._pool.connection() as connection:
            await connection.execute(
                "WITH given_up AS (DELETE FROM parked_completions WHERE id = $1 RETURNING id, task_id, body)"
                " INSERT INTO dead_letters (queue, entry_id, body, reason, deliveries, task_id)"
                " SELECT $2, 'parked-' || id, convert_to(body::text, 'UTF8'), $3, 1, task_id FROM given_up"
                " ON CONFLICT (queue, entry_id) DO NOTHING",
                parked_id,
                queue,
                reason,
            )
