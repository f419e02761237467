"""For operators: how far behind the queues are, who is there, and what is short."""

from datetime import timedelta

from sluiceway.errors import RedisUnavailable
from starlette.responses import Response

from gateway.api.ops_models import Load, ProcessList, ProcessView, QueueList, QueueView
from gateway.ops import load
from gateway.routes.ops.route import AWAY, PeriodParams, Routes, route
from gateway.routes.service import readiness
from gateway.routing.table import Call, NoParams, Success, json_response


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
        raise RedisUnavailable("the other processes were not heard of yet")
    await call.gateway.queues.refresh()
    everybody = sorted([*others, call.gateway.agreement.itself], key=lambda one: (one.component, one.name))
    processes = [ProcessView.model_validate(one, from_attributes=True) for one in everybody]
    return json_response(ProcessList(processes=processes, silent=call.gateway.queues.silent(others)))


async def show_load(call: Call[PeriodParams, None]) -> Response:
    gateway = call.gateway
    lately = await gateway.store.ops.lately(timedelta(minutes=call.params.minutes))
    seen, others = await gateway.queues.look(), gateway.agreement.others or ()
    told = load.sentence(lately, seen, others, await readiness.broken(gateway))
    known = {name: getattr(lately, name) for name in lately.__slots__}
    return json_response(Load(minutes=call.params.minutes, sentence=told, **known))


ROUTES: Routes = (
    route(
        "GET",
        "/queues",
        list_queues,
        "How far behind the queues are",
        {200: Success("The queues.", QueueList)},
        NoParams,
        problems=AWAY,
        whole_system=True,
        description="What waits, what is in flight, and who takes from each queue.",
    ),
    route(
        "GET",
        "/processes",
        list_processes,
        "Who is there, and what they lack",
        {200: Success("All processes, the gateway that answers among them.", ProcessList)},
        NoParams,
        problems=(RedisUnavailable,),
        whole_system=True,
        description="With version and what each lacks, and those that fell silent.",
    ),
    route(
        "GET",
        "/load",
        show_load,
        "Whether workers or the model are short",
        {200: Success("One sentence, and the numbers.", Load)},
        PeriodParams,
        problems=AWAY,
        whole_system=True,
        description="In one sentence, with the numbers that it is known from.",
    ),
)
