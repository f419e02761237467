"""The tools that can be used now: what a page offers where somebody types `/`."""

from typing import Any

from sluiceway.errors import RedisUnavailable
from sluiceway.operation.catalogue import read_catalogue
from starlette.responses import Response

from gateway.api.models.tools import ToolList, ToolView
from gateway.routing.table import Call, NoParams, RouteSpec, Success, json_response


async def list_tools(call: Call[NoParams, None]) -> Response:
    tools = await read_catalogue(call.gateway.redis)
    return json_response(ToolList(tools=[ToolView.of(spec) for spec in tools.values()]))


ROUTES: tuple[RouteSpec[Any, Any], ...] = (
    RouteSpec(
        "GET",
        "/api/chat/tools",
        list_tools,
        "List the tools that living tool runners offer",
        "Tools",
        {200: Success("By name.", ToolList)},
        NoParams,
        problems=(RedisUnavailable,),
        description="A message `/name {arguments as JSON}`, or `/name text`, runs one without asking the model first.",
        scopes=("turns", "read"),
    ),
)
