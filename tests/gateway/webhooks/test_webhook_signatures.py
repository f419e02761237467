"""Who is believed: signatures as Standard Webhooks make them, API keys, and nothing else, whatever it looks like."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from harness.databases.database import Database
from harness.processes.services import Services
from tests.gateway.conftest import client_of
from tests.gateway.outside import (
    API_KEY,
    OLDER_ROOT,
    ROOT,
    add_operation,
    journal,
    path,
    queued,
    seal,
    send,
    signature,
    signature_of_bytes,
    webhook_gateway,
)

BODY = json.dumps({"success": True, "result": "größe"})
OTHER_ROOT = "a root that this gateway does not know, long enough"


@pytest.fixture
async def http(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(await webhook_gateway(services)) as client:
        yield client


def _code(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code, response.json()["code"]


async def _post(
    http: httpx.AsyncClient, operation_id: str, headers: dict[str, Any], body: str = BODY
) -> httpx.Response:
    raw = {name.encode(): value if isinstance(value, bytes) else value.encode() for name, value in headers.items()}
    return await http.post(path(operation_id), content=body.encode(), headers=raw)


def _refused(mine: str, other: str) -> dict[str, dict[str, Any]]:
    """Headers that do not hold for an operation, by what is wrong with them."""
    now = int(time.time())
    right = seal(mine, BODY, "one", now)
    [(_, signed)] = [(name, value) for name, value in right.items() if name == "webhook-signature"]
    encoded = signed.removeprefix("v1,")

    def at(moment: int) -> dict[str, str]:
        return seal(mine, BODY, "one", moment)

    def shown(signatures: str | bytes) -> dict[str, Any]:
        return {**right, "webhook-signature": signatures}

    def when(timestamp: str) -> dict[str, Any]:
        signatures = signature_of_bytes(mine, "one", timestamp, BODY.encode())
        return {**right, "webhook-timestamp": timestamp, "webhook-signature": signatures}

    def named(webhook_id: str) -> dict[str, Any]:
        signatures = signature_of_bytes(mine, webhook_id, str(now), BODY.encode())
        return {**right, "webhook-id": webhook_id.encode(), "webhook-signature": signatures}

    return {
        "no id": {name: value for name, value in right.items() if name != "webhook-id"},
        "no time": {name: value for name, value in right.items() if name != "webhook-timestamp"},
        "an empty signature": shown(""),
        "six minutes old": at(now - 360),
        "from six minutes ahead": at(now + 360),
        "of another time": {**right, "webhook-timestamp": str(now - 1)},
        "of another id": {**right, "webhook-id": "two"},
        "of another body": seal(mine, BODY + " ", "one", now),
        "of another operation": seal(other, BODY, "one", now),
        "by a secret that is not ours": shown(signature(mine, "one", now, BODY, OTHER_ROOT)),
        "of an unknown version": shown(f"v1a,{encoded}"),
        "of an older version": shown(f"v0,{encoded}"),
        "without a version": shown(encoded),
        "with a comma too many": shown(f"v1,,{encoded}"),
        "cut short": shown(signed[:-8]),
        "of half its bytes": shown("v1," + encoded[:20] + "="),
        "with nothing after the version": shown("v1,"),
        "only commas": shown(",,,,"),
        "only spaces between": shown("v1 " + encoded),
        "no base64": shown("v1,%%%%"),
        "no ASCII": shown("v1,größe".encode()),
        "bytes that are no text": shown(b"v1,\xff\xfe\x80"),
        "after too many others": shown(" ".join(["v1,AAAA"] * 50 + [signed])),
        "time as a float": when(f"{now}.0"),
        "time with a sign": when(f"+{now}"),
        "time with underscores": when("1_000_000_000"),
        "time in hexadecimal": when(hex(now)),
        "no time at all": when("yesterday"),
        "not a number": when("nan"),
        "endless time": when("9" * 500),
        "time below zero": when("-1"),
        "an id with spaces": named("two words"),
        "an id of no ASCII": named("größe"),
        "an endless id": named("x" * 257),
    }


@pytest.mark.requirement("WH-1", "WH-2", "WH-3")
async def test_a_webhook_that_is_not_rightly_signed_is_refused_however_it_is_wrong(
    http: httpx.AsyncClient, database: Database, redis: Redis
) -> None:
    mine, other = await add_operation(database), await add_operation(database)
    for name, headers in _refused(mine, other).items():
        response = await _post(http, mine, headers)
        assert _code(response) == (401, "INVALID_SIGNATURE"), name
        assert "www-authenticate" in response.headers
    assert _code(await _post(http, mine, {})) == (401, "UNAUTHENTICATED")
    assert _code(await _post(http, "op_unknown", seal(mine, BODY))) == (404, "OPERATION_NOT_FOUND")
    assert await journal(database, mine) == []
    assert await queued(redis) == []


@pytest.mark.requirement("WH-1")
async def test_a_webhook_is_believed_when_any_of_its_signatures_holds(
    http: httpx.AsyncClient, database: Database
) -> None:
    now = int(time.time())
    believed: dict[str, Callable[[str], dict[str, str]]] = {
        "four minutes old": lambda operation_id: seal(operation_id, BODY, at=now - 240),
        "from four minutes ahead": lambda operation_id: seal(operation_id, BODY, at=now + 240),
        "by the older root": lambda operation_id: {
            **seal(operation_id, BODY, "one", now),
            "webhook-signature": signature(operation_id, "one", now, BODY, OLDER_ROOT),
        },
        "after ones that are wrong, unknown and unreadable": lambda operation_id: {
            **seal(operation_id, BODY, "one", now),
            "webhook-signature": " ".join(
                [
                    signature(operation_id, "one", now, BODY, OTHER_ROOT),
                    "v1a,dW5rbm93bg==",
                    "v1,%%%",
                    "nonsense",
                    "",
                    "v1,a,b",
                    signature(operation_id, "one", now, BODY, ROOT),
                ]
            ),
        },
        "with dots in its id": lambda operation_id: seal(operation_id, BODY, "a.b.1700000000"),
    }
    for name, made in believed.items():
        operation_id = await add_operation(database)
        response = await _post(http, operation_id, made(operation_id))
        assert response.status_code == 202, (name, response.text)


@pytest.mark.requirement("WH-1", "WH-2")
async def test_roots_are_rotated_without_losing_what_was_handed_out_before(
    services: Services, database: Database
) -> None:
    rotated = json.dumps([OTHER_ROOT, ROOT])
    async with client_of(await webhook_gateway(services, WEBHOOK_SECRETS=rotated)) as http:
        for root, status in ((OTHER_ROOT, 202), (ROOT, 202), (OLDER_ROOT, 401)):
            operation_id, now = await add_operation(database), int(time.time())
            signed = {**seal(operation_id, BODY, "one", now)}
            signed["webhook-signature"] = signature(operation_id, "one", now, BODY, root)
            assert (await _post(http, operation_id, signed)).status_code == status, root


@pytest.mark.requirement("WH-2")
async def test_a_key_that_is_not_known_is_refused_also_beside_a_signature_that_holds(
    http: httpx.AsyncClient, database: Database
) -> None:
    operation_id = await add_operation(database)
    for key in ("", "x", API_KEY + "x", API_KEY[:-1], "größe".encode(), b"\xff\xfe"):
        response = await _post(http, operation_id, {**seal(operation_id, BODY), "x-api-key": key})
        assert _code(response) == (401, "INVALID_API_KEY"), key
    assert await journal(database, operation_id) == []


@pytest.mark.requirement("WH-2")
async def test_a_gateway_without_secrets_or_keys_believes_nobody_and_says_why(
    services: Services, database: Database
) -> None:
    operation_id = await add_operation(database)
    async with client_of(await services.gateway()) as http:
        signed = await _post(http, operation_id, seal(operation_id, BODY))
        assert _code(signed) == (401, "INVALID_SIGNATURE")
        assert "WEBHOOK_SECRETS" in signed.json()["detail"]
        keyed = await _post(http, operation_id, {"x-api-key": API_KEY})
        assert _code(keyed) == (401, "INVALID_API_KEY")
        assert "API_KEYS" in keyed.json()["detail"]


@pytest.mark.requirement("WH-2")
async def test_a_root_or_a_key_that_can_be_guessed_stops_the_start(services: Services) -> None:
    for setting in ("WEBHOOK_SECRETS", "API_KEYS"):
        with pytest.raises(AssertionError) as refused:
            await services.gateway(**{setting: '["short"]'})
        assert setting in str(refused.value)
        assert "short" not in str(refused.value)
    for service in services.all:
        await service.exited()


@pytest.mark.requirement("WH-3")
async def test_no_header_and_no_body_makes_it_fail_or_redirect(services: Services, database: Database) -> None:
    operation_id = await add_operation(database)
    gateway = await webhook_gateway(services)
    header = st.binary(max_size=60).map(
        lambda raw: bytes(byte for byte in raw if byte == 9 or 32 <= byte != 127).strip()
    )
    names = ("webhook-id", "webhook-timestamp", "webhook-signature", "x-api-key", "content-type", "authorization")
    kinds = st.sampled_from(["complete", "progress"])
    json_value: Any = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=12,
    )
    members = st.sampled_from(["success", "result", "error", "message", "percent", "data", "type"])
    said = st.dictionaries(members, json_value, max_size=5).map(lambda value: json.dumps(value).encode())
    few = settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

    with httpx.Client(base_url=gateway.url, trust_env=False, timeout=20) as http:

        @few
        @given(kinds, st.dictionaries(st.sampled_from(names), header), st.binary(max_size=200) | said)
        def unsigned(kind: str, headers: dict[str, bytes], body: bytes) -> None:
            response = http.post(
                path(operation_id, kind),
                content=body,
                headers={name.encode(): value for name, value in headers.items()},
            )
            assert response.status_code in (400, 401), (response.status_code, response.text)

        @few
        @given(kinds, st.binary(max_size=200) | said)
        def signed(kind: str, body: bytes) -> None:
            response = http.post(path(operation_id, kind), content=body, headers=seal(operation_id, body))
            assert response.status_code in (202, 400, 429), (response.status_code, response.text)

        await asyncio.to_thread(unsigned)
        await asyncio.to_thread(signed)
    async with client_of(gateway) as client:
        assert (await send(client, await add_operation(database), BODY)).status_code == 202
    assert [line for line in gateway.log_lines if line["level"] == "error"] == []
