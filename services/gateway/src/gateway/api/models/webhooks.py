"""Webhooks that were accepted, and the journal of them."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field
from sluiceway.store.operations.webhooks import Sender, Webhook, WebhookKind, WebhookOutcome

from gateway.api.models.wire import Wire


class AcceptedWebhook(Wire):
    """It is durable now. A repeat of it is answered the same."""

    operation_id: str
    status: Literal["accepted"] = "accepted"


class WebhookView(Wire):
    """An entry of the journal. `applied_at`: when it was dealt with, whatever the outcome."""

    id: str
    operation_id: str
    task_id: str
    kind: WebhookKind
    webhook_id: str = Field(description="the sender's id of it")
    sender: Sender
    body: dict[str, Any]
    outcome: WebhookOutcome
    received_at: datetime
    applied_at: datetime | None

    @classmethod
    def of(cls, webhook: Webhook) -> "WebhookView":
        known = {name: getattr(webhook, name) for name in cls.model_fields if name != "id"}
        return cls(id=str(webhook.id), **known)


class WebhookPage(Wire):
    """Newest first. `next_cursor` is null on the last page."""

    webhooks: list[WebhookView]
    next_cursor: str | None
