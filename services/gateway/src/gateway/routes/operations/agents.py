"""Agent events: what the agents of a task think, do and say, followed live. `sluiceway.feeds` publishes them."""

from typing import Annotated, Any

from sluiceway import keys
from sluiceway.errors import AccessDenied, AgentStreamNotFound, RedisUnavailable, StoreUnavailable, TaskNotFound
from sluiceway.feeds.agent_events import AgentStream
from sluiceway.store.sessions.sessions import check_owner
from sluiceway.wire.entry_id import EntryId
from starlette.responses import Response

from gateway.api.cursors import BEGINNING, EntryCursor
from gateway.api.inputs import ClientId, In, Params
from gateway.api.models.agents import AgentStreamView
from gateway.api.problems import InvalidCursor
from gateway.routes import following
from gateway.routes.following import open_follow
from gateway.routes.viewing import TASK_ID, check_outside, is_turn_of, may_read, viewer_of_task
from gateway.routing.table import Call, RouteSpec, Success, json_response
from gateway.wire.agent_frames import FollowAgents


class AgentParams(Params):
    task_id: Annotated[ClientId, In("path")]


class FollowAgentParams(AgentParams):
    last_event_id: Annotated[EntryCursor | None, In("header", "Last-Event-ID")] = None
    after: Annotated[EntryCursor | None, In("query")] = None


async def get_agents(call: Call[AgentParams, None]) -> Response:
    stream, _ = await _find(call)
    if stream is None:
        raise AgentStreamNotFound
    return json_response(AgentStreamView.of(stream))


async def follow_agents(call: Call[FollowAgentParams, None]) -> Response:
    asked = call.params
    cursor = asked.last_event_id or asked.after or BEGINNING
    stream, viewer = await _find(call)
    key = keys.agent_events(asked.task_id, _slot(stream, cursor))
    follow = FollowAgents(key, cursor=cursor, user_id=viewer)
    return await open_follow(call.gateway, call.caller, follow, head_only=call.method == "HEAD", task_id=asked.task_id)


async def _find(call: Call[Any, None]) -> tuple[AgentStream | None, str | None]:
    """The stream, and as whom the caller follows it. On the hub's connection, as every browser that comes asks it.

    Raises AccessDenied, AgentStreamNotFound, Unauthenticated, RedisUnavailable, StoreUnavailable.
    """
    gateway, task_id, user_id = call.gateway, call.params.task_id, call.caller.user_id
    stream = AgentStream.parse(await gateway.hub.ask("HGETALL", keys.agent_stream(task_id)))
    named = stream.user_id if stream is not None else None
    if call.caller.reads_all:
        if call.caller.org and not may_read(call, await _owner(call, task_id, named)):
            raise AgentStreamNotFound
        return stream, named
    if call.caller.kind == "local":
        check_owner(named, user_id)
        return stream, user_id
    if await is_turn_of(call, task_id):
        # Its owner's, also where it was claimed since the agents began.
        return stream, user_id if named is None else named
    if named is None:
        check_outside(call)
    else:
        check_owner(named, user_id)
    return stream, user_id


async def _owner(call: Call[Any, Any], task_id: str, named: str | None) -> str | None:
    """Of a turn's agents its owner, whatever their publisher said. Raises AgentStreamNotFound."""
    try:
        return await viewer_of_task(call, task_id)
    except TaskNotFound:
        if named is None or TASK_ID.fullmatch(task_id):
            raise AgentStreamNotFound from None
        return named


def _slot(stream: AgentStream | None, cursor: EntryId) -> int:
    """Where to read: the stream that is there, or that will be; the one before it for a cursor that is not of it."""
    if stream is None:
        return 0
    return stream.slot if cursor == BEGINNING or cursor[0] == stream.generation else 1 - stream.slot


ROUTES: tuple[RouteSpec[Any, Any], ...] = (
    RouteSpec(
        "GET",
        "/api/chat/agents/{task_id}",
        get_agents,
        "Read the state of a task's agent stream",
        "Agents",
        {200: Success("The stream that was begun last.", AgentStreamView)},
        AgentParams,
        problems=(AgentStreamNotFound, AccessDenied, RedisUnavailable, StoreUnavailable),
        scopes=("read",),
        description="Whether it is open, and how many events it has.",
    ),
    RouteSpec(
        "GET",
        "/api/chat/agents/{task_id}/events",
        follow_agents,
        "Follow the agents of a task",
        "Agents",
        {
            200: Success("The agents' events until `connection_end`.", media_type=following.EVENT_STREAM),
            204: following.NOTHING,
        },
        FollowAgentParams,
        problems=(AccessDenied, AgentStreamNotFound, InvalidCursor, StoreUnavailable, *following.PROBLEMS),
        description=(
            "Every event after the cursor, what was and then what comes, without a gap or a repeat. The cursor is the "
            "`Last-Event-ID` header, which wins, or `?after=`; without one the stream that was begun last is shown "
            "from its beginning. One that nobody has begun yet is waited for. `sequence` counts the events of a stream "
            "from 1. The last one has the type `connection_end`; `[DONE]` follows, and the response ends. A connection "
            "that ends otherwise was broken: come back with the last id. 204 means that the cursor is at the end. When "
            "the agents begin again, their followers get the `connection_end` of the old stream; a request "
            "without a cursor gets the new one."
        ),
        scopes=("read",),
    ),
)
