"""An outside service under a test's hand: operations as a turn leaves them in Postgres, and webhooks about them.

Signatures are made by the published `standardwebhooks` package, so that the gateway is held against somebody else's
reading of the specification; where the package would refuse to sign, by a few lines of our own.
"""

import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.operation.webhook_secrets import operation_secret
from standardwebhooks import Webhook

from harness.databases.database import Database
from harness.processes.services import Service, Services

ROOT = "the root that signs, of 32 bytes or more"
OLDER_ROOT = "the root before it, of 32 bytes or more"
API_KEY = "the key of a trusted caller"
SETTINGS = {
    "WEBHOOK_SECRETS": json.dumps([ROOT, OLDER_ROOT]),
    "API_KEYS": json.dumps(["another key than that", API_KEY]),
}
BY_KEY = {"x-api-key": API_KEY}


async def webhook_gateway(services: Services, **environment: str) -> Service:
    return await services.gateway(**{**SETTINGS, **environment})


async def add_operation(database: Database, status: str = "accepted", user_id: str | None = None) -> str:
    """The id of a new operation of a waiting turn of its own."""
    name = uuid4().hex
    await database.execute("INSERT INTO sessions (id, user_id) VALUES ($1, $2)", f"s-{name}", user_id)
    await database.execute(
        "INSERT INTO tasks (id, session_id, user_id, user_message_id, message_id, sequence, status)"
        " VALUES ($1, $2, $3, 'u', 'm', 2, 'waiting')",
        f"task-{name}",
        f"s-{name}",
        user_id,
    )
    await database.execute(
        "INSERT INTO operations (id, task_id, session_id, message_id, step, tool_call_id, tool_name, input, queue,"
        " status, attempt, deadline_seconds, deadline_at, started_at)"
        " VALUES ($1, $2, $3, 'm', 1, 'call-1', 'http_operation', '{}', 'default', $4, 1, 3600,"
        " now() + interval '1 hour', now())",
        f"op_{name}",
        f"task-{name}",
        f"s-{name}",
        status,
    )
    return f"op_{name}"


async def end_operation(database: Database, operation_id: str, status: str = "succeeded", output: Any = None) -> None:
    await database.execute(
        "UPDATE operations SET status = $2, ended_at = now(), output = $3 WHERE id = $1",
        operation_id,
        status,
        json.dumps(output),
    )


async def journal(database: Database, operation_id: str) -> list[dict[str, Any]]:
    """The rows of an operation, oldest first, with their bodies read."""
    rows = await database.fetch("SELECT * FROM webhook_journal WHERE operation_id = $1 ORDER BY id", operation_id)
    return [{**dict(row), "body": json.loads(row["body"])} for row in rows]


async def queued(redis: Redis) -> list[dict[str, Any]]:
    """What the completion consumer was asked for."""
    entries: Any = await redis.xrange(keys.work_queue(keys.COMPLETIONS))
    return [json.loads(fields[b"d"]) for _, fields in entries]


def signature(operation_id: str, webhook_id: str, at: int, body: str, root: str = ROOT) -> str:
    """`v1,…` as the published package makes it."""
    return Webhook(operation_secret(root, operation_id)).sign(webhook_id, datetime.fromtimestamp(at, UTC), body)


def signature_of_bytes(operation_id: str, webhook_id: str, timestamp: str, body: bytes) -> str:
    """The same of what the package does not sign: bytes that are no text, times that are none."""
    secret = base64.b64decode(operation_secret(ROOT, operation_id).removeprefix("whsec_"))
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()


def seal(operation_id: str, body: str | bytes, webhook_id: str | None = None, at: int | None = None) -> dict[str, str]:
    """The three headers of a webhook that is right."""
    webhook_id, at = webhook_id or f"msg_{uuid4().hex}", at or int(time.time())
    if isinstance(body, str):
        found = signature(operation_id, webhook_id, at, body)
    else:
        found = signature_of_bytes(operation_id, webhook_id, str(at), body)
    return {"webhook-id": webhook_id, "webhook-timestamp": str(at), "webhook-signature": found}


def path(operation_id: str, kind: str = "complete") -> str:
    return f"/api/chat/operations/{operation_id}/{kind}"


async def send(
    http: httpx.AsyncClient, operation_id: str, body: Any, kind: str = "complete", webhook_id: str | None = None
) -> httpx.Response:
    """A webhook that is right, if its body is. A body that is neither text nor bytes is sent as JSON."""
    content = body if isinstance(body, str | bytes) else json.dumps(body)
    return await http.post(path(operation_id, kind), content=content, headers=seal(operation_id, content, webhook_id))
