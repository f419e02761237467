"""For operators: what happens in a turn's stream, without what is said in it."""

from typing import Annotated

from sluiceway.errors import TaskNotFound
from sluiceway.wire.entry_id import EntryId
from starlette.responses import Response

from gateway.api.cursors import BEGINNING, EntryCursor
from gateway.api.inputs import ClientId, In, Params
from gateway.api.ops_models import TurnEvent, TurnEvents
from gateway.api.problems import InvalidCursor
from gateway.ops.stream_events import Events, events_of
from gateway.routes.ops.route import AWAY, Routes, route
from gateway.routing.table import Call, Success, json_response

_PAGE_ENTRIES = 1000


class EventsParams(Params):
    task_id: Annotated[ClientId, In("path")]
    after: Annotated[EntryCursor | None, In("query")] = None


async def list_events(call: Call[EventsParams, None]) -> Response:
    gateway, task_id = call.gateway, call.params.task_id
    after: EntryId = call.params.after or BEGINNING
    # Before the entries: a turn that has ended by then has them all.
    task = await gateway.store.turns.get(task_id)
    if task is None:
        raise TaskNotFound
    entries = await gateway.reader.page(task_id, after, _PAGE_ENTRIES)
    events = [_view(one) for one in events_of(entries)]
    last = entries[-1][0] if entries else after
    whole = task.ended and len(entries) < _PAGE_ENTRIES
    return json_response(
        TurnEvents(task_id=task_id, status=task.status, events=events, last_id=f"{last[0]}-{last[1]}", whole=whole)
    )


def _view(events: Events) -> TurnEvent:
    first, last = (f"{attempt}-{sequence}" for attempt, sequence in (events.first, events.last))
    return TurnEvent(
        first_id=first, last_id=last, type=events.type, count=events.count, bytes=events.bytes, detail=events.detail
    )


ROUTES: Routes = (
    route(
        "GET",
        "/turns/{task_id}/events",
        list_events,
        "What happens in a turn's stream",
        {200: Success("Events of the same type in a row are one. Nothing that was said is in it.", TurnEvents)},
        EventsParams,
        problems=(InvalidCursor, TaskNotFound, *AWAY),
        description="Kinds, counts and sizes; never what was said.",
    ),
)
