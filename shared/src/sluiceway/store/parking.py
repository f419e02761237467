"""Parked completions: those that came before their operation was known."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sluiceway.store.pool import Connection


@dataclass(frozen=True, slots=True)
class Parked:
    id: int
    body: dict[str, Any]


async def park(connection: Connection, operation_id: str | None, task_id: str | None, body: dict[str, Any]) -> None:
    await connection.execute(
        "INSERT INTO parked_completions (operation_id, task_id, body) SELECT $1::text, $2::text, $3::jsonb"
        " WHERE NOT EXISTS (SELECT 1 FROM parked_completions WHERE operation_id IS NOT DISTINCT FROM $1::text"
        " AND task_id IS NOT DISTINCT FROM $2::text AND body = $3::jsonb)",
        operation_id,
        task_id,
        body,
    )


async def fitting(connection: Connection, limit: int) -> list[Parked]:
    """Those whose operation is known, or whose task waits for just one, or waits for nothing any more."""
    rows = await connection.fetch(
        "SELECT id, body FROM parked_completions p WHERE EXISTS (SELECT 1 FROM operations WHERE id = p.operation_id)"
        " OR EXISTS (SELECT 1 FROM tasks WHERE id = p.task_id AND (ended_at IS NOT NULL OR open_operations = 1))"
        " ORDER BY id LIMIT $1",
        limit,
    )
    return [Parked(row["id"], row["body"]) for row in rows]


async def outdated(connection: Connection, older_than: timedelta, limit: int) -> list[int]:
    rows = await connection.fetch(
        "SELECT id FROM parked_completions WHERE parked_at < now() - $1::interval ORDER BY id LIMIT $2",
        older_than,
        limit,
    )
    return [row["id"] for row in rows]


async def give_up(connection: Connection, parked_ids: Sequence[int], queue: str, reason: str) -> None:
    await connection.execute(
        "WITH given_up AS (DELETE FROM parked_completions WHERE id = ANY($1::bigint[]) RETURNING id, task_id, body)"
        " INSERT INTO dead_letters (queue, entry_id, body, reason, deliveries, task_id)"
        " SELECT $2, 'parked-' || id, convert_to(body::text, 'UTF8'), $3, 1, task_id FROM given_up"
        " ON CONFLICT (queue, entry_id) DO NOTHING",
        parked_ids,
        queue,
        reason,
    )
