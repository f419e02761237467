"""What comes from in front of the client, inside a transaction: a person's answer to a tool call that asks for one, the
output of a call that the client runs, and the turn that continues with them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sluiceway.errors import ApprovalConflict, ApprovalGone, ApprovalNotFound
from sluiceway.ids import new_task_id
from sluiceway.store.database.pool import Connection
from sluiceway.store.records import ASKS, OPERATION_COLUMNS, TASK_COLUMNS, Operation, Task, operation_of, task_of
from sluiceway.store.sessions.sessions import check_owner
from sluiceway.store.sessions.tool_parts import change_parts
from sluiceway.wire.message import Part
from sluiceway.wire.tools import CLIENT_QUEUE

SUPERSEDED = "CANCELLED: Nobody answered it: the conversation went on."
_BY_CLIENT = "client"


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person said to one call."""

    approved: bool
    reason: str | None = None

    def stored(self) -> dict[str, Any]:
        return {"approved": self.approved} | ({"reason": self.reason} if self.reason else {})


@dataclass(frozen=True, slots=True)
class ClientOutput:
    """How a call ended that the client has run. `error_text`: it failed."""

    output: Any = None
    error_text: str | None = None

    @property
    def part_fields(self) -> Part:
        if self.error_text is not None:
            return {"state": "output-error", "errorText": self.error_text}
        return {"state": "output-available", "output": self.output}


@dataclass(frozen=True, slots=True)
class AnswersNoted:
    """`task` continues with the answers: a new turn, or the one that asked, where that is still live. None: other calls
    of it wait for an answer, `remaining` of them. `created`: the turn is new."""

    task: Task | None
    remaining: int
    created: bool


async def answer(
    connection: Connection, task_id: str, user_id: str | None, answers: Mapping[str, Decision | ClientOutput]
) -> AnswersNoted:
    """Note answers, by the ids of their tool calls. The same answer again changes nothing; of two outputs for a call
    the first stands. Outputs for calls that the client does not run are passed over: clients repeat those they know.

    Raises ApprovalNotFound, ApprovalGone, ApprovalConflict, AccessDenied; then nothing was noted.
    """
    asking, operations = await _lock(connection, task_id, user_id)
    by_call = {operation.tool_call_id: operation for operation in operations}
    asked = [(by_call[call_id], one) for call_id, one in answers.items() if _asks(by_call.get(call_id), one)]
    if not asked:
        raise ApprovalNotFound
    for operation, one in asked:
        if isinstance(one, Decision):
            await _note(connection, operation, one)
        else:
            await _note_output(connection, operation, one)
    remaining = await connection.fetchval(
        f"SELECT count(*) FROM operations WHERE session_id = $1 AND message_id = $2 AND {ASKS} AND approval IS NULL",
        asking.session_id,
        asking.message_id,
    )
    continuation = await _newest_turn(connection, asking)
    if not continuation.ended:
        return AnswersNoted(continuation, remaining, created=False)
    if remaining or await _is_superseded(connection, asking):
        return AnswersNoted(None if remaining else continuation, remaining, created=False)
    return AnswersNoted(await _continue(connection, continuation), 0, created=True)


async def take_away(connection: Connection, session_id: str, error_text: str = SUPERSEDED) -> None:
    """Cancel what waits for a person or the client in a session whose row is locked: the conversation goes on."""
    rows = await connection.fetch(
        f"UPDATE operations SET status = 'cancelled', ended_at = now() WHERE session_id = $1 AND {ASKS}"
        " RETURNING message_id, tool_call_id",
        session_id,
    )
    for message_id in {row["message_id"] for row in rows}:
        calls = [row["tool_call_id"] for row in rows if row["message_id"] == message_id]
        await change_parts(connection, session_id, message_id, calls, state="output-error", errorText=error_text)
    await connection.execute("UPDATE sessions SET approval_task_id = NULL WHERE id = $1", session_id)


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


def _asks(operation: Operation | None, answer: Decision | ClientOutput) -> bool:
    """Whether it answers what the call asks for. Raises ApprovalNotFound for a decision on what asks for none."""
    by_client = operation is not None and operation.queue == CLIENT_QUEUE
    if isinstance(answer, Decision) and not by_client and (operation is None or operation.approval_id is None):
        raise ApprovalNotFound
    return isinstance(answer, ClientOutput) == by_client


async def _note_output(connection: Connection, operation: Operation, answer: ClientOutput) -> None:
    if operation.status in ("succeeded", "failed"):
        return
    if operation.status != "client":
        raise ApprovalGone
    error = {"type": "CLIENT_ERROR", "message": answer.error_text} if answer.error_text is not None else None
    await connection.execute(
        "UPDATE operations SET status = $2, output = $3, error = $4, completed_by = $5, ended_at = now() WHERE id = $1",
        operation.id,
        "succeeded" if error is None else "failed",
        answer.output,
        error,
        _BY_CLIENT,
    )
    calls = [operation.tool_call_id]
    await change_parts(connection, operation.session_id, operation.message_id, calls, **answer.part_fields)


async def _note(connection: Connection, operation: Operation, answer: Decision) -> None:
    if operation.approval is not None:
        if operation.approval["approved"] != answer.approved:
            raise ApprovalConflict
        return
    if operation.status != "approval":
        raise ApprovalGone
    told = {"id": operation.approval_id, **answer.stored()}
    # What an outside service asked for is its to be told, also a no: it works on, and says how the call ends.
    status = await connection.fetchval(
        "UPDATE operations SET approval = $2,"
        " status = CASE WHEN $3 OR poll IS NOT NULL THEN 'approval' ELSE 'denied' END,"
        " ended_at = CASE WHEN NOT $3 AND poll IS NULL THEN now() END WHERE id = $1 RETURNING status",
        operation.id,
        answer.stored(),
        answer.approved,
    )
    state = "output-denied" if status == "denied" else "approval-responded"
    calls = [operation.tool_call_id]
    await change_parts(connection, operation.session_id, operation.message_id, calls, state=state, approval=told)


async def _newest_turn(connection: Connection, asking: Task) -> Task:
    """The newest turn of that message: the one that continues it, where the answers were noted before."""
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
    """A new turn that continues the message: active at once, since no other turn of the session is live."""
    row = await connection.fetchrow(
        "WITH message AS (UPDATE messages SET done = false WHERE session_id = $2 AND id = $5"
        "   RETURNING jsonb_array_length(parts) AS parts)"
        " INSERT INTO tasks (id, session_id, user_id, user_message_id, message_id, sequence, model, traceparent,"
        "   usage, client_tools, answer_format, parts_before)"
        f" SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, parts FROM message RETURNING {TASK_COLUMNS}",
        new_task_id(),
        before.session_id,
        before.user_id,
        before.user_message_id,
        before.message_id,
        before.sequence,
        before.model,
        before.traceparent,
        before.usage,
        before.client_tools,
        before.answer_format,
    )
    if row is None:
        raise ApprovalNotFound
    task = task_of(row)
    await connection.execute(
        "UPDATE operations SET task_id = $2 WHERE task_id = $1"
        " AND (approval IS NOT NULL AND status IN ('approval', 'denied')"
        "   OR queue = $3 AND step = (SELECT max(step) FROM operations WHERE task_id = $1))",
        before.id,
        task.id,
        CLIENT_QUEUE,
    )
    await connection.execute(
        "UPDATE sessions SET active_task_id = $2, approval_task_id = NULL, updated_at = now() WHERE id = $1",
        task.session_id,
        task.id,
    )
    return task
