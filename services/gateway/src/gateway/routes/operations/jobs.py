"""Job events: what a long operation tells of itself, followed live or listed.

A job that is an operation belongs to the owner of its turn. Of any other job nobody knows the owner: see `viewing`.
Publishers say more in `sluiceway.feeds.job_events`.
"""

from typing import Annotated, Any

from pydantic import Field
from sluiceway import keys
from sluiceway.errors import AccessDenied, JobNotFound, RedisUnavailable, StoreUnavailable
from sluiceway.feeds.job_events import MAX_TYPE_CHARS, read_job_events
from sluiceway.wire.entry_id import format_entry_id
from starlette.responses import Response

from gateway.api.cursors import BEGINNING, EntryCursor, page_size
from gateway.api.inputs import ClientId, In, Params, PositiveNumber
from gateway.api.models.jobs import JobEventView, JobHistory
from gateway.api.problems import InvalidCursor
from gateway.routes import following
from gateway.routes.following import open_follow
from gateway.routes.viewing import check_job
from gateway.routing.table import Call, RouteSpec, Success, json_response
from gateway.wire.job_frames import FollowJob

EventType = Annotated[str, Field(min_length=1, max_length=MAX_TYPE_CHARS)]


class JobParams(Params):
    job_id: Annotated[ClientId, In("path")]
    event_type: Annotated[EventType | None, In("query")] = None


class FollowJobParams(JobParams):
    last_event_id: Annotated[EntryCursor | None, In("header", "Last-Event-ID")] = None
    after: Annotated[EntryCursor | None, In("query")] = None


class HistoryParams(JobParams):
    cursor: Annotated[EntryCursor | None, In("query")] = None
    limit: Annotated[PositiveNumber | None, In("query")] = None


async def follow_job(call: Call[FollowJobParams, None]) -> Response:
    asked = call.params
    task_id = await check_job(call, asked.job_id)
    follow = FollowJob(
        keys.job_events(asked.job_id),
        cursor=asked.last_event_id or asked.after or BEGINNING,
        event_type=asked.event_type,
    )
    return await open_follow(call.gateway, call.caller, follow, head_only=call.method == "HEAD", task_id=task_id)


async def list_job_events(call: Call[HistoryParams, None]) -> Response:
    asked = call.params
    await check_job(call, asked.job_id)
    limit = page_size(asked.limit, call.gateway.settings)
    found = await read_job_events(
        call.gateway.redis,
        asked.job_id,
        after=format_entry_id(asked.cursor or BEGINNING),
        limit=limit + 1,
        event_type=asked.event_type,
    )
    if found is None:
        raise JobNotFound
    async with call.gateway.large_answers.rendering():
        page = [JobEventView.of(event) for event in found[:limit]]
        next_cursor = page[-1].id if len(found) > limit else None
        return json_response(JobHistory(job_id=asked.job_id, events=page, next_cursor=next_cursor))


ROUTES: tuple[RouteSpec[Any, Any], ...] = (
    RouteSpec(
        "GET",
        "/api/chat/jobs/{job_id}/events",
        follow_job,
        "Follow a job's events",
        "Jobs",
        {200: Success("The job's events; each has an id to resume from.", media_type=following.EVENT_STREAM)},
        FollowJobParams,
        problems=(AccessDenied, InvalidCursor, JobNotFound, StoreUnavailable, *following.PROBLEMS),
        description=(
            "Every event after the cursor, what was and then what comes. The cursor is the `Last-Event-ID` header, "
            "which wins, or `?after=`; without one the stream begins at its beginning. With `?event_type=` events of "
            "other types are left out. A job that has said nothing yet is waited for. The stream ends, with `[DONE]`, "
            "when `task_completed`, `task_failed` or `task_stopped` is the newest event; coming back with its id is "
            "answered 204. A connection that ends otherwise was broken: come back with the last id. A job that is an "
            "operation is for the owner of its turn; any other, where there are users, for those who signed in."
        ),
        scopes=("read",),
    ),
    RouteSpec(
        "GET",
        "/api/chat/jobs/{job_id}/history",
        list_job_events,
        "List a job's events",
        "Jobs",
        {200: Success("A page of events, the oldest first.", JobHistory)},
        HistoryParams,
        problems=(AccessDenied, JobNotFound, InvalidCursor, RedisUnavailable, StoreUnavailable),
        description=(
            "`?cursor=` is the `next_cursor` of the page before, or the id of any event: the page begins after it. The "
            "same ids are cursors of the events' stream. Events are kept for the retention after the last of them."
        ),
        scopes=("read",),
        large=True,
    ),
)
