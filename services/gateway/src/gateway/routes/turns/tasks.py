"""One turn: its state, its stream, its cancellation."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field
from sluiceway.errors import AccessDenied, RedisUnavailable, StoreUnavailable, TaskExpired, TaskNotFound
from sluiceway.store.sessions.sessions import check_owner
from starlette.responses import Response

from gateway.api.cursors import CursorParams
from gateway.api.inputs import ClientId, In, Params
from gateway.api.models.turns import CancelledTurn, StreamTokenView, TaskView, stream_url
from gateway.api.problems import InvalidCursor, ProblemType
from gateway.callers.stream_tokens import LONGEST_CHARS
from gateway.routes import following
from gateway.routes.following import measure_stream, open_stream
from gateway.routes.viewing import viewer_of_task
from gateway.routing.table import Call, RouteSpec, Success, json_response

_PROBLEMS: tuple[ProblemType, ...] = (TaskNotFound, AccessDenied, StoreUnavailable)


class TaskParams(Params):
    task_id: Annotated[ClientId, In("path")]


class FollowParams(CursorParams):
    task_id: Annotated[ClientId, In("path")]
    token: Annotated[str | None, Field(max_length=LONGEST_CHARS), In("query")] = None


async def get_task(call: Call[TaskParams, None]) -> Response:
    store, task_id = call.gateway.store, call.params.task_id
    task, operations = await asyncio.gather(store.turns.get(task_id), store.operations.of_task(task_id))
    if task is None:
        raise TaskNotFound
    if not call.caller.reads_all:
        check_owner(task.user_id, call.caller.user_id)
    continued_by = await store.background.continued_by(task_id) if task.background_at is not None else None
    return json_response(TaskView.of(task, operations, continued_by))


async def follow_task(call: Call[FollowParams, None]) -> Response:
    task_id = call.params.task_id
    # Asked with the metadata: a storm of reconnects pays for every round trip.
    size = measure_stream(call.gateway, task_id)
    task = await call.gateway.lookup.find(task_id, await viewer_of_task(call, task_id))
    return await open_stream(
        call.gateway,
        call.caller,
        task.task_id,
        version=call.params.version,
        cursor=call.params.cursor,
        skip=call.params.skip,
        head_only=call.method == "HEAD",
        known=task.meta,
        size=size,
    )


async def make_stream_token(call: Call[TaskParams, None]) -> Response:
    task_id, caller = call.params.task_id, call.caller
    await call.gateway.lookup.find(task_id, caller.user_id)
    token = call.gateway.stream_tokens.issue(task_id, caller.user_id, caller.expires_at)
    return json_response(
        StreamTokenView(
            token=token.text,
            expires_at=datetime.fromtimestamp(token.expires_at, UTC),
            stream_url=f"{stream_url(task_id)}?token={token.text}",
        ),
        201,
    )


async def cancel_task(call: Call[TaskParams, None]) -> Response:
    result = await call.gateway.intake.cancel(call.params.task_id, call.caller.user_id)
    return json_response(CancelledTurn(task_id=result.task_id, status=result.status), 202)


ROUTES: tuple[RouteSpec[Any, Any], ...] = (
    RouteSpec(
        "GET",
        "/api/chat/tasks/{task_id}",
        get_task,
        "Read a turn's state",
        "Tasks",
        {200: Success("The turn.", TaskView)},
        TaskParams,
        problems=_PROBLEMS,
        scopes=("turns", "read"),
        description="How far it is, its tool calls, what it took, and why it failed.",
    ),
    RouteSpec(
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
        stream_token=True,
        scopes=("turns", "read"),
    ),
    RouteSpec(
        "POST",
        "/api/chat/tasks/{task_id}/stream-token",
        make_stream_token,
        "Make a URL with which an EventSource follows a turn",
        "Tasks",
        {201: Success("Good for this turn, for some minutes.", StreamTokenView)},
        TaskParams,
        problems=(*_PROBLEMS, TaskExpired, RedisUnavailable),
        description=(
            "For clients that cannot send a header. Whoever has the URL follows this turn, for as long as it belongs "
            "to who asked for it. An open stream ends with his sign-in."
        ),
        scopes=("turns",),
    ),
    RouteSpec(
        "POST",
        "/api/chat/tasks/{task_id}/cancel",
        cancel_task,
        "Cancel a turn",
        "Tasks",
        {202: Success("The wish is durable, or the turn had ended: its status says which.", CancelledTurn)},
        TaskParams,
        problems=(*_PROBLEMS, RedisUnavailable),
        description="Idempotent. What was said so far is kept, and the stream ends with `abort` and `finish`.",
        scopes=("turns",),
    ),
)
