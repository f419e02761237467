"""The way of a webhook, from its head to the queue.

1. Its head is judged: headers, timestamp, operation, rate, length. Whoever sends only a head has cost a read of the
   store, and no body is read for a stranger.
2. Its body is read, within the bound of all bodies.
3. Its signature is checked over these bytes; only then are they parsed.
4. It is written into the journal in Postgres. From there on it is applied, whatever goes away: it gets a 202.
5. It is queued for the completion consumer. What cannot be queued now is queued by the reconciler.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sluiceway.errors import OperationNotFound, OperationNotStarted, RedisUnavailable
from sluiceway.operation.completions import Completions
from sluiceway.process.logs import get_logger, note
from sluiceway.store import Store
from sluiceway.store.operations.webhooks import NewWebhook, Sender, Webhook, WebhookKind
from sluiceway.store.records import ASKING, Operation
from sluiceway.tracing import names
from sluiceway.tracing.spans import continued, current, trace_id_of, within

from gateway.api.body import Body
from gateway.api.problems import InvalidParameter, Unauthenticated
from gateway.webhooks.rate import ProgressRate
from gateway.webhooks.signature import Seal, Signatures, is_webhook_id


@dataclass(frozen=True, slots=True)
class Head:
    """What is known of a webhook before its body. `trusted`: it came with an API key, which stands for a signature."""

    operation_id: str
    seal: Seal
    trusted: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """A kind of webhook: how its bytes become what the journal keeps. `read` raises MalformedJson, InvalidInput."""

    kind: WebhookKind
    read: Callable[[bytes], dict[str, Any]]


class WebhookIntake:
    def __init__(self, store: Store, completions: Completions, signatures: Signatures, rate: ProgressRate) -> None:
        self._store = store
        self._completions = completions
        self._signatures = signatures
        self._rate = rate

    async def take(self, reading: Reading, head: Head, body: Body) -> None:
        """Raises InvalidSignature, Unauthenticated, InvalidParameter, OperationNotFound, OperationNotStarted,
        OperationEnded, TooManyWebhooks, StoreUnavailable, and what reading the body raises."""
        operation = await self._judge(reading, head)
        content = await body.read()
        sender, webhook_id = self._sender(head, content)
        journalled = reading.read(content)
        if reading.kind == "progress":
            await self._rate.count(head.operation_id)
        new = NewWebhook(head.operation_id, reading.kind, webhook_id, sender, journalled)
        # A sender that knows nothing of traces, or has one of its own, is a part of the turn's all the same.
        note(trace_id=trace_id_of(operation.traceparent))
        parent, told = within(operation.traceparent), {names.OPERATION: operation.id, names.TASK: operation.task_id}
        with continued(names.webhook(reading.kind), parent, "producer", told, link=current().traceparent):
            await self._queue(await self._write_down(new))

    async def _judge(self, reading: Reading, head: Head) -> Operation:
        self._judge_seal(head)
        operation = await self._store.operations.get(head.operation_id)
        if operation is None:
            raise OperationNotFound
        if operation.status in ASKING:
            raise OperationNotStarted
        if reading.kind == "progress":
            await self._rate.check(head.operation_id)
        return operation

    def _judge_seal(self, head: Head) -> None:
        seal = head.seal
        if not head.trusted:
            if seal.signature is None:
                raise Unauthenticated("A webhook needs the headers of Standard Webhooks, or an x-api-key.")
            self._signatures.judge(seal)
        elif seal.webhook_id is not None and not is_webhook_id(seal.webhook_id):
            raise InvalidParameter("The webhook-id must be 1 to 256 visible ASCII characters.")

    def _sender(self, head: Head, content: bytes) -> tuple[Sender, str]:
        """Who sends it, and which of its webhooks it is."""
        if not head.trusted:
            return "signature", self._signatures.check(head.operation_id, head.seal, content)
        return "api-key", head.seal.webhook_id or f"body-{hashlib.sha256(content).hexdigest()}"

    async def _write_down(self, new: NewWebhook) -> Webhook:
        webhook = await self._store.webhooks.receive(new)
        get_logger().info(
            "webhook_taken",
            operation_id=new.operation_id,
            kind=new.kind,
            sender=new.sender,
            receipt=webhook.id,
            outcome=webhook.outcome,
        )
        return webhook

    async def _queue(self, webhook: Webhook) -> None:
        if webhook.outcome != "received":
            return
        try:
            await self._completions.publish(webhook.job)
        except RedisUnavailable:
            get_logger().warning("webhook_waits_for_redis", operation_id=webhook.operation_id, receipt=webhook.id)
