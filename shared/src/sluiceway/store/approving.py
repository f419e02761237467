"""Approvals inside a transaction: a person's answer to a tool call, and the turn that goes on with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sluiceway.errors import ApprovalConflict, ApprovalGone, ApprovalNotFound
from sluiceway.ids import new_task_id
from sluiceway.store.pool import Connection
from sluiceway.store.records import OPERATION_COLUMNS, TASK_COLUMNS, Operation, Task, operation_of, task_of
from sluiceway.store.sessions import check_owner
from sluiceway.wire.message import Part, answer_call, calls_in

SUPERSEDED = "CANCELLED: It was not approved: the conversation went on without an answer."


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person said to one call."""

    approved: bool
    reason: str | None = None

    def stored(self) -> dict[str, Any]:
        return {"approved": self.approved} | ({"reason": self.reason} if self.reason else {})


@dataclass(frozen=True, slots=True)
class DecisionsNoted:
    """`task` goes on with the answers: a new turn, or the one that asked, where that is still live. None: other calls
    of it wait for an answer, `remaining` of them. `created`: the turn is new."""

    task: Task | None
    remaining: int
    created: bool


async def answer(
    connection: Connection, task_id: str, user_id: str | None, answers: dict[str, Decision]
) -> DecisionsNoted:
    """Note answers, by the ids of their tool calls. The same answer again changes nothing.

    Raises ApprovalNotFound, ApprovalGone, ApprovalConflict, AccessDenied; then nothing was noted.
    """
    asking, operations = await _lock(connection, task_id, user_id)
    for call_id, one in answers.items():
        operation = next((found for found in operations if found.tool_call_id == call_id), None)
        if operation is None or operation.approval_id is None:
            raise ApprovalNotFound
        await _note(connection, operation, one)
    remaining = await connection.fetchval(
        "SELECT count(*) FROM operations WHERE session_id = $1 AND message_id = $2"
        " AND status = 'approval' AND approval IS NULL",
        asking.session_id,
        asking.message_id,
    )
    continuation = await _newest_turn(connection, asking)
    if not continuation.ended:
        return DecisionsNoted(continuation, remaining, created=False)
    if remaining or await _is_superseded(connection, asking):
        return DecisionsNoted(None if remaining else continuation, remaining, created=False)
    return DecisionsNoted(await _continue(connection, continuation), 0, created=True)


async def take_away(connection: Connection, session_id: str, error_text: str = SUPERSEDED) -> None:
    """Cancel what waits for a person in a session whose row is locked: the conversation goes on without an answer."""
    rows = await connection.fetch(
        "UPDATE operations SET status = 'cancelled', ended_at = now() WHERE session_id = $1 AND status = 'approval'"
        " RETURNING message_id, tool_call_id",
        session_id,
    )
    for message_id in {row["message_id"] for row in rows}:
        calls = [row["tool_call_id"] for row in rows if row["message_id"] == message_id]
        await change_parts(connection, session_id, message_id, calls, state="output-error", errorText=error_text)
    await connection.execute("UPDATE sessions SET approval_task_id = NULL WHERE id = $1", session_id)


async def change_parts(
    connection: Connection, session_id: str, message_id: str, calls: Sequence[str], **fields: Any
) -> None:
    """Give the tool parts of these calls a new state."""
    parts: list[Part] | None = await connection.fetchval(
        "SELECT parts FROM messages WHERE session_id = $1 AND id = $2 FOR UPDATE", session_id, message_id
    )
    if parts is None:
        return
    found = calls_in(parts)
    for call_id in calls:
        if call_id in found:
            answer_call(found[call_id], **fields)
    await connection.execute(
        "UPDATE messages SET parts = $3 WHERE session_id = $1 AND id = $2", session_id, message_id, parts
    )


async def _lock(connection: Connection, task_id: str, user_id: str | None) -> tuple[Task, list[Operation]]:
    """The turn that asked, and all operations of its message."""
    session_id = await connection.fetchval("SELECT session_id FROM tasks WHERE id = $1", task_id)
    await connection.execute("SELECT 1 FROM sessions WHERE id = $1 FOR UPDATE", session_id)
    row = await connection.fetchrow(f"SELECT {TASK_COLUMNS} FROM tasks WHERE id = $1 FOR UPDATE", task_id)
    if row is None:
        raise ApprovalNotFound
    task = task_of(row)
    check_owner(task.user_id, user_id)
    rows = await connection.fetch(
        f"SELECT {OPERATION_COLUMNS} FROM operations WHERE session_id = $1 AND message_id = $2 ORDER BY place",
        task.session_id,
        task.message_id,
    )
    return task, [operation_of(one) for one in rows]


async def _note(connection: Connection, operation: Operation, answer: Decision) -> None:
    if operation.approval is not None:
        if operation.approval["approved"] != answer.approved:
            raise ApprovalConflict
        return
    if operation.status != "approval":
        raise ApprovalGone
    told = {"id": operation.approval_id, **answer.stored()}
    status = "approval" if answer.approved else "denied"
    await connection.execute(
        "UPDATE operations SET approval = $2, status = $3, ended_at = CASE WHEN $3 = 'denied' THEN now() END"
        " WHERE id = $1",
        operation.id,
        answer.stored(),
        status,
    )
    state = "approval-responded" if answer.approved else "output-denied"
    calls = [operation.tool_call_id]
    await change_parts(connection, operation.session_id, operation.message_id, calls, state=state, approval=told)


async def _newest_turn(connection: Connection, asking: Task) -> Task:
    """The newest turn of that message: the one that goes on with it, where the answers were noted before."""
    row = await connection.fetchrow(
        f"SELECT {TASK_COLUMNS} FROM tasks WHERE session_id = $1 AND message_id = $2 ORDER BY created_at DESC LIMIT 1",
        asking.session_id,
        asking.message_id,
    )
    return task_of(row) if row is not None else asking


async def _is_superseded(connection: Connection, asking: Task) -> bool:
    """Whether nothing waits for these answers any more: they were noted before, or the conversation has gone on."""
    waiting = await connection.fetchval("SELECT approval_task_id FROM sessions WHERE id = $1", asking.session_id)
    return waiting is None


async def _continue(connection: Connection, before: Task) -> Task:
    """A new turn that goes on with the message: active at once, since no other turn of the session is live."""
    row = await connection.fetchrow(
        "WITH message AS (UPDATE messages SET done = false WHERE session_id = $2 AND id = $5"
        "   RETURNING jsonb_array_length(parts) AS parts)"
        " INSERT INTO tasks (id, session_id, user_id, user_message_id, message_id, sequence, model, traceparent,"
        "   usage, parts_before)"
        f" SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, parts FROM message RETURNING {TASK_COLUMNS}",
        new_task_id(),
        before.session_id,
        before.user_id,
        before.user_message_id,
        before.message_id,
        before.sequence,
        before.model,
        before.traceparent,
        before.usage,
    )
    if row is None:
        raise ApprovalNotFound
    task = task_of(row)
    await connection.execute(
        "UPDATE operations SET task_id = $2 WHERE task_id = $1 AND approval IS NOT NULL"
        " AND status IN ('approval', 'denied')",
        before.id,
        task.id,
    )
    await connection.execute(
        "UPDATE sessions SET active_task_id = $2, approval_task_id = NULL, updated_at = now() WHERE id = $1",
        task.session_id,
        task.id,
    )
    return task
