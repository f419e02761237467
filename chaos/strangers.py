"""Strangers who want nothing but harm, while others ask and are answered.

Each of these programs comes, stays for a while, and goes; what it cost is the scenario's burden, and more than is
allowed is a complaint.
"""

import asyncio
import base64
import time
import uuid
from typing import Any

import asyncpg
from sluiceway import keys

from bench.readers.crowd import Connection, get, post
from chaos.burden import weighed
from chaos.faults import Faults
from tests.gateway.outside import path

_DELTA_BYTES = 32 * 1024
_ANSWER_BYTES = 16 * 1024 * 1024
_BODY_BYTES = 1_000_000
_TTL_SECONDS = 600
# The kernel's buffers are not a process's memory, so what is left is little; others are served meanwhile, too.
_DEAF_MEGABYTES = 48.0
# Bodies in flight may have 64 MiB together, by the setting's default.
_HELD_MEGABYTES = 112.0
# One result of 200 MB is dropped at 16 MiB, and pages at 2 MiB; several of them are read at a time.
_TOOLS_MEGABYTES = 160.0
_WAITING_MS = 5_000.0


async def deaf_readers(faults: Faults) -> None:
    """A crowd that follows a long answer and reads nothing of it, at every gateway."""
    task_id = await _long_answer(faults)
    crowd = [
        (Connection(url, receive_buffer=4096), get(f"/api/chat/tasks/{task_id}/stream"))
        for url in faults.stack.gateways
        for _ in range(faults.pace.crowd)
    ]
    await _stay(faults, "deaf readers", crowd, _DEAF_MEGABYTES)


async def held_back_bodies(faults: Faults) -> None:
    """A crowd that posts webhooks without a key, of which the last byte never comes: for operations that nobody knows,
    and for one that waits for its own."""
    forged = base64.b64encode(b"x" * 32).decode()
    crowd = []
    for operation_id in ("op_unknown", await _waiting_operation(faults)):
        headers = {"webhook_id": "msg_forged", "webhook_timestamp": str(int(time.time()))}
        head = post(path(operation_id), _BODY_BYTES, **headers, webhook_signature=f"v1,{forged}")
        body = b" " * (_BODY_BYTES - 1)
        crowd += [
            (Connection(url), head + body) for url in faults.stack.gateways for _ in range(faults.pace.crowd // 2)
        ]
    await _stay(faults, "held-back bodies", crowd, _HELD_MEGABYTES)


async def hostile_tools(faults: Faults) -> None:
    """What is asked has tools run that answer with 200 MB, and pages read that want to kill their reader."""
    async with weighed(faults.stack) as burden:
        for _ in range(2 * faults.pace.rounds):
            await faults.stay()
    faults.bears(burden, _TOOLS_MEGABYTES, _WAITING_MS)


async def _stay(faults: Faults, what: str, crowd: list[tuple[Connection, bytes]], most_megabytes: float) -> None:
    faults.ledger.fault(what, "silence", frozenset())
    async with weighed(faults.stack) as burden:
        # What is refused, or not taken, waits here: the crowd's memory is not the gateway's.
        sending = [asyncio.create_task(connection.send(said)) for connection, said in crowd]
        for _ in range(faults.pace.rounds):
            await faults.stay()
        for task in sending:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)
        for connection, _ in crowd:
            connection.close()
    faults.bears(burden, most_megabytes, _WAITING_MS)


async def _long_answer(faults: Faults) -> str:
    """A turn that has ended, as far as Redis knows; its answer is far longer than what a page or a buffer holds."""
    task_id = f"task_{uuid.uuid4().hex}"
    meta, events = keys.task_meta(task_id), keys.task_events(task_id)
    fields: dict[Any, Any] = {
        "task_id": task_id,
        "session_id": "ses_deaf",
        "message_id": "msg_deaf",
        "status": "completed",
        "attempt": "1",
    }
    delta = f'{{"type":"text-delta","id":"1","delta":"{"x" * _DELTA_BYTES}"}}'
    async with faults.stack.redis() as redis, redis.pipeline(transaction=False) as pipeline:
        pipeline.hset(meta, mapping=fields)
        pipeline.xadd(events, {"t": "start", "d": '{"type":"start","messageId":"msg_deaf"}'}, id="1-0")
        for number in range(1, _ANSWER_BYTES // _DELTA_BYTES + 1):
            pipeline.xadd(events, {"t": "text-delta", "d": delta}, id=f"1-{number}")
        pipeline.xadd(events, {"t": "finish", "d": '{"type":"finish"}'}, id="1-*")
        for key in (meta, events):
            pipeline.expire(key, _TTL_SECONDS)
        await pipeline.execute()
    return task_id


async def _waiting_operation(faults: Faults) -> str:
    """One that an outside service has, as soon as there is one; after a while another that nobody knows."""
    connection = await asyncpg.connect(faults.stack.database_url)
    try:
        for _ in range(100):
            found: str | None = await connection.fetchval("SELECT id FROM operations WHERE status = 'accepted' LIMIT 1")
            if found is not None:
                return found
            await asyncio.sleep(0.05)
    finally:
        await connection.close()
    return "op_nobody_either"
