"""What an operator asks of Postgres: what is unfinished, who uses how much, how turns did lately, how the server is.

Reads only. Ages are Postgres's, of its own rows. Every answer is bounded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import asyncpg

from sluiceway.errors import StoreUnavailable
from sluiceway.store.database.migrate import migrations
from sluiceway.store.database.pool import Pool
from sluiceway.store.records import LIVE, OPERATION_COLUMNS, UNENDED, Operation, Task, operation_of, task_of
from sluiceway.store.turns.ending import EndFacts

_TASK = ", ".join(f"t.{name}" for name in Task.__slots__)
_TOKENS = "sum(coalesce((usage->>'inputTokens')::bigint, 0) + coalesce((usage->>'outputTokens')::bigint, 0))::bigint"
_PERCENTILES = (
    "percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY extract(epoch FROM {what})::float) FILTER (WHERE {when})"
)


@dataclass(frozen=True, slots=True)
class TurnSeen:
    """A turn with what Postgres knows around it. `behind`: the active turn of its session, where that is another.
    `cancel_seconds`: since somebody wanted it to end; `ended_seconds`: since it ended. `end_facts`: why; see
    `TurnEnd.facts`."""

    task: Task
    age_seconds: float
    running_seconds: float | None
    cancel_seconds: float | None
    ended_seconds: float | None
    behind: str | None
    end_facts: EndFacts | None = None


@dataclass(frozen=True, slots=True)
class OperationSeen:
    operation: Operation
    age_seconds: float
    deadline_seconds: float
    user_id: str | None


@dataclass(frozen=True, slots=True)
class Use:
    """Of a user or a session: turns accepted since then, those that are live now, tokens of those that ended, and what
    their model calls cost, in USD, as far as prices are known (`unpriced`: calls whose price is not)."""

    name: str | None
    turns: int
    live: int
    tokens: int
    cost: float
    unpriced: int


@dataclass(frozen=True, slots=True)
class Lately:
    """Turns accepted in a period. Seconds are (median, 95th percentile); None: there was none.
    `waits_for_model`: those that do now, and `model_codes` why."""

    accepted: int
    ended: dict[str, int]
    errors: dict[str, int]
    tokens: int
    queued_seconds: tuple[float, float] | None
    turn_seconds: tuple[float, float] | None
    waits_for_model: int = 0
    model_codes: Sequence[str] = ()


class OpsStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def live_turns(self, limit: int) -> list[TurnSeen]:
        """The oldest first."""
        return await self._turns(f"t.{LIVE} ORDER BY t.created_at, t.id LIMIT $1", limit)

    async def turn(self, task_id: str) -> TurnSeen | None:
        found = await self._turns("t.id = $1", task_id)
        return found[0] if found else None

    async def open_operations(self, limit: int, task_id: str | None = None) -> list[OperationSeen]:
        """What a turn waits for; the oldest first."""
        columns = ", ".join(f"o.{name}" for name in OPERATION_COLUMNS.split(", "))
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                f"SELECT {columns}, t.user_id, extract(epoch FROM clock_timestamp() - o.created_at)::float AS age,"
                " extract(epoch FROM o.deadline_at - clock_timestamp())::float AS deadline"
                " FROM operations o JOIN tasks t ON t.id = o.task_id"
                f" WHERE o.{UNENDED}"
                " AND ($2::text IS NULL OR o.task_id = $2) ORDER BY o.created_at, o.id LIMIT $1",
                limit,
                task_id,
            )
        return [OperationSeen(operation_of(row), row["age"], row["deadline"], row["user_id"]) for row in rows]

    async def top(self, by: Literal["user", "session"], since: timedelta, limit: int) -> list[Use]:
        """Who began most turns since then."""
        column = "user_id" if by == "user" else "session_id"
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                f"SELECT {column} AS name, count(*) AS turns, count(*) FILTER (WHERE {LIVE}) AS live,"
                f" coalesce({_TOKENS}, 0) AS tokens, coalesce(sum(called.cost), 0)::float AS cost,"
                " coalesce(sum(called.unpriced), 0)::bigint AS unpriced FROM tasks, LATERAL (SELECT sum(c.cost) AS"
                "  cost, count(*) FILTER (WHERE c.cost IS NULL) AS unpriced FROM model_calls c WHERE"
                "  c.task_id = tasks.id) AS called WHERE created_at > now() - $1::interval"
                " GROUP BY 1 ORDER BY turns DESC, tokens DESC LIMIT $2",
                since,
                limit,
            )
        return [Use(**{name: row[name] for name in Use.__slots__}) for row in rows]

    async def lately(self, since: timedelta) -> Lately:
        queued = _PERCENTILES.format(what="started_at - created_at", when="started_at IS NOT NULL")
        whole = _PERCENTILES.format(what="ended_at - created_at", when="ended_at IS NOT NULL")
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(
                f"SELECT count(*) AS accepted, coalesce({_TOKENS}, 0) AS tokens, {queued} AS queued, {whole} AS whole,"
                " count(*) FILTER (WHERE status = 'waiting' AND retry_at IS NOT NULL) AS waits_for_model,"
                " array_agg(DISTINCT model_wait->'status'->>'code') FILTER (WHERE status = 'waiting' AND"
                "  retry_at IS NOT NULL AND model_wait->'status'->>'code' IS NOT NULL) AS model_codes"
                " FROM tasks WHERE created_at > now() - $1::interval",
                since,
            )
            ends = await connection.fetch(
                "SELECT status, coalesce(error->>'code', '') AS code, count(*) AS number FROM tasks"
                " WHERE created_at > now() - $1::interval AND ended_at IS NOT NULL GROUP BY 1, 2",
                since,
            )
        if row is None:
            raise StoreUnavailable("an aggregate answered no row")
        ended: dict[str, int] = {}
        for end in ends:
            ended[end["status"]] = ended.get(end["status"], 0) + end["number"]
        errors = {end["code"]: end["number"] for end in ends if end["code"]}
        return Lately(
            row["accepted"],
            ended,
            errors,
            row["tokens"],
            _pair(row["queued"]),
            _pair(row["whole"]),
            row["waits_for_model"],
            row["model_codes"] or (),
        )

    async def server(self) -> dict[str, Any]:
        """Facts of the server, by name."""
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(
                "SELECT current_setting('server_version') AS version,"
                " current_setting('max_connections')::integer AS most_connections,"
                " (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections,"
                " current_setting('synchronous_commit') AS synchronous_commit, current_setting('fsync') AS fsync,"
                " extract(epoch FROM clock_timestamp())::float AS clock,"
                " most.name AS connections_name, most.number AS connections_most,"
                " idle.pid AS idle_pid, idle.application_name AS idle_name,"
                " extract(epoch FROM clock_timestamp() - idle.state_change)::float AS idle_seconds"
                " FROM (SELECT) AS server LEFT JOIN (SELECT pid, application_name, state_change FROM pg_stat_activity"
                "  WHERE state LIKE 'idle in transaction%' ORDER BY state_change LIMIT 1) AS idle ON true"
                " LEFT JOIN (SELECT application_name AS name, count(*) AS number FROM pg_stat_activity WHERE"
                "  backend_type = 'client backend' GROUP BY 1 ORDER BY 2 DESC LIMIT 1) AS most ON true"
            )
            try:
                applied = {row["name"] for row in await connection.fetch("SELECT name FROM schema_migrations")}
            except asyncpg.UndefinedTableError:
                applied = set()
        if row is None:
            raise StoreUnavailable("a list of settings answered no row")
        known = [name for name, _ in migrations()]
        missing = [name for name in known if name not in applied]
        return {**dict(row), "schema": max(applied, default="none"), "missing": missing}

    async def _turns(self, condition: str, argument: str | int) -> list[TurnSeen]:
        def since(column: str) -> str:
            return f"extract(epoch FROM clock_timestamp() - t.{column})::float"

        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                f"SELECT {_TASK}, {since('created_at')} AS age, {since('started_at')} AS running,"
                f" {since('cancel_requested_at')} AS cancel, {since('ended_at')} AS ended, a.id AS behind,"
                " t.end_facts"
                " FROM tasks t JOIN sessions s ON s.id = t.session_id"
                f" LEFT JOIN tasks a ON a.id = s.active_task_id AND a.id <> t.id AND a.{LIVE} WHERE {condition}",
                argument,
            )
        return [
            TurnSeen(
                task_of(row),
                row["age"],
                row["running"],
                row["cancel"],
                row["ended"],
                row["behind"],
                row["end_facts"],
            )
            for row in rows
        ]


def _pair(values: list[float] | None) -> tuple[float, float] | None:
    return (values[0], values[1]) if values and values[0] is not None else None
