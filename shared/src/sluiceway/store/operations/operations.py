"""Operations: the tool calls of a turn. They are born with the end of their step, begun by runners, and end once.

Lock order: the session's row, then the task's, then the operation's, then the message's. How they end by completions
stands in operation_end.py, by a person's answer in approving.py, by the end of their turn in ending.py.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from sluiceway.store.database.pool import Connection, Pool
from sluiceway.store.records import OPERATION_COLUMNS, Operation, OperationStatus, operation_of


@dataclass(frozen=True, slots=True)
class NewOperation:
    """A call that the model, or a user directly, made. `status`: pending, approval, or failed with an `error`.
    `background`: the turn does not wait for it."""

    id: str
    step: int
    tool_call_id: str
    tool_name: str
    input: dict[str, Any]
    queue: str
    status: OperationStatus
    deadline_seconds: float
    approval_id: str | None = None
    error: dict[str, str] | None = None
    background: bool = False

    @property
    def blocks(self) -> bool:
        """Whether the next step waits for it."""
        return self.status == "pending" and not self.background


@dataclass(frozen=True, slots=True)
class Started:
    """An operation that a runner has begun. `before`: how often it was begun and not ended before. `user_id`: the
    turn's. `seconds_left`: until its deadline, by Postgres's clock; below 0: it has passed."""

    operation: Operation
    before: int
    user_id: str | None
    seconds_left: float


class OperationStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def get(self, operation_id: str) -> Operation | None:
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(f"SELECT {OPERATION_COLUMNS} FROM operations WHERE id = $1", operation_id)
        return operation_of(row) if row is not None else None

    async def output(self, operation_id: str) -> Any:
        """The whole result; None while there is none."""
        async with self._pool.connection() as connection:
            return await connection.fetchval("SELECT output FROM operations WHERE id = $1", operation_id)

    async def of_task(self, task_id: str) -> list[Operation]:
        """All operations of a turn, in the order of their calls."""
        async with self._pool.connection() as connection:
            return await operations_of(connection, task_id)

    async def queues_in_use(self) -> list[str]:
        """The queues of operations that wait for a runner, or are with one."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                "SELECT DISTINCT queue FROM operations WHERE status IN ('pending', 'running')"
            )
        return [row["queue"] for row in rows]

    async def start(
        self, operation_id: str, runner: str, entry_id: str | None = None, *, over: int = 0
    ) -> Started | None:
        """Begin an operation that is pending, under that queue entry; or again, where it runs and its attempt `over`
        is known to have no runner any more. None: unknown, ended, begun by another, or an outside service has it.

        `runner`: another one for each beginning. With the same one it is the same beginning, sent again because its
        answer was lost.
        """
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(
                "UPDATE operations SET status = 'running', runner = $2, entry_id = $3,"
                " started_at = coalesce(started_at, now()),"
                " attempt = attempt + (runner IS DISTINCT FROM $2)::integer"
                " WHERE id = $1 AND (status = 'pending' OR status = 'running' AND (runner = $2 OR attempt = $4))"
                f" RETURNING {OPERATION_COLUMNS},"
                " (SELECT user_id FROM tasks WHERE id = task_id) AS user_id,"
                " extract(epoch FROM deadline_at - clock_timestamp())::float AS seconds_left",
                operation_id,
                runner,
                entry_id,
                over,
            )
        if row is None:
            return None
        return Started(operation_of(row), row["attempt"] - 1, row["user_id"], row["seconds_left"])

    async def accepted(self, operation_id: str, attempt: int, traceparent: str | None = None) -> bool:
        """An outside service works on it: from here on it waits for a webhook, or for its deadline. `traceparent`:
        the span that its webhook continues."""
        async with self._pool.connection() as connection:
            found = await connection.fetchval(
                "UPDATE operations SET status = 'accepted', traceparent = coalesce($3, traceparent)"
                " WHERE id = $1 AND attempt = $2 AND status = 'running' RETURNING id",
                operation_id,
                attempt,
                traceparent,
            )
        return found is not None

    async def unfinished(self, after_id: str, older_than: timedelta, limit: int) -> list[Operation]:
        """A page, in order of id, of operations that a runner should have in flight or in its queue since so long."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                f"SELECT {OPERATION_COLUMNS} FROM operations WHERE id > $1 AND status IN ('pending', 'running')"
                " AND coalesce(started_at, created_at) < now() - $2::interval ORDER BY id LIMIT $3",
                after_id,
                older_than,
                limit,
            )
        return [operation_of(row) for row in rows]


async def operations_of(connection: Connection, task_id: str) -> list[Operation]:
    rows = await connection.fetch(
        f"SELECT {OPERATION_COLUMNS} FROM operations WHERE task_id = $1 ORDER BY step, place", task_id
    )
    return [operation_of(row) for row in rows]


def insert_operations(turn: str, calls: str) -> str:
    """The statement that stores calls of a turn, once, however often it is tried. `turn`: where its task's row comes
    from; `calls`: the parameter with what `calls_of` answers."""
    return (
        "INSERT INTO operations (task_id, session_id, message_id, traceparent, id, step, tool_call_id, tool_name,"
        " input, queue, status, approval_id, error, background, deadline_seconds, deadline_at, ended_at)"
        " SELECT t.id, t.session_id, t.message_id, t.traceparent, c.id, step, tool_call_id, tool_name,"
        " input, queue, c.status, approval_id, c.error, coalesce(c.background, false), deadline_seconds,"
        " now() + make_interval(secs => deadline_seconds), CASE WHEN c.status = 'failed' THEN now() END"
        f" FROM {turn} t, ROWS FROM (jsonb_to_recordset({calls}::jsonb) AS (id text, step integer, tool_call_id text,"
        " tool_name text, input jsonb, queue text, status text, approval_id text, error jsonb, background boolean,"
        " deadline_seconds float))"
        " WITH ORDINALITY AS c (id, step, tool_call_id, tool_name, input, queue, status, approval_id, error,"
        " background, deadline_seconds, number) ORDER BY number ON CONFLICT (id) DO NOTHING"
    )


def calls_of(operations: Sequence[NewOperation]) -> list[dict[str, Any]]:
    return [asdict(one) for one in operations]
