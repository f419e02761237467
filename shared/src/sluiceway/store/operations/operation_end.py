"""How one operation ends: the statement that does it, what it is told, and what it answers.

Guarantees: an operation ends once, however many say so and however often; its status, its result in the message, the
task's count of open operations and the journal change in one statement. The call that brings the count to 0 learns it,
and no other does. One that does not block its turn is in that count once the turn is in the background.
Lock order: the session's row (expiry of approvals only), then the task's, the operation's, the message's.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from sluiceway.store.database.pool import Connection
from sluiceway.store.records import COMPLETABLE, LIVE, Operation, Task, operation_of, task_of
from sluiceway.wire.message import Part

# As in `message.answer_call`: what only earlier states of a part had goes. The message's own row is what is read here,
# so that two completions for the same message, one waiting for the other's lock, both stand in it.
_ANSWERED_PARTS = (
    "(SELECT coalesce(jsonb_agg(CASE WHEN part->>'toolCallId' = e.tool_call_id"
    "   THEN (part - '{output,preliminary,errorText}'::text[] - CASE part#>>'{approval,approved}'"
    "     WHEN 'false' THEN 'approval' ELSE '' END) || $6::jsonb ELSE part END ORDER BY place), '[]')"
    "  FROM jsonb_array_elements(m.parts) WITH ORDINALITY AS p (part, place))"
)
_END = (
    f"WITH held AS (SELECT id FROM tasks WHERE id = $2 AND {LIVE} FOR UPDATE),"
    " ended AS (UPDATE operations o SET status = $3, output = $4, error = $5, completed_by = $7, ended_at = now()"
    f"   FROM held WHERE o.id = $1 AND o.task_id = held.id AND o.{COMPLETABLE} AND (o.deadline_at < now() OR NOT $8)"
    "     AND ($11::integer IS NULL OR o.attempt = $11"
    "      AND o.deadline_at - make_interval(secs => o.deadline_seconds) < now() - $12::interval)"
    f"   RETURNING {', '.join(f'o.{name}' for name in Operation.__slots__)}),"
    f" answered AS (UPDATE messages m SET parts = {_ANSWERED_PARTS}"
    "   FROM ended e WHERE m.session_id = e.session_id AND m.id = e.message_id AND $10),"
    " noted AS (UPDATE webhook_journal w SET outcome = 'applied', applied_at = now() FROM ended"
    # After a restore another operation's webhook may have that id.
    "   WHERE w.id = $9 AND w.operation_id = ended.id)"
    " UPDATE tasks t SET open_operations = t.open_operations"
    "   - CASE WHEN e.background AND t.background_at IS NULL THEN 0 ELSE 1 END FROM ended e WHERE t.id = e.task_id"
    f" RETURNING {', '.join(f't.{name}' for name in Task.__slots__)},"
    f" {', '.join(f'e.{name} AS operation_{name}' for name in Operation.__slots__)}"
)


@dataclass(frozen=True, slots=True)
class OperationEnd:
    """How an operation ended. `output`: the whole result. `shown`: what of it the conversation carries, never None.
    `told`: whether its part of the message is changed."""

    status: Literal["succeeded", "failed", "expired"]
    output: Any = None
    shown: Any = None
    error: dict[str, str] | None = None
    told: bool = True

    @property
    def part_fields(self) -> Part:
        """The new state of its part of the message."""
        if self.error is None:
            return {"state": "output-available", "output": self.shown}
        return {"state": "output-error", "errorText": f"{self.error['type']}: {self.error['message']}"}


@dataclass(frozen=True, slots=True)
class ReportedEnd:
    """What was said about an operation, found by its id, else by its task's when that waits for one only.

    `digest`: tells one completion that names only a task from another. `receipt`: its row in the webhook journal.
    """

    operation_id: str | None
    task_id: str | None
    end: OperationEnd
    digest: str
    receipt: int | None = None


@dataclass(frozen=True, slots=True)
class Unclaimed:
    """Why an operation ends that nobody can begin, or complete: it was to be run for longer than `waited`, and no
    runner has begun it since its `attempt`."""

    attempt: int
    waited: timedelta


@dataclass(frozen=True, slots=True)
class EndOutcome:
    """What became of an end that was reported.

    applied: by this call. repeat: the operation had its result before. Both have `operation`, the `task` as it stands
    and the operation's `part` of the message. late: nobody waits for it, for that `reason`. unknown: not yet known,
    perhaps. `resumes`: the task waits for nothing any more, and this caller is the one to queue its next step. `asks`:
    it has not ended, but waits for its person: the part that says what for.
    """

    kind: Literal["applied", "repeat", "late", "unknown"]
    reason: str = ""
    operation: Operation | None = None
    task: Task | None = None
    part: Part | None = None
    resumes: bool = False
    asks: Part | None = None


async def end_operation(
    connection: Connection,
    operation_id: str,
    task_id: str,
    end: OperationEnd,
    *,
    completion: ReportedEnd | None = None,
    unclaimed: Unclaimed | None = None,
) -> EndOutcome | None:
    """Compare-and-set. With neither a completion nor `unclaimed` it is the deadline that ends the operation."""
    by_task = completion is not None and completion.operation_id != operation_id
    row = await connection.fetchrow(
        _END,
        operation_id,
        task_id,
        end.status,
        end.output,
        end.error,
        end.part_fields,
        completion.digest if completion is not None and by_task else None,
        completion is None and unclaimed is None,
        completion.receipt if completion is not None else None,
        end.told,
        unclaimed.attempt if unclaimed is not None else None,
        unclaimed.waited if unclaimed is not None else None,
    )
    if row is None:
        return None
    operation, task = operation_of(row, "operation_"), task_of(row)
    part = {"toolCallId": operation.tool_call_id, **end.part_fields}
    counted = not operation.background or task.background_at is not None
    resumes = counted and task.status == "waiting" and task.open_operations == 0
    return EndOutcome("applied", "", operation, task, part, resumes)
