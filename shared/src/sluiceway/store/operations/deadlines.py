"""Deadlines of operations: what is past its own, or waits for a runner that is not there, and how it ends by that. The
clock is Postgres's.

Each method is one statement or one transaction, and may be done again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from sluiceway.errors import NotStorable
from sluiceway.store.database.pool import Connection, Pool
from sluiceway.store.operations.operation_end import EndOutcome, OperationEnd, Unclaimed, end_operation
from sluiceway.store.records import ASKS, COMPLETABLE, OPERATION_COLUMNS, Operation, operation_of
from sluiceway.store.sessions.tool_parts import change_parts
from sluiceway.wire.message import Part

UNANSWERED = (
    f"o.{ASKS} AND o.deadline_at < now()"
    # A call that was approved waits for the answers to its neighbours, and expires with them.
    " AND (o.approval IS NULL OR s.approval_task_id = o.task_id)"
)


@dataclass(frozen=True, slots=True)
class Expired:
    """A call that waited for a person too long, and its part of the message."""

    operation: Operation
    part: Part


class DeadlineStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def overdue(self, limit: int, without: Sequence[str] = ()) -> list[Operation]:
        """Operations whose deadline has passed, the oldest first."""
        async with self._pool.connection() as connection:
            return await _overdue(connection, limit, without)

    async def expire(self, operation: Operation, end: OperationEnd) -> EndOutcome | None:
        """End an operation whose deadline has passed. None: it has ended otherwise meanwhile.

        Where its message takes no word of that, it ends without one: its turn has to continue to where it can end.
        """
        try:
            return await self._expire(operation, end)
        except NotStorable:
            return await self._expire(operation, replace(end, told=False))

    async def give_up(self, operation: Operation, end: OperationEnd, waited: timedelta) -> EndOutcome | None:
        """End an operation that no runner can begin, or complete, any more, and that was to be run for so long. None:
        it is not that old, has ended otherwise, or was begun since it was read.

        As `expire`, where its message takes no word of that.
        """
        try:
            return await self._give_up(operation, end, waited)
        except NotStorable:
            return await self._give_up(operation, replace(end, told=False), waited)

    async def _give_up(self, operation: Operation, end: OperationEnd, waited: timedelta) -> EndOutcome | None:
        unclaimed = Unclaimed(operation.attempt, waited)
        async with self._pool.connection() as connection:
            return await end_operation(connection, operation.id, operation.task_id, end, unclaimed=unclaimed)

    async def _expire(self, operation: Operation, end: OperationEnd) -> EndOutcome | None:
        async with self._pool.connection() as connection:
            outcome = await end_operation(connection, operation.id, operation.task_id, end)
            if outcome is None:
                await _close_abandoned(connection, operation.id)
        return outcome

    async def unanswered(self, limit: int, without: Sequence[str] = ()) -> list[str]:
        """Sessions with calls that no person has answered in time."""
        async with self._pool.connection() as connection:
            return await _unanswered(connection, limit, without)

    async def expire_approvals(self, session_id: str, end: OperationEnd) -> list[Expired]:
        """End the calls of a session that no person has answered in time. The turn that asked has ended, as a rule:
        nothing goes on."""
        async with self._pool.transaction() as connection:
            return await _expire_approvals(connection, session_id, end.part_fields, end.error)


async def _overdue(connection: Connection, limit: int, without: Sequence[str]) -> list[Operation]:
    """Operations past their deadline that somebody works on, the oldest first."""
    rows = await connection.fetch(
        f"SELECT {OPERATION_COLUMNS} FROM operations WHERE deadline_at < now()"
        f" AND {COMPLETABLE} AND NOT id = ANY($2::text[]) ORDER BY deadline_at LIMIT $1",
        limit,
        without,
    )
    return [operation_of(row) for row in rows]


async def _close_abandoned(connection: Connection, operation_id: str) -> None:
    """End one that is overdue in a turn that has ended. None is left by the code that ends turns; this is for what a
    restored backup or a person's hand left behind, and would be looked at in every round."""
    await connection.execute(
        "UPDATE operations o SET status = 'expired', ended_at = now() FROM tasks t WHERE o.id = $1"
        f" AND t.id = o.task_id AND t.ended_at IS NOT NULL AND o.deadline_at < now() AND o.{COMPLETABLE}",
        operation_id,
    )


async def _unanswered(connection: Connection, limit: int, without: Sequence[str]) -> list[str]:
    """Sessions in which a person was waited for too long."""
    rows = await connection.fetch(
        f"SELECT DISTINCT s.id FROM operations o JOIN sessions s ON s.id = o.session_id WHERE {UNANSWERED}"
        " AND NOT s.id = ANY($2::text[]) LIMIT $1",
        limit,
        without,
    )
    return [row["id"] for row in rows]


async def _expire_approvals(
    connection: Connection, session_id: str, fields: Part, error: dict[str, str] | None
) -> list[Expired]:
    """Expire what waits for a person in a session, whose row is locked first."""
    await connection.execute("SELECT 1 FROM sessions WHERE id = $1 FOR UPDATE", session_id)
    columns = ", ".join(f"o.{name}" for name in Operation.__slots__)
    rows = await connection.fetch(
        "UPDATE operations o SET status = 'expired', error = $2, ended_at = now() FROM sessions s"
        f" WHERE s.id = $1 AND o.session_id = s.id AND {UNANSWERED} RETURNING {columns}",
        session_id,
        error,
    )
    expired = [operation_of(row) for row in rows]
    for message_id in {operation.message_id for operation in expired}:
        calls = [operation.tool_call_id for operation in expired if operation.message_id == message_id]
        await change_parts(connection, session_id, message_id, calls, **fields)
    await connection.execute(
        "UPDATE sessions s SET approval_task_id = NULL WHERE id = $1 AND NOT EXISTS"
        f" (SELECT 1 FROM operations o WHERE o.task_id = s.approval_task_id AND o.{ASKS})",
        session_id,
    )
    return [Expired(operation, {"toolCallId": operation.tool_call_id, **fields}) for operation in expired]
