"""One turn: its state, its stream, its cancellation."""

import asyncio
from typing import Annotated, Any

from sluiceway.errors import AccessDenied, RedisUnavailable, StoreUnavailable, TaskExpired, TaskNotFound
from sluiceway.store.sessions import check_owner
from starlette.responses import Response

from gateway.api.cursors import CursorParams
from gateway.api.inputs import ClientId, In, Params
from gateway.api.models import CancelledTurn, TaskView
from gateway.api.problems import InvalidCursor, ProblemType
from gateway.routes import following
from gateway.routes.following import open_stream
from gateway.routing.table import Answer, Call, Operation, json_response

_PROBLEMS: tuple[ProblemType, ...] = (TaskNotFound, AccessDenied, StoreUnavailable)


class TaskParams(Params):
    task_id: Annotated[ClientId, In("path")]


class FollowParams(CursorParams):
    task_id: Annotated[ClientId, In("path")]


async def get_task(call: Call[TaskParams, None]) -> Response:
    store, task_id = call.gateway.store, call.params.task_id
    task, operations = await asyncio.gather(store.turns.get(task_id), store.operations.of_task(task_id))
    if task is None:
        raise TaskNotFound
    check_owner(task.user_id, call.caller.user_id)
    return json_response(TaskView.of(task, operations))


async def follow_task(call: Call[FollowParams, None]) -> Response:
    task = await call.gateway.lookup.find(call.params.task_id, call.caller.user_id)
    return await open_stream(
        call.gateway,
        task.task_id,
        version=call.params.version,
        cursor=call.params.cursor,
        skip=call.params.skip,
        head_only=call.method == "HEAD",
        known=task.meta,
    )


async def cancel_task(call: Call[TaskParams, None]) -> Response:
    result = await call.gateway.intake.cancel(call.params.task_id, call.caller.user_id)
    return json_response(CancelledTurn(task_id=result.task_id, status=result.status), 202)


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "GET",
        "/api/chat/tasks/{task_id}",
        get_task,
        "Read a turn's state",
        "Tasks",
        {200: Answer("The turn.", TaskView)},
        TaskParams,
        problems=_PROBLEMS,
    ),
    Operation(
        "GET",
        "/api/chat/tasks/{task_id}/stream",
        follow_task,
        "Follow a turn",
        "Tasks",
        {200: following.STREAM, 204: following.NOTHING},
        FollowParams,
        problems=(*_PROBLEMS, TaskExpired, InvalidCursor, *following.PROBLEMS),
        description=(
            "Everything after the cursor, what was and then what comes, without a gap or a repeat. The cursor is the "
            "`Last-Event-ID` header, which wins, or `?after=` with such an id, or `?startIndex=` with the number of "
            "chunks seen; without one the stream begins at its beginning. A connection that ends without `[DONE]` was "
            "broken: come back with the last id. 204 means that the cursor is at the end."
        ),
    ),
    Operation(
        "POST",
        "/api/chat/tasks/{task_id}/cancel",
        cancel_task,
        "Cancel a turn",
        "Tasks",
        {202: Answer("The wish is durable, or the turn had ended: its status says which.", CancelledTurn)},
        TaskParams,
        problems=(*_PROBLEMS, RedisUnavailable),
        description="Idempotent. What was said so far is kept, and the stream ends with `abort` and `finish`.",
    ),
)
