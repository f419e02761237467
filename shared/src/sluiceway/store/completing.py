"""Completions: how operations end by what runners and outside services say, or by their deadline.

Guarantees: an operation ends once, whoever says so and however often; its status, its result in the message, the
task's count of open operations and the journal change in one statement. Who brings the count to 0 learns it, and nobody
else does.
Lock order: the session's row (expiry of approvals only), then the task's, the operation's, the message's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from sluiceway.message import Part
from sluiceway.store.expiring import Expired, close_abandoned, expire_approvals, overdue
from sluiceway.store.parking import Parked, fitting, give_up, outdated, park
from sluiceway.store.pool import Connection, Pool
from sluiceway.store.records import (
    COMPLETABLE,
    LIVE,
    OPERATION_COLUMNS,
    TASK_COLUMNS,
    Operation,
    Task,
    operation_of,
    task_of,
)

# As in `message.answer_call`: what only earlier states of a part had goes. The message's own row is what is read here,
# so that two completions for the same message, one waiting for the other's lock, both stand in it.
_ANSWERED_PARTS = (
    "(SELECT coalesce(jsonb_agg(CASE WHEN part->>'toolCallId' = e.tool_call_id"
    "   THEN (part - '{output,preliminary,errorText}'::text[]) || $6::jsonb ELSE part END ORDER BY place), '[]')"
    "  FROM jsonb_array_elements(m.parts) WITH ORDINALITY AS p (part, place))"
)
_END = (
    f"WITH held AS (SELECT id FROM tasks WHERE id = $2 AND {LIVE} FOR UPDATE),"
    " ended AS (UPDATE operations o SET status = $3, output = $4, error = $5, completed_by = $7, ended_at = now()"
    f"   FROM held WHERE o.id = $1 AND o.task_id = held.id AND o.{COMPLETABLE} AND (o.deadline_at < now() OR NOT $8)"
    "   RETURNING o.task_id, o.session_id, o.message_id, o.tool_call_id),"
    f" answered AS (UPDATE messages m SET parts = {_ANSWERED_PARTS}"
    "   FROM ended e WHERE m.session_id = e.session_id AND m.id = e.message_id),"
    " noted AS (UPDATE webhook_journal w SET outcome = 'applied', applied_at = now() FROM ended WHERE w.id = $9)"
    " UPDATE tasks t SET open_operations = t.open_operations - 1 FROM ended e WHERE t.id = e.task_id"
    f" RETURNING {', '.join(f't.{name}' for name in Task.__slots__)}"
)

# Whoever ended the last operation of a task queues its next step. After this time nobody is about to.
STRANDED_AFTER = timedelta(seconds=3)
_STRANDED = (
    "(t.status = 'waiting' AND t.open_operations = 0 AND NOT EXISTS"
    " (SELECT 1 FROM operations o WHERE o.task_id = t.id AND o.ended_at > now() - $2::interval))"
)


@dataclass(frozen=True, slots=True)
class Ending:
    """How an operation ended. `output`: the whole result. `shown`: what of it the conversation carries, never None."""

    status: Literal["succeeded", "failed", "expired"]
    output: Any = None
    shown: Any = None
    error: dict[str, str] | None = None

    @property
    def part_fields(self) -> Part:
        """The new state of its part of the message."""
        if self.error is None:
            return {"state": "output-available", "output": self.shown}
        return {"state": "output-error", "errorText": f"{self.error['type']}: {self.error['message']}"}


@dataclass(frozen=True, slots=True)
class Completion:
    """What was said about an operation, found by its id, else by its task's when that waits for one only.

    `digest`: tells one completion that names only a task from another. `receipt`: its row in the webhook journal.
    """

    operation_id: str | None
    task_id: str | None
    ending: Ending
    digest: str
    receipt: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a completion.

    applied: by this call. repeat: the operation had its result before. Both have `operation`, the `task` as it stands
    and the operation's `part` of the message. late: nobody waits for it, for that `reason`. unknown: not yet known,
    perhaps. `goes_on`: the task waits for nothing any more, and this caller is the one to queue its next step.
    """

    kind: Literal["applied", "repeat", "late", "unknown"]
    reason: str = ""
    operation: Operation | None = None
    task: Task | None = None
    part: Part | None = None
    goes_on: bool = False


class CompletionStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def complete(self, completion: Completion) -> Outcome:
        """Apply a completion, once. One that comes late is noted as such in the journal, if it came by it."""
        async with self._pool.connection() as connection:
            outcome = await _complete(connection, completion)
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

    async def expire(self, ending: Ending, limit: int) -> list[Outcome]:
        """End operations whose deadline has passed; at most `limit`."""
        async with self._pool.connection() as connection:
            late = [await _end(connection, operation, ending) for operation in await overdue(connection, limit)]
            await close_abandoned(connection, limit)
        return [outcome for outcome in late if outcome is not None]

    async def expire_approvals(self, ending: Ending, limit: int) -> list[Expired]:
        """End calls that no person has answered in time. The turn that asked has ended, as a rule: nothing goes on."""
        expired: list[Expired] = []
        for _ in range(limit):
            async with self._pool.transaction() as connection:
                one = await expire_approvals(connection, ending.part_fields, ending.error)
            if not one:
                break
            expired += one
        return expired

    async def park(self, operation_id: str | None, task_id: str | None, body: dict[str, Any]) -> None:
        """Keep a completion until its operation is known. `body` is clean JSON; the same one again changes nothing."""
        async with self._pool.connection() as connection:
            await park(connection, operation_id, task_id, body)

    async def parked(self, limit: int) -> list[Parked]:
        """Parked completions whose operation is known by now, the oldest first."""
        async with self._pool.connection() as connection:
            return await fitting(connection, limit)

    async def unpark(self, parked_id: int) -> None:
        async with self._pool.connection() as connection:
            await connection.execute("DELETE FROM parked_completions WHERE id = $1", parked_id)

    async def outdated(self, older_than: timedelta, limit: int) -> list[int]:
        """The ids of those that were parked so long ago."""
        async with self._pool.connection() as connection:
            return await outdated(connection, older_than, limit)

    async def give_up(self, parked_ids: Sequence[int], queue: str, reason: str) -> None:
        """Make dead letters of parked completions."""
        async with self._pool.connection() as connection:
            await give_up(connection, parked_ids, queue, reason)

    async def stranded(self, after_id: str, limit: int) -> list[Task]:
        """A page, in order of id, of turns whose operations have ended, and whose next step is perhaps not queued."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                f"SELECT {TASK_COLUMNS} FROM tasks t WHERE id > $1 AND {_STRANDED} ORDER BY id LIMIT $3",
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


async def _complete(connection: Connection, completion: Completion) -> Outcome:
    found = await _find(connection, completion)
    while isinstance(found, Operation):
        if completion.task_id not in (None, found.task_id) and found.id == completion.operation_id:
            return Outcome("late", "the operation is another task's", found)
        if found.status in ("succeeded", "failed"):
            return await _repeat(connection, found)
        if found.status == "approval":
            return Outcome("late", "nobody has approved the operation yet", found)
        if not found.open:
            return Outcome("late", f"the operation is {found.status}", found)
        applied = await _end(connection, found, completion.ending, completion=completion)
        if applied is not None:
            return applied
        # Another one was quicker, or its turn has ended.
        again = await _by_id(connection, found.id)
        if again is not None and again.open:
            return Outcome("late", "the operation's turn has ended", again)
        found = again or Outcome("unknown")
    return found


async def _end(
    connection: Connection, operation: Operation, ending: Ending, *, completion: Completion | None = None
) -> Outcome | None:
    """Compare-and-set. Without a completion it is the deadline that ends the operation."""
    by_task = completion is not None and completion.operation_id != operation.id
    row = await connection.fetchrow(
        _END,
        operation.id,
        operation.task_id,
        ending.status,
        ending.output,
        ending.error,
        ending.part_fields,
        completion.digest if completion is not None and by_task else None,
        completion is None,
        completion.receipt if completion is not None else None,
    )
    if row is None:
        return None
    task = task_of(row)
    part = {"toolCallId": operation.tool_call_id, **ending.part_fields}
    return Outcome("applied", "", operation, task, part, task.status == "waiting" and task.open_operations == 0)


async def _find(connection: Connection, completion: Completion) -> Operation | Outcome:
    if completion.operation_id is not None:
        operation = await _by_id(connection, completion.operation_id)
        if operation is not None:
            return operation
    return await _by_task(connection, completion)


async def _by_id(connection: Connection, operation_id: str) -> Operation | None:
    row = await connection.fetchrow(f"SELECT {OPERATION_COLUMNS} FROM operations WHERE id = $1", operation_id)
    return operation_of(row) if row is not None else None


async def _by_task(connection: Connection, completion: Completion) -> Operation | Outcome:
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
        return Outcome("late", "it names no operation, and its task waits for several")
    task_ended = await connection.fetchval(f"SELECT NOT {LIVE} FROM tasks WHERE id = $1", completion.task_id)
    return Outcome("late", "its task has ended, and has no such operation") if task_ended else Outcome("unknown")


async def _repeat(connection: Connection, operation: Operation) -> Outcome:
    row = await connection.fetchrow(
        f"SELECT {TASK_COLUMNS}, {_STRANDED} AS stranded FROM tasks t WHERE id = $1",
        operation.task_id,
        STRANDED_AFTER,
    )
    part = await connection.fetchval(
        "SELECT part FROM messages, jsonb_array_elements(parts) AS part"
        " WHERE session_id = $1 AND id = $2 AND part->>'toolCallId' = $3",
        operation.session_id,
        operation.message_id,
        operation.tool_call_id,
    )
    if row is None:
        return Outcome("unknown")
    return Outcome("repeat", "", operation, task_of(row), part, row["stranded"])
