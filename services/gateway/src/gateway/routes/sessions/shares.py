"""Links to conversations: made and revoked by the owner, opened by everybody who has one.

The token stands in the path that the page asks for, and in the fragment of the address that people pass on: so it
reaches no server's log with the page itself, and no other site as a referrer.
"""

from typing import Annotated, Any

from pydantic import Field
from sluiceway.errors import AccessDenied, MessageNotFound, SessionNotFound, ShareNotFound, StoreUnavailable
from starlette.responses import Response

from gateway.api.cursors import page_size
from gateway.api.inputs import ClientId, In, Params, PositiveNumber
from gateway.api.models.shares import SharedConversation, ShareView
from gateway.api.problems import ProblemType, SharingOff
from gateway.routes.claiming import claiming
from gateway.routing.table import Call, RouteSpec, Success, json_response

_PROBLEMS: tuple[ProblemType, ...] = (SessionNotFound, AccessDenied, StoreUnavailable)
_PATH = "/api/chat/sessions/{session_id}/share"
_NOT_LISTED = {"X-Robots-Tag": "noindex, nofollow"}


class SessionParams(Params):
    session_id: Annotated[ClientId, In("path")]


class SharedParams(Params):
    token: Annotated[str, Field(min_length=1, max_length=100), In("path")]
    before_sequence: Annotated[PositiveNumber | None, In("query")] = None
    limit: Annotated[PositiveNumber | None, In("query")] = None


async def share_session(call: Call[SessionParams, None]) -> Response:
    if not call.gateway.settings.share_links:
        raise SharingOff
    session_id, user_id, shares = call.params.session_id, call.caller.user_id, call.gateway.store.shares
    return json_response(ShareView.of(await claiming(call, session_id, lambda: shares.share(session_id, user_id))))


async def show_share(call: Call[SessionParams, None]) -> Response:
    return json_response(ShareView.of(await call.gateway.store.shares.get(call.params.session_id, call.caller.user_id)))


async def revoke_share(call: Call[SessionParams, None]) -> Response:
    session_id, user_id, shares = call.params.session_id, call.caller.user_id, call.gateway.store.shares
    await claiming(call, session_id, lambda: shares.revoke(session_id, user_id))
    return Response(status_code=204)


async def read_shared(call: Call[SharedParams, None]) -> Response:
    settings, params = call.gateway.settings, call.params
    if not settings.share_links:
        raise ShareNotFound
    limit = page_size(params.limit, settings)
    page = await call.gateway.store.shares.read(params.token, params.before_sequence, limit)
    async with call.gateway.large_answers.rendering():
        return json_response(SharedConversation.of(page), headers=_NOT_LISTED)


ROUTES: tuple[RouteSpec[Any, Any], ...] = (
    RouteSpec(
        "PUT",
        _PATH,
        share_session,
        "Share a session by a link",
        "Sessions",
        {200: Success("The link.", ShareView)},
        SessionParams,
        problems=(*_PROBLEMS, MessageNotFound, SharingOff),
        description=(
            "Whoever has the link reads the conversation as it stands now: questions, answers, sources and documents, "
            "no files, and nothing of what tools were told and answered. Asked again, the same link comes to show what "
            "there is by then."
        ),
        scopes=("turns",),
    ),
    RouteSpec(
        "GET",
        _PATH,
        show_share,
        "The link by which a session is shared",
        "Sessions",
        {200: Success("The link.", ShareView)},
        SessionParams,
        problems=(*_PROBLEMS, ShareNotFound),
        scopes=("turns",),
        description="And up to when the conversation is shown there.",
    ),
    RouteSpec(
        "DELETE",
        _PATH,
        revoke_share,
        "Share a session no more",
        "Sessions",
        {204: Success("There is no link. One that was there opens nothing any more.", media_type=None)},
        SessionParams,
        problems=_PROBLEMS,
        scopes=("turns",),
        description="Its link opens nothing from then on.",
    ),
    RouteSpec(
        "GET",
        "/api/chat/shared/{token}",
        read_shared,
        "Read a conversation that was shared",
        "Sessions",
        {200: Success("The conversation, as it stood when it was shared.", SharedConversation)},
        SharedParams,
        problems=(ShareNotFound, StoreUnavailable),
        people=False,
        description="For everybody who has the token of its link.",
        large=True,
    ),
)
