"""What it takes to live on where Postgres went back a little: a restore, PITR, a failover to an asynchronous standby.

The mark is a number that only grows. Who keeps a copy of it elsewhere notices that Postgres has a lower one. The ids of
the webhook journal go to other places (receipts in queues, progress in streams), so after that they begin beyond what
was given out before. Each method is one statement, and may be done again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sluiceway.store.database.pool import Pool
from sluiceway.store.records import COMPLETABLE, LIVE, TASK_COLUMNS, Task, task_of

# More ids of the journal than are given out between two marks.
_SKIPPED_IDS = 100_000


@dataclass(frozen=True, slots=True)
class StoreMark:
    """`journal_id`: the last one given out. `server`: when the server was started, another one after a failover."""

    number: int
    journal_id: int
    server: datetime


class RewindStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def mark(self) -> StoreMark:
        """The next mark: greater than all before it, as far as this Postgres knows."""
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(
                "INSERT INTO store_mark (number) VALUES (1) ON CONFLICT (is_only) DO UPDATE"
                " SET number = store_mark.number + 1 RETURNING number,"
                " (SELECT last_value FROM webhook_journal_id_seq) AS journal_id, pg_postmaster_start_time() AS server"
            )
        assert row is not None  # noqa: S101 - an upsert answers its row
        return StoreMark(**dict(row))

    async def skip(self, mark: StoreMark) -> None:
        """Go beyond a mark that was given out before Postgres went back, and beyond the ids of that time."""
        async with self._pool.connection() as connection:
            await connection.execute(
                "WITH ids AS (SELECT setval('webhook_journal_id_seq',"
                "   greatest((SELECT last_value FROM webhook_journal_id_seq), $2::bigint + $3::bigint)))"
                " UPDATE store_mark SET number = greatest(number, $1) FROM ids",
                mark.number,
                mark.journal_id,
                _SKIPPED_IDS,
            )

    async def unknown(self, task_ids: Sequence[str]) -> set[str]:
        """Which of these turns Postgres does not have."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch("SELECT id FROM tasks WHERE id = ANY($1::text[])", task_ids)
        return set(task_ids) - {row["id"] for row in rows}

    async def open_of(self, task_ids: Sequence[str]) -> dict[str, str]:
        """The operations of these turns that have not ended, each with its turn."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                f"SELECT id, task_id FROM operations WHERE task_id = ANY($1::text[]) AND {COMPLETABLE}", task_ids
            )
        return {row["id"]: row["task_id"] for row in rows}

    async def adopt(self, task: Task, attempt: int) -> bool:
        """Let a later attempt, whose holder lives, be the one that runs the turn. What the turn waited for is behind
        that attempt; what never blocked it goes on. False: the turn has moved on."""
        async with self._pool.connection() as connection:
            adopted = await connection.fetchval(
                "WITH adopted AS (UPDATE tasks SET attempt = $3, status = 'running', open_operations = 0,"
                f"   started_at = coalesce(started_at, now()) WHERE id = $1 AND attempt = $2 AND {LIVE} RETURNING id),"
                " passed AS (UPDATE operations o SET status = 'cancelled', ended_at = now() FROM adopted"
                f"   WHERE o.task_id = adopted.id AND o.{COMPLETABLE} AND NOT o.background) SELECT id FROM adopted",
                task.id,
                task.attempt,
                attempt,
            )
        return adopted is not None

    async def overtake(self, task: Task, attempt: int) -> Task | None:
        """Raise the attempt of a live turn to that one, which followers may have seen entries of. None: it has moved
        on."""
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(
                "UPDATE tasks SET attempt = greatest(attempt, $3) WHERE id = $1 AND attempt = $2"
                f" AND {LIVE} RETURNING {TASK_COLUMNS}",
                task.id,
                task.attempt,
                attempt,
            )
        return task_of(row) if row is not None else None
