"""A person's answer to a tool call that asks for one. The AI SDK's clients answer with their message instead."""

from typing import Annotated, Any

from sluiceway.errors import AccessDenied, ApprovalConflict, ApprovalGone, ApprovalNotFound, StoreUnavailable
from sluiceway.store.approving import Decision
from sluiceway.turn.intake import ApprovalOutcome
from starlette.responses import Response

from gateway.api.inputs import ClientId, In, Params
from gateway.api.models import ApprovalAnswer, ApprovalTaken, stream_url
from gateway.api.problems import ProblemType
from gateway.routing.table import Call, RouteSpec, Success, json_response

PROBLEMS: tuple[ProblemType, ...] = (
    AccessDenied,
    ApprovalConflict,
    ApprovalGone,
    ApprovalNotFound,
    StoreUnavailable,
)


class ApprovalParams(Params):
    task_id: Annotated[ClientId, In("path")]
    tool_call_id: Annotated[ClientId, In("path")]


async def answer_approval(call: Call[ApprovalParams, ApprovalAnswer]) -> Response:
    answers = {call.params.tool_call_id: Decision(call.body.approved, call.body.reason)}
    outcome = await call.gateway.intake.answer(call.params.task_id, call.caller.user_id, answers)
    return json_response(_view(outcome), 202)


def _view(outcome: ApprovalOutcome) -> ApprovalTaken:
    task = outcome.task
    if task is None or outcome.remaining > 0:
        return ApprovalTaken(status="recorded", remaining=outcome.remaining)
    return ApprovalTaken(
        status="accepted",
        remaining=0,
        task_id=task.id,
        assistant_message_id=task.message_id,
        stream_url=stream_url(task.id),
    )


ROUTES: tuple[RouteSpec[Any, Any], ...] = (
    RouteSpec(
        "POST",
        "/api/chat/tasks/{task_id}/approvals/{tool_call_id}",
        answer_approval,
        "Approve or deny a tool call",
        "Tasks",
        {202: Success("The answer is durable.", ApprovalTaken)},
        ApprovalParams,
        ApprovalAnswer,
        problems=PROBLEMS,
        description=(
            "The turn ended when it asked. With the last answer that its step waits for, a new turn continues the "
            "same message: its stream begins with `start` of that message's id, and tells only what is new. The same "
            "answer again is answered the same. Another message in the session, or the call's deadline, takes the "
            "question away: 410."
        ),
        scopes=("turns",),
    ),
)
