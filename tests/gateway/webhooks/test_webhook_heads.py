"""What a webhook may cost before it is believed: its head is judged first, and all bodies have a bound together."""

import asyncio
import json
import time
from typing import Any

import httpx
import pytest

from harness.databases.database import Database
from harness.processes.services import Service, Services
from harness.waiting import wait_until
from tests.gateway.conftest import client_of
from tests.gateway.outside import add_operation, path, seal, send, webhook_gateway


async def _head_alone(gateway: Service, operation_id: str, headers: dict[str, str], kind: str = "complete") -> bytes:
    """What is answered to a head whose body never comes, until the server closes the connection."""
    url = httpx.URL(gateway.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    named = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = f"POST {path(operation_id, kind)} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 5000\r\n{named}\r\n"
    writer.write(request.encode())
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.requirement("WH-3", "SE-3")
async def test_a_head_that_cannot_be_right_is_refused_without_its_body(services: Services, database: Database) -> None:
    gateway = await webhook_gateway(services, MAX_PROGRESS_PER_MINUTE="1")
    operation_id, asking = await add_operation(database), await add_operation(database, "approval")
    right = seal(operation_id, b"whatever")
    refused: list[tuple[str, dict[str, str], int]] = [
        (operation_id, {}, 401),
        (operation_id, {**right, "webhook-signature": "v1,short"}, 401),
        (operation_id, {**right, "webhook-signature": "v2,AAAA"}, 401),
        (operation_id, {**right, "webhook-timestamp": str(int(time.time()) - 301)}, 401),
        (operation_id, {**right, "webhook-timestamp": "soon"}, 401),
        (operation_id, {**right, "webhook-id": "x" * 257}, 401),
        (operation_id, {"x-api-key": "a key that nobody has"}, 401),
        ("op_unknown", right, 404),
        (asking, right, 409),
    ]
    for asked, headers, status in refused:
        answer = await _head_alone(gateway, asked, headers)
        assert answer.startswith(b"HTTP/1.1 %d " % status), (headers, answer)
        assert b"connection: close" in answer
    async with client_of(gateway) as http:
        assert (await send(http, operation_id, {}, "progress")).status_code == 202
    assert (await _head_alone(gateway, operation_id, right, "progress")).startswith(b"HTTP/1.1 429 ")


@pytest.mark.requirement("WH-2")
async def test_no_body_is_good_for_an_end_and_for_a_report(services: Services, database: Database) -> None:
    """A signature is over id, time and bytes, and not over the path: what was signed for one must not do the other."""
    async with client_of(await webhook_gateway(services)) as http:
        for signed, first, other in (
            ({"success": True, "result": 1}, "complete", "progress"),
            ({"message": "half", "percent": 50, "data": {"success": True}}, "progress", "complete"),
            ({}, "progress", "complete"),
        ):
            operation_id, body = await add_operation(database), json.dumps(signed)
            headers = seal(operation_id, body)
            turned = await http.post(path(operation_id, other), content=body, headers=headers)
            assert (turned.status_code, turned.json()["code"]) == (400, "INVALID_WEBHOOK")
            assert (await http.post(path(operation_id, first), content=body, headers=headers)).status_code == 202


@pytest.mark.requirement("SE-3")
async def test_bodies_that_are_held_back_leave_room_for_others_or_say_when_to_come_again(
    services: Services, database: Database
) -> None:
    limits: dict[str, Any] = {
        "MAX_BODY_BYTES": "60000",
        "MAX_WEBHOOK_BYTES": "60000",
        "MAX_MESSAGE_CHARS": "1000",
        "MAX_BODIES_BYTES": "100000",
        "BODY_TIMEOUT_SECONDS": "4",
    }
    gateway = await webhook_gateway(services, **limits)
    operation_id = await add_operation(database)
    url = httpx.URL(gateway.url)
    named = "".join(f"{name}: {value}\r\n" for name, value in seal(operation_id, b"forged").items())
    request = f"POST {path(operation_id)} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 50000\r\n{named}\r\n".encode()
    holding = [await asyncio.open_connection(url.host, url.port) for _ in range(2)]
    for _, writer in holding:
        writer.write(request + b"x" * 48_000)
        await writer.drain()
    large = json.dumps({"success": True, "result": "x" * 50_000})
    # Has no effect where there is room for it: when the gateway has read those heads, nobody knows.
    forged = seal(operation_id, b"another body")
    async with client_of(gateway) as http:

        async def full() -> httpx.Response | None:
            answer = await http.post(path(operation_id), content=large, headers=forged)
            assert answer.status_code in (401, 503)
            return answer if answer.status_code == 503 else None

        async def taken() -> bool:
            return (await send(http, operation_id, large)).status_code == 202

        refused = await wait_until(full, what="there is no room for another body")
        assert refused is not None
        assert refused.json()["code"] == "OVERLOADED"
        assert int(refused.headers["retry-after"]) > 0
        await wait_until(taken, what="there is room again")
    for reader, writer in holding:
        assert b" 408 " in await reader.readline()
        writer.close()
