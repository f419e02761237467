"""For operators: queues, live turns and why they do not end, dead letters, who uses how much, what is unfit.

Keys with the scope `ops:look` or `ops:act`, and users whose token has a role that OPS_LOOK_ROLES or OPS_ACT_ROLES
names.
"""

from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field
from sluiceway import keys
from sluiceway.errors import (
    AccessDenied,
    MessageNotFound,
    RedisUnavailable,
    SessionBusy,
    SessionNotFound,
    StoreUnavailable,
    TaskNotFound,
    TooManyTasks,
)
from sluiceway.process.logs import get_logger
from sluiceway.process.settings import DEFAULT_LEASE_SECONDS
from sluiceway.store.dead_letters import DeadLetter
from sluiceway.store.ops import OperationSeen, TurnSeen
from starlette.responses import Response

from gateway.api.cursors import page_size
from gateway.api.inputs import ClientId, In, Params, PositiveNumber
from gateway.api.models import CancelledTurn
from gateway.api.ops_models import (
    DeadLetterDetail,
    DeadLetterPage,
    DeadLetterView,
    Examination,
    Explanation,
    FindingView,
    LiveTurnList,
    LiveTurnView,
    Load,
    OpenOperationList,
    OpenOperationView,
    ProcessList,
    ProcessView,
    PurgedLetters,
    QueueList,
    QueueView,
    ReplayedLetter,
    RequeuedTurn,
    Top,
    UseView,
)
from gateway.api.problems import DeadLetterNotFound, InvalidCursor, NotReplayable, NotRequeueable
from gateway.callers.caller import KeyScope
from gateway.ops import explaining, load
from gateway.ops.dead_letters import DeadLetters
from gateway.ops.doctor import Doctor
from gateway.ops.evidence import Evidence, evidence_of
from gateway.ops.explaining import Surroundings
from gateway.routes.system import VERSION
from gateway.routes.webhooks import RowCursor, RowNumber
from gateway.routing.table import Call, NoParams, RouteSpec, Success, json_response
from gateway.state import Gateway

_WAITS_FOR = {
    "approval": "a person",
    "client": "the client",
    "pending": "a tool runner",
    "running": "its tool",
    "accepted": "an outside service",
}
_LOOK: tuple[KeyScope, ...] = ("ops:look",)
_ACT: tuple[KeyScope, ...] = ("ops:act",)
_AWAY = (StoreUnavailable, RedisUnavailable)


class ListParams(Params):
    limit: Annotated[PositiveNumber | None, In("query")] = None


class TurnParams(Params):
    task_id: Annotated[ClientId, In("path")]


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


class PeriodParams(Params):
    minutes: Annotated[int, Field(ge=1, le=10080), In("query")] = 15


# What is there


async def list_queues(call: Call[NoParams, None]) -> Response:
    seen = await call.gateway.queues.look()
    queues = [
        QueueView.model_validate(
            {
                **{name: getattr(one, name) for name in one.__slots__},
                "dead_letters": seen.dead_letters.get(one.kind, 0),
            },
            from_attributes=True,
        )
        for one in seen.states
    ]
    return json_response(QueueList(queues=queues, chat_workers_ready=seen.chat_workers))


async def list_processes(call: Call[NoParams, None]) -> Response:
    others = call.gateway.agreement.others
    if others is None:
        raise RedisUnavailable
    return json_response(
        ProcessList(processes=[ProcessView.model_validate(one, from_attributes=True) for one in others])
    )


async def list_live_turns(call: Call[ListParams, None]) -> Response:
    gateway = call.gateway
    limit = page_size(call.params.limit, gateway.settings)
    turns = await gateway.store.ops.live_turns(limit)
    operations = await gateway.store.ops.open_operations(gateway.settings.max_page_size)
    around = await _around(gateway)
    found = await evidence_of(gateway.redis, turns, operations)
    return json_response(LiveTurnList(turns=[_turn(one, around) for one in found]))


