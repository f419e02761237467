"""For operators: live turns, what holds them up, and what can be done about it."""

from typing import Annotated

from sluiceway import keys
from sluiceway.errors import AccessDenied, TaskNotFound
from sluiceway.operation.catalogue import offered_names
from sluiceway.process.settings import DEFAULT_LEASE_SECONDS
from sluiceway.store.operating.ops import TurnSeen
from starlette.responses import Response

from gateway.api.cursors import page_size
from gateway.api.inputs import ClientId, In, Params
from gateway.api.models.turns import CancelledTurn
from gateway.api.ops_models import Explanation, LiveTurnList, LiveTurnView, RequeuedTurn
from gateway.api.problems import NotRequeueable
from gateway.ops import endings, explaining, load
from gateway.ops.evidence import Evidence, evidence_of
from gateway.ops.explaining import Surroundings
from gateway.ops.unknown_turn import why_unknown
from gateway.routes.ops.route import AWAY, ListParams, Routes, log_act, route
from gateway.routes.service import readiness
from gateway.routing.table import Call, Success, json_response
from gateway.state import Gateway


class TurnParams(Params):
    task_id: Annotated[ClientId, In("path")]


async def list_live_turns(call: Call[ListParams, None]) -> Response:
    gateway = call.gateway
    limit = page_size(call.params.limit, gateway.settings)
    turns = await gateway.store.ops.live_turns(limit)
    operations = await gateway.store.ops.open_operations(gateway.settings.max_page_size)
    around = await _around(gateway)
    found = await evidence_of(gateway.redis, turns, operations)
    return json_response(LiveTurnList(turns=[_turn(one, around) for one in found]))


async def explain_turn(call: Call[TurnParams, None]) -> Response:
    gateway, task_id = call.gateway, call.params.task_id
    turn = await _turn_of(gateway, task_id)
    operations = await gateway.store.ops.open_operations(gateway.settings.max_page_size, task_id)
    (evidence,) = await evidence_of(gateway.redis, [turn], operations)
    ended = await gateway.store.operations.of_task(task_id) if turn.task.ended else ()
    calls = await gateway.store.usage.of_task(task_id)
    letters = await gateway.store.dead_letters.page(None, None, 5, task_id)
    told = [
        *explaining.facts(evidence),
        *endings.calls(ended),
        *([explaining.cost(calls)] if calls else []),
        *(f"Dead letter {one.id} of {keys.kind_of(one.queue)}: {one.reason}" for one in letters),
    ]
    sentence = explaining.explain(evidence, await _around(gateway))
    return json_response(Explanation(task_id=task_id, sentence=sentence, evidence=told))


async def cancel_turn(call: Call[TurnParams, None]) -> Response:
    gateway, task_id = call.gateway, call.params.task_id
    turn = await _turn_of(gateway, task_id)
    wish = {"by": "operator", "name": call.caller.user_id or "of this machine"}
    result = await gateway.intake.cancel(task_id, turn.task.user_id, wish)
    log_act(call, "operator_cancelled", task_id=task_id, status=result.status)
    return json_response(CancelledTurn(task_id=result.task_id, status=result.status), 202)


async def requeue_turn(call: Call[TurnParams, None]) -> Response:
    gateway, task_id = call.gateway, call.params.task_id
    turn = await _turn_of(gateway, task_id)
    (evidence,) = await evidence_of(gateway.redis, [turn], [])
    _check_requeueable(turn, evidence, await _around(gateway))
    await gateway.dispatch.publish(turn.task)
    log_act(call, "operator_requeued", task_id=task_id, status=turn.task.status)
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


async def _turn_of(gateway: Gateway, task_id: str) -> TurnSeen:
    turn = await gateway.store.ops.turn(task_id)
    if turn is None:
        raise TaskNotFound(await why_unknown(gateway.redis, gateway.store, task_id))
    return turn


async def _around(gateway: Gateway) -> Surroundings:
    seen, others = await gateway.queues.look(), gateway.agreement.others
    leases = [one.lease_seconds for one in others or () if one.lease_seconds is not None]
    return Surroundings(
        lease_seconds=max(leases, default=DEFAULT_LEASE_SECONDS),
        chat_workers=seen.chat_workers,
        waiting=next((one.waiting for one in seen.states if one.kind == keys.CHAT), 0),
        broken=await readiness.broken(gateway),
        offered=await offered_names(gateway.redis),
        lacking=load.lacking(others or ()),
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


ROUTES: Routes = (
    route(
        "GET",
        "/turns",
        list_live_turns,
        "Turns that have not ended, the oldest first",
        {200: Success("With their phase and holder.", LiveTurnList)},
        ListParams,
        problems=AWAY,
        description="With who has each, since when, and what it waits for.",
    ),
    route(
        "GET",
        "/turns/{task_id}/explanation",
        explain_turn,
        "Why a turn has not ended, or did as it did",
        {200: Success("One sentence, and what it stands on.", Explanation)},
        TurnParams,
        problems=(TaskNotFound, *AWAY),
        description="In one sentence, with the evidence; of one that has ended, why, and what to do; of one that is not"
        " there, what may have happened.",
    ),
    route(
        "POST",
        "/turns/{task_id}/cancel",
        cancel_turn,
        "Cancel anybody's turn",
        {202: Success("The wish is durable, or the turn had ended: its status says which.", CancelledTurn)},
        TurnParams,
        problems=(TaskNotFound, AccessDenied, *AWAY),
        description="As its owner could. A turn that runs ends within a second.",
    ),
    route(
        "POST",
        "/turns/{task_id}/requeue",
        requeue_turn,
        "Queue a turn again that nobody has",
        {202: Success("It is in the chat queue.", RequeuedTurn)},
        TurnParams,
        problems=(TaskNotFound, NotRequeueable, *AWAY),
        description="The reconciler does that by itself within seconds; this is for a system without one.",
    ),
)
