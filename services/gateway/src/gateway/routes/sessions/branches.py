"""Branches of a session: back to what an edit or another answer has replaced, and a session of its own for one."""

from typing import Annotated, Any

from sluiceway.errors import (
    AccessDenied,
    MessageNotFound,
    SessionBusy,
    SessionExists,
    SessionNotFound,
    StoreUnavailable,
    TooManySessions,
)
from sluiceway.ids import new_session_id
from sluiceway.wire.person_event import SessionChanged, SessionCreated
from starlette.responses import Response

from gateway.api.inputs import ClientId, In, Params
from gateway.api.models.sessions import Fork, SessionView, ShownBranch
from gateway.api.problems import ProblemType
from gateway.routes.claiming import claiming
from gateway.routing.table import Call, RouteSpec, Success, json_response

_PROBLEMS: tuple[ProblemType, ...] = (SessionNotFound, AccessDenied, MessageNotFound, SessionBusy, StoreUnavailable)


class BranchParams(Params):
    session_id: Annotated[ClientId, In("path")]


async def show_branch(call: Call[BranchParams, ShownBranch]) -> Response:
    session_id, user_id, branches = call.params.session_id, call.caller.user_id, call.gateway.store.branches
    await claiming(call, session_id, lambda: branches.show(session_id, user_id, call.body.message_id))
    await call.gateway.people.mention(user_id, SessionChanged(session_id=session_id))
    return Response(status_code=204)


async def fork_session(call: Call[BranchParams, Fork]) -> Response:
    session_id, user_id, branches = call.params.session_id, call.caller.user_id, call.gateway.store.branches
    new_id, most = call.body.id or new_session_id(), call.gateway.settings.max_sessions_per_hour
    session, created = await claiming(
        call, session_id, lambda: branches.fork(session_id, user_id, call.body.message_id, new_id, most)
    )
    if not session.temporary:
        await call.gateway.people.mention(user_id, SessionCreated(session_id=session.id, title=session.title))
    location = {"Location": f"/api/chat/sessions/{session.id}"}
    return json_response(SessionView.of(session), 201 if created else 200, location)


ROUTES: tuple[RouteSpec[Any, Any], ...] = (
    RouteSpec(
        "POST",
        "/api/chat/sessions/{session_id}/branch",
        show_branch,
        "Go to another branch",
        "Sessions",
        {204: Success("The session shows it.", media_type=None)},
        BranchParams,
        ShownBranch,
        problems=_PROBLEMS,
        description=(
            "`siblings` of a message name those that an edit or another answer has put in its place, or that it was "
            "put in the place of. From here on the session is as it was with that message: its history, what a search "
            "finds of it, and what models are told. Nothing is lost by it. Not while a turn runs (409). What waits for "
            "a person on the branch that is left is not waited for any more."
        ),
        scopes=("turns",),
    ),
    RouteSpec(
        "POST",
        "/api/chat/sessions/{session_id}/fork",
        fork_session,
        "Begin another session with what was said up to a message",
        "Sessions",
        {201: Success("The new session.", SessionView), 200: Success("It was there, and is yours.", SessionView)},
        BranchParams,
        Fork,
        problems=(*_PROBLEMS, SessionExists, TooManySessions),
        description=(
            "The messages keep their ids; the message may be on any branch, and the branches beside it stay behind. "
            "Both sessions go their own ways from there, also when one of them is deleted."
        ),
        scopes=("turns",),
    ),
)
