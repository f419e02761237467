"""For operators: letting a worker take nothing more, and letting it again."""

from typing import Annotated

from pydantic import Field
from sluiceway.errors import RedisUnavailable
from sluiceway.service.draining import SEEN_WITHIN_SECONDS, drain, undrain
from starlette.responses import Response

from gateway.api.inputs import In, Params
from gateway.api.ops_models import DrainedWorker
from gateway.api.problems import WorkerNotFound
from gateway.routes.ops.route import Routes, log_act, route
from gateway.routing.table import Call, Success, json_response

_PATH = "/workers/{worker_name}/drain"


class WorkerParams(Params):
    worker_name: Annotated[str, Field(min_length=1, max_length=200), In("path")]


async def drain_worker(call: Call[WorkerParams, None]) -> Response:
    name = await _known(call)
    await drain(call.gateway.redis, name)
    log_act(call, "operator_drained", worker=name)
    detail = f"Within {SEEN_WITHIN_SECONDS} s it takes nothing more, and finishes what it has."
    return json_response(DrainedWorker(worker=name, detail=detail), 202)


async def undrain_worker(call: Call[WorkerParams, None]) -> Response:
    name = call.params.worker_name
    await undrain(call.gateway.redis, name)
    log_act(call, "operator_undrained", worker=name)
    return json_response(DrainedWorker(worker=name, detail=f"It takes work again within {SEEN_WITHIN_SECONDS} s."), 202)


async def _known(call: Call[WorkerParams, None]) -> str:
    """A gateway has no queue: its way out is its readiness, by SIGTERM."""
    others, name = call.gateway.agreement.others, call.params.worker_name
    if others is None:
        raise RedisUnavailable("the other processes were not heard of yet")
    workers = sorted(one.name for one in others if one.component != "gateway")
    if name not in workers:
        raise WorkerNotFound(f"There is no such worker now. There are: {', '.join(workers) or 'none'}.")
    return name


ROUTES: Routes = (
    route(
        "POST",
        _PATH,
        drain_worker,
        "Let a worker take nothing more",
        {202: Success("It finishes what it has, and is not ready.", DrainedWorker)},
        WorkerParams,
        problems=(WorkerNotFound, RedisUnavailable),
        description="For a day, or until it is taken back; a restart under the same name changes nothing.",
        whole_system=True,
    ),
    route(
        "DELETE",
        _PATH,
        undrain_worker,
        "Let a drained worker take work again",
        {202: Success("It works again in a moment.", DrainedWorker)},
        WorkerParams,
        problems=(RedisUnavailable,),
        whole_system=True,
        description="The opposite of draining it.",
    ),
)