async def list_open_operations(call: Call[ListParams, None]) -> Response:
    limit = page_size(call.params.limit, call.gateway.settings)
    found = await call.gateway.store.ops.open_operations(limit)
    return json_response(OpenOperationList(operations=[_operation(one) for one in found]))


async def explain_turn(call: Call[TurnParams, None]) -> Response:
    gateway, task_id = call.gateway, call.params.task_id
    turn = await _turn_of(gateway, task_id)
    operations = await gateway.store.ops.open_operations(gateway.settings.max_page_size, task_id)
    (evidence,) = await evidence_of(gateway.redis, [turn], operations)
    letters = await gateway.store.dead_letters.page(None, None, 5, task_id)
    told = [
        *explaining.facts(evidence),
        *(f"Dead letter {one.id} of {keys.kind_of(one.queue)}: {one.reason}" for one in letters),
    ]
    sentence = explaining.explain(evidence, await _around(gateway))
    return json_response(Explanation(task_id=task_id, sentence=sentence, evidence=told))


async def show_top(call: Call[PeriodParams, None]) -> Response:
    store, since = call.gateway.store.ops, timedelta(minutes=call.params.minutes)
    users, sessions = [await store.top(by, since, 20) for by in ("user", "session")]
    return json_response(
        Top(
            minutes=call.params.minutes,
            users=[UseView.model_validate(one, from_attributes=True) for one in users],
            sessions=[UseView.model_validate(one, from_attributes=True) for one in sessions],
        )
    )


async def show_load(call: Call[PeriodParams, None]) -> Response:
    gateway = call.gateway
    lately = await gateway.store.ops.lately(timedelta(minutes=call.params.minutes))
    told = load.sentence(lately, await gateway.queues.look(), gateway.agreement.others or ())
    known = {name: getattr(lately, name) for name in lately.__slots__}
    return json_response(Load(minutes=call.params.minutes, sentence=told, **known))


async def examine(call: Call[NoParams, None]) -> Response:
    gateway = call.gateway
    findings = await Doctor(gateway.redis, gateway.store, gateway.agreement, VERSION).examine()
    views = [FindingView.model_validate(one, from_attributes=True) for one in findings]
    return json_response(Examination(ok=all(one.ok for one in findings), findings=views))


# What can be done


async def cancel_turn(call: Call[TurnParams, None]) -> Response:
    gateway, task_id = call.gateway, call.params.task_id
    turn = await _turn_of(gateway, task_id)
    result = await gateway.intake.cancel(task_id, turn.task.user_id)
    _log(call, "operator_cancelled", task_id=task_id, status=result.status)
    return json_response(CancelledTurn(task_id=result.task_id, status=result.status), 202)


async def requeue_turn(call: Call[TurnParams, None]) -> Response:
    gateway, task_id = call.gateway, call.params.task_id
    turn = await _turn_of(gateway, task_id)
    (evidence,) = await evidence_of(gateway.redis, [turn], [])
    _check_requeueable(turn, evidence, await _around(gateway))
    await gateway.dispatch.publish(turn.task)
    _log(call, "operator_requeued", task_id=task_id, status=turn.task.status)
    detail = "It had its entry already, which waits." if evidence.queued else "It is in the chat queue."
    return json_response(RequeuedTurn(task_id=task_id, detail=detail), 202)


def _check_requeueable(turn: TurnSeen, evidence: Evidence, around: Surroundings) -> None:
    task = turn.task
    if task.ended:
        raise NotRequeueable(f"It has ended: {task.status}.")
    if turn.behind is not None:
        raise NotRequeueable(f"It waits behind turn {turn.behind} of its session.")
    if task.open_operations:
        raise NotRequeueable(f"It waits for {task.open_operations} operations.")
    if task.retry_at is not None:
        raise NotRequeueable(f"Its model is away; it is asked again at {task.retry_at:%H:%M:%S} UTC.")
    if evidence.holder is not None and evidence.holder.idle_seconds <= around.lease_seconds:
        raise NotRequeueable(f"Worker {evidence.holder.consumer} has it, and is alive.")


