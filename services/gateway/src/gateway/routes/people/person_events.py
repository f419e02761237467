"""What becomes of the caller's sessions, told to each of his tabs and devices, as it happens.

Redis is disposable, so events may be lost; what this route guarantees is that nobody is wrong without being told. Each
connection begins with `ready`. Where that says `resumed`, everything behind the cursor follows; where it does not, the
client reads the list of sessions. Whatever Redis forgets breaks the stream, and its followers come back here.
"""

import contextlib
from typing import Annotated, Any

from sluiceway.errors import RedisUnavailable, StreamTruncated
from sluiceway.feeds.person_events import events_key
from sluiceway.wire.entry_id import EntryId, parse_entry_id
from starlette.responses import Response

from gateway.api.cursors import EntryCursor
from gateway.api.inputs import In, Params
from gateway.api.models.person_events import PersonStreamEvent
from gateway.api.problems import Draining, InvalidCursor, TooManyStreams
from gateway.routes import following
from gateway.routes.following import open_follow
from gateway.routing.table import Call, RouteSpec, Success
from gateway.wire.person_frames import FollowPerson, greeting


class FollowMeParams(Params):
    last_event_id: Annotated[EntryCursor | None, In("header", "Last-Event-ID")] = None
    after: Annotated[EntryCursor | None, In("query")] = None


async def follow_me(call: Call[FollowMeParams, None]) -> Response:
    if call.caller.cookie is not None:
        return Response(status_code=204)
    # Also where there is a cursor: what Redis may have lost since then is found out by this.
    place = parse_entry_id(await call.gateway.people.place(call.caller.user_id))
    cursor = call.params.last_event_id or call.params.after
    if cursor is not None:
        with contextlib.suppress(StreamTruncated):
            return await _follow(call, cursor, resumed=True)
    try:
        return await _follow(call, place, resumed=False)
    except StreamTruncated:
        raise RedisUnavailable("It was flushed just now.") from None


async def _follow(call: Call[FollowMeParams, None], after: EntryId, *, resumed: bool) -> Response:
    follow = FollowPerson(events_key(call.caller.user_id), cursor=after)
    said = greeting(after, resumed=resumed)
    return await open_follow(call.gateway, call.caller, follow, head_only=call.method == "HEAD", greeting=said)


ROUTES: tuple[RouteSpec[Any, Any], ...] = (
    RouteSpec(
        "GET",
        "/api/chat/events",
        follow_me,
        "Follow what becomes of the caller's sessions",
        "Sessions",
        {
            200: Success("Events without an end.", PersonStreamEvent, following.EVENT_STREAM),
            204: Success("Somebody anonymous without a cookie has no sessions, and will have none.", media_type=None),
        },
        FollowMeParams,
        problems=(InvalidCursor, RedisUnavailable, TooManyStreams, Draining),
        description=(
            "One stream for all sessions of a person: a second tab or device learns of what is begun, renamed, "
            "deleted, and of turns that start, end, or need an answer, without asking. Each connection begins with "
            "`ready`. `resumed: false` says that there was no cursor, or that what follows it is gone: then read "
            "`GET /api/chat/sessions`, after this event, as everything since is told. The cursor is the "
            "`Last-Event-ID` header, which EventSource sends by itself and which wins, or `?after=`. An event says "
            "what is so, and one may come twice; a turn that has ended does not start again, whatever the order. What "
            "is said in a session is not in it: follow the turn. The stream has no end; one that breaks is to be "
            "followed again with the last id."
        ),
        scopes=("turns",),
    ),
)
