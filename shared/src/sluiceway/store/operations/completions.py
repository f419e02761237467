"""Completions: ends of operations that runners and outside services report, and the turns that resume by them.

Guarantees: a report is applied once, and the first one counts; a later one is a repeat, or late, and says why. Each
method is one statement or one transaction, and may be done again. operation_end.py says how an operation ends.
"""

from datetime import timedelta
from typing import Literal

from sluiceway.store.database.pool import Connection, Pool
from sluiceway.store.operations.operation_end import EndOutcome, ReportedEnd, end_operation
from sluiceway.store.records import (
    ASKING,
    COMPLETABLE,
    LIVE,
    OPERATION_COLUMNS,
    TASK_COLUMNS,
    Operation,
    Task,
    operation_of,
    task_of,
)

# The consumer that ended a task's last operation queues its next step. After this time none is about to.
STRANDED_AFTER = timedelta(seconds=3)
STRANDED = (
    "(t.status = 'waiting' AND t.open_operations = 0 AND coalesce(t.retry_at <= now(), true) AND NOT EXISTS"
    " (SELECT 1 FROM operations o WHERE o.task_id = t.id AND o.ended_at > now() - $2::interval))"
)


class CompletionStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def complete(self, completion: ReportedEnd, *, unsure: bool = False) -> EndOutcome:
        """Apply a completion, once. One that comes late is noted as such in the journal, if it came by it.

        `unsure`: this caller has tried before, and the answer was lost. What is found applied may be its own doing, so
        it is to queue the next step; another that does so too does no harm.
        """
        async with self._pool.connection() as connection:
            outcome = await _complete(connection, completion, unsure)
            if outcome.kind in ("repeat", "late") and completion.receipt is not None:
                await connection.execute(
                    "UPDATE webhook_journal SET outcome = 'late', applied_at = now()"
                    " WHERE id = $1 AND operation_id = $2 AND outcome = 'received'",
                    completion.receipt,
                    completion.operation_id,
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

    async def put_off_progress(self, receipt: int) -> None:
        """Write down that a report of progress is to be shown later: the ones before it, of its operation, are not."""
        async with self._pool.connection() as connection:
            await connection.execute(
                "UPDATE webhook_journal SET outcome = 'superseded', applied_at = now()"
                " WHERE operation_id = (SELECT operation_id FROM webhook_journal WHERE id = $1) AND id < $1"
                " AND kind = 'progress' AND outcome = 'received'",
                receipt,
            )

    async def stranded(self, after_id: str, limit: int) -> list[Task]:
        """A page, in order of id, of turns whose operations have ended, or whose model is to be asked again, and whose
        next step is perhaps not queued."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                f"SELECT {TASK_COLUMNS} FROM tasks t WHERE id > $1 AND {STRANDED} ORDER BY id LIMIT $3",
                after_id,
                STRANDED_AFTER,
                limit,
            )
        return [task_of(row) for row in rows]


async def _complete(connection: Connection, completion: ReportedEnd, unsure: bool) -> EndOutcome:
    """See `CompletionStore.complete`; the journal of what comes late is not written here."""
    found = await _end_as_named(connection, completion) or await _find(connection, completion)
    while isinstance(found, Operation):
        if completion.task_id not in (None, found.task_id) and found.id == completion.operation_id:
            return EndOutcome("late", "the operation is another task's", found)
        if found.status in ("succeeded", "failed"):
            return await _repeat(connection, found, timedelta() if unsure else STRANDED_AFTER)
        if found.status in ASKING:
            return EndOutcome("late", "nobody was asked to work on the operation yet", found)
        if not found.open:
            return EndOutcome("late", f"the operation is {found.status}", found)
        applied = await end_operation(connection, found.id, found.task_id, completion.end, completion=completion)
        if applied is not None:
            return applied
        # Another one was quicker, or its turn has ended.
        again = await _by_id(connection, found.id)
        if again is not None and again.open:
            return EndOutcome("late", "the operation's turn has ended", again)
        found = again or EndOutcome("unknown")
    return found


async def _end_as_named(connection: Connection, completion: ReportedEnd) -> EndOutcome | None:
    """Most completions name their operation and its task, and are the first: these need no look at it before."""
    if completion.operation_id is None or completion.task_id is None:
        return None
    return await end_operation(
        connection, completion.operation_id, completion.task_id, completion.end, completion=completion
    )


async def _find(connection: Connection, completion: ReportedEnd) -> Operation | EndOutcome:
    if completion.operation_id is not None:
        operation = await _by_id(connection, completion.operation_id)
        if operation is not None:
            return operation
    return await _by_task(connection, completion)


async def _by_id(connection: Connection, operation_id: str) -> Operation | None:
    row = await connection.fetchrow(f"SELECT {OPERATION_COLUMNS} FROM operations WHERE id = $1", operation_id)
    return operation_of(row) if row is not None else None


async def _by_task(connection: Connection, completion: ReportedEnd) -> Operation | EndOutcome:
    """The only operation that the task waits for, or the one that this very completion has ended before."""
    rows = await connection.fetch(
        f"SELECT {OPERATION_COLUMNS}, completed_by FROM operations"
        f" WHERE task_id = $1 AND (completed_by = $2 OR {COMPLETABLE})",
        completion.task_id,
        completion.digest,
    )
    ended = [row for row in rows if row["completed_by"] == completion.digest]
    if ended or len(rows) == 1:
        return operation_of((ended or rows)[0])
    if rows and completion.operation_id is None:
        return EndOutcome("late", "it names no operation, and its task waits for several")
    task_ended = await connection.fetchval(f"SELECT NOT {LIVE} FROM tasks WHERE id = $1", completion.task_id)
    return EndOutcome("late", "its task has ended, and has no such operation") if task_ended else EndOutcome("unknown")


async def _repeat(connection: Connection, operation: Operation, stranded_after: timedelta) -> EndOutcome:
    row = await connection.fetchrow(
        f"SELECT {TASK_COLUMNS}, {STRANDED} AS stranded FROM tasks t WHERE id = $1",
        operation.task_id,
        stranded_after,
    )
    part = await connection.fetchval(
        "SELECT part FROM messages, jsonb_array_elements(parts) AS part"
        " WHERE session_id = $1 AND id = $2 AND part->>'toolCallId' = $3",
        operation.session_id,
        operation.message_id,
        operation.tool_call_id,
    )
    if row is None:
        return EndOutcome("unknown")
    return EndOutcome("repeat", "", operation, task_of(row), part, row["stranded"])
