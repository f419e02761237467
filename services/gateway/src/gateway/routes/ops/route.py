"""What all routes for operators have in common."""

from typing import Annotated, Any

from pydantic import Field
from sluiceway.errors import RedisUnavailable, StoreUnavailable
from sluiceway.process.logs import get_logger

from gateway.api.inputs import In, Params, PositiveNumber
from gateway.callers.caller import KeyScope
from gateway.routing.table import Call, RouteSpec, Success

Routes = tuple[RouteSpec[Any, Any], ...]

AWAY = (StoreUnavailable, RedisUnavailable)
_LOOK: tuple[KeyScope, ...] = ("ops:look",)
_ACT: tuple[KeyScope, ...] = ("ops:act",)


class ListParams(Params):
    limit: Annotated[PositiveNumber | None, In("query")] = None


class PeriodParams(Params):
    minutes: Annotated[int, Field(ge=1, le=10080), In("query")] = 15


def log_act(call: Call[Any, Any], event: str, **fields: str | int | None) -> None:
    """Log what an operator did, with his name: unlike a user's it is no secret here."""
    told = {name: value for name, value in fields.items() if value is not None}
    get_logger().warning(event, operator=call.caller.user_id, **told)


def route(
    method: str, path: str, endpoint: Any, summary: str, answers: dict[int, Success], params: Any, **more: Any
) -> RouteSpec[Any, Any]:
    scopes: tuple[KeyScope, ...] = _ACT if method != "GET" else _LOOK
    return RouteSpec(
        method, f"/api/ops{path}", endpoint, summary, "Operating", answers, params, people=False, scopes=scopes, **more
    )
