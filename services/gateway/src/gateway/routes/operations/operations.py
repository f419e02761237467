"""Operations: their state, and the webhooks by which outside services tell how far they are and how they end.

What happens to a webhook stands in `gateway.webhooks.intake`, in its order.
"""

from typing import Annotated, Any

from sluiceway.errors import (
    AccessDenied,
    DomainError,
    OperationEnded,
    OperationNotFound,
    OperationNotStarted,
    StoreUnavailable,
    TaskNotFound,
    TooManyWebhooks,
    Unavailable,
)
from sluiceway.store.sessions.sessions import check_owner
from starlette.responses import Response

from gateway.api.body import Body
from gateway.api.inputs import ClientId, In, Params, text_schema
from gateway.api.models.operations import OperationView
from gateway.api.models.webhooks import AcceptedWebhook
from gateway.api.problems import InvalidSignature, InvalidWebhook, ProblemType, Unauthenticated
from gateway.routing.table import Call, RawBody, RouteSpec, Success, json_response
from gateway.settings import Settings
from gateway.webhooks.bodies import Completion, Progress, read_webhook
from gateway.webhooks.intake import Head, Reading
from gateway.webhooks.signature import WEBHOOK_ID_PATTERN, Seal

# Progress is shown to people while it happens, and each report is kept.
_MAX_PROGRESS_BYTES = 64 * 1024
_ENDS = Reading("complete", lambda content: read_webhook(Completion, content).journalled)
_REPORTS = Reading("progress", lambda content: read_webhook(Progress, content).journalled)

WebhookId = Annotated[str, text_schema(WEBHOOK_ID_PATTERN)]


class OperationParams(Params):
    operation_id: Annotated[ClientId, In("path")]


class WebhookParams(OperationParams):
    """The headers of Standard Webhooks. Their form is not checked here: what is wrong with a seal is a 401."""

    webhook_id: Annotated[WebhookId | None, In("header", "webhook-id")] = None
    webhook_timestamp: Annotated[str | None, In("header", "webhook-timestamp")] = None
    webhook_signature: Annotated[str | None, In("header", "webhook-signature")] = None

    @property
    def seal(self) -> Seal:
        return Seal(self.webhook_id, self.webhook_timestamp, self.webhook_signature)


async def get_operation(call: Call[OperationParams, None]) -> Response:
    store = call.gateway.store
    operation = await store.operations.get(call.params.operation_id)
    if operation is None:
        raise OperationNotFound
    if not call.caller.reads_all:
        task = await store.turns.get(operation.task_id)
        if task is None:
            raise TaskNotFound
        check_owner(task.user_id, call.caller.user_id)
    output = await store.operations.output(operation.id)
    async with call.gateway.large_answers.rendering():
        return json_response(OperationView.of(operation, output))


async def complete_operation(call: Call[WebhookParams, Body]) -> Response:
    return await _take(call, _ENDS)


async def report_progress(call: Call[WebhookParams, Body]) -> Response:
    return await _take(call, _REPORTS)


async def _take(call: Call[WebhookParams, Body], reading: Reading) -> Response:
    asked = call.params
    answer = "failed"
    try:
        await call.gateway.webhooks.take(reading, Head(asked.operation_id, asked.seal, call.caller.trusted), call.body)
        answer = "accepted"
    except (DomainError, Unavailable) as problem:
        answer = problem.code
        raise
    finally:
        call.gateway.metrics.webhook(reading.kind, answer)
    return json_response(AcceptedWebhook(operation_id=asked.operation_id), 202)


def _max_progress_bytes(settings: Settings) -> int:
    return min(_MAX_PROGRESS_BYTES, settings.max_webhook_bytes)


_WEBHOOK_PROBLEMS: tuple[ProblemType, ...] = (
    InvalidSignature,
    InvalidWebhook,
    OperationEnded,
    OperationNotFound,
    OperationNotStarted,
    StoreUnavailable,
    TooManyWebhooks,
    Unauthenticated,
)
_SIGNED = (
    "Signed as Standard Webhooks say, over the bytes of the body, with the secret that came with the operation: "
    "`webhook-id` (the same for each attempt to deliver it), `webhook-timestamp` (seconds, within five minutes), "
    "`webhook-signature` (`v1,` and base64; several with spaces between). Programs may send an `x-api-key` with the "
    "scope `webhooks` instead; without a `webhook-id` the body's hash stands for it. A repeat gets the same answer and "
    "changes nothing. "
)

ROUTES: tuple[RouteSpec[Any, Any], ...] = (
    RouteSpec(
        "GET",
        "/api/chat/operations/{operation_id}",
        get_operation,
        "Read an operation's state and whole result",
        "Operations",
        {200: Success("The operation.", OperationView)},
        OperationParams,
        problems=(OperationNotFound, TaskNotFound, AccessDenied, StoreUnavailable),
        description="For the owner of its turn, and for programs that may read.",
        scopes=("turns", "read"),
        large=True,
    ),
    RouteSpec(
        "POST",
        "/api/chat/operations/{operation_id}/complete",
        complete_operation,
        "Say how an operation ended",
        "Operations",
        {202: Success("It is durable, and is applied once.", AcceptedWebhook)},
        WebhookParams,
        problems=_WEBHOOK_PROBLEMS,
        description=_SIGNED + "On 429 and 503 send it again after `Retry-After`; on 410 nothing more is wanted.",
        people=False,
        unsigned=True,
        scopes=("webhooks",),
        raw_body=RawBody(Completion, lambda settings: settings.max_webhook_bytes),
    ),
    RouteSpec(
        "POST",
        "/api/chat/operations/{operation_id}/progress",
        report_progress,
        "Say how far an operation is",
        "Operations",
        {202: Success("It is durable, and is shown unless a later one overtakes it.", AcceptedWebhook)},
        WebhookParams,
        problems=_WEBHOOK_PROBLEMS,
        description=_SIGNED + "At most 64 KiB, and only so many a minute: 429 says when to resume.",
        people=False,
        unsigned=True,
        scopes=("webhooks",),
        raw_body=RawBody(Progress, _max_progress_bytes),
    ),
)
