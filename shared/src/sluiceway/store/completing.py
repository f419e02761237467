"""Completions: how operations end by what runners and outside services say, or by their deadline.

Guarantees: an operation ends once, whoever says so and however often; its status, its result in the message, the
task's count of open operations and the journal change in one statement. Who brings the count to 0 learns it, and nobody
else does.
Lock order: the session's row (expiry of approvals only), then the task's, the operation's, the message's.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from sluiceway.store.pool import Connection
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
from sluiceway.wire.message import Part

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
    f"   RETURNING {', '.join(f'o.{name}' for name in Operation.__slots__)}),"
    f" answered AS (UPDATE messages m SET parts = {_ANSWERED_PARTS}"
    "   FROM ended e WHERE m.session_id = e.session_id AND m.id = e.message_id),"
    " noted AS (UPDATE webhook_journal w SET outcome = 'applied', applied_at = now() FROM ended WHERE w.id = $9)"
    " UPDATE tasks t SET open_operations = t.open_operations - 1 FROM ended e WHERE t.id = e.task_id"
    f" RETURNING {', '.join(f't.{name}' for name in Task.__slots__)},"
    f" {', '.join(f'e.{name} AS operation_{name}' for name in Operation.__slots__)}"
)

# Whoever ended the last operation of a task queues its next step. After this time nobody is about to.
STRANDED_AFTER = timedelta(seconds=3)
STRANDED = (
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
    perhaps. `resumes`: the task waits for nothing any more, and this caller is the one to queue its next step.
    """

    kind: Literal["applied", "repeat", "late", "unknown"]
    reason: str = ""
    operation: Operation | None = None
    task: Task | None = None
    part: Part | None = None
    resumes: bool = False


async def complete(connection: Connection, completion: Completion, unsure: bool) -> Outcome:
    """See `CompletionStore.complete`; the journal of what comes late is not written here."""
    found = await _end_as_named(connection, completion) or await _find(connection, completion)
    while isinstance(found, Operation):
        if completion.task_id not in (None, found.task_id) and found.id == completion.operation_id:
            return Outcome("late", "the operation is another task's", found)
        if found.status in ("succeeded", "failed"):
            return await _repeat(connection, found, timedelta() if unsure else STRANDED_AFTER)
        if found.status == "approval":
            return Outcome("late", "nobody has approved the operation yet", found)
        if not found.open:
            return Outcome("late", f"the operation is {found.status}", found)
        applied = await end_operation(connection, found.id, found.task_id, completion.ending, completion=completion)
        if applied is not None:
            return applied
        # Another one was quicker, or its turn has ended.
        again = await _by_id(connection, found.id)
        if again is not None and again.open:
            return Outcome("late", "the operation's turn has ended", again)
        found = again or Outcome("unknown")
    return found


async def _end_as_named(connection: Connection, completion: Completion) -> Outcome | None:
    """Most completions name their operation and its task, and are the first: these need no look at it before."""
    if completion.operation_id is None or completion.task_id is None:
        return None
    return await end_operation(
        connection, completion.operation_id, completion.task_id, completion.ending, completion=completion
    )


async def end_operation(
    connection: Connection, operation_id: str, task_id: str, ending: Ending, *, completion: Completion | None = None
) -> Outcome | None:
    """Compare-and-set. Without a completion it is the deadline that ends the operation."""
    by_task = completion is not None and completion.operation_id != operation_id
    row = await connection.fetchrow(
        _END,
        operation_id,
        task_id,
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
    operation, task = operation_of(row, "operation_"), task_of(row)
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


async def _repeat(connection: Connection, operation: Operation, stranded_after: timedelta) -> Outcome:
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
        return Outcome("unknown")
    return Outcome("repeat", "", operation, task_of(row), part, row["stranded"])
