"""For operators: who uses how much."""

from datetime import timedelta

from sluiceway.errors import StoreUnavailable
from starlette.responses import Response

from gateway.api.ops_models import Top, UseView
from gateway.routes.ops.route import PeriodParams, Routes, route
from gateway.routing.table import Call, Success, json_response


async def show_top(call: Call[PeriodParams, None]) -> Response:
    store, since = call.gateway.store.ops, timedelta(minutes=call.params.minutes)
    users, sessions = [await store.top(by, since, 20) for by in ("user", "session")]
    return json_response(
        Top(
            minutes=call.params.minutes,
            users=[UseView.model_validate(one, from_attributes=True) for one in users],
            sessions=[UseView.model_validate(one, from_attributes=True) for one in sessions],
        )
    )


ROUTES: Routes = (
    route(
        "GET",
        "/top",
        show_top,
        "Who began most turns lately, and with how many tokens",
        {200: Success("By users and by sessions.", Top)},
        PeriodParams,
        problems=(StoreUnavailable,),
        description="By user and by session.",
    ),
)
