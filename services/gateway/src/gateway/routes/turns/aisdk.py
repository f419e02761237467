"""What the AI SDK's stock clients call, with no code of their own: `useChat` and WorkflowChatTransport.

The client posts its whole history; the service's own is the truth, and only a new user message at the end is taken, or
what a person has said to tool calls of the last answer, and the outputs of those that the client runs.
"""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

from pydantic import ValidationError
from sluiceway.errors import (
    AccessDenied,
    ApprovalNotFound,
    DomainError,
    MessageNotFound,
    RedisUnavailable,
    SessionNotFound,
    StoreUnavailable,
    TaskExpired,
    TaskNotFound,
    TooManySessions,
)
from sluiceway.ids import is_client_id, new_session_id
from sluiceway.redis.client import command
from sluiceway.store.turns.accepting import NewTurn
from sluiceway.store.turns.approving import ClientOutput, Decision
from sluiceway.store.turns.branches import FIRST
from sluiceway.turn.lookup import Followed
from sluiceway.wire.client_tools import stored
from starlette.responses import Response

from gateway.api.cursors import BEGINNING, StreamParams
from gateway.api.inputs import ClientId, In, Params, WholeNumber
from gateway.api.models.messages import AiSdkRequest
from gateway.api.models.turns import CancelledTurn, Idle
from gateway.api.posted_file import PostedFile, posted_files
from gateway.api.posted_message import PostedMessage, answers_in
from gateway.api.problems import (
    ApprovalsMissing,
    EmptyMessage,
    InvalidBody,
    InvalidInput,
    NothingToAnswer,
    NothingToFollow,
    ProblemType,
    UnsupportedPart,
)
from gateway.api.whitespace import is_whitespace
from gateway.routes import following
from gateway.routes.claiming import claiming
from gateway.routes.files import attaching
from gateway.routes.files.attaching import attached
from gateway.routes.following import open_stream
from gateway.routes.turns import accepting, answers
from gateway.routes.turns.accepting import TracedParams, accept_and_follow, budget_of, check_limits
from gateway.routes.turns.continued import behind_its_start, told_before
from gateway.routes.viewing import viewer_of_session, viewer_of_task
from gateway.routing.table import Call, RouteSpec, Success, json_response
from gateway.state import Gateway

_TASK_ID = re.compile(r"task_[0-9a-f]{32}")


class ChatParams(TracedParams, StreamParams):
    pass


class ResumeParams(StreamParams):
    id: Annotated[ClientId, In("path")]
    start_index: Annotated[WholeNumber | None, In("query", "startIndex")] = None


class StopParams(Params):
    id: Annotated[ClientId, In("path")]


async def chat(call: Call[ChatParams, AiSdkRequest]) -> Response:
    answered = answers_in(call.body.messages, call.gateway.settings.max_client_output_chars)
    if answered is not None:
        return await _resume(call, *answered)
    # WorkflowChatTransport names no chat, and comes back with `startIndex`: the number of chunks that it got.
    return await accept_and_follow(call, await _turn(call), call.params, counts=call.body.id is None)


async def resume(call: Call[ResumeParams, None]) -> Response:
    """`startIndex` counts chunks, so nothing is joined for a client that may come back with one.

    Where there is nothing to follow, such a client takes 204 for an error and asks again, for ever: 404 ends it.
    """
    task, skip = await _find(call), call.params.start_index
    response = Response(status_code=204) if task is None else await _follow(call, task, skip)
    if response.status_code == 204 and skip is not None:
        raise NothingToFollow
    return response


async def _follow(call: Call[ResumeParams, None], task: Followed, skip: int | None) -> Response:
    of_chat = skip is None and task.task_id != call.params.id
    before = await told_before(call.gateway, task) if of_chat else b""
    return await open_stream(
        call.gateway,
        call.caller,
        task.task_id,
        greeting=before,
        version=call.params.version,
        cursor=await behind_its_start(call.gateway, task.task_id) if before else BEGINNING,
        skip=skip,
        merge=skip is None,
        headers=accepting.run_headers(task.task_id),
        head_only=call.method == "HEAD",
        answer_only=True,
    )


async def stop(call: Call[StopParams, None]) -> Response:
    intake, user_id = call.gateway.intake, call.caller.user_id
    if _TASK_ID.fullmatch(call.params.id):
        result = await intake.cancel(call.params.id, user_id)
    else:
        active = await intake.cancel_active(call.params.id, user_id)
        if active is None:
            return json_response(Idle())
        result = active
    return json_response(CancelledTurn(task_id=result.task_id, status=result.status), 202)


