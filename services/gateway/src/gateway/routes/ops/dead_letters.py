"""For operators: queue entries that were given up."""

from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field
from sluiceway import keys
from sluiceway.errors import AccessDenied, MessageNotFound, SessionBusy, SessionNotFound, StoreUnavailable, TooManyTasks
from sluiceway.store.operating.dead_letters import DeadLetter
from starlette.responses import Response

from gateway.api.cursors import page_size
from gateway.api.inputs import In, Params, PositiveNumber
from gateway.api.ops_models import (
    DeadLetterDetail,
    DeadLetterPage,
    DeadLetterView,
    EditedLetter,
    PurgedLetters,
    ReplayedLetter,
)
from gateway.api.problems import DeadLetterNotFound, InvalidCursor, NotReplayable
from gateway.ops.dead_letters import DeadLetters
from gateway.routes.operations.webhooks import RowCursor, RowNumber
from gateway.routes.ops.route import AWAY, Routes, log_act, route
from gateway.routing.table import Call, Success, json_response
from gateway.state import Gateway


class LetterParams(Params):
    id: Annotated[RowNumber, In("path")]


class LettersParams(Params):
    queue: Annotated[str | None, Field(max_length=200), In("query")] = None
    cursor: Annotated[RowCursor | None, In("query")] = None
    limit: Annotated[PositiveNumber | None, In("query")] = None


class PurgeParams(Params):
    """`older_than_hours`: younger ones stay."""

    queue: Annotated[str, Field(min_length=1, max_length=200), In("query")]
    older_than_hours: Annotated[float, Field(ge=0, le=87600), In("query")] = 0


async def list_dead_letters(call: Call[LettersParams, None]) -> Response:
    asked = call.params
    limit = page_size(asked.limit, call.gateway.settings)
    queue = keys.work_queue(asked.queue) if asked.queue is not None else None
    found = await call.gateway.store.dead_letters.page(queue, asked.cursor, limit + 1)
    page = [DeadLetterView(**_letter(one)) for one in found[:limit]]
    return json_response(DeadLetterPage(dead_letters=page, next_cursor=page[-1].id if len(found) > limit else None))


async def show_dead_letter(call: Call[LetterParams, None]) -> Response:
    letter = await _letters(call.gateway).get(call.params.id)
    body = letter.body.decode(errors="replace")
    return json_response(DeadLetterDetail(**_letter(letter), entry_id=letter.entry_id, body=body))


async def replay_dead_letter(call: Call[LetterParams, None]) -> Response:
    replayed = await _letters(call.gateway).replay(call.params.id)
    log_act(call, "operator_replayed", dead_letter=call.params.id, task_id=replayed.task_id)
    return json_response(ReplayedLetter(task_id=replayed.task_id, detail=replayed.detail), 202)


async def edit_dead_letter(call: Call[LetterParams, EditedLetter]) -> Response:
    await _letters(call.gateway).edit(call.params.id, call.body.body)
    log_act(call, "operator_edited", dead_letter=call.params.id)
    return json_response(ReplayedLetter(task_id=None, detail="It says that now; replay it."))


async def remove_dead_letter(call: Call[LetterParams, None]) -> Response:
    if not await call.gateway.store.dead_letters.remove(call.params.id):
        raise DeadLetterNotFound
    log_act(call, "operator_purged", dead_letter=call.params.id, removed=1)
    return json_response(PurgedLetters(removed=1))


async def purge_dead_letters(call: Call[PurgeParams, None]) -> Response:
    asked = call.params
    older = timedelta(hours=asked.older_than_hours)
    removed = await call.gateway.store.dead_letters.purge(keys.work_queue(asked.queue), older)
    log_act(call, "operator_purged", queue=asked.queue, removed=removed)
    return json_response(PurgedLetters(removed=removed))


def _letters(gateway: Gateway) -> DeadLetters:
    return DeadLetters(gateway.redis, gateway.store, gateway.intake)


def _letter(letter: DeadLetter) -> dict[str, Any]:
    known = {name: getattr(letter, name) for name in ("task_id", "reason", "deliveries", "created_at")}
    return {"id": str(letter.id), "queue": keys.kind_of(letter.queue), **known}


ROUTES: Routes = (
    route(
        "GET",
        "/dead-letters",
        list_dead_letters,
        "Queue entries that were given up",
        {200: Success("Newest first.", DeadLetterPage)},
        LettersParams,
        problems=(InvalidCursor, StoreUnavailable),
        description="`queue`: `chat`, `completions`, or `tools.NAME`.",
    ),
    route(
        "DELETE",
        "/dead-letters",
        purge_dead_letters,
        "Forget the dead letters of a queue",
        {200: Success("How many there were.", PurgedLetters)},
        PurgeParams,
        problems=(StoreUnavailable,),
        description="With `older_than_hours` only those that are older. It cannot be undone.",
    ),
    route(
        "GET",
        "/dead-letters/{id}",
        show_dead_letter,
        "One dead letter with what it said",
        {200: Success("The letter.", DeadLetterDetail)},
        LetterParams,
        problems=(DeadLetterNotFound, StoreUnavailable),
        description="Its body, the reason, and how often it was tried.",
    ),
    route(
        "POST",
        "/dead-letters/{id}/replay",
        replay_dead_letter,
        "Do what a dead letter asked for",
        {202: Success("It is asked for again, and the letter is gone.", ReplayedLetter)},
        LetterParams,
        problems=(
            DeadLetterNotFound,
            NotReplayable,
            AccessDenied,
            MessageNotFound,
            SessionBusy,
            SessionNotFound,
            TooManyTasks,
            *AWAY,
        ),
        description=(
            "Its entry goes into its queue again. A turn that was given up has ended: its message gets a new turn. 409 "
            "where nothing would come of it."
        ),
    ),
    route(
        "PUT",
        "/dead-letters/{id}",
        edit_dead_letter,
        "Let a dead letter say something else",
        {200: Success("It is kept so, and can be replayed.", ReplayedLetter)},
        LetterParams,
        body=EditedLetter,
        problems=(DeadLetterNotFound, NotReplayable, StoreUnavailable),
        whole_system=True,  # it could name anybody's turn
        description="`body` is a job of its queue, as the letter shows it; 409 where it is none.",
    ),
    route(
        "DELETE",
        "/dead-letters/{id}",
        remove_dead_letter,
        "Forget a dead letter",
        {200: Success("It is gone.", PurgedLetters)},
        LetterParams,
        problems=(DeadLetterNotFound, StoreUnavailable),
        description="It cannot be undone.",
    ),
)
