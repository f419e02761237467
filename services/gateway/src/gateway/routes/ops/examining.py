"""For operators: whether what the system stands on is fit for it."""

from sluiceway.errors import StoreUnavailable
from starlette.responses import Response

from gateway.api.ops_models import Examination, FindingView
from gateway.ops.doctor import Doctor
from gateway.routes.ops.route import Routes, route
from gateway.routes.service.system import VERSION
from gateway.routing.table import Call, NoParams, Success, json_response


async def examine(call: Call[NoParams, None]) -> Response:
    gateway = call.gateway
    await gateway.queues.refresh()
    silent = gateway.queues.silent(gateway.agreement.others)
    findings = await Doctor(gateway.redis, gateway.store, gateway.agreement, VERSION, silent).examine()
    views = [FindingView.model_validate(one, from_attributes=True) for one in findings]
    return json_response(Examination(ok=all(one.ok for one in findings), findings=views))


ROUTES: Routes = (
    route(
        "GET",
        "/doctor",
        examine,
        "Whether what the system stands on is fit for it",
        {200: Success("Findings, each with what to change.", Examination)},
        NoParams,
        problems=(StoreUnavailable,),
        whole_system=True,
        description="Redis, Postgres, migrations, clocks and models, each with a sentence.",
    ),
)
