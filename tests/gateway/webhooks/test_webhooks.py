"""The webhook: each of its answers, on a real gateway; what it journals, and what it asks the consumer for."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.store.operations.webhooks import MOST, MOST_LATE
from sluiceway.wire.jobs import CompletionJob, ProgressJob

from harness.databases.database import Database
from harness.databases.postgres import Postgres
from harness.databases.valkey import Valkey
from harness.processes.services import Services
from tests.gateway.conftest import client_of
from tests.gateway.outside import (
    BY_KEY,
    add_operation,
    end_operation,
    journal,
    path,
    queued,
    seal,
    send,
    webhook_gateway,
)

SUCCESS = {"success": True, "result": {"größe": [1, 2.5, None, "🌊"]}}


@pytest.fixture
async def http(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(await webhook_gateway(services)) as client:
        yield client


def _code(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code, response.json()["code"]


@pytest.mark.requirement("WH-1", "WH-3", "CC-9")
async def test_a_completion_is_journalled_and_asked_for_with_its_receipt(
    http: httpx.AsyncClient, database: Database, redis: Redis
) -> None:
    for status in ("pending", "running", "accepted"):
        operation_id = await add_operation(database, status)
        response = await send(http, operation_id, SUCCESS, webhook_id=f"msg-{status}")
        assert (response.status_code, response.json()) == (202, {"operation_id": operation_id, "status": "accepted"})
        [row] = await journal(database, operation_id)
        assert (row["outcome"], row["kind"], row["sender"], row["webhook_id"]) == (
            "received",
            "complete",
            "signature",
            f"msg-{status}",
        )
        assert row["body"] == {**SUCCESS, "error": None}
        job = CompletionJob.model_validate((await queued(redis))[-1])
        assert job == CompletionJob(
            operation_id=operation_id,
            task_id=operation_id.replace("op_", "task-"),
            success=True,
            result=SUCCESS["result"],
            receipt=row["id"],
        )


@pytest.mark.requirement("WH-1")
@pytest.mark.parametrize(
    ("sent", "error"),
    [
        ({"error": "disk full"}, {"type": "FAILED", "message": "disk full"}),
        (
            {"error": {"type": "NO_SPACE", "message": "disk full", "more": 1}},
            {"type": "NO_SPACE", "message": "disk full"},
        ),
        ({"error": {"message": "a\u0000b"}}, {"type": "FAILED", "message": "a\ufffdb"}),
        ({"error": None, "result": "half"}, None),
        ({}, None),
    ],
    ids=["text", "object", "nul", "null", "none"],
)
async def test_a_failure_is_taken_with_its_reason_in_either_form_and_with_none(
    http: httpx.AsyncClient, database: Database, redis: Redis, sent: dict[str, Any], error: dict[str, str] | None
) -> None:
    operation_id = await add_operation(database)
    assert (await send(http, operation_id, {"success": False, **sent})).status_code == 202
    [job] = await queued(redis)
    assert job["success"] is False
    assert job["error"] == error or (error is None and job["error"]["type"] == "FAILED" and job["error"]["message"])


@pytest.mark.requirement("WH-1")
async def test_progress_is_journalled_and_numbered_in_the_order_in_which_it_came(
    http: httpx.AsyncClient, database: Database, redis: Redis
) -> None:
    operation_id = await add_operation(database)
    told: list[dict[str, Any]] = [{"percent": 0}, {"message": "half", "percent": 50.5, "data": {"rows": [1]}}, {}]
    for report in told:
        assert (await send(http, operation_id, report, "progress")).status_code == 202
    rows = await journal(database, operation_id)
    assert [row["kind"] for row in rows] == ["progress"] * 3
    jobs = [ProgressJob.model_validate(job) for job in await queued(redis)]
    assert [(job.percent, job.message, job.data) for job in jobs] == [
        (0, None, None),
        (50.5, "half", {"rows": [1]}),
        (None,) * 3,
    ]
    assert [job.number for job in jobs] == [job.receipt for job in jobs] == [row["id"] for row in rows]


@pytest.mark.requirement("WH-1", "CC-9")
async def test_what_clients_and_postgres_refuse_is_taken_out_of_a_result(
    http: httpx.AsyncClient, database: Database, redis: Redis
) -> None:
    operation_id = await add_operation(database)
    result = {"nul": "a\u0000b", "__proto__": 1, "constructor": {"prototype": 1}, "kept": 10**30}
    assert (await send(http, operation_id, {"success": True, "result": result})).status_code == 202
    [job] = await queued(redis)
    assert job["result"] == {"nul": "a\ufffdb", "kept": 10**30}
    assert (await journal(database, operation_id))[0]["body"]["result"] == job["result"]


BROKEN: dict[str, tuple[bytes, str, list[str]]] = {
    "nothing": (b"", "MALFORMED_JSON", []),
    "truncated": (b'{"success": tru', "MALFORMED_JSON", []),
    "not-utf-8": (b'{"success": true, "result": "\xff\xfe"}', "MALFORMED_JSON", []),
    "utf-16": ('{"success": true}'.encode("utf-16"), "MALFORMED_JSON", []),
    "nan": (b'{"success": true, "result": NaN}', "MALFORMED_JSON", []),
    "infinity": (b'{"success": true, "result": -Infinity}', "MALFORMED_JSON", []),
    "beyond-a-double": (b'{"success": true, "result": [1e999]}', "MALFORMED_JSON", []),
    "endless-integer": (b'{"success": true, "result": ' + b"9" * 5000 + b"}", "MALFORMED_JSON", []),
    "lone-surrogate": (b'{"success": true, "result": "\\ud800"}', "MALFORMED_JSON", []),
    "too-deep": (b'{"success": true, "result": ' + b"[" * 5000 + b"]" * 5000 + b"}", "MALFORMED_JSON", []),
    "form": (b"success=true", "MALFORMED_JSON", []),
    "list": (b"[]", "INVALID_WEBHOOK", [""]),
    "text": (b'"done"', "INVALID_WEBHOOK", [""]),
    "no-success": (b'{"result": 1}', "INVALID_WEBHOOK", ["/success"]),
    "success-is-text": (b'{"success": "true"}', "INVALID_WEBHOOK", ["/success"]),
    "success-is-a-number": (b'{"success": 1}', "INVALID_WEBHOOK", ["/success"]),
    "error-is-empty": (b'{"success": false, "error": ""}', "INVALID_WEBHOOK", ["/error"]),
    "error-is-a-list": (b'{"success": false, "error": []}', "INVALID_WEBHOOK", ["/error"]),
    "error-without-message": (b'{"success": false, "error": {"type": "X"}}', "INVALID_WEBHOOK", ["/error/message"]),
    "error-type": (b'{"success": false, "error": {"type": 7, "message": "m"}}', "INVALID_WEBHOOK", ["/error/type"]),
}
BROKEN_PROGRESS: dict[str, tuple[bytes, str, list[str]]] = {
    "percent-too-large": (b'{"percent": 100.5}', "INVALID_WEBHOOK", ["/percent"]),
    "percent-below-zero": (b'{"percent": -1, "message": 7}', "INVALID_WEBHOOK", ["/message", "/percent"]),
    "percent-is-text": (b'{"percent": "50"}', "INVALID_WEBHOOK", ["/percent"]),
    "percent-is-true": (b'{"percent": true}', "INVALID_WEBHOOK", ["/percent"]),
    "message-too-long": (b'{"message": "' + b"x" * 2001 + b'"}', "INVALID_WEBHOOK", ["/message"]),
    "nothing": (b"", "MALFORMED_JSON", []),
}


@pytest.mark.requirement("WH-3")
async def test_what_is_signed_and_is_no_such_json_is_refused_with_the_places_of_its_faults(
    http: httpx.AsyncClient, database: Database, redis: Redis
) -> None:
    operation_id = await add_operation(database)
    cases = [("complete", *case) for case in BROKEN.items()] + [("progress", *case) for case in BROKEN_PROGRESS.items()]
    for kind, name, (body, code, pointers) in cases:
        response = await send(http, operation_id, body, kind)
        assert _code(response) == (400, code), (kind, name, response.text)
        assert [fault["pointer"] for fault in response.json().get("errors", [])] == pointers, (kind, name)
    assert await journal(database, operation_id) == []
    assert await queued(redis) == []


@pytest.mark.requirement("WH-3")
async def test_the_media_type_is_not_looked_at_since_the_bytes_are_signed(
    http: httpx.AsyncClient, database: Database
) -> None:
    for media_type in ("application/json", "text/plain", "application/x-www-form-urlencoded", "\xff"):
        operation_id = await add_operation(database)
        body = json.dumps(SUCCESS)
        headers = {**seal(operation_id, body), "content-type": media_type}
        raw = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
        response = await http.post(path(operation_id), content=body, headers=raw)
        assert response.status_code == 202, media_type


@pytest.mark.requirement("WH-3")
async def test_a_body_that_is_too_large_is_refused_before_it_is_believed(
    services: Services, database: Database
) -> None:
    operation_id = await add_operation(database)

    async def unannounced() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield b" " * 4096

    async with client_of(await webhook_gateway(services, MAX_WEBHOOK_BYTES="100000")) as http:
        just = json.dumps({"success": True, "result": "x" * 90_000})
        assert (await send(http, operation_id, just)).status_code == 202
        for body in (b"x" * 100_001, unannounced()):
            response = await http.post(path(operation_id), content=body, headers=seal(operation_id, b"other bytes"))
            assert _code(response) == (413, "BODY_TOO_LARGE")
        report = json.dumps({"data": "x" * 65_536})
        assert _code(await send(http, operation_id, report, "progress")) == (413, "BODY_TOO_LARGE")


@pytest.mark.requirement("WH-3")
async def test_a_body_that_does_not_come_is_given_up(services: Services, database: Database) -> None:
    operation_id = await add_operation(database)

    gateway = await webhook_gateway(services, BODY_TIMEOUT_SECONDS="0.3")
    url = httpx.URL(gateway.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    sealed = "".join(f"{name}: {value}\r\n" for name, value in seal(operation_id, b"all of it").items())
    head = f"POST {path(operation_id)} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 20\r\n{sealed}\r\n"
    writer.write(f"{head}{{".encode())
    async with asyncio.timeout(10):
        status = await reader.readline()
    writer.close()
    assert b" 408 " in status


@pytest.mark.requirement("WH-3")
async def test_an_operation_that_is_unknown_or_waits_for_a_person_takes_no_webhook(
    http: httpx.AsyncClient, database: Database
) -> None:
    assert _code(await send(http, "op_unknown", SUCCESS)) == (404, "OPERATION_NOT_FOUND")
    assert _code(await send(http, "a b", SUCCESS)) == (400, "INVALID_PARAMETER")
    waiting = await add_operation(database, "approval")
    assert _code(await send(http, waiting, SUCCESS)) == (409, "OPERATION_NOT_STARTED")
    assert await journal(database, waiting) == []


@pytest.mark.requirement("WH-3", "WH-4", "CC-5")
@pytest.mark.parametrize("status", ["succeeded", "failed", "denied", "expired", "cancelled"])
async def test_an_ended_operation_is_gone_and_what_came_late_is_kept_up_to_a_bound(
    http: httpx.AsyncClient, database: Database, redis: Redis, status: str
) -> None:
    operation_id = await add_operation(database)
    await end_operation(database, operation_id, status)
    for number in range(MOST_LATE + 5):
        for kind in ("complete", "progress"):
            body = {"success": True} if kind == "complete" else {"percent": number}
            response = await send(http, operation_id, body, kind, webhook_id=f"late-{number}")
            assert _code(response) == (410, "OPERATION_ENDED")
    rows = await journal(database, operation_id)
    assert [row["outcome"] for row in rows] == ["late"] * MOST_LATE
    assert _code(await send(http, operation_id, SUCCESS, webhook_id="late-0")) == (410, "OPERATION_ENDED")
    assert await queued(redis) == []


@pytest.mark.requirement("WH-3", "CC-6")
async def test_a_repeat_is_answered_the_same_and_changes_nothing_also_after_the_operation_ended_by_it(
    http: httpx.AsyncClient, database: Database, redis: Redis
) -> None:
    operation_id = await add_operation(database)
    first = await send(http, operation_id, SUCCESS, webhook_id="one")
    await database.execute("UPDATE webhook_journal SET outcome = 'applied', applied_at = now()")
    await end_operation(database, operation_id)
    asked = await queued(redis)
    for body in (SUCCESS, SUCCESS, {"success": False}):
        again = await send(http, operation_id, body, webhook_id="one")
        assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert [row["body"] for row in await journal(database, operation_id)] == [{**SUCCESS, "error": None}]
    assert await queued(redis) == asked
    assert _code(await send(http, operation_id, SUCCESS, webhook_id="two")) == (410, "OPERATION_ENDED")


@pytest.mark.requirement("WH-3")
async def test_a_webhook_that_was_accepted_and_turned_out_late_is_still_answered_the_same(
    http: httpx.AsyncClient, database: Database
) -> None:
    operation_id = await add_operation(database)
    assert (await send(http, operation_id, SUCCESS, webhook_id="one")).status_code == 202
    await end_operation(database, operation_id, "cancelled")
    await database.execute("UPDATE webhook_journal SET outcome = 'late', applied_at = now()")
    assert (await send(http, operation_id, SUCCESS, webhook_id="one")).status_code == 202


@pytest.mark.requirement("WH-3")
async def test_the_same_webhook_many_times_at_once_is_one_row(http: httpx.AsyncClient, database: Database) -> None:
    operation_id = await add_operation(database)
    answers = await asyncio.gather(*(send(http, operation_id, SUCCESS, webhook_id="one") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {202}
    assert len(await journal(database, operation_id)) == 1


@pytest.mark.requirement("WH-3")
async def test_a_sender_that_completes_again_and_again_under_new_ids_is_told_to_wait(
    http: httpx.AsyncClient, database: Database
) -> None:
    operation_id = await add_operation(database)
    await database.execute(
        "INSERT INTO webhook_journal (operation_id, webhook_id, kind, sender, body, outcome)"
        " SELECT $1, 'w-' || n, 'complete', 'signature', '{\"success\": true}', 'received'"
        " FROM generate_series(1, $2) n",
        operation_id,
        MOST["complete"] - 1,
    )
    assert (await send(http, operation_id, SUCCESS)).status_code == 202
    refused = await send(http, operation_id, SUCCESS)
    assert _code(refused) == (429, "TOO_MANY_WEBHOOKS")
    assert int(refused.headers["retry-after"]) > 0
    assert (await send(http, operation_id, SUCCESS, webhook_id="w-1")).status_code == 202
    assert (await send(http, operation_id, {}, "progress")).status_code == 202


@pytest.mark.requirement("WH-3")
async def test_progress_is_limited_by_the_minute_for_each_operation(
    services: Services, database: Database, redis: Redis
) -> None:
    chatty, other = await add_operation(database), await add_operation(database)
    async with client_of(await webhook_gateway(services, MAX_PROGRESS_PER_MINUTE="3")) as http:
        answers = [await send(http, chatty, {}, "progress") for _ in range(7)]
        assert [answer.status_code for answer in answers] == [202] * 3 + [429] * 4
        for answer in answers[3:]:
            assert _code(answer) == (429, "TOO_MANY_WEBHOOKS")
            assert 1 <= int(answer.headers["retry-after"]) <= 120
            assert answer.json()["retry_after_seconds"] == int(answer.headers["retry-after"])
        assert (await send(http, other, {}, "progress")).status_code == 202
        assert (await send(http, chatty, SUCCESS)).status_code == 202
    assert 0 < await redis.pttl(keys.rate(keys.PROGRESS_RATE, chatty)) <= 120_000


@pytest.mark.requirement("WH-3")
async def test_without_redis_a_webhook_is_taken_and_left_to_the_reconciler(
    services: Services, database: Database, valkey: Valkey
) -> None:
    operation_id = await add_operation(database)
    async with client_of(await webhook_gateway(services, MAX_PROGRESS_PER_MINUTE="1")) as http:
        valkey.stop()
        reports = [await send(http, operation_id, {"percent": percent}, "progress") for percent in (1, 2)]
        assert [report.status_code for report in reports] == [202, 202]
        assert (await send(http, operation_id, SUCCESS, webhook_id="one")).status_code == 202
        assert [row["outcome"] for row in await journal(database, operation_id)] == ["received"] * 3
        valkey.start()
        assert (await send(http, operation_id, SUCCESS, webhook_id="one")).status_code == 202


@pytest.mark.requirement("WH-3")
async def test_a_repeat_of_a_webhook_that_nobody_has_applied_asks_for_it_again(
    http: httpx.AsyncClient, database: Database, redis: Redis, valkey: Valkey
) -> None:
    operation_id = await add_operation(database)
    await send(http, operation_id, SUCCESS, webhook_id="one")
    await redis.flushall()
    assert (await send(http, operation_id, SUCCESS, webhook_id="one")).status_code == 202
    [row] = await journal(database, operation_id)
    assert [job["receipt"] for job in await queued(redis)] == [row["id"]]


@pytest.mark.requirement("WH-3")
async def test_without_postgres_a_sender_is_told_when_to_come_again(
    services: Services, postgres: Postgres, database: Database, redis: Redis
) -> None:
    operation_id = await add_operation(database)
    async with client_of(await webhook_gateway(services)) as http:
        assert (await send(http, operation_id, {}, "progress")).status_code == 202
        postgres.stop()
        for kind in ("complete", "progress"):
            refused = await send(http, operation_id, SUCCESS, kind, webhook_id="one")
            assert _code(refused) == (503, "STORE_UNAVAILABLE")
            assert int(refused.headers["retry-after"]) > 0
        postgres.start()
        assert (await send(http, operation_id, SUCCESS, webhook_id="one")).status_code == 202
    assert [job["kind"] for job in await queued(redis)] == ["progress", "complete"]


@pytest.mark.requirement("WH-2")
async def test_a_trusted_caller_needs_no_signature_and_its_repeats_are_known_by_their_bodies(
    http: httpx.AsyncClient, database: Database, redis: Redis
) -> None:
    operation_id = await add_operation(database)
    for body in (b'{"success": true}', b'{"success": true}', b'{"success": false}'):
        assert (await http.post(path(operation_id), content=body, headers=BY_KEY)).status_code == 202
    named = {**BY_KEY, "webhook-id": "mine"}
    for body in (b'{"success": true}', b'{"success": false}'):
        assert (await http.post(path(operation_id), content=body, headers=named)).status_code == 202
    rows = await journal(database, operation_id)
    assert [(row["sender"], row["body"]["success"]) for row in rows] == [
        ("api-key", each) for each in (True, False, True)
    ]
    assert rows[-1]["webhook_id"] == "mine"
    unreadable = {**BY_KEY, "webhook-id": "two words"}
    assert _code(await http.post(path(operation_id), content=b"{}", headers=unreadable)) == (400, "INVALID_PARAMETER")
