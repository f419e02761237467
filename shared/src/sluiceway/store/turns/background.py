"""Making way, inside a transaction: the active turn of a session goes into the background, where it only waits for its
operations, and the next message is answered at once.

In the background a turn is still `waiting`: its operations go on, their results are written to its message, its stream
tells of them, it can be cancelled. It is not its session's active turn, no worker takes it, and what it has said so far
is part of the conversation. When its last operation has ended, continuing.py ends it and makes the turn that continues
it. Turns that asked to wait for it (`enqueue`, `steer`) keep it from making way; so does a person or a client that it
waits for.

Lock order: the session's row, which the caller holds, then the task's, then the message's.
"""

from dataclasses import dataclass

from sluiceway.store.database.pool import Connection
from sluiceway.store.records import ASKS, BACKGROUND, COMPLETABLE, TASK_COLUMNS, Task, task_of

# As a condition on a task `t` of a session `s`.
_ONLY_WAITS = "t.id = s.active_task_id AND t.status = 'waiting' AND t.open_operations > 0 AND t.background_at IS NULL"
_QUEUED = "SELECT 1 FROM tasks q WHERE q.session_id = t.session_id AND q.status = 'queued'"
IN_THE_WAY = f"{_ONLY_WAITS} AND EXISTS ({_QUEUED} AND q.chats_on)"
_MAKE_WAY = (
    f"UPDATE tasks t SET background_at = now() FROM sessions s WHERE s.id = $1 AND {_ONLY_WAITS}"
    " AND t.cancel_requested_at IS NULL"
    f" AND NOT EXISTS (SELECT 1 FROM operations o WHERE o.task_id = t.id AND o.{ASKS})"
    f" AND NOT EXISTS ({_QUEUED} AND NOT q.chats_on)"
    f" RETURNING {', '.join(f't.{name}' for name in Task.__slots__)}"
)
# Its message is part of the conversation from now on, and says which of its calls are open.
_TELL = (
    "UPDATE messages SET done = true, metadata = coalesce(metadata, '{}') || jsonb_build_object('taskId', $3::text,"
    f" '{BACKGROUND}', (SELECT coalesce(jsonb_agg(tool_call_id ORDER BY place), '[]') FROM operations"
    f"   WHERE task_id = $3 AND {COMPLETABLE}))"
    " WHERE session_id = $1 AND id = $2"
)
_NEXT = (
    "UPDATE sessions SET active_task_id ="
    " (SELECT id FROM tasks WHERE session_id = $1 AND status = 'queued' ORDER BY sequence LIMIT 1)"
    " WHERE id = $1 RETURNING active_task_id"
)
OF_SESSION = (
    f"SELECT {TASK_COLUMNS} FROM tasks WHERE session_id = $1 AND status = 'waiting' AND background_at IS NOT NULL"
    " ORDER BY sequence"
)


@dataclass(frozen=True, slots=True)
class MadeWay:
    """`background`: the turn that went there. `following`: the queued one that became active by it."""

    background: Task
    following: str | None


async def make_way(connection: Connection, session_id: str) -> MadeWay | None:
    """Put the session's active turn into the background. None: there is none that may go there."""
    row = await connection.fetchrow(_MAKE_WAY, session_id)
    if row is None:
        return None
    task = task_of(row)
    await connection.execute(_TELL, session_id, task.message_id, task.id)
    return MadeWay(task, await connection.fetchval(_NEXT, session_id))
