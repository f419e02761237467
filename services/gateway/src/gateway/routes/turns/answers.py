"""What comes from in front of the client: a person's answer to a tool call that asks for one, and the output of a call
that the client runs. The AI SDK's clients answer with their message instead."""

from typing import Annotated, Any

from sluiceway.errors import AccessDenied, ApprovalConflict, ApprovalGone, ApprovalNotFound, StoreUnavailable
from sluiceway.store.turns.approving import Decision
from sluiceway.turn.intake import AnswerOutcome
from starlette.responses import Response

from gateway.api.inputs import ClientId, In, Params
from gateway.api.models.answers import AnswerTaken, ApprovalAnswer, ClientOutputGiven
from gateway.api.models.turns import stream_url
from gateway.api.posted_message import client_output
from gateway.api.problems import ProblemType
from gateway.routing.table import Call, RouteSpec, Success, json_response

PROBLEMS: tuple[ProblemType, ...] = (
    AccessDenied,
    ApprovalConflict,
    ApprovalGone,
    ApprovalNotFound,
    StoreUnavailable,
)


class CallParams(Params):
    task_id: Annotated[ClientId, In("path")]
    tool_call_id: Annotated[ClientId, In("path")]


async def answer_approval(call: Call[CallParams, ApprovalAnswer]) -> Response:
    answers = {call.params.tool_call_id: Decision(call.body.approved, call.body.reason)}
    outcome = await call.gateway.intake.answer(call.params.task_id, call.caller.user_id, answers)
    return json_response(_view(outcome), 202)


async def post_output(call: Call[CallParams, ClientOutputGiven]) -> Response:
    body, settings = call.body, call.gateway.settings
    output = client_output(body.output, body.error, settings.max_client_output_chars)
    answers = {call.params.tool_call_id: output}
    return json_response(
        _view(await call.gateway.intake.answer(call.params.task_id, call.caller.user_id, answers)), 202
    )


def _view(outcome: AnswerOutcome) -> AnswerTaken:
    task = outcome.task
    if task is None or outcome.remaining > 0:
        return AnswerTaken(status="recorded", remaining=outcome.remaining)
    return AnswerTaken(
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
        {202: Success("The answer is durable.", AnswerTaken)},
        CallParams,
        ApprovalAnswer,
        problems=PROBLEMS,
        description=(
            "The turn ended when it asked. With the last answer that its step waits for, a new turn continues the "
            "same message: its stream begins with `start` of that message's id, and tells only what is new. The same "
            "answer again is answered the same. Another message in the session, or the call's deadline, takes the "
            "question away: 410. Of a call whose service asks something (`data-elicitation`) the answer is told to the "
            "service, also a no; where that has a `field`, the reason is its value."
        ),
        scopes=("turns",),
    ),
    RouteSpec(
        "POST",
        "/api/chat/tasks/{task_id}/outputs/{tool_call_id}",
        post_output,
        "Give the output of a tool call that the client runs",
        "Tasks",
        {202: Success("The output is durable.", AnswerTaken)},
        CallParams,
        ClientOutputGiven,
        problems=PROBLEMS,
        description=(
            "The request declared the tool in `tools`, or the settings do. The turn ended when the model called it. "
            "With the last answer that its step waits for, a new turn continues the same message, as after an "
            "approval. Of two outputs for a call the first stands. Another message in the session, or the call's "
            "deadline, takes the call away: 410. An output that is too long becomes an error that says so."
        ),
        scopes=("turns",),
    ),
)
