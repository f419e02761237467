"""For operators: tool calls that have not ended, and what they wait for."""

from collections.abc import Mapping, Sequence

from redis.asyncio import Redis
from sluiceway.errors import RedisUnavailable, StoreUnavailable
from sluiceway.queue.queue_state import EntryHolder
from sluiceway.store.operating.ops import OperationSeen
from sluiceway.store.records import OperationStatus
from starlette.responses import Response

from gateway.api.cursors import page_size
from gateway.api.ops_models import OpenOperationList, OpenOperationView, WaitsFor
from gateway.ops.evidence import OperationEvidence, operations_of
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
    held = await _held(call.gateway.redis, found)
    return json_response(OpenOperationList(operations=[_operation(one.seen, one.holder) for one in held]))


async def _held(redis: Redis, found: Sequence[OperationSeen]) -> list[OperationEvidence]:
    """With who has them in flight, where Redis says it."""
    try:
        return await operations_of(redis, found)
    except RedisUnavailable:
        return [OperationEvidence(one) for one in found]


def _operation(one: OperationSeen, holder: EntryHolder | None) -> OpenOperationView:
    operation = one.operation
    return OpenOperationView.model_validate(
        {
            **{name: getattr(operation, name) for name in ("task_id", "tool_name", "queue", "status", "attempt")},
            "runner": holder.consumer if holder is not None else operation.runner,
            "runner_idle_seconds": holder.idle_seconds if holder is not None else None,
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
