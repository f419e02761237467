"""Ending a turn inside a transaction: shared by its end, its cancellation and an interrupt."""

from dataclasses import dataclass
from typing import Any

from sluiceway.message import Part
from sluiceway.store.pool import Connection
from sluiceway.store.records import Task
from sluiceway.task_stream import EndStatus

LIVE = "status IN ('queued', 'running', 'waiting')"
_NEXT = (
    "UPDATE sessions SET updated_at = now(), active_task_id ="
    " (SELECT id FROM tasks WHERE session_id = $1 AND status = 'queued' ORDER BY sequence LIMIT 1)"
    " WHERE id = $1 AND active_task_id = $2"
)


@dataclass(frozen=True, slots=True)
class TurnEnd:
    """How a turn ended: what is written to its message and its task."""

    status: EndStatus
    parts: list[Part]
    metadata: dict[str, Any]
    error: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None


CANCELLED_UNSEEN = TurnEnd(status="cancelled", parts=[], metadata={"status": "cancelled"})


async def end_turn(
    connection: Connection, task: Task, end: TurnEnd, attempt: int | None, *, activate_next: bool = True
) -> bool:
    """Write the answer and the status. The caller holds the session's row. False: it has ended, or is another's."""
    ended = await connection.fetchval(
        f"UPDATE tasks SET status = $2, error = $3, usage = $4, ended_at = now()"
        f" WHERE id = $1 AND {LIVE} AND ($5::integer IS NULL OR attempt = $5) RETURNING id",
        task.id,
        end.status,
        end.error,
        end.usage,
        attempt,
    )
    if ended is None:
        return False
    await connection.execute(
        "UPDATE messages SET parts = $3, metadata = $4, done = true WHERE session_id = $1 AND id = $2",
        task.session_id,
        task.message_id,
        end.parts,
        end.metadata,
    )
    if activate_next:
        await connection.execute(_NEXT, task.session_id, task.id)
    else:
        await connection.execute(
            "UPDATE sessions SET active_task_id = NULL WHERE id = $1 AND active_task_id = $2", task.session_id, task.id
        )
    return True


async def note_cancel(connection: Connection, task_id: str) -> None:
    await connection.execute(
        "UPDATE tasks SET cancel_requested_at = coalesce(cancel_requested_at, now()) WHERE id = $1", task_id
    )