async def _find(call: Call[ResumeParams, None]) -> Followed | None:
    """By the id of a run, as WorkflowChatTransport asks: that one, ended or not. By the chat's id: its running turn, or
    the one that has just ended.

    A client that lost its connection in the middle and comes back after the end would keep half an answer that looks
    whole; one that has all of it takes the replay without harm.
    """
    asked, lookup = call.params.id, call.gateway.lookup
    if _TASK_ID.fullmatch(asked):
        return await lookup.find(asked, await viewer_of_task(call, asked))
    try:
        viewer = await viewer_of_session(call, asked)
        active = await lookup.active(asked, viewer)
    except SessionNotFound:
        return None
    return active if active is not None else await _just_ended(call.gateway, asked, viewer)


async def _just_ended(gateway: Gateway, session_id: str, viewer: str | None) -> Followed | None:
    ended = await gateway.store.sessions.ended_task(session_id, timedelta(seconds=gateway.settings.replay_seconds))
    if ended is None:
        return None
    try:
        return await gateway.lookup.find(ended, viewer)
    except (TaskExpired, TaskNotFound):
        # Its stream is gone, or it was deleted meanwhile.
        return None


async def _resume(
    call: Call[ChatParams, AiSdkRequest], message_id: str, answers: Mapping[str, Decision | ClientOutput]
) -> Response:
    """Stream what follows from the answers to tool calls of a message, from `start` with that message's id."""
    gateway, user_id = call.gateway, call.caller.user_id
    await command(gateway.redis, "PING")
    asking = await gateway.store.turns.asking(call.body.id or "", message_id)
    if asking is None:
        raise MessageNotFound
    try:
        outcome = await claiming(call, call.body.id, lambda: gateway.intake.answer(asking.id, user_id, answers))
    except ApprovalNotFound:
        # An answer that was whole before, with outputs of our own tools.
        if any(isinstance(one, Decision) for one in answers.values()):
            raise
        raise NothingToAnswer from None
    task = outcome.task
    if task is None:
        raise ApprovalsMissing
    await gateway.lookup.find(task.id, user_id)
    headers = accepting.run_headers(task.id)
    return await open_stream(
        gateway, call.caller, task.id, version=call.params.version, headers=headers, answer_only=True
    )


async def _turn(call: Call[ChatParams, AiSdkRequest]) -> NewTurn:
    body, settings = call.body, call.gateway.settings
    session_id = body.id or new_session_id()
    regenerate = body.trigger == "regenerate-message"
    message_id, text, posted = _question_again(body) if regenerate else _new_message(body.messages)
    check_limits(settings, text, body.model, body.question)
    files = await attached(call, posted, session_id, message_id)
    return NewTurn(
        session_id=session_id,
        user_id=call.caller.user_id,
        text=text,
        question=body.question,
        message_id=message_id,
        files=files,
        policy=body.policy,
        model=body.model,
        parent_id=_parent(body),
        create_session=not regenerate or message_id is not None,
        regenerate=regenerate,
        replaces=body.message_id if regenerate else None,
        client_tools=stored(body.tools),
        answer_format=body.response_format.stored if body.response_format is not None else None,
        edit=not regenerate and body.message_id is not None and body.message_id == message_id,
        max_queued=settings.max_queued_per_session,
        max_live=settings.max_turns_per_user,
        max_live_of_org=settings.max_turns_per_org,
        budget=budget_of(settings, body.over_budget),
        max_sessions_per_hour=settings.max_sessions_per_hour,
        traceparent=call.params.trace,
        temporary=body.temporary,
    )


def _question_again(body: AiSdkRequest) -> tuple[str | None, str, list[PostedFile]]:
    """Where no answer is named: the question that the history ends with, which may never have arrived. Without a text
    that can be taken it has to be known."""
    last = body.messages[-1] if body.messages and body.message_id is None else None
    message_id = last.get("id") if isinstance(last, dict) and last.get("role") == "user" else None
    if not isinstance(message_id, str) or not is_client_id(message_id):
        return None, "", []
    try:
        return _new_message(body.messages)
    except (DomainError, InvalidInput):
        return message_id, "", []


