"""What the routes of usage answer. Costs are in USD; `unpriced_calls`: those whose model has no price that is known."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Literal

from pydantic import Field
from sluiceway.store.people.usage import Budget, ChargedCall, UsageSum, Used

from gateway.api.models.wire import Wire

_COST_DIGITS = 9


class UsageTotal(Wire):
    """Of the output `reasoning_tokens` were thoughts, of the input `cached_tokens` were in the server's cache."""

    calls: int
    input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cached_tokens: int
    cost: float
    unpriced_calls: int

    @classmethod
    def of(cls, sums: Iterable[UsageSum]) -> "UsageTotal":
        listed = list(sums)
        return cls(
            calls=sum(one.calls for one in listed),
            input_tokens=sum(one.input_tokens for one in listed),
            output_tokens=sum(one.output_tokens for one in listed),
            reasoning_tokens=sum(one.reasoning_tokens for one in listed),
            cached_tokens=sum(one.cached_tokens for one in listed),
            cost=round(sum(one.cost for one in listed), _COST_DIGITS),
            unpriced_calls=sum(one.unpriced for one in listed),
        )


class DayUsage(UsageTotal):
    day: date
    model: str


class ModelUsage(UsageTotal):
    """`purpose`: `answer` or what else the model was asked for, such as `title`."""

    model: str
    purpose: str


class UserUsage(UsageTotal):
    user_id: str | None
    model: str


class CallUsage(Wire):
    """One call of a model. `estimated`: the server told no tokens; these are characters, divided by four."""

    attempt: int
    step: int = Field(description="of the message, from 1; 0: of none")
    purpose: str
    model: str
    outcome: Literal["answered", "failed", "stopped"]
    estimated: bool
    input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cached_tokens: int
    cost: float | None = Field(description="null: no price is known")
    created_at: datetime

    @classmethod
    def of(cls, call: ChargedCall) -> "CallUsage":
        return cls.model_validate(call, from_attributes=True)


class BudgetView(Wire):
    """What one may use within a day of UTC, and has. 0: no limit. `resets_in_seconds`: when the next day begins.
    `when_reached`: new messages are refused; with `ask` one is taken all the same that says `over_budget`."""

    daily_tokens: int
    daily_cost: float
    used_tokens: int
    used_cost: float
    resets_in_seconds: int
    when_reached: Literal["refuse", "ask"]

    @classmethod
    def of(cls, budget: Budget, used: Used, when_reached: Literal["refuse", "ask"]) -> "BudgetView":
        return cls(
            daily_tokens=budget.tokens,
            daily_cost=budget.cost,
            used_tokens=used.tokens,
            used_cost=round(used.cost, _COST_DIGITS),
            resets_in_seconds=used.seconds_left,
            when_reached=when_reached,
        )


class OwnUsage(Wire):
    """By day and model, the newest day first."""

    first_day: date
    last_day: date
    total: UsageTotal
    days: list[DayUsage]
    budget: BudgetView


class SessionUsage(Wire):
    session_id: str
    total: UsageTotal
    models: list[ModelUsage]


class TaskUsage(Wire):
    """Every call of a model that a turn has made, also one that failed, was stopped, or whose attempt was replaced."""

    task_id: str
    calls: list[CallUsage]


class AllUsage(Wire):
    """By user and model, those with the most tokens first. `user_id` null: the one person where there are no users."""

    first_day: date
    last_day: date
    users: list[UserUsage]


def days_of(sums: Sequence[UsageSum]) -> list[DayUsage]:
    return [DayUsage(day=date.fromisoformat(one.key), model=one.model, **dict(UsageTotal.of([one]))) for one in sums]


def models_of(sums: Sequence[UsageSum]) -> list[ModelUsage]:
    return [ModelUsage(purpose=one.key, model=one.model, **dict(UsageTotal.of([one]))) for one in sums]


def users_of(sums: Sequence[UsageSum]) -> list[UserUsage]:
    return [UserUsage(user_id=one.key or None, model=one.model, **dict(UsageTotal.of([one]))) for one in sums]