# Dead letters


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
    _log(call, "operator_replayed", dead_letter=call.params.id, task_id=replayed.task_id)
    return json_response(ReplayedLetter(task_id=replayed.task_id, detail=replayed.detail), 202)


async def remove_dead_letter(call: Call[LetterParams, None]) -> Response:
    if not await call.gateway.store.dead_letters.remove(call.params.id):
        raise DeadLetterNotFound
    _log(call, "operator_purged", dead_letter=call.params.id, removed=1)
    return json_response(PurgedLetters(removed=1))


async def purge_dead_letters(call: Call[PurgeParams, None]) -> Response:
    asked = call.params
    older = timedelta(hours=asked.older_than_hours)
    removed = await call.gateway.store.dead_letters.purge(keys.work_queue(asked.queue), older)
    _log(call, "operator_purged", queue=asked.queue, removed=removed)
    return json_response(PurgedLetters(removed=removed))


def _letters(gateway: Gateway) -> DeadLetters:
    return DeadLetters(gateway.redis, gateway.store, gateway.intake)


def _letter(letter: DeadLetter) -> dict[str, Any]:
    known = {name: getattr(letter, name) for name in ("task_id", "reason", "deliveries", "created_at")}
    return {"id": str(letter.id), "queue": keys.kind_of(letter.queue), **known}


# Of all of them


async def _turn_of(gateway: Gateway, task_id: str) -> TurnSeen:
    turn = await gateway.store.ops.turn(task_id)
    if turn is None:
        raise TaskNotFound
    return turn


async def _around(gateway: Gateway) -> Surroundings:
    seen, others = await gateway.queues.look(), gateway.agreement.others
    leases = [one.lease_seconds for one in others or () if one.lease_seconds is not None]
    return Surroundings(
        lease_seconds=max(leases, default=DEFAULT_LEASE_SECONDS),
        chat_workers=seen.chat_workers,
        waiting=next((one.waiting for one in seen.states if one.kind == keys.CHAT), 0),
        consumers=None if others is None else sum(one.component == "completion-consumer" for one in others),
    )


def _turn(one: Evidence, around: Surroundings) -> LiveTurnView:
    task, holder = one.seen.task, one.holder
    return LiveTurnView(
        task_id=task.id,
        session_id=task.session_id,
        user_id=task.user_id,
        status=task.status,
        phase=explaining.phase(one, around),
        attempt=task.attempt,
        age_seconds=one.seen.age_seconds,
        holder=holder.consumer if holder is not None else None,
        holder_idle_seconds=holder.idle_seconds if holder is not None else None,
        shown=one.shown,
        model=task.model,
        cancel_requested=one.seen.cancel_seconds is not None,
    )


def _operation(one: OperationSeen) -> OpenOperationView:
    operation = one.operation
    return OpenOperationView.model_validate(
        {
            **{
                name: getattr(operation, name)
                for name in ("task_id", "tool_name", "queue", "status", "runner", "attempt")
            },
            "operation_id": operation.id,
            "user_id": one.user_id,
            "waits_for": _WAITS_FOR[operation.status],
            "age_seconds": one.age_seconds,
            "deadline_seconds": one.deadline_seconds,
        }
    )


def _log(call: Call[Any, Any], event: str, **fields: str | int | None) -> None:
    """Who did what to whom is kept. An operator is named: he is no user here."""
    told = {name: value for name, value in fields.items() if value is not None}
    get_logger().warning(event, operator=call.caller.user_id, **told)


def _route(
    method: str, path: str, endpoint: Any, summary: str, answers: dict[int, Success], params: Any, **more: Any
) -> RouteSpec[Any, Any]:
    scopes: tuple[KeyScope, ...] = _ACT if method != "GET" else _LOOK
    return RouteSpec(
        method, f"/api/ops{path}", endpoint, summary, "Operating", answers, params, people=False, scopes=scopes, **more
    )


