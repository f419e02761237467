"""What is known about the caller: read, written and removed by the caller alone. The tool `remember` adds to it."""

from typing import Annotated, Any

from pydantic import Field
from sluiceway.errors import StoreUnavailable, UnderstandingTooLarge
from starlette.responses import Response

from gateway.api.inputs import In, Params
from gateway.api.models.people import NewUnderstanding, UnderstandingView
from gateway.routing.table import Call, NoParams, RouteSpec, Success, json_response


class FactParams(Params):
    fact: Annotated[str | None, In("query"), Field(max_length=200)] = None


async def read_understanding(call: Call[NoParams, None]) -> Response:
    known = await call.gateway.store.understandings.get(call.caller.user_id)
    return json_response(UnderstandingView.of(known))


async def write_understanding(call: Call[NoParams, NewUnderstanding]) -> Response:
    known = await call.gateway.store.understandings.put(call.caller.user_id, call.body.root)
    return json_response(UnderstandingView.of(known))


async def remove_understanding(call: Call[FactParams, None]) -> Response:
    understandings, user_id = call.gateway.store.understandings, call.caller.user_id
    if call.params.fact is None:
        await understandings.forget(user_id)
    else:
        await understandings.remember(user_id, call.params.fact.replace("\x00", ""), None)
    return Response(status_code=204)


ROUTES: tuple[RouteSpec[Any, Any], ...] = (
    RouteSpec(
        "GET",
        "/api/chat/me/understanding",
        read_understanding,
        "What is known about the caller",
        "People",
        {200: Success("Facts by their names.", UnderstandingView)},
        NoParams,
        problems=(StoreUnavailable,),
        description="The model is told of it in every turn.",
        scopes=("turns",),
    ),
    RouteSpec(
        "PUT",
        "/api/chat/me/understanding",
        write_understanding,
        "Write what is to be known about the caller, in place of what was",
        "People",
        {200: Success("It is known now.", UnderstandingView)},
        NoParams,
        NewUnderstanding,
        problems=(StoreUnavailable, UnderstandingTooLarge),
        scopes=("turns",),
        description="Facts by their names. What is not among them is forgotten.",
    ),
    RouteSpec(
        "DELETE",
        "/api/chat/me/understanding",
        remove_understanding,
        "Forget all that is known about the caller, or one fact",
        "People",
        {204: Success("It is forgotten.", media_type=None)},
        FactParams,
        problems=(StoreUnavailable, UnderstandingTooLarge),
        scopes=("turns",),
        description="With `fact` that one; without it everything.",
    ),
)
