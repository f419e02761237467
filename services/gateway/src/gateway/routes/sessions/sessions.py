"""Sessions: made, listed, read, renamed, pinned, archived, deleted, claimed."""

import asyncio
import contextlib
from typing import Annotated, Any

from sluiceway.errors import (
    AccessDenied,
    RedisUnavailable,
    SessionExists,
    SessionNotFound,
    StoreUnavailable,
    TooManySessions,
)
from sluiceway.ids import new_session_id
from sluiceway.store.sessions.sessions import SessionCursor
from sluiceway.wire.person_event import PersonEvent, SessionArchived, SessionCreated, SessionPinned, SessionRenamed
from starlette.responses import Response

from gateway.api.cursors import decode_session_cursor, encode_session_cursor, page_size
from gateway.api.inputs import ClientId, In, Params, PositiveNumber
from gateway.api.models.messages import MessageView
from gateway.api.models.sessions import NewSession, SessionDetail, SessionPage, SessionPatch, SessionView
from gateway.api.models.turns import ActiveTask
from gateway.api.problems import InvalidCursor, ProblemType
from gateway.routes.claiming import claim, claiming
from gateway.routes.viewing import viewer_of_session
from gateway.routing.table import Call, NoParams, RouteSpec, Success, json_response
from gateway.state import Gateway

_PROBLEMS: tuple[ProblemType, ...] = (SessionNotFound, AccessDenied, StoreUnavailable)


class SessionParams(Params):
    session_id: Annotated[ClientId, In("path")]


class ListParams(Params):
    cursor: Annotated[str | None, In("query")] = None
    limit: Annotated[PositiveNumber | None, In("query")] = None
    archived: Annotated[bool, In("query")] = False


class DetailParams(SessionParams):
    before_sequence: Annotated[PositiveNumber | None, In("query")] = None
    limit: Annotated[PositiveNumber | None, In("query")] = None


async def create_session(call: Call[NoParams, NewSession]) -> Response:
    session_id = call.body.id or new_session_id()
    user_id, most = call.caller.user_id, call.gateway.settings.max_sessions_per_hour
    session, created = await call.gateway.store.sessions.create(
        session_id, user_id, call.body.title, most, temporary=call.body.temporary
    )
    if not session.temporary:
        await call.gateway.people.mention(user_id, SessionCreated(session_id=session.id, title=session.title))
    location = {"Location": f"/api/chat/sessions/{session.id}"}
    return json_response(SessionView.of(session), 201 if created else 200, location)


async def list_sessions(call: Call[ListParams, None]) -> Response:
    after = decode_session_cursor(call.params.cursor) if call.params.cursor else None
    limit = page_size(call.params.limit, call.gateway.settings)
    sessions, user_id = call.gateway.store.sessions, call.caller.user_id
    archived = call.params.archived
    found = await sessions.page(user_id, after, limit + 1, archived=archived)
    pinned = await sessions.pinned(user_id) if after is None and not archived else []
    page, last = found[:limit], found[:limit][-1:]
    cursor = encode_session_cursor(SessionCursor(last[0].updated_at, last[0].id)) if len(found) > limit else None
    return json_response(
        SessionPage(
            sessions=[SessionView.of(session) for session in page],
            pinned=[SessionView.of(session) for session in pinned],
            next_cursor=cursor,
        )
    )


async def get_session(call: Call[DetailParams, None]) -> Response:
    gateway, session_id = call.gateway, call.params.session_id
    limit = page_size(call.params.limit, gateway.settings)
    session = await gateway.store.sessions.get(session_id, await viewer_of_session(call, session_id))
    # The turn before the messages: one that ends in between is in both, which does no harm, and never in neither.
    active, background = await asyncio.gather(
        _active_task(gateway, session_id), gateway.store.background.of_session(session_id)
    )
    page = await gateway.store.sessions.messages(session_id, call.params.before_sequence, limit)
    steering = await gateway.store.turns.steering_messages(session_id) if active else []
    async with gateway.large_answers.rendering():
        detail = SessionDetail(
            **dict(SessionView.of(session)),
            messages=[
                MessageView.of(message, page.siblings.get(message.id), page.feedback.get(message.id))
                for message in page.messages
            ],
            has_more=page.has_more,
            active_task=active,
            background_tasks=[ActiveTask.of(task, None) for task in background],
            steering=steering,
        )
        return json_response(detail)


