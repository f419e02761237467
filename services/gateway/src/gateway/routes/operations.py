"""Operations: their state, and the webhooks by which outside services tell how far they are and how they end.

A webhook is answered with 202 once it is in the journal in Postgres; from there on it is applied, whatever goes away.
Bytes are believed before they are read: bounded, then signature or key, then JSON, then the operation.
"""

import hashlib
from typing import Annotated, Any

from sluiceway.errors import (
    AccessDenied,
    OperationEnded,
    OperationNotFound,
    OperationNotStarted,
    RedisUnavailable,
    StoreUnavailable,
    TaskNotFound,
    TooManyWebhooks,
)
from sluiceway.process.logs import get_logger
from sluiceway.store.sessions import check_owner
from sluiceway.store.webhooks import NewWebhook, Sender, Webhook, WebhookKind
from starlette.responses import Response

from gateway.api.inputs import ClientId, In, Params, text_schema
from gateway.api.models import AcceptedWebhook, OperationView
from gateway.api.problems import InvalidParameter, InvalidSignature, InvalidWebhook, ProblemType, Unauthenticated
from gateway.routing.table import Answer, Call, Operation, RawBody, json_response
from gateway.settings import Settings
from gateway.state import Gateway
from gateway.webhooks.bodies import Completion, Progress, read_webhook
from gateway.webhooks.signature import WEBHOOK_ID_PATTERN, Seal, is_webhook_id

# Progress is shown to people while it happens, and each report is kept.
_MAX_PROGRESS_BYTES = 64 * 1024


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
    return json_response(OperationView.of(operation, await store.operations.output(operation.id)))


async def complete_operation(call: Call[WebhookParams, bytes]) -> Response:
    sender, webhook_id = _sender(call)
    body = read_webhook(Completion, call.body).journalled
    return await _take(call, "complete", sender, webhook_id, body)


async def report_progress(call: Call[WebhookParams, bytes]) -> Response:
    sender, webhook_id = _sender(call)
    body = read_webhook(Progress, call.body).journalled
    await call.gateway.progress_rate.check(call.params.operation_id)
    return await _take(call, "progress", sender, webhook_id, body)


def _sender(call: Call[WebhookParams, bytes]) -> tuple[Sender, str]:
    """Who sends it, and which of its webhooks it is. Raises InvalidSignature, Unauthenticated, InvalidParameter."""
    asked = call.params
    if not call.caller.trusted:
        if asked.webhook_signature is None:
            raise Unauthenticated("A webhook needs the headers of Standard Webhooks, or an x-api-key.")
        return "signature", call.gateway.signatures.check(asked.operation_id, asked.seal, call.body)
    if asked.webhook_id is None:
        return "api-key", f"body-{hashlib.sha256(call.body).hexdigest()}"
    if not is_webhook_id(asked.webhook_id):
        raise InvalidParameter("The webhook-id must be 1 to 256 visible ASCII characters.")
    return "api-key", asked.webhook_id


async def _take(
    call: Call[WebhookParams, bytes], kind: WebhookKind, sender: Sender, webhook_id: str, body: dict[str, Any]
) -> Response:
    operation_id = call.params.operation_id
    webhook = await call.gateway.store.webhooks.receive(NewWebhook(operation_id, kind, webhook_id, sender, body))
    get_logger().info(
        "webhook_taken",
        operation_id=operation_id,
        kind=kind,
        sender=sender,
        receipt=webhook.id,
        outcome=webhook.outcome,
    )
    if webhook.outcome == "received":
        await _queue(call.gateway, webhook)
    return json_response(AcceptedWebhook(operation_id=operation_id), 202)


async def _queue(gateway: Gateway, webhook: Webhook) -> None:
    """It is durable already: what cannot be queued now, or was queued twice, the reconciler and the consumer settle."""
    try:
        await gateway.completions.publish(webhook.job)
    except RedisUnavailable:
        get_logger().warning("webhook_waits_for_redis", operation_id=webhook.operation_id, receipt=webhook.id)


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

OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "GET",
        "/api/chat/operations/{operation_id}",
        get_operation,
        "Read an operation's state and whole result",
        "Operations",
        {200: Answer("The operation.", OperationView)},
        OperationParams,
        problems=(OperationNotFound, TaskNotFound, AccessDenied, StoreUnavailable),
        description="For the owner of its turn, and for programs that may read.",
        scopes=("turns", "read"),
    ),
    Operation(
        "POST",
        "/api/chat/operations/{operation_id}/complete",
        complete_operation,
        "Say how an operation ended",
        "Operations",
        {202: Answer("It is durable, and is applied once.", AcceptedWebhook)},
        WebhookParams,
        problems=_WEBHOOK_PROBLEMS,
        description=_SIGNED + "On 429 and 503 send it again after `Retry-After`; on 410 nothing more is wanted.",
        people=False,
        unsigned=True,
        scopes=("webhooks",),
        raw_body=RawBody(Completion, lambda settings: settings.max_webhook_bytes),
    ),
    Operation(
        "POST",
        "/api/chat/operations/{operation_id}/progress",
        report_progress,
        "Say how far an operation is",
        "Operations",
        {202: Answer("It is durable, and is shown unless a later one overtakes it.", AcceptedWebhook)},
        WebhookParams,
        problems=_WEBHOOK_PROBLEMS,
        description=_SIGNED + "At most 64 KiB, and only so many a minute: 429 says when to go on.",
        people=False,
        unsigned=True,
        scopes=("webhooks",),
        raw_body=RawBody(Progress, _max_progress_bytes),
    ),
)
