"""Making way, inside a transaction: the active turn of a session goes into the background, where it only waits for its
operations, and the next message is answered at once.

In the background a turn is still `waiting`: its operations go on, their results are written to its message, its stream
tells of them, it can be cancelled. It is not its session's active turn, no worker takes it, and what it has said so far
is part of the conversation. When its last operation has ended, continuing.py ends it and makes the turn that continues
it. Turns that asked to wait for it (`enqueue`, `steer`) keep it from making way; so does a person or a client that it
waits for.

Calls of tools that never block (`operations.background`) do not make their turn wait: the model was told that they
were started, and the turn goes on. They are in `tasks.open_operations` from where the turn goes into the background:
with its answer (stepping_back.py), or here. What they come to is the continuing turn's to answer, however early it is
there.

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
# As a condition on operations: its turn did not wait for it, and the model was told that it was started.
STARTED = "background AND status NOT IN ('approval', 'denied')"
# Its message is part of the conversation from now on, and says which of its calls are open.
_TELL = (
    "UPDATE messages SET done = true, metadata = coalesce(metadata, '{}') || jsonb_build_object('taskId', $3::text,"
    f" '{BACKGROUND}', (SELECT coalesce(jsonb_agg(tool_call_id ORDER BY place), '[]') FROM operations"
    f"   WHERE task_id = $3 AND ({COMPLETABLE} OR {STARTED})))"
    " WHERE session_id = $1 AND id = $2"
)
# By a statement of its own, behind the lock of the turn's row: a subquery beside that lock reads an older snapshot.
_COUNT = (
    f"UPDATE tasks SET open_operations = (SELECT count(*) FROM operations WHERE task_id = $1 AND {COMPLETABLE})"
    f" WHERE id = $1 RETURNING {TASK_COLUMNS}"
)
_TELL_STARTED = (
    f"UPDATE messages SET metadata = coalesce(metadata, '{{}}') || jsonb_build_object('{BACKGROUND}',"
    " (SELECT coalesce(jsonb_agg(tool_call_id ORDER BY place), '[]') FROM operations"
    f"  WHERE task_id = $3 AND {STARTED}))"
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
    """`background`: the turn that went there, as it stands. `following`: the queued one that became active by it."""

    background: Task
    following: str | None


async def make_way(connection: Connection, session_id: str) -> MadeWay | None:
    """Put the session's active turn into the background. None: there is none that may go there."""
    row = await connection.fetchrow(_MAKE_WAY, session_id)
    if row is None:
        return None
    return await went(connection, task_of(row))


async def tell_started(connection: Connection, task: Task) -> None:
    """Of a turn that runs: its message says which of its calls do not block it."""
    await connection.execute(_TELL_STARTED, task.session_id, task.message_id, task.id)


async def went(connection: Connection, task: Task) -> MadeWay:
    """What a turn is that has just gone into the background: it waits for all that is open of it, its message says what
    that was, and the next one is active."""
    counted = await connection.fetchrow(_COUNT, task.id)
    await connection.execute(_TELL, task.session_id, task.message_id, task.id)
    following = await connection.fetchval(_NEXT, task.session_id)
    return MadeWay(task_of(counted) if counted is not None else task, following)