ROUTES: tuple[RouteSpec[Any, Any], ...] = (
    _route(
        "GET",
        "/queues",
        list_queues,
        "How far behind the queues are",
        {200: Success("The queues.", QueueList)},
        NoParams,
        problems=_AWAY,
    ),
    _route(
        "GET",
        "/processes",
        list_processes,
        "Who is there, and what they lack",
        {200: Success("All processes but this one.", ProcessList)},
        NoParams,
        problems=(RedisUnavailable,),
    ),
    _route(
        "GET",
        "/turns",
        list_live_turns,
        "Turns that have not ended, the oldest first",
        {200: Success("With their phase and holder.", LiveTurnList)},
        ListParams,
        problems=_AWAY,
    ),
    _route(
        "GET",
        "/turns/{task_id}/explanation",
        explain_turn,
        "Why a turn has not ended",
        {200: Success("One sentence, and what it stands on.", Explanation)},
        TurnParams,
        problems=(TaskNotFound, *_AWAY),
    ),
    _route(
        "POST",
        "/turns/{task_id}/cancel",
        cancel_turn,
        "Cancel anybody's turn",
        {202: Success("The wish is durable, or the turn had ended: its status says which.", CancelledTurn)},
        TurnParams,
        problems=(TaskNotFound, AccessDenied, *_AWAY),
    ),
    _route(
        "POST",
        "/turns/{task_id}/requeue",
        requeue_turn,
        "Queue a turn again that nobody has",
        {202: Success("It is in the chat queue.", RequeuedTurn)},
        TurnParams,
        problems=(TaskNotFound, NotRequeueable, *_AWAY),
        description="The reconciler does that by itself within seconds; this is for a system without one.",
    ),
    _route(
        "GET",
        "/operations",
        list_open_operations,
        "Tool calls that have not ended, and what they wait for",
        {200: Success("The oldest first.", OpenOperationList)},
        ListParams,
        problems=(StoreUnavailable,),
    ),
    _route(
        "GET",
        "/dead-letters",
        list_dead_letters,
        "Queue entries that were given up",
        {200: Success("Newest first.", DeadLetterPage)},
        LettersParams,
        problems=(InvalidCursor, StoreUnavailable),
        description="`queue`: `chat`, `completions`, or `tools.NAME`.",
    ),
    _route(
        "DELETE",
        "/dead-letters",
        purge_dead_letters,
        "Forget the dead letters of a queue",
        {200: Success("How many there were.", PurgedLetters)},
        PurgeParams,
        problems=(StoreUnavailable,),
    ),
    _route(
        "GET",
        "/dead-letters/{id}",
        show_dead_letter,
        "One dead letter with what it said",
        {200: Success("The letter.", DeadLetterDetail)},
        LetterParams,
        problems=(DeadLetterNotFound, StoreUnavailable),
    ),
    _route(
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
            *_AWAY,
        ),
        description=(
            "Its entry goes into its queue again. A turn that was given up has ended: its message gets a new turn. 409 "
            "where nothing would come of it."
        ),
    ),
    _route(
        "DELETE",
        "/dead-letters/{id}",
        remove_dead_letter,
        "Forget a dead letter",
        {200: Success("It is gone.", PurgedLetters)},
        LetterParams,
        problems=(DeadLetterNotFound, StoreUnavailable),
    ),
    _route(
        "GET",
        "/top",
        show_top,
        "Who began most turns lately, and with how many tokens",
        {200: Success("By users and by sessions.", Top)},
        PeriodParams,
        problems=(StoreUnavailable,),
    ),
    _route(
        "GET",
        "/load",
        show_load,
        "Whether workers or the model are short",
        {200: Success("One sentence, and the numbers.", Load)},
        PeriodParams,
        problems=_AWAY,
    ),
    _route(
        "GET",
        "/doctor",
        examine,
        "Whether what the system stands on is fit for it",
        {200: Success("Findings, each with what to change.", Examination)},
        NoParams,
        problems=(StoreUnavailable,),
    ),
)
