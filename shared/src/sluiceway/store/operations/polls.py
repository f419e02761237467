"""Accepted operations whose outside service does not tell how they end, but is asked: when, and with what handle.

Guarantees: one that is due is given out once in a minute, until it was asked or has ended; so a runner that dies with
it loses nothing. One that was cancelled meanwhile is given out, too, so that its service can be told, for an hour. One
that waits for a person is not given out; his answer is in its handle then. The clock is Postgres's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sluiceway.store.database.pool import Pool
from sluiceway.store.records import OPERATION_COLUMNS, Operation, operation_of
from sluiceway.wire.elicitation import INPUT_REQUIRED

_DUE = (
    "UPDATE operations SET poll_at = CASE WHEN status IN ('accepted', 'approval')"
    f"  OR (status IN ('cancelled', 'expired') OR status = 'failed' AND error->>'type' = '{INPUT_REQUIRED}')"
    "    AND ended_at > now() - interval '1 hour'"
    "  THEN now() + interval '1 minute' END"
    " WHERE id = ANY(ARRAY(SELECT id FROM operations WHERE poll_at <= now() AND NOT id = ANY($2::text[])"
    "  ORDER BY poll_at LIMIT $1))"
    f" RETURNING {OPERATION_COLUMNS}, poll_at"
)


@dataclass(frozen=True, slots=True)
class Polled:
    """`handle`: what the tool asks with. `user_id`: the turn's. `seconds_left`: until the operation's deadline."""

    operation: Operation
    handle: Mapping[str, Any]
    user_id: str | None
    seconds_left: float


class PollStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def accepted(self, operation_id: str, attempt: int, handle: Mapping[str, Any], seconds: float) -> bool:
        """An outside service works on it, and is asked after so many seconds."""
        async with self._pool.connection() as connection:
            found = await connection.fetchval(
                "UPDATE operations SET status = 'accepted', poll = $3, poll_at = now() + make_interval(secs => $4)"
                " WHERE id = $1 AND attempt = $2 AND status = 'running' RETURNING id",
                operation_id,
                attempt,
                dict(handle),
                seconds,
            )
        return found is not None

    async def due(self, limit: int, without: Sequence[str] = ()) -> list[Operation]:
        """Those that are to be asked now, the oldest first; each is due again in a minute."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(_DUE, limit, without)
        given = (row for row in rows if row["poll_at"] is not None and row["status"] != "approval")
        return [operation_of(row) for row in given]

    async def get(self, operation_id: str) -> Polled | None:
        """None: unknown, or not one that is asked."""
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(
                f"SELECT {OPERATION_COLUMNS}, poll, poll_at, (SELECT user_id FROM tasks WHERE id = task_id) AS user_id,"
                " extract(epoch FROM deadline_at - clock_timestamp())::float AS seconds_left"
                " FROM operations WHERE id = $1",
                operation_id,
            )
        if row is None or row["poll_at"] is None:
            return None
        return Polled(operation_of(row), row["poll"], row["user_id"], row["seconds_left"])

    async def again(
        self, operation_id: str, before: Mapping[str, Any], handle: Mapping[str, Any], seconds: float
    ) -> None:
        """It still works: ask after so many seconds, with this handle. Nothing where the one `before` is not its handle
        any more: a person's answer has come into it."""
        async with self._pool.connection() as connection:
            await connection.execute(
                "UPDATE operations SET poll = $2, poll_at = now() + make_interval(secs => $3)"
                " WHERE id = $1 AND status = 'accepted' AND poll = $4",
                operation_id,
                dict(handle),
                seconds,
                dict(before),
            )

    async def over(self, operation_id: str) -> None:
        """It is asked no more."""
        async with self._pool.connection() as connection:
            await connection.execute("UPDATE operations SET poll_at = NULL WHERE id = $1", operation_id)
