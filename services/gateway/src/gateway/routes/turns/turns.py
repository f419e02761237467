"""Turns started and followed by their session."""

from typing import Annotated, Any

from sluiceway.errors import AccessDenied, MessageNotFound, MessageNotWaiting, SessionNotFound, StoreUnavailable
from sluiceway.store.turns.accepting import NewTurn
from sluiceway.wire.client_tools import stored
from starlette.responses import Response

from gateway.api.cursors import StreamParams
from gateway.api.inputs import ClientId, In, Params
from gateway.api.models.messages import NewMessage
from gateway.api.models.turns import AcceptedTurn
from gateway.api.problems import EmptyMessage
from gateway.routes import following
from gateway.routes.claiming import claiming
from gateway.routes.files import attaching
from gateway.routes.files.attaching import attached
from gateway.routes.following import open_stream
from gateway.routes.turns import accepting
from gateway.routes.turns.accepting import (
    TracedParams,
    accept_and_follow,
    accept_in_background,
    budget_of,
    check_limits,
)
from gateway.routes.viewing import viewer_of_session
from gateway.routing.table import Call, RouteSpec, Success


class MessageParams(TracedParams):
    session_id: Annotated[ClientId, In("path")]


class MessageStreamParams(TracedParams, StreamParams):
    session_id: Annotated[ClientId, In("path")]


class WaitingMessageParams(Params):
    session_id: Annotated[ClientId, In("path")]
    message_id: Annotated[ClientId, In("path")]


class SessionStreamParams(StreamParams):
    session_id: Annotated[ClientId, In("path")]


async def post_message(call: Call[MessageParams, NewMessage]) -> Response:
    return await accept_in_background(call, await _turn(call))


async def stream_message(call: Call[MessageStreamParams, NewMessage]) -> Response:
    return await accept_and_follow(call, await _turn(call), call.params)


async def follow_session(call: Call[SessionStreamParams, None]) -> Response:
    gateway, session_id = call.gateway, call.params.session_id
    viewer = await viewer_of_session(call, session_id)
    task = await gateway.lookup.active(session_id, viewer)
    if task is None:
        await gateway.store.sessions.get(session_id, viewer)
        return Response(status_code=204)
    head_only = call.method == "HEAD"
    return await open_stream(
        gateway,
        call.caller,
        task.task_id,
        version=call.params.version,
        merge=True,
        head_only=head_only,
        answer_only=True,
    )


async def take_message_back(call: Call[WaitingMessageParams, None]) -> Response:
    session_id, message_id, caller = call.params.session_id, call.params.message_id, call.caller
    intake = call.gateway.intake
    await claiming(call, session_id, lambda: intake.take_back(session_id, message_id, caller.user_id))
    return Response(status_code=204)


async def _turn(call: Call[Any, NewMessage]) -> NewTurn:
    body, settings = call.body, call.gateway.settings
    check_limits(settings, body.message, body.model, body.question)
    files = await attached(call, [file.posted for file in body.files], call.params.session_id, body.id)
    return NewTurn(
        session_id=call.params.session_id,
        user_id=call.caller.user_id,
        text=body.message,
        question=body.question,
        message_id=body.id,
        files=files,
        parent_id=body.parent_id,
        client_tools=stored(body.tools),
        answer_format=body.response_format.stored if body.response_format is not None else None,
        policy=body.policy,
        model=body.model,
        max_queued=settings.max_queued_per_session,
        max_live=settings.max_turns_per_user,
        max_live_of_org=settings.max_turns_per_org,
        budget=budget_of(settings, body.over_budget),
        traceparent=call.params.trace,
    )


ROUTES: tuple[RouteSpec[Any, Any], ...] = (
    RouteSpec(
        "POST",
        "/api/chat/sessions/{session_id}/messages",
        post_message,
        "Send a message; the answer is made in the background",
        "Turns",
        {202: Success("The message is durable and will be answered.", AcceptedTurn)},
        MessageParams,
        NewMessage,
        problems=(EmptyMessage, *attaching.PROBLEMS, *accepting.PROBLEMS),
        description=(
            "Sent again with the same id, it answers the same turn. While another turn of the session runs, `policy` "
            "says what happens: wait for it (`enqueue`; without `policy`, too, but not for a turn that only waits for "
            "operations: that goes into the background, and another turn continues it at the end of the conversation "
            "when they have ended), cancel it and those that wait (`interrupt`), take the place "
            "of those that wait (`latest`), enter it between two of its steps (`steer`), or refuse (`reject`). One "
            "that steers ends that turn at the next such moment, and its own turn continues with what that one had; "
            "where none comes, it is the next turn. `GET /api/chat/tasks/{task_id}` says which, and so do both streams "
            "(`data-steer`). With `parent_id` it stands in the place of what followed that message, which stays as "
            "another branch; a turn that answers what is replaced does not have to be waited for."
        ),
        scopes=("turns",),
    ),
    RouteSpec(
        "DELETE",
        "/api/chat/sessions/{session_id}/messages/{message_id}",
        take_message_back,
        "Take back a message that waits",
        "Turns",
        {204: Success("No model will be told of it, and its words are deleted.", media_type=None)},
        WaitingMessageParams,
        problems=(SessionNotFound, AccessDenied, MessageNotFound, MessageNotWaiting, StoreUnavailable),
        description=(
            "Of a message that another turn of its session is before, and whose answer has not begun. To edit it, take "
            "it back and send another one, with a new id. Either it is taken back or it is answered (409), never both. "
            "Files that it named stay with the session. Idempotent."
        ),
        scopes=("turns",),
    ),
    RouteSpec(
        "POST",
        "/api/chat/sessions/{session_id}/stream",
        stream_message,
        "Send a message and follow its answer",
        "Turns",
        {200: following.STREAM, 204: following.NOTHING},
        MessageStreamParams,
        NewMessage,
        problems=(EmptyMessage, *attaching.PROBLEMS, *accepting.FOLLOWED_PROBLEMS, *following.PROBLEMS),
        scopes=("turns",),
        description="One request for what `post_message` and `follow_task` are: the answer is a stream of events.",
    ),
    RouteSpec(
        "GET",
        "/api/chat/sessions/{session_id}/stream",
        follow_session,
        "Follow the running turn",
        "Turns",
        {200: following.STREAM, 204: following.NOTHING},
        SessionStreamParams,
        problems=(AccessDenied, SessionNotFound, StoreUnavailable, *following.PROBLEMS),
        description=(
            "From its beginning, with what was said so far joined, to its end, or to where it goes into the background "
            "(`data-background`, then `finish`): its own stream tells the rest. 204 when nothing runs. To resume from "
            "a cursor, follow the turn itself: a cursor belongs to one turn."
        ),
        scopes=("turns", "read"),
    ),
)
