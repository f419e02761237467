"""The active task of a session, found among few tasks and among many: it must cost the same."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import asyncpg
import httpx
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.redis.client import open_redis

from bench.worker.stage import Stage
from harness.clients.turns import Streams
from harness.retention import RETENTION, retention

FEW, MANY = 10, 100_000
_LOOKS = 500
_BATCH = 5000
_SESSIONS = """
INSERT INTO sessions (id, next_sequence, active_task_id)
SELECT format('ses_%s', to_char(n, 'FM00000000')), 3, format('task_%s', lpad(n::text, 32, '0'))
FROM generate_series($1::int, $2::int - 1) AS n
"""
_TASKS = """
INSERT INTO tasks (id, session_id, user_message_id, message_id, sequence, status, attempt)
SELECT format('task_%s', lpad(n::text, 32, '0')), format('ses_%s', to_char(n, 'FM00000000')),
       'm-1', 'm-2', 2, 'running', 1
FROM generate_series($1::int, $2::int - 1) AS n
"""


@dataclass(frozen=True)
class Looks:
    """Medians, in microseconds: in Redis, by the session of a running task; and over HTTP, by a session without one."""

    running_us: float
    idle_http_us: float


async def measure(stage: Stage, runs: int) -> list[tuple[Looks, Looks]]:
    """For each run, with few tasks and with many. The gateway is alone: nobody works on these tasks."""
    url = await stage.gateway("/healthz")
    try:
        async with (
            open_redis(stage.valkey.url, name="bench") as redis,
            httpx.AsyncClient(base_url=url, trust_env=False) as http,
        ):
            idle = (await http.post("/api/chat/sessions", json={})).raise_for_status().json()["id"]
            streams = Streams(redis, retention(live_seconds=3600, ended_seconds=3600))
            await _fill(stage, redis, 0, FEW)
            few = [await _look(streams, http, idle, FEW) for _ in range(runs)]
            await _fill(stage, redis, FEW, MANY)
            many = [await _look(streams, http, idle, MANY) for _ in range(runs)]
            return list(zip(few, many, strict=True))
    finally:
        stage.stop_services()


async def _look(streams: Streams, http: httpx.AsyncClient, idle_session: str, tasks: int) -> Looks:
    async def running(number: int) -> None:
        wanted = number * 7919 % tasks
        if await streams.registry.active(_session(wanted)) != _task(wanted):
            raise RuntimeError("the active task of a session is not the one that was written")

    async def idle(_: int) -> None:
        response = await http.get(f"/api/chat/{idle_session}/stream")
        if response.status_code != 204:
            raise RuntimeError(f"a session without a running task answered {response.status_code}")

    return Looks(await _median_us(running), await _median_us(idle))


async def _median_us(look: Callable[[int], Awaitable[None]]) -> float:
    times = []
    for number in range(_LOOKS):
        began = time.perf_counter()
        await look(number)
        times.append(time.perf_counter() - began)
    return 1e6 * median(times)


async def _fill(stage: Stage, redis: Redis, first: int, end: int) -> None:
    connection = await asyncpg.connect(stage.database_url)
    try:
        for statement in (_SESSIONS, _TASKS):
            await connection.execute(statement, first, end)
        await connection.execute("ANALYZE")
    finally:
        await connection.close()
    for start in range(first, end, _BATCH):
        await _fill_redis(redis, range(start, min(start + _BATCH, end)))
        await asyncio.sleep(0)


async def _fill_redis(redis: Redis, numbers: range) -> None:
    async with redis.pipeline(transaction=False) as pipe:
        for number in numbers:
            task_id, session_id = _task(number), _session(number)
            meta: dict[Any, str] = {"task_id": task_id, "session_id": session_id, "message_id": "m-2"}
            pipe.set(keys.session_active(session_id), task_id, ex=RETENTION.live)
            pipe.hset(keys.task_meta(task_id), mapping=meta | {"status": "running", "attempt": "1", "created_at": "0"})
            pipe.expire(keys.task_meta(task_id), RETENTION.live)
            pipe.xadd(keys.task_events(task_id), {"t": "start", "d": '{"type":"start"}'}, id="1-0")
            pipe.expire(keys.task_events(task_id), RETENTION.live)
        await pipe.execute()


def _task(number: int) -> str:
    return f"task_{number:032d}"


def _session(number: int) -> str:
    return f"ses_{number:08d}"
