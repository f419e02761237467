"""What model calls have used: by step, turn, session, user, model and day.

Guarantees
- A call is written in the transaction that makes its step durable, so a crash loses at most the step that was cut.
- A call counts once, however often it is written: its id is made before, and a day's sum grows with a new row alone.
- The sums of a day stay when the session is deleted; its calls go with it.
A day is one of UTC, by Postgres's clock.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any, Literal

import asyncpg

from sluiceway.errors import BudgetReached
from sluiceway.store.database.pool import Connection, Pool
from sluiceway.store.records import Task

CallOutcome = Literal["answered", "failed", "stopped"]

_SLOTS = 8
_TOKENS = ("input_tokens", "output_tokens", "reasoning_tokens", "cached_tokens")
_SUMS = ", ".join(f"sum({name})::bigint AS {name}" for name in ("calls", *_TOKENS, "unpriced"))
_TODAY = "(now() AT TIME ZONE 'UTC')::date"


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One call of a model, whatever came of it. `step`: of its turn's message, 0 for none. `cost`: in USD; None: no
    price is known. `estimated`: the server told no tokens."""

    id: str
    step: int
    purpose: str
    model: str
    outcome: CallOutcome
    input_tokens: int
    output_tokens: int
    reasoning_tokens: int = 0
    cached_tokens: int = 0
    cost: float | None = None
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class ChargedCall:
    """A call as it is stored."""

    task_id: str
    attempt: int
    step: int
    purpose: str
    model: str
    outcome: CallOutcome
    estimated: bool
    input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cached_tokens: int
    cost: float | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class UsageSum:
    """`unpriced`: calls that the cost is without. `key`: what it is the sum of, such as a day, a user, a purpose."""

    model: str
    calls: int
    input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cached_tokens: int
    cost: float
    unpriced: int
    key: str = ""


@dataclass(frozen=True, slots=True)
class Budget:
    """What one user may use within a day. 0: no limit. `asks`: a person who says so may go on; a refusal tells that."""

    tokens: int = 0
    cost: float = 0
    asks: bool = False

    @property
    def limited(self) -> bool:
        return self.tokens > 0 or self.cost > 0


@dataclass(frozen=True, slots=True)
class Used:
    """What a user has used today. `seconds_left`: of the day."""

    tokens: int
    cost: float
    seconds_left: int


def insert_calls(task: str, task_id: str, attempt: str, calls: str) -> str:
    """Two parts of a WITH statement: the calls of a turn, and the sums of their day. `task`: a table with the turn's
    row. The others: parameters of the statement."""
    days = ("calls", *_TOKENS, "cost", "unpriced")
    grown = ", ".join(f"{name} = usage_days.{name} + excluded.{name}" for name in days)
    sums = ", ".join(f"sum({name})" for name in _TOKENS)
    return (
        "charged AS (INSERT INTO model_calls (id, task_id, session_id, attempt, step, purpose, model, outcome,"
        f"   estimated, {', '.join(_TOKENS)}, cost)"
        f"  SELECT c.id, t.id, t.session_id, {attempt}, c.step, c.purpose, c.model, c.outcome, c.estimated,"
        f"   {', '.join(f'c.{name}' for name in _TOKENS)}, c.cost"
        f"  FROM {task} t, jsonb_to_recordset({calls}) AS c(id text, step integer, purpose text, model text,"
        "   outcome text, estimated boolean, input_tokens bigint, output_tokens bigint, reasoning_tokens bigint,"
        f"   cached_tokens bigint, cost double precision) WHERE t.id = {task_id}"
        f"  ON CONFLICT (id) DO NOTHING RETURNING task_id, model, {', '.join(_TOKENS)}, cost),"
        f" counted AS (INSERT INTO usage_days (user_id, day, model, slot, calls, {', '.join(_TOKENS)}, cost, unpriced)"
        f"  SELECT coalesce(t.user_id, ''), {_TODAY}, c.model, abs(hashtext(t.id)) % {_SLOTS}, count(*), {sums},"
        "   coalesce(sum(c.cost), 0), count(*) FILTER (WHERE c.cost IS NULL)"
        f"  FROM charged c, {task} t GROUP BY t.user_id, t.id, c.model ORDER BY c.model"
        f"  ON CONFLICT (user_id, day, model, slot) DO UPDATE SET {grown})"
    )


_CHARGE = (
    f"WITH task AS (SELECT id, session_id, user_id FROM tasks WHERE id = $1), {insert_calls('task', '$1', '$2', '$3')}"
    " SELECT count(*) FROM charged"
)


def rows_of(calls: Sequence[ModelCall]) -> list[dict[str, Any]]:
    """The calls as the parameter of `insert_calls`."""
    return [asdict(call) for call in calls]


async def charge(connection: Connection, task: Task, calls: Sequence[ModelCall]) -> None:
    """Write the calls of a turn, inside a transaction that ends it."""
    if calls:
        await connection.fetchval(_CHARGE, task.id, task.attempt, rows_of(calls))


