"""What is known about the caller, and the caller's instructions: read, written and removed by the caller alone.

The tool `remember` adds to what is known.
"""

from typing import Annotated, Any

from pydantic import Field
from sluiceway.errors import StoreUnavailable, UnderstandingTooLarge
from starlette.responses import Response

from gateway.api.inputs import In, Params
from gateway.api.models.people import Instructions, InstructionsView, NewUnderstanding, UnderstandingView
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


async def read_instructions(call: Call[NoParams, None]) -> Response:
    return json_response(
        InstructionsView(text=await call.gateway.store.understandings.instructions(call.caller.user_id))
    )


async def write_instructions(call: Call[NoParams, Instructions]) -> Response:
    text = call.body.text.strip()
    await call.gateway.store.understandings.instruct(call.caller.user_id, text)
    return json_response(InstructionsView(text=text))


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
        description="The model is told of it in every turn, but in temporary sessions.",
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
        description="With `fact` that one; without it everything. The caller's instructions stay.",
    ),
    RouteSpec(
        "GET",
        "/api/chat/me/instructions",
        read_instructions,
        "The caller's instructions",
        "People",
        {200: Success("The text.", InstructionsView)},
        NoParams,
        problems=(StoreUnavailable,),
        description="What the model is to know of the caller, and how to answer, in the caller's own words.",
        scopes=("turns",),
    ),
    RouteSpec(
        "PUT",
        "/api/chat/me/instructions",
        write_instructions,
        "Write the caller's instructions",
        "People",
        {200: Success("They hold for every turn that begins from now on.", InstructionsView)},
        NoParams,
        Instructions,
        problems=(StoreUnavailable,),
        scopes=("turns",),
        description=(
            "They stand in the system prompt of all the caller's turns, between marks of their own, also in temporary "
            "sessions. An empty text removes them. They are exported and erased with the person."
        ),
    ),
)
