"""Parked completions: those that came before their operation was known."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sluiceway.store.pool import Connection


@dataclass(frozen=True, slots=True)
class Parked:
    """`fits`: whose it is can be told by now. `outdated`: it waits for too long."""

    id: int
    body: dict[str, Any]
    fits: bool
    outdated: bool


async def park(connection: Connection, operation_id: str | None, task_id: str | None, body: dict[str, Any]) -> None:
    await connection.execute(
        "INSERT INTO parked_completions (operation_id, task_id, body) SELECT $1::text, $2::text, $3::jsonb"
        " WHERE NOT EXISTS (SELECT 1 FROM parked_completions WHERE operation_id IS NOT DISTINCT FROM $1::text"
        " AND task_id IS NOT DISTINCT FROM $2::text AND body = $3::jsonb)",
        operation_id,
        task_id,
        body,
    )


async def parked(connection: Connection, after_id: int, older_than: timedelta, limit: int) -> list[Parked]:
    """Each with whether its operation is known, or its task waits for just one, or waits for nothing any more."""
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


async def give_up(connection: Connection, parked_id: int, queue: str, reason: str) -> None:
    await connection.execute(
        "WITH given_up AS (DELETE FROM parked_completions WHERE id = $1 RETURNING id, task_id, body)"
        " INSERT INTO dead_letters (queue, entry_id, body, reason, deliveries, task_id)"
        " SELECT $2, 'parked-' || id, convert_to(body::text, 'UTF8'), $3, 1, task_id FROM given_up"
        " ON CONFLICT (queue, entry_id) DO NOTHING",
        parked_id,
        queue,
        reason,
    )