async def check_budget(connection: Connection, user_id: str | None, budget: Budget) -> None:
    """Raise BudgetReached where the user has used up what he may within a day. What runs already is finished."""
    if not budget.limited:
        return
    used = await _used_today(connection, user_id)
    tokens_reached = budget.tokens > 0 and used.tokens >= budget.tokens
    cost_reached = budget.cost > 0 and used.cost >= budget.cost
    if tokens_reached or cost_reached:
        told: dict[str, str | int] = {"retry_after_seconds": used.seconds_left, "may_go_on": budget.asks}
        if tokens_reached:
            told |= {"daily_tokens": budget.tokens, "used_tokens": used.tokens}
        if cost_reached:
            told |= {"daily_cost": f"{budget.cost:.4f}", "used_cost": f"{used.cost:.4f}"}
        raise BudgetReached(None, **told)


async def _used_today(connection: Connection, user_id: str | None) -> Used:
    row = await connection.fetchrow(
        "SELECT coalesce(sum(input_tokens + output_tokens), 0)::bigint AS tokens, coalesce(sum(cost), 0) AS cost,"
        f" ceil(extract(epoch FROM ({_TODAY} + 1)::timestamp - (now() AT TIME ZONE 'UTC')))::integer AS seconds_left"
        f" FROM usage_days WHERE user_id = $1 AND day = {_TODAY}",
        user_id or "",
    )
    assert row is not None  # noqa: S101 - an aggregate has a row
    return Used(row["tokens"], row["cost"], max(1, row["seconds_left"]))


class UsageStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def charge(self, task: Task, calls: Sequence[ModelCall]) -> None:
        """Write calls whose step became nothing, or that belong to none. Of a turn that was deleted meanwhile the day's
        sum alone is left, so that deleting a session gives nobody his budget back."""
        if not calls:
            return
        async with self._pool.transaction() as connection:
            known = await connection.fetchval("SELECT true FROM tasks WHERE id = $1 FOR KEY SHARE", task.id)
            if known:
                await charge(connection, task, calls)
                return
            for call in sorted(calls, key=lambda one: one.model):
                await connection.execute(_COUNT_ALONE, task.user_id or "", *_sums_of(call))

    async def today(self, user_id: str | None) -> Used:
        async with self._pool.connection() as connection:
            return await _used_today(connection, user_id)

    async def of_user(self, user_id: str | None, first: date, last: date) -> list[UsageSum]:
        """By day and model; the newest day first."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                f"SELECT day::text AS key, model, {_SUMS}, sum(cost) AS cost FROM usage_days"
                " WHERE user_id = $1 AND day BETWEEN $2 AND $3 GROUP BY day, model ORDER BY day DESC, model",
                user_id or "",
                first,
                last,
            )
        return [_sum_of(row) for row in rows]

    async def of_all(self, first: date, last: date, limit: int) -> list[UsageSum]:
        """By user and model, those with the most tokens first."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                f"SELECT user_id AS key, model, {_SUMS}, sum(cost) AS cost FROM usage_days"
                " WHERE day BETWEEN $1 AND $2 GROUP BY user_id, model"
                " ORDER BY sum(input_tokens + output_tokens) DESC, user_id, model LIMIT $3",
                first,
                last,
                limit,
            )
        return [_sum_of(row) for row in rows]

    async def of_session(self, session_id: str) -> list[UsageSum]:
        """By model and purpose."""
        tokens = ", ".join(f"sum({name})::bigint AS {name}" for name in _TOKENS)
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                f"SELECT purpose AS key, model, count(*) AS calls, {tokens}, coalesce(sum(cost), 0) AS cost,"
                " count(*) FILTER (WHERE cost IS NULL) AS unpriced FROM model_calls WHERE session_id = $1"
                " GROUP BY purpose, model ORDER BY model, purpose",
                session_id,
            )
        return [_sum_of(row) for row in rows]

    async def of_task(self, task_id: str) -> list[ChargedCall]:
        """Its calls, in the order in which they were made durable."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                f"SELECT {', '.join(ChargedCall.__slots__)} FROM model_calls WHERE task_id = $1"
                " ORDER BY created_at, attempt, step, id",
                task_id,
            )
        return [ChargedCall(**{name: row[name] for name in ChargedCall.__slots__}) for row in rows]


_COUNT_ALONE = (
    f"INSERT INTO usage_days (user_id, day, model, slot, calls, {', '.join(_TOKENS)}, cost, unpriced)"
    f" VALUES ($1, {_TODAY}, $2, 0, 1, $3, $4, $5, $6, $7, $8)"
    " ON CONFLICT (user_id, day, model, slot) DO UPDATE SET "
    + ", ".join(f"{name} = usage_days.{name} + excluded.{name}" for name in ("calls", *_TOKENS, "cost", "unpriced"))
)


def _sums_of(call: ModelCall) -> tuple[object, ...]:
    tokens = (call.input_tokens, call.output_tokens, call.reasoning_tokens, call.cached_tokens)
    return (call.model, *tokens, call.cost or 0.0, int(call.cost is None))


def _sum_of(row: asyncpg.Record) -> UsageSum:
    return UsageSum(**{name: row[name] for name in UsageSum.__slots__})
