"""For operators: tool calls that have not ended, and what they wait for."""

from collections.abc import Mapping

from sluiceway.errors import StoreUnavailable
from sluiceway.store.operating.ops import OperationSeen
from sluiceway.store.records import OperationStatus
from starlette.responses import Response

from gateway.api.cursors import page_size
from gateway.api.ops_models import OpenOperationList, OpenOperationView, WaitsFor
from gateway.routes.ops.route import ListParams, Routes, route
from gateway.routing.table import Call, Success, json_response

WAITS_FOR: Mapping[OperationStatus, WaitsFor] = {
    "approval": "a person",
    "client": "the client",
    "pending": "a tool runner",
    "running": "its tool",
    "accepted": "an outside service",
}


async def list_open_operations(call: Call[ListParams, None]) -> Response:
    limit = page_size(call.params.limit, call.gateway.settings)
    found = await call.gateway.store.ops.open_operations(limit)
    return json_response(OpenOperationList(operations=[_operation(one) for one in found]))


def _operation(one: OperationSeen) -> OpenOperationView:
    operation = one.operation
    return OpenOperationView.model_validate(
        {
            **{
                name: getattr(operation, name)
                for name in ("task_id", "tool_name", "queue", "status", "runner", "attempt")
            },
            "operation_id": operation.id,
            "user_id": one.user_id,
            "waits_for": WAITS_FOR[operation.status],
            "age_seconds": one.age_seconds,
            "deadline_seconds": one.deadline_seconds,
        }
    )


ROUTES: Routes = (
    route(
        "GET",
        "/operations",
        list_open_operations,
        "Tool calls that have not ended, and what they wait for",
        {200: Success("The oldest first.", OpenOperationList)},
        ListParams,
        problems=(StoreUnavailable,),
        description="The oldest first, with the runner, person or webhook that each waits for.",
    ),
)
