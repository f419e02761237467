"""What is stored of a person: exported whole, or erased, by himself, and for him by an operator with a key.

An export is read page by page while it is sent, one row a line. Its last line has the kind `end` and the counts: an
export without it broke off.
"""

import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field
from sluiceway.errors import RedisUnavailable, StoreUnavailable
from sluiceway.ids import org_of
from sluiceway.process.logs import get_logger
from sluiceway.store.people.people import Row
from starlette.responses import Response

from gateway.api.inputs import In, Params
from gateway.api.models.people import ErasureReceiptView
from gateway.api.problems import TooManyAtOnce
from gateway.large_answers import LargeAnswers
from gateway.routes.exporting import Export
from gateway.routing.table import Call, NoParams, RouteSpec, Success, json_response

_LINES = "application/x-ndjson"
_HEADERS = {"X-Accel-Buffering": "no", "Content-Disposition": 'attachment; filename="export.ndjson"'}


class PersonParams(Params):
    user_id: Annotated[str, Field(min_length=1, max_length=500), In("query")]


async def export_me(call: Call[NoParams, None]) -> Response:
    return await _export(call, call.caller.user_id)


async def erase_me(call: Call[NoParams, None]) -> Response:
    return await _erase(call, call.caller.user_id, "self")


async def export_person(call: Call[PersonParams, None]) -> Response:
    return await _export(call, call.params.user_id)


async def erase_person(call: Call[PersonParams, None]) -> Response:
    return await _erase(call, call.params.user_id, str(call.caller.user_id))


async def _export(call: Call[Any, None], user_id: str | None) -> Response:
    if call.method == "HEAD":
        return Response(headers=_HEADERS, media_type=_LINES)
    gateway = call.gateway

    async def begin() -> AsyncIterator[bytes]:
        rows = gateway.store.people.export(user_id)
        return _lines(await anext(rows, None), rows, gateway.large_answers)

    return Export(gateway.exports.turn(call.caller.counted_as), begin, _HEADERS, _LINES)


async def _lines(row: Row | None, rows: AsyncIterator[Row], large: LargeAnswers) -> AsyncIterator[bytes]:
    counts: Counter[str] = Counter()
    while row is not None:
        counts[row["kind"]] += 1
        async with large.rendering():
            line = _line(row)
        yield line
        row = await anext(rows, None)
    yield _line({"kind": "end", "counts": dict(counts)})


def _line(row: Row) -> bytes:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"), default=_text).encode() + b"\n"


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


async def _erase(call: Call[Any, None], user_id: str | None, erased_by: str) -> Response:
    people, counts = call.gateway.store.people, Counter[str]()
    while (batch := await people.erase_some(user_id)) is not None:
        counts += batch.counts
        await call.gateway.intake.erase(batch.erasures)
    if not call.caller.org or call.caller.org == org_of(user_id):  # no wall of Postgres stands before Redis
        with contextlib.suppress(RedisUnavailable):  # it expires, and has no words but titles
            await call.gateway.people.erase(user_id)
    receipt = await people.receipt(user_id, erased_by, counts)
    get_logger().info("person_erased", receipt=receipt.id, erased_by=erased_by, sessions=receipt.counts["sessions"])
    return json_response(ErasureReceiptView.of(receipt))


_EXPORTED = Success(
    "A row a line: sessions, messages, turns, operations, webhooks; the last has the counts.", media_type=_LINES
)
_ERASED = Success("The receipt. Turns that still ran are aborted.", ErasureReceiptView)

ROUTES: tuple[RouteSpec[Any, Any], ...] = (
    RouteSpec(
        "GET",
        "/api/chat/me/export",
        export_me,
        "Export all that is stored of the caller",
        "People",
        {200: _EXPORTED},
        NoParams,
        problems=(StoreUnavailable, TooManyAtOnce),
        description="JSON lines, read while they are sent. Without a last line of the kind `end` an export broke off.",
        scopes=("turns",),
    ),
    RouteSpec(
        "DELETE",
        "/api/chat/me",
        erase_me,
        "Erase all that is stored of the caller",
        "People",
        {200: _ERASED},
        NoParams,
        problems=(StoreUnavailable,),
        description="What broke off is finished by asking again. The receipt is kept, with a digest of the name.",
        scopes=("turns",),
    ),
    RouteSpec(
        "GET",
        "/api/chat/people/export",
        export_person,
        "Export all that is stored of a person",
        "People",
        {200: _EXPORTED},
        PersonParams,
        problems=(StoreUnavailable, TooManyAtOnce),
        description="As `/api/chat/me/export`, for an operator. A person without anything has an export of one line.",
        people=False,
        scopes=("read",),
    ),
    RouteSpec(
        "DELETE",
        "/api/chat/people",
        erase_person,
        "Erase all that is stored of a person",
        "People",
        {200: _ERASED},
        PersonParams,
        problems=(StoreUnavailable,),
        description="As `DELETE /api/chat/me`, for an operator; the receipt names the key.",
        people=False,
        scopes=("ops:act",),
    ),
)
