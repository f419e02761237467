"""What the owner of a session thinks of its answers."""

from typing import Annotated, Any

from sluiceway.errors import AccessDenied, MessageNotFound, SessionNotFound, StoreUnavailable
from starlette.responses import Response

from gateway.api.inputs import ClientId, In, Params
from gateway.api.models.feedback import Feedback
from gateway.api.problems import ProblemType
from gateway.routes.claiming import claiming
from gateway.routing.table import Call, RouteSpec, Success

_PROBLEMS: tuple[ProblemType, ...] = (SessionNotFound, AccessDenied, StoreUnavailable)
_PATH = "/api/chat/sessions/{session_id}/messages/{message_id}/feedback"


class MessageParams(Params):
    session_id: Annotated[ClientId, In("path")]
    message_id: Annotated[ClientId, In("path")]


async def give_feedback(call: Call[MessageParams, Feedback]) -> Response:
    session_id, message_id = call.params.session_id, call.params.message_id
    store, user_id, body = call.gateway.store.feedback, call.caller.user_id, call.body
    await claiming(call, session_id, lambda: store.give(session_id, user_id, message_id, body.rating, body.comment))
    return Response(status_code=204)


async def take_feedback_back(call: Call[MessageParams, None]) -> Response:
    session_id, message_id = call.params.session_id, call.params.message_id
    store, user_id = call.gateway.store.feedback, call.caller.user_id
    await claiming(call, session_id, lambda: store.take_back(session_id, user_id, message_id))
    return Response(status_code=204)


ROUTES: tuple[RouteSpec[Any, Any], ...] = (
    RouteSpec(
        "PUT",
        _PATH,
        give_feedback,
        "Say whether an answer was good",
        "Sessions",
        {204: Success("It is kept, in the place of what was said before.", media_type=None)},
        MessageParams,
        Feedback,
        problems=(*_PROBLEMS, MessageNotFound),
        description="Of an answer that is done. The history shows it to the owner as `feedback`; operators see it.",
        scopes=("turns",),
    ),
    RouteSpec(
        "DELETE",
        _PATH,
        take_feedback_back,
        "Take back what was said of an answer",
        "Sessions",
        {204: Success("Nothing is said of it.", media_type=None)},
        MessageParams,
        problems=_PROBLEMS,
        scopes=("turns",),
        description="Nothing is said of it then. It is no error where nothing was.",
    ),
)
