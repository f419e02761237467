"""How many events a second a gateway takes from Redis to its streams, and what one costs it."""

import asyncio
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

import psutil
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.redis.client import commands, open_redis

from bench.worker.stage import Stage
from harness.retention import RETENTION

STREAMS = 200
_EVENT = b'{"type":"text-delta","id":"t","delta":"a word and another "}'
_LAST = b'{"type":"finish"}'
_TTL_MS = int(RETENTION.live.total_seconds() * 1000)


@dataclass(frozen=True)
class Delivered:
    events_per_second: float
    gateway_us: float


async def measure(stage: Stage, rounds: int) -> Delivered:
    """Each round appends one event to each stream, as soon as the one before it is written."""
    try:
        url = await stage.gateway("/healthz")
        gateway = psutil.Process(stage.pid("gateway"))
        async with open_redis(stage.redis_url, name="bench") as redis:
            task_ids = [f"task_{time.monotonic_ns()}_{number}" for number in range(STREAMS)]
            await _announce(redis, task_ids)
            readers = [asyncio.create_task(_read(url, task_id)) for task_id in task_ids]
            await asyncio.sleep(1)
            before, began = _cpu_seconds(gateway), time.monotonic()
            for _ in range(rounds):
                await _append(redis, task_ids, b"text-delta", _EVENT)
            await _append(redis, task_ids, b"finish", _LAST)
            seen = sum(await asyncio.gather(*readers))
            took, cpu = time.monotonic() - began, _cpu_seconds(gateway) - before
    finally:
        stage.stop_services()
    expected = STREAMS * (rounds + 2)
    if seen != expected:
        raise RuntimeError(f"{seen} events came of {expected}")
    return Delivered(seen / took, 1e6 * cpu / seen)


async def _announce(redis: Redis, task_ids: list[str]) -> None:
    """Tasks that run, and have begun."""
    fields = ("session_id", "ses_bench", "message_id", "msg_bench", "status", "running", "attempt", "1")
    many: list[tuple[str | bytes | int, ...]] = []
    for task_id in task_ids:
        meta = keys.task_meta(task_id)
        many.append(("HSET", meta, "task_id", task_id, "created_at", str(time.time()), *fields))
        many.append(("PEXPIRE", meta, _TTL_MS))
    await commands(redis, many)
    await _append(redis, task_ids, b"start", b'{"type":"start"}')


async def _append(redis: Redis, task_ids: list[str], kind: bytes, json: bytes) -> None:
    many = [("XADD", keys.task_events(task_id), "1-*", "t", kind, "d", json) for task_id in task_ids]
    await commands(redis, many)


async def _read(url: str, task_id: str) -> int:
    """How many events a stream had, to its end."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=1 << 20)
    writer.write(f"GET /api/chat/tasks/{task_id}/stream HTTP/1.0\r\nhost: {address.netloc}\r\n\r\n".encode())
    body = await reader.read()
    writer.close()
    return body.count(b"\nid: ") + body.startswith(b"id: ")


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