async def change_session(call: Call[SessionParams, SessionPatch]) -> Response:
    session_id, user_id, sessions = call.params.session_id, call.caller.user_id, call.gateway.store.sessions
    title, pinned, archived = call.body.title, call.body.pinned, call.body.archived
    changed = await claiming(
        call,
        session_id,
        lambda: sessions.change(session_id, user_id, title=title, pinned=pinned, archived=archived),
    )
    told: list[PersonEvent] = []
    if title is not None:
        told.append(SessionRenamed(session_id=session_id, title=title))
    if pinned is not None:
        told.append(SessionPinned(session_id=session_id, pinned=pinned))
    if archived is not None:
        told.append(SessionArchived(session_id=session_id, archived=archived))
    if told:
        await call.gateway.people.mention(user_id, *told)
    return json_response(SessionView.of(changed))


async def delete_session(call: Call[SessionParams, None]) -> Response:
    session_id, caller, intake = call.params.session_id, call.caller, call.gateway.intake
    await claiming(call, session_id, lambda: intake.delete_session(session_id, caller.user_id))
    return Response(status_code=204)


async def claim_session(call: Call[SessionParams, None]) -> Response:
    return json_response(SessionView.of(await claim(call, call.params.session_id)))


async def _active_task(gateway: Gateway, session_id: str) -> ActiveTask | None:
    task = await gateway.store.sessions.active_task(session_id)
    if task is None or task.ended:
        return None
    last_id = None
    with contextlib.suppress(RedisUnavailable):
        last_id = await gateway.reader.last_id(task.id)
    return ActiveTask.of(task, last_id)


ROUTES: tuple[RouteSpec[Any, Any], ...] = (
    RouteSpec(
        "POST",
        "/api/chat/sessions",
        create_session,
        "Begin a session",
        "Sessions",
        {201: Success("The new session.", SessionView), 200: Success("It was there, and is yours.", SessionView)},
        NoParams,
        NewSession,
        problems=(SessionExists, StoreUnavailable, TooManySessions),
        description=(
            "With an id of the client's own it can be sent again safely. A `temporary` one is listed and searched "
            "nowhere, no title is made for it, nothing of what is known about the person is told or written in it, and "
            "it is deleted with all that is in it a day after something happened in it last, or by `DELETE`. Whoever "
            "is its owner and has its id reads and follows it like any other."
        ),
        scopes=("turns",),
    ),
    RouteSpec(
        "GET",
        "/api/chat/sessions",
        list_sessions,
        "List the caller's sessions, the one last active first",
        "Sessions",
        {200: Success("A page of sessions.", SessionPage)},
        ListParams,
        problems=(InvalidCursor, StoreUnavailable),
        scopes=("turns",),
        description=(
            "Each with the turn that runs in it. The next page begins behind `next_cursor`. Those that are pinned are "
            "told with the first page, and stand in their places in the list all the same. Those that are archived are "
            "listed with `archived` alone; they are read, searched and continued like any other."
        ),
    ),
    RouteSpec(
        "GET",
        "/api/chat/sessions/{session_id}",
        get_session,
        "Read a session with its newest messages",
        "Sessions",
        {200: Success("The session.", SessionDetail)},
        DetailParams,
        problems=_PROBLEMS,
        description=(
            "A page ends at `limit` messages or at 4 MiB, whichever comes first, and has one message in any case. "
            "`has_more` says that there are older ones: ask for those before the first `sequence` of this page."
        ),
        scopes=("turns", "read"),
        large=True,
    ),
    RouteSpec(
        "PATCH",
        "/api/chat/sessions/{session_id}",
        change_session,
        "Rename a session, pin it, archive it, or take that back",
        "Sessions",
        {200: Success("The session.", SessionView)},
        SessionParams,
        SessionPatch,
        problems=_PROBLEMS,
        scopes=("turns",),
        description=(
            "For one with a `title` none is made any more. One that is pinned is told with the first page of the list, "
            "wherever it stands there. One that is archived is out of the list until `archived` is false, and else as "
            "before. Other devices hear of it (`session-renamed`, `session-pinned`, `session-archived`)."
        ),
    ),
    RouteSpec(
        "DELETE",
        "/api/chat/sessions/{session_id}",
        delete_session,
        "Delete a session and all that is in it",
        "Sessions",
        {204: Success("It is gone; turns that still ran are aborted.", media_type=None)},
        SessionParams,
        problems=(*_PROBLEMS, RedisUnavailable),
        scopes=("turns",),
        description="Its turns are ended, and its messages, files, streams and links go with it. It cannot be undone.",
    ),
    RouteSpec(
        "POST",
        "/api/chat/sessions/{session_id}/claim",
        claim_session,
        "Make a session that the caller began before he signed in his own",
        "Sessions",
        {200: Success("The session.", SessionView)},
        SessionParams,
        problems=(*_PROBLEMS, RedisUnavailable),
        description="With the cookie of before. A message that a user sends into such a session claims it, too.",
    ),
)
