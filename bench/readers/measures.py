"""What is measured. Each function starts a gateway, lets a crowd in, and answers with a number or two."""

import asyncio
import base64
import json
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx
from redis.asyncio import Redis
from sluiceway import keys

from bench.readers.crowd import Connection, Memory, get, post
from bench.worker.stage import Stage
from harness.databases.database import Database
from tests.gateway.outside import ROOT, add_operation, path

_DELTA_BYTES = 32 * 1024
_DEAF, _DEAF_BYTES = 40, 16 * 1024 * 1024
_REPLAYS, _REPLAYED_BYTES = 20, 60 * 1024 * 1024
_HELD_BACK, _HELD_BYTES = 1000, 1_000_000
_UNREAD, _MESSAGES, _MESSAGE_BYTES = 40, 7, 1024 * 1024
_HEAVY, _HEAVY_BYTES = 10, 4_000_000
_ASKING = 600
_SETTLE_SECONDS = 4.0
_WRITE_TIMEOUT_SECONDS = 5


@asynccontextmanager
async def _gateway(stage: Stage) -> AsyncIterator[tuple[str, Memory]]:
    url = await stage.gateway(
        "/readyz?scope=gateway",
        WEBHOOK_SECRETS=json.dumps([ROOT]),
        WRITE_TIMEOUT_SECONDS=str(_WRITE_TIMEOUT_SECONDS),
        LOG_LEVEL="error",
    )
    try:
        async with httpx.AsyncClient(trust_env=False) as http:
            for _ in range(20):
                await http.get(f"{url}/api/chat/sessions")
        async with Memory(stage.pid("gateway")).watched() as memory:
            yield url, memory
    finally:
        stage.stop_services()


async def deaf_readers(stage: Stage) -> float:
    await _fill(stage, "task_deaf", _DEAF_BYTES)
    async with _gateway(stage) as (url, memory):
        crowd = [Connection(url, receive_buffer=4096) for _ in range(_DEAF)]
        for connection in crowd:
            await connection.send(get("/api/chat/tasks/task_deaf/stream"))
        await asyncio.sleep(_SETTLE_SECONDS)
        _close(crowd)
        return memory.added_at_most


async def replays(stage: Stage) -> float:
    await _fill(stage, "task_replayed", _REPLAYED_BYTES)
    async with _gateway(stage) as (url, memory):
        crowd = [Connection(url) for _ in range(_REPLAYS)]
        for connection in crowd:
            await connection.send(get("/api/chat/tasks/task_replayed/stream", close=True))
        seen = await asyncio.gather(*(connection.drink() for connection in crowd))
        _close(crowd)
        assert min(seen) > _REPLAYED_BYTES, "a replay was not whole"
        return memory.added_at_most


async def unread(stage: Stage, path: str = "") -> tuple[float, float]:
    """Of a long session, or of what is below its `path`."""
    async with _database(stage) as database:
        await database.execute("INSERT INTO sessions (id) VALUES ('bench-long') ON CONFLICT DO NOTHING")
        for number in range(_MESSAGES):
            await database.execute(
                "INSERT INTO messages (session_id, id, sequence, role, parts, done)"
                " VALUES ('bench-long', $1, $2, 'user', $3, true) ON CONFLICT DO NOTHING",
                f"m{number}",
                number,
                json.dumps([{"type": "text", "text": "x" * _MESSAGE_BYTES}]),
            )
    async with _gateway(stage) as (url, memory):
        crowd = [Connection(url, receive_buffer=4096) for _ in range(_UNREAD)]
        for connection in crowd:
            await connection.send(get(f"/api/chat/sessions/bench-long{path}"))
        await asyncio.sleep(_WRITE_TIMEOUT_SECONDS + _SETTLE_SECONDS)
        found = memory.added_at_most, memory.added_now
        _close(crowd)
        return found


async def held_back_bodies(stage: Stage) -> tuple[float, float]:
    """Of operations that nobody knows; and of one whose id was found out, which only the bound on bodies holds back."""
    async with _database(stage) as database:
        known = await add_operation(database)
    return await _hold_back(stage, "op_unknown"), await _hold_back(stage, known)


async def _hold_back(stage: Stage, operation_id: str) -> float:
    forged = base64.b64encode(b"x" * 32).decode()
    headers = {
        "webhook_id": "msg_forged",
        "webhook_timestamp": str(int(time.time())),
        "webhook_signature": f"v1,{forged}",
    }
    head = post(path(operation_id), _HELD_BYTES, **headers)
    async with _gateway(stage) as (url, memory):
        crowd = [Connection(url) for _ in range(_HELD_BACK)]
        # All but the last byte. A connection that is refused takes no more.
        body = b" " * (_HELD_BYTES - 1)
        sending = [asyncio.create_task(connection.send(head, body)) for connection in crowd]
        await asyncio.wait(sending, timeout=2 * _SETTLE_SECONDS)
        for task in sending:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)
        _close(crowd)
        return memory.added_at_most


async def heavy_bodies(stage: Stage) -> float:
    """Milliseconds that somebody else waits at most meanwhile."""
    arrays = b"[" + b"[]," * (_HEAVY_BYTES // 3) + b"[]]"
    content = b'{"messages":' + arrays + b"}"
    headers = {"content-type": "application/json"}
    async with _gateway(stage) as (url, _), httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as http:
        bystander = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.readers.bystander", url, stdin=PIPE, stdout=PIPE
        )
        await asyncio.sleep(1)
        posts = (http.post("/api/chat", content=content, headers=headers) for _ in range(_HEAVY))
        answers = await asyncio.gather(*posts)
        printed, _ = await bystander.communicate(b"")
        assert {answer.status_code for answer in answers} <= {413, 503}
        return float(printed)


async def readiness_crowd(stage: Stage) -> int:
    """How many answers named a part that did not answer. (No chat worker runs here, so none is green.)"""
    async with _gateway(stage) as (url, _):
        limits = httpx.Limits(max_connections=_ASKING)
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60, limits=limits) as http:
            answers = await asyncio.gather(*(http.get("/readyz") for _ in range(_ASKING)))
        checks = [answer.json()["checks"] for answer in answers]
        return sum(not (each["redis"]["ok"] and each["postgres"]["ok"]) for each in checks)


@asynccontextmanager
async def _database(stage: Stage) -> AsyncIterator[Database]:
    database = await asyncpg.connect(stage.database_url)
    try:
        yield database
    finally:
        await database.close()


async def _fill(stage: Stage, task_id: str, size: int) -> None:
    """A task whose finished answer has so many bytes."""
    fields: dict[Any, Any] = {
        "task_id": task_id,
        "session_id": "s",
        "message_id": "m",
        "status": "completed",
        "attempt": "1",
    }
    text = "x" * _DELTA_BYTES
    delta = f'{{"type":"text-delta","id":"1","delta":"{text}"}}'
    async with Redis.from_url(stage.valkey.url) as redis:
        await redis.hset(keys.task_meta(task_id), mapping={**fields})
        key = keys.task_events(task_id)
        await redis.xadd(key, {"t": "start", "d": '{"type":"start","messageId":"m"}'}, id="1-0")
        for number in range(1, size // _DELTA_BYTES + 1):
            await redis.xadd(key, {"t": "text-delta", "d": delta}, id=f"1-{number}")
        await redis.xadd(key, {"t": "finish", "d": '{"type":"finish"}'}, id="1-*")


def _close(crowd: list[Connection]) -> None:
    for connection in crowd:
        connection.close()
