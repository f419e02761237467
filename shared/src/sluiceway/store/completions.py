"""The store of completions: ends of operations, deadlines, and completions that came before their operation.

Each method is one statement or one transaction, and may be done again; completing.py says how an operation ends.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal

from sluiceway.store.completing import (
    STRANDED,
    STRANDED_AFTER,
    Completion,
    Ending,
    Outcome,
    complete,
    end_operation,
)
from sluiceway.store.expiring import Expired, close_abandoned, expire_approvals, overdue, unanswered
from sluiceway.store.parking import Parked, give_up, park, parked
from sluiceway.store.pool import Pool
from sluiceway.store.records import OPERATION_COLUMNS, TASK_COLUMNS, Operation, Task, operation_of, task_of


class CompletionStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def complete(self, completion: Completion, *, unsure: bool = False) -> Outcome:
        """Apply a completion, once. One that comes late is noted as such in the journal, if it came by it.

        `unsure`: this caller has tried before, and the answer was lost. What is found applied may be its own doing, so
        it is to queue the next step; another that does so too does no harm.
        """
        async with self._pool.connection() as connection:
            outcome = await complete(connection, completion, unsure)
            if outcome.kind in ("repeat", "late") and completion.receipt is not None:
                await connection.execute(
                    "UPDATE webhook_journal SET outcome = 'late', applied_at = now()"
                    " WHERE id = $1 AND outcome = 'received'",
                    completion.receipt,
                )
        return outcome

    async def note_progress(self, receipt: int, outcome: Literal["applied", "late", "superseded"]) -> None:
        """Write down what came of a progress report that came by the webhook."""
        async with self._pool.connection() as connection:
            await connection.execute(
                "UPDATE webhook_journal SET outcome = $2, applied_at = now() WHERE id = $1 AND outcome = 'received'",
                receipt,
                outcome,
            )

    async def overdue(self, limit: int, without: Sequence[str] = ()) -> list[Operation]:
        """Operations whose deadline has passed, the oldest first."""
        async with self._pool.connection() as connection:
            return await overdue(connection, limit, without)

    async def expire(self, operation: Operation, ending: Ending) -> Outcome | None:
        """End an operation whose deadline has passed. None: it has ended otherwise meanwhile."""
        async with self._pool.connection() as connection:
            outcome = await end_operation(connection, operation.id, operation.task_id, ending)
            if outcome is None:
                await close_abandoned(connection, operation.id)
        return outcome

    async def unanswered(self, limit: int, without: Sequence[str] = ()) -> list[str]:
        """Sessions with calls that no person has answered in time."""
        async with self._pool.connection() as connection:
            return await unanswered(connection, limit, without)

    async def expire_approvals(self, session_id: str, ending: Ending) -> list[Expired]:
        """End the calls of a session that no person has answered in time. The turn that asked has ended, as a rule:
        nothing goes on."""
        async with self._pool.transaction() as connection:
            return await expire_approvals(connection, session_id, ending.part_fields, ending.error)

    async def park(self, operation_id: str | None, task_id: str | None, body: dict[str, Any]) -> None:
        """Keep a completion until its operation is known. `body` is clean JSON; the same one again changes nothing."""
        async with self._pool.connection() as connection:
            await park(connection, operation_id, task_id, body)

    async def parked(self, after_id: int, older_than: timedelta, limit: int) -> list[Parked]:
        """A page, in order of id, of parked completions; `outdated` are those that wait for longer than that."""
        async with self._pool.connection() as connection:
            return await parked(connection, after_id, older_than, limit)

    async def unpark(self, parked_id: int) -> None:
        async with self._pool.connection() as connection:
            await connection.execute("DELETE FROM parked_completions WHERE id = $1", parked_id)

    async def give_up(self, parked_id: int, queue: str, reason: str) -> None:
        """Make a dead letter of a parked completion."""
        async with self._pool.connection() as connection:
            await give_up(connection, parked_id, queue, reason)

    async def stranded(self, after_id: str, limit: int) -> list[Task]:
        """A page, in order of id, of turns whose operations have ended, and whose next step is perhaps not queued."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                f"SELECT {TASK_COLUMNS} FROM tasks t WHERE id > $1 AND {STRANDED} ORDER BY id LIMIT $3",
                after_id,
                STRANDED_AFTER,
                limit,
            )
        return [task_of(row) for row in rows]

    async def unfinished(self, after_id: str, older_than: timedelta, limit: int) -> list[Operation]:
        """A page, in order of id, of operations that a runner should have in hand or in its queue since so long."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                f"SELECT {OPERATION_COLUMNS} FROM operations WHERE id > $1 AND status IN ('pending', 'running')"
                " AND coalesce(started_at, created_at) < now() - $2::interval ORDER BY id LIMIT $3",
                after_id,
                older_than,
                limit,
            )
        return [operation_of(row) for row in rows]
