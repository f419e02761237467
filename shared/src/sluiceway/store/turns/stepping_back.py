"""Stepping back: a turn whose answer is whole, and whose calls in the background still run, goes there itself.

Its answer is durable, and the session's next turn is active. It is `waiting` from then on, as one that made way for a
message (background.py), and continuing.py ends it: at once, where its operations have all ended before.

Lock order: the session's row, then the task's, then the message's.
"""

from sluiceway.store.database.pool import Connection, Pool
from sluiceway.store.people.usage import charge
from sluiceway.store.records import BACKGROUND, COMPLETABLE, TASK_COLUMNS, Task, task_of
from sluiceway.store.turns.background import STARTED, MadeWay, went
from sluiceway.store.turns.ending import TurnEnd, with_answers

_STEP_BACK = (
    "UPDATE tasks SET status = 'waiting', background_at = now(), usage = coalesce($3, usage),"
    " prompt = coalesce($4, prompt)"
    " WHERE id = $1 AND attempt = $2 AND status = 'running' AND cancel_requested_at IS NULL"
    " AND ($5::text IS NULL OR EXISTS (SELECT 1 FROM tasks WHERE id = $5 AND steers = $1 AND status = 'queued'))"
    f" RETURNING {TASK_COLUMNS}"
)
_ANSWERED = "UPDATE messages SET parts = $3, metadata = $4 WHERE session_id = $1 AND id = $2"
# A turn that is to ask its person ends for that, so it waits for these before.
_BLOCK = (
    "UPDATE tasks SET open_operations = open, status = CASE WHEN open > 0 THEN 'waiting' ELSE 'running' END"
    f" FROM (SELECT count(*) AS open FROM operations WHERE task_id = $1 AND {COMPLETABLE}) AS c WHERE id = $1"
    " RETURNING status"
)


class SteppingBackStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def step_back(self, task: Task, end: TurnEnd) -> MadeWay | None:
        """Put a turn that runs into the background, with its answer: what its `end` says is written, but not that it
        has ended. A compare-and-set. None: another attempt holds it, it is to be cancelled, it steps back already, or
        the turn that it gives way to waits no more."""
        async with self._pool.transaction() as connection:
            await connection.execute("SELECT 1 FROM sessions WHERE id = $1 FOR UPDATE", task.session_id)
            held = (task.id, task.attempt, end.usage, end.prompt, end.gives_way)
            row = await connection.fetchrow(_STEP_BACK, *held)
            return await _stepped_back(connection, task_of(row), end) if row is not None else None

    async def block(self, task: Task) -> str | None:
        """Let a turn that runs wait for its calls in the background as for any other: their results are told where they
        were called. Its status then; None: another attempt holds it, or it is to be cancelled."""
        async with self._pool.transaction() as connection:
            held = await connection.fetchval(
                "SELECT 1 FROM tasks WHERE id = $1 AND attempt = $2 AND status = 'running'"
                " AND cancel_requested_at IS NULL FOR UPDATE",
                task.id,
                task.attempt,
            )
            if held is None:
                return None
            await connection.execute(
                f"UPDATE operations SET background = false WHERE task_id = $1 AND {STARTED}", task.id
            )
            await connection.execute(
                "UPDATE messages SET metadata = metadata - $3::text WHERE session_id = $1 AND id = $2",
                task.session_id,
                task.message_id,
                BACKGROUND,
            )
            status: str = await connection.fetchval(_BLOCK, task.id)
        return status


async def _stepped_back(connection: Connection, task: Task, end: TurnEnd) -> MadeWay:
    parts = await with_answers(connection, task, end.parts or [])
    await connection.execute(_ANSWERED, task.session_id, task.message_id, parts, end.metadata)
    if end.gives_way is not None:
        await connection.execute("UPDATE tasks SET entered = true WHERE id = $1", end.gives_way)
    await charge(connection, task, end.calls)
    return await went(connection, task)