def _parent(body: AiSdkRequest) -> str | None:
    """The message that the new one stands behind on the client's screen; see `NewTurn`. A message that is posted alone
    may come from a client that shows none of the others, or posts none: only a `parentId` says that it is the first."""
    named = body.parent_id
    if "parent_id" in body.model_fields_set and (named is None or (isinstance(named, str) and is_client_id(named))):
        return named or FIRST
    before = body.messages[-2] if len(body.messages) > 1 else None
    known = before.get("id") if isinstance(before, dict) else None
    return known if isinstance(known, str) and is_client_id(known) else None


def _new_message(messages: list[Any]) -> tuple[str | None, str, list[PostedFile]]:
    """The id, the text and the files of the new user message. Raises InvalidInput and the problems of a message."""
    if not messages:
        raise NothingToAnswer("There are no messages.")
    try:
        message = PostedMessage.model_validate(messages[-1])
    except ValidationError:
        raise _invalid("the last message must have a role and parts") from None
    if message.role != "user":
        raise NothingToAnswer
    if message.id is not None and not is_client_id(message.id):
        raise _invalid("the id of a message has 1 to 64 letters, digits and ._~:@-")
    files = posted_files(message.parts)
    text = "".join(_text(part) for part in message.parts if part.get("type") != "file")
    if is_whitespace(text) and not files:
        raise EmptyMessage
    if "\x00" in text:
        raise _invalid("the text must not have a NUL character")
    return message.id, text, files


def _text(part: dict[str, Any]) -> str:
    text = part.get("text")
    if part.get("type") != "text" or not isinstance(text, str):
        raise UnsupportedPart
    return text


def _invalid(detail: str) -> InvalidInput:
    return InvalidInput(InvalidBody(), [{"pointer": "/messages", "detail": detail}])


_CHAT_PROBLEMS: tuple[ProblemType, ...] = (
    ApprovalsMissing,
    EmptyMessage,
    NothingToAnswer,
    TooManySessions,
    UnsupportedPart,
    *answers.PROBLEMS,
    *attaching.PROBLEMS,
    *accepting.FOLLOWED_PROBLEMS,
    *accepting.REGENERATE_PROBLEMS,
    *following.PROBLEMS,
)

ROUTES: tuple[RouteSpec[Any, Any], ...] = (
    RouteSpec(
        "POST",
        "/api/chat",
        chat,
        "Send a chat's new message, or have an answer made again",
        "AI SDK",
        {200: following.STREAM, 204: following.NOTHING},
        ChatParams,
        AiSdkRequest,
        plain_text=True,
        problems=_CHAT_PROBLEMS,
        plain_problems=True,
        description=(
            "The session of that id is made when it does not exist. The answer begins with chunk 0, and its header "
            "`x-workflow-run-id` (for assistant-ui `x-resumable-stream-id`) names the turn. "
            "With `messageId` naming the last message, that message is edited; a new message behind a shortened "
            "history stands in the place of what followed there. What is replaced, by an edit or another answer, "
            "stays as a branch. "
            "Where the last message is an answer with tool calls that a person has approved or denied, or with outputs "
            "of tools that the client runs (`tools` of the request that asked, or of the settings), the turn continues "
            "with it: the stream begins with `start` of the same message id, and tells what is new."
        ),
        scopes=("turns",),
    ),
    RouteSpec(
        "GET",
        "/api/chat/{id}/stream",
        resume,
        "Follow a chat's running turn, or one run, from its beginning",
        "AI SDK",
        {200: following.STREAM, 204: following.NOTHING},
        ResumeParams,
        problems=(AccessDenied, NothingToFollow, StoreUnavailable, TaskNotFound, TaskExpired, *following.PROBLEMS),
        description=(
            "By a chat's id: its running turn; for some minutes after its end (`replay_seconds` of `/config`) that "
            "turn from its beginning, for a client that lost its connection before; then, or where the chat does not "
            "exist, 204. Where that turn continues a message (after an approval, or a client's output), what that had "
            "before comes first. By the id of a run: that turn, also when it has ended, without its first "
            "`startIndex` chunks. "
            "With `startIndex` and nothing to follow: 404."
        ),
        plain_problems=True,
        scopes=("turns", "read"),
    ),
    RouteSpec(
        "POST",
        "/api/chat/{id}/stop",
        stop,
        "Stop a chat's running turn",
        "AI SDK",
        {202: Success("It ends now.", CancelledTurn), 200: Success("Nothing ran.", Idle)},
        StopParams,
        problems=(AccessDenied, SessionNotFound, TaskNotFound, StoreUnavailable, RedisUnavailable),
        plain_problems=True,
        scopes=("turns",),
        description="Whichever turn of it runs now. What there is of the answer is kept.",
    ),
)
