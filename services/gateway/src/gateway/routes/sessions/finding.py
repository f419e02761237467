"""Finding what was said, and taking it along."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field
from sluiceway.errors import AccessDenied, SessionNotFound, StoreUnavailable
from starlette.responses import Response

from gateway.api.cursors import page_size
from gateway.api.inputs import ClientId, In, Params, PositiveNumber
from gateway.api.models.finding import FoundMessageView, SearchResult
from gateway.api.models.sessions import SessionExport, SessionView
from gateway.api.problems import TooManyAtOnce
from gateway.routes.exporting import Export
from gateway.routes.viewing import viewer_of_session
from gateway.routing.table import Call, RouteSpec, Success, json_response
from gateway.wire.exports import as_json, as_markdown

_MOST_CHARS = 200
_TYPES = {"json": "application/json", "markdown": "text/markdown; charset=utf-8"}
_ENDINGS = {"json": "json", "markdown": "md"}


class SearchParams(Params):
    q: Annotated[str, In("query", any_text=True), Field(max_length=_MOST_CHARS)] = ""
    limit: Annotated[PositiveNumber | None, In("query")] = None


class ExportParams(Params):
    session_id: Annotated[ClientId, In("path")]
    format: Annotated[Literal["json", "markdown"], In("query")] = "json"
    branches: Annotated[Literal["shown", "all"], In("query")] = "shown"


async def search(call: Call[SearchParams, None]) -> Response:
    limit = page_size(call.params.limit, call.gateway.settings)
    text = call.params.q.replace("\x00", " ")
    found = await call.gateway.store.search.find(call.caller.user_id, text, limit)
    return json_response(
        SearchResult(
            sessions=[SessionView.of(session) for session in found.sessions],
            messages=[FoundMessageView.of(message) for message in found.messages],
        )
    )


async def export_session(call: Call[ExportParams, None]) -> Response:
    sessions, session_id, form = call.gateway.store.sessions, call.params.session_id, call.params.format
    session = await sessions.get(session_id, await viewer_of_session(call, session_id))
    write = as_json if form == "json" else as_markdown
    pages = partial(sessions.messages_after, all_branches=call.params.branches == "all")
    name = f"chat-{''.join(one for one in session_id if one.isalnum() or one in '-_')}.{_ENDINGS[form]}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    if call.method == "HEAD":
        return Response(headers=headers, media_type=_TYPES[form])

    async def begin() -> AsyncIterator[str | bytes]:
        return write(session, await pages(session_id, 0), pages, call.gateway.large_answers.rendering)

    return Export(call.gateway.exports.turn(call.caller.counted_as), begin, headers, _TYPES[form])


ROUTES: tuple[RouteSpec[Any, Any], ...] = (
    RouteSpec(
        "GET",
        "/api/chat/search",
        search,
        "Search the caller's titles and messages",
        "Sessions",
        {200: Success("What was found, the newest first.", SearchResult)},
        SearchParams,
        problems=(StoreUnavailable,),
        description=(
            'Words as they are written, or without their accents; the last one may be begun. `"two words"` are looked '
            "for together, `-word` must not be there, `or` stands between choices. Of what is written without spaces "
            "any part is found."
        ),
        scopes=("turns",),
    ),
    RouteSpec(
        "GET",
        "/api/chat/sessions/{session_id}/export",
        export_session,
        "Take a session along, as JSON or Markdown",
        "Sessions",
        {200: Success("A file.", SessionExport)},
        ExportParams,
        problems=(SessionNotFound, AccessDenied, StoreUnavailable, TooManyAtOnce),
        description=(
            "All messages of the conversation as it is, in order; with `format=markdown` as a text for people, "
            "`text/markdown`. With `branches=all` also what was replaced by edits and other answers, each message with "
            "the one that it follows. What a running turn says is not in it yet. A file that breaks off (its "
            "connection ends before its last chunk) is not whole."
        ),
        scopes=("turns", "read"),
    ),
)
