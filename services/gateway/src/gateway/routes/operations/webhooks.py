"""The journal of webhooks, for programs with a key: what came, what came of it, and playing it again."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError
from sluiceway.errors import RedisUnavailable, StoreUnavailable, WebhookNotFound
from sluiceway.store.operations.webhooks import WebhookOutcome
from starlette.responses import Response

from gateway.api.cursors import page_size
from gateway.api.inputs import ClientId, In, Params, PositiveNumber, text_schema
from gateway.api.models.webhooks import AcceptedWebhook, WebhookPage, WebhookView
from gateway.api.problems import InvalidCursor
from gateway.routing.table import Call, RouteSpec, Success, json_response

_NUMBER_PATTERN = "^[1-9][0-9]{0,17}$"
_NUMBER = re.compile(_NUMBER_PATTERN.replace("$", r"\Z"))


def _row(value: object) -> object:
    if isinstance(value, str):
        if not _NUMBER.match(value):
            raise PydanticCustomError("not_a_number", "must be the number of an entry")
        return int(value)
    return value


def _cursor(value: object) -> object:
    if isinstance(value, str) and not _NUMBER.match(value):
        raise PydanticCustomError(InvalidCursor.code, "must be a cursor of this list")
    return _row(value)


RowNumber = Annotated[int, BeforeValidator(_row), text_schema(_NUMBER_PATTERN)]
RowCursor = Annotated[int, BeforeValidator(_cursor), text_schema(_NUMBER_PATTERN)]


class JournalParams(Params):
    operation_id: Annotated[ClientId | None, In("query")] = None
    outcome: Annotated[WebhookOutcome | None, In("query")] = None
    cursor: Annotated[RowCursor | None, In("query")] = None
    limit: Annotated[PositiveNumber | None, In("query")] = None


class EntryParams(Params):
    id: Annotated[RowNumber, In("path")]


async def list_webhooks(call: Call[JournalParams, None]) -> Response:
    asked = call.params
    limit = page_size(asked.limit, call.gateway.settings)
    found = await call.gateway.store.webhooks.page(asked.operation_id, asked.outcome, asked.cursor, limit + 1)
    page = [WebhookView.of(webhook) for webhook in found[:limit]]
    return json_response(WebhookPage(webhooks=page, next_cursor=page[-1].id if len(found) > limit else None))


async def replay_webhook(call: Call[EntryParams, None]) -> Response:
    webhook = await call.gateway.store.webhooks.get(call.params.id)
    if webhook is None:
        raise WebhookNotFound
    await call.gateway.completions.publish(webhook.job)
    return json_response(AcceptedWebhook(operation_id=webhook.operation_id), 202)


ROUTES: tuple[RouteSpec[Any, Any], ...] = (
    RouteSpec(
        "GET",
        "/api/chat/webhooks",
        list_webhooks,
        "List the webhooks that came, the newest first",
        "Webhooks",
        {200: Success("A page of the journal.", WebhookPage)},
        JournalParams,
        problems=(InvalidCursor, StoreUnavailable),
        description=(
            "`received`: durable, and still to be applied, or shown when its turn waits. `applied`: it did what it "
            "says. `late`: its operation had ended. `superseded`: a report of progress that a later one overtook."
        ),
        people=False,
        scopes=("ops:look",),
    ),
    RouteSpec(
        "POST",
        "/api/chat/webhooks/{id}/replay",
        replay_webhook,
        "Apply a webhook again",
        "Webhooks",
        {202: Success("It is queued; where it was applied before, nothing changes.", AcceptedWebhook)},
        EntryParams,
        problems=(WebhookNotFound, StoreUnavailable, RedisUnavailable),
        people=False,
        scopes=("ops:act",),
        description="As if it had come again; what has taken effect does not do so twice.",
    ),
)
