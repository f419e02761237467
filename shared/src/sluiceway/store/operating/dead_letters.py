"""Dead letters: queue entries that nobody could handle, with their bytes and the reason."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sluiceway.store.database.pool import Pool
from sluiceway.wire.json_values import clean_text

MAX_REASON_CHARS = 2000
MOST_COUNTED = 10_000


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


_COLUMNS = ", ".join(DeadLetter.__slots__)


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

    async def counts(self) -> dict[str, int]:
        """How many there are, by the key of their queue: of the newest MOST_COUNTED, so that a scrape costs no more on
        a bad day."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                "SELECT queue, count(*) AS number FROM"
                " (SELECT queue FROM dead_letters ORDER BY id DESC LIMIT $1) AS newest GROUP BY queue",
                MOST_COUNTED,
            )
        return {row["queue"]: row["number"] for row in rows}

    async def page(
        self, queue: str | None, before_id: int | None, limit: int, task_id: str | None = None
    ) -> list[DeadLetter]:
        """The newest first; `queue`: its key."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                f"SELECT {_COLUMNS} FROM dead_letters WHERE ($1::text IS NULL OR queue = $1)"
                " AND ($2::bigint IS NULL OR id < $2) AND ($4::text IS NULL OR task_id = $4) ORDER BY id DESC LIMIT $3",
                queue,
                before_id,
                limit,
                task_id,
            )
        return [DeadLetter(**dict(row)) for row in rows]

    async def get(self, letter_id: int) -> DeadLetter | None:
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM dead_letters WHERE id = $1", letter_id)
        return DeadLetter(**dict(row)) if row is not None else None

    async def rewrite(self, letter_id: int, body: bytes, task_id: str | None) -> bool:
        """Let it say something else. False: there was none."""
        async with self._pool.connection() as connection:
            found = await connection.fetchval(
                "UPDATE dead_letters SET body = $2, task_id = coalesce($3, task_id) WHERE id = $1 RETURNING id",
                letter_id,
                body,
                task_id,
            )
        return found is not None

    async def remove(self, letter_id: int) -> bool:
        """False: there was none."""
        async with self._pool.connection() as connection:
            removed = await connection.fetchval("DELETE FROM dead_letters WHERE id = $1 RETURNING id", letter_id)
        return removed is not None

    async def purge(self, queue: str, older_than: timedelta) -> int:
        """Forget those of a queue; how many."""
        async with self._pool.connection() as connection:
            removed = await connection.fetch(
                "DELETE FROM dead_letters WHERE queue = $1 AND created_at < now() - $2::interval RETURNING id",
                queue,
                older_than,
            )
        return len(removed)

    async def newest(self, limit: int) -> list[DeadLetter]:
        async with self._pool.connection() as connection:
            rows = await connection.fetch("SELECT * FROM dead_letters ORDER BY id DESC LIMIT $1", limit)
        return [DeadLetter(**dict(row)) for row in rows]
