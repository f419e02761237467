"""For operators: letting a dead letter say something else, before it is replayed."""

from typing import Annotated, Any

from sluiceway.errors import StoreUnavailable
from sluiceway.process.logs import get_logger
from starlette.responses import Response

from gateway.api.inputs import In, Params
from gateway.api.ops_models import EditedLetter, ReplayedLetter
from gateway.api.problems import DeadLetterNotFound, NotReplayable
from gateway.ops.dead_letters import DeadLetters
from gateway.routes.webhooks import RowNumber
from gateway.routing.table import Call, RouteSpec, Success, json_response


class EditParams(Params):
    id: Annotated[RowNumber, In("path")]


async def edit_dead_letter(call: Call[EditParams, EditedLetter]) -> Response:
    gateway, letter_id = call.gateway, call.params.id
    await DeadLetters(gateway.redis, gateway.store, gateway.intake).edit(letter_id, call.body.body)
    get_logger().warning("operator_edited", operator=call.caller.user_id, dead_letter=letter_id)
    return json_response(ReplayedLetter(task_id=None, detail="It says that now; replay it."))


ROUTES: tuple[RouteSpec[Any, Any], ...] = (
    RouteSpec(
        "PUT",
        "/api/ops/dead-letters/{id}",
        edit_dead_letter,
        "Let a dead letter say something else",
        "Operating",
        {200: Success("It is kept so, and can be replayed.", ReplayedLetter)},
        EditParams,
        EditedLetter,
        problems=(DeadLetterNotFound, NotReplayable, StoreUnavailable),
        description="`body` is a job of its queue, as the letter shows it; 409 where it is none.",
        people=False,
        scopes=("ops:act",),
    ),
)
