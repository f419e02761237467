"""Dead letters: queue entries that nobody could handle, with their bytes and the reason."""

from dataclasses import dataclass
from datetime import datetime

from sluiceway.store.pool import Pool
from sluiceway.wire.json_values import clean_text

MAX_REASON_CHARS = 2000


@dataclass(frozen=True, slots=True)
class DeadLetter:
    id: int
    queue: str
    entry_id: str
    body: bytes
    reason: str
    deliveries: int
    task_id: str | None
    created_at: datetime


class DeadLetterStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(
        self,
        *,
        queue: str,
        entry_id: str,
        body: bytes,
        reason: str,
        deliveries: int,
        task_id: str | None,
        operation_id: str | None = None,
    ) -> None:
        """Keep an entry, with its bytes as they are; the same entry again changes nothing. One about what was deleted
        is not kept."""
        async with self._pool.connection() as connection:
            await connection.execute(
                "INSERT INTO dead_letters (queue, entry_id, body, reason, deliveries, task_id)"
                " SELECT $1, $2, $3, $4, $5, $6::text WHERE NOT EXISTS (SELECT 1 FROM erasures WHERE id IN ($6, $7))"
                " ON CONFLICT (queue, entry_id) DO NOTHING",
                queue,
                entry_id,
                body,
                clean_text(reason)[:MAX_REASON_CHARS],
                deliveries,
                clean_text(task_id) if task_id is not None else None,
                clean_text(operation_id) if operation_id is not None else None,
            )

    async def newest(self, limit: int) -> list[DeadLetter]:
        async with self._pool.connection() as connection:
            rows = await connection.fetch("SELECT * FROM dead_letters ORDER BY id DESC LIMIT $1", limit)
        return [DeadLetter(**dict(row)) for row in rows]
