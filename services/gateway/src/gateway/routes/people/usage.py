"""What callers have used of the models: their own by day, by session and by turn; everybody's for operators."""

from datetime import date
from typing import Annotated, Any

from pydantic import Field
from sluiceway.errors import AccessDenied, SessionNotFound, StoreUnavailable, TaskNotFound
from sluiceway.store.sessions.sessions import check_owner
from starlette.responses import Response

from gateway.api.cursors import page_size
from gateway.api.inputs import ClientId, In, Params, PositiveNumber
from gateway.api.problems import InvalidParameter
from gateway.api.usage_models import (
    AllUsage,
    BudgetView,
    CallUsage,
    OwnUsage,
    SessionUsage,
    TaskUsage,
    UsageTotal,
    days_of,
    models_of,
    users_of,
)
from gateway.routes.viewing import viewer_of_session
from gateway.routing.table import Call, RouteSpec, Success, json_response

_USUAL_DAYS, _MOST_DAYS = 31, 366

Day = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", json_schema_extra={"format": "date"})]


class DaysParams(Params):
    """The last 31 days, where nothing is asked for; at most 366."""

    first_day: Annotated[Day | None, In("query", "from")] = None
    last_day: Annotated[Day | None, In("query", "to")] = None


class AllParams(DaysParams):
    limit: Annotated[PositiveNumber | None, In("query")] = None


class SessionUsageParams(Params):
    session_id: Annotated[ClientId, In("path")]


class TaskUsageParams(Params):
    task_id: Annotated[ClientId, In("path")]


async def own_usage(call: Call[DaysParams, None]) -> Response:
    store, settings, user_id = call.gateway.store, call.gateway.settings, call.caller.user_id
    first, last = await _days(call)
    sums = await store.usage.of_user(user_id, first, last)
    budget = BudgetView.of(settings.budget, await store.usage.today(user_id), settings.budget_reached)
    return json_response(
        OwnUsage(first_day=first, last_day=last, total=UsageTotal.of(sums), days=days_of(sums), budget=budget)
    )


async def session_usage(call: Call[SessionUsageParams, None]) -> Response:
    store, session_id = call.gateway.store, call.params.session_id
    await store.sessions.get(session_id, await viewer_of_session(call, session_id))
    sums = await store.usage.of_session(session_id)
    return json_response(SessionUsage(session_id=session_id, total=UsageTotal.of(sums), models=models_of(sums)))


async def task_usage(call: Call[TaskUsageParams, None]) -> Response:
    store, task_id = call.gateway.store, call.params.task_id
    task = await store.turns.get(task_id)
    if task is None:
        raise TaskNotFound
    if not call.caller.reads_all:
        check_owner(task.user_id, call.caller.user_id)
    calls = await store.usage.of_task(task_id)
    return json_response(TaskUsage(task_id=task_id, calls=[CallUsage.of(one) for one in calls]))


async def all_usage(call: Call[AllParams, None]) -> Response:
    first, last = await _days(call)
    sums = await call.gateway.store.usage.of_all(first, last, page_size(call.params.limit, call.gateway.settings))
    return json_response(AllUsage(first_day=first, last_day=last, users=users_of(sums)))


async def _days(call: Call[Any, None]) -> tuple[date, date]:
    """Raises InvalidParameter. Today is Postgres's, as in its rows. Of more days than are told at once, the last."""
    first, last = _read(call.params.first_day), _read(call.params.last_day)
    last = last or (await call.gateway.store.now()).date()
    first = first or _before(last, _USUAL_DAYS)
    return max(first, _before(last, _MOST_DAYS)), last


def _before(day: date, days: int) -> date:
    return date.fromordinal(max(1, day.toordinal() - days + 1))


def _read(day: str | None) -> date | None:
    try:
        return date.fromisoformat(day) if day is not None else None
    except ValueError:
        raise InvalidParameter("`from` and `to` are days, such as 2026-02-28.") from None


ROUTES: tuple[RouteSpec[Any, Any], ...] = (
    RouteSpec(
        "GET",
        "/api/chat/usage",
        own_usage,
        "What the caller has used of the models, by day, and what he may use today",
        "Usage",
        {200: Success("Tokens and cost.", OwnUsage)},
        DaysParams,
        problems=(InvalidParameter, StoreUnavailable),
        description=(
            "Days of UTC. Calls that failed or were stopped count, too: by what the model server tells that they used, "
            "else by an estimate. They stay when a session is deleted."
        ),
        scopes=("turns",),
    ),
    RouteSpec(
        "GET",
        "/api/chat/usage/users",
        all_usage,
        "What each user has used of the models",
        "Usage",
        {200: Success("Tokens and cost.", AllUsage)},
        AllParams,
        problems=(InvalidParameter, StoreUnavailable),
        people=False,
        scopes=("ops:look",),
        description="Of a range of days; those who used most come first.",
    ),
    RouteSpec(
        "GET",
        "/api/chat/sessions/{session_id}/usage",
        session_usage,
        "What a session has used of the models",
        "Usage",
        {200: Success("Tokens and cost.", SessionUsage)},
        SessionUsageParams,
        problems=(SessionNotFound, AccessDenied, StoreUnavailable),
        scopes=("turns", "read"),
        description="Together, and by model.",
    ),
    RouteSpec(
        "GET",
        "/api/chat/tasks/{task_id}/usage",
        task_usage,
        "The calls of a model that a turn has made",
        "Usage",
        {200: Success("Each with its tokens and cost.", TaskUsage)},
        TaskUsageParams,
        problems=(TaskNotFound, AccessDenied, StoreUnavailable),
        scopes=("turns", "read"),
        description="Also those that failed or were replaced by another attempt.",
    ),
)
