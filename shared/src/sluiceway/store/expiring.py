"""Deadlines of operations, inside a transaction or statement by statement."""

from dataclasses import dataclass

from sluiceway.message import Part
from sluiceway.store.approving import change_parts
from sluiceway.store.pool import Connection
from sluiceway.store.records import COMPLETABLE, OPERATION_COLUMNS, Operation, operation_of

_UNANSWERED = (
    "o.status = 'approval' AND o.deadline_at < now()"
    # A call that was approved waits for the answers to its neighbours, and expires with them.
    " AND (o.approval IS NULL OR s.approval_task_id = o.task_id)"
)


@dataclass(frozen=True, slots=True)
class Expired:
    """A call that waited for a person too long, and its part of the message."""

    operation: Operation
    part: Part


async def overdue(connection: Connection, limit: int) -> list[Operation]:
    """Operations past their deadline that somebody works on, the oldest first."""
    rows = await connection.fetch(
        f"SELECT {OPERATION_COLUMNS} FROM operations WHERE deadline_at < now()"
        f" AND {COMPLETABLE} ORDER BY deadline_at LIMIT $1",
        limit,
    )
    return [operation_of(row) for row in rows]


async def close_abandoned(connection: Connection, limit: int) -> None:
    """End what is overdue in turns that have ended. None is left by the code that ends turns; this is for what a
    restored backup or a person's hand left behind, and would be looked at in every round."""
    await connection.execute(
        "UPDATE operations SET status = 'expired', ended_at = now() WHERE id IN (SELECT o.id FROM operations o"
        " JOIN tasks t ON t.id = o.task_id WHERE o.deadline_at < now() AND t.ended_at IS NOT NULL"
        f" AND o.{COMPLETABLE} LIMIT $1)",
        limit,
    )


async def expire_approvals(connection: Connection, fields: Part, error: dict[str, str] | None) -> list[Expired]:
    """Expire what waits for a person in one session, whose row is locked first; empty: there is no such session."""
    session_id = await connection.fetchval(
        f"SELECT s.id FROM operations o JOIN sessions s ON s.id = o.session_id WHERE {_UNANSWERED}"
        " ORDER BY o.deadline_at LIMIT 1"
    )
    await connection.execute("SELECT 1 FROM sessions WHERE id = $1 FOR UPDATE", session_id)
    columns = ", ".join(f"o.{name}" for name in Operation.__slots__)
    rows = await connection.fetch(
        "UPDATE operations o SET status = 'expired', error = $2, ended_at = now() FROM sessions s"
        f" WHERE s.id = $1 AND o.session_id = s.id AND {_UNANSWERED} RETURNING {columns}",
        session_id,
        error,
    )
    expired = [operation_of(row) for row in rows]
    for message_id in {operation.message_id for operation in expired}:
        calls = [operation.tool_call_id for operation in expired if operation.message_id == message_id]
        await change_parts(connection, session_id, message_id, calls, **fields)
    await connection.execute(
        "UPDATE sessions s SET approval_task_id = NULL WHERE id = $1 AND NOT EXISTS"
        " (SELECT 1 FROM operations o WHERE o.task_id = s.approval_task_id AND o.status = 'approval')",
        session_id,
    )
    return [Expired(operation, {"toolCallId": operation.tool_call_id, **fields}) for operation in expired]
