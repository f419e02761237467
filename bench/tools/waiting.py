"""What a thousand operations cost that wait for an outside service's webhook, and whether all of them go on after it.

Each is the one call of a turn of its own. The services are warm: before the first look at their memory they have seen
two hundred such turns through, as many at once as later, so that what is added is held, and not a cache that was
filled. Some bytes and blocks are left that belong to no operation: idle connections in pools, some dozens more or less
at each look; the JSON parser's cache of short strings, 16,384 at the most; and what the reconciler's look at a page of
live turns has stretched. The baseline is `naive_waiting.py`: a coroutine and a connection for each.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
from redis.asyncio import Redis
from sluiceway import keys
from standardwebhooks import Webhook

from bench.tools.cast import SERVICES, Cast, cast
from bench.tools.memory import Footprint, footprint
from bench.tools.observed import Held
from bench.worker.stage import Stage
from harness.clients.calling import call
from harness.clients.chat import Chat
from harness.model_server import ModelServer
from harness.processes.child import Child
from harness.processes.ports import free_port
from harness.processes.services import probe
from harness.waiting import wait_until

OPERATIONS = 1000
_WARM_UP = 200
_AT_ONCE = 20
_ROOT = "a secret of this benchmark, of which 32 bytes are wanted"
_WAITING_SECONDS, _ENDING_SECONDS = 300.0, 300.0
# Longer than connections and caches need that were opened for the load and are not used any more.
_SETTLE_SECONDS = 3.0
_QUEUES = ("chat", "completions", keys.tool_queue("default"), keys.tool_queue("long"))


@dataclass(frozen=True)
class Added:
    """What all the waiting operations together add to a process."""

    bytes: int
    blocks: int
    tasks: int
    files: int


@dataclass(frozen=True)
class Waited:
    """`added`: by service. `redis_bytes`: for one operation and its turn. `seconds`: from the first webhook to the last
    turn's end. `lost`, `doubled`: results, answers and steps."""

    added: dict[str, Added]
    redis_bytes: float
    seconds: float
    lost: int
    doubled: int


async def measure(stage: Stage, model: ModelServer) -> Waited:
    async with _outside(stage) as outside:
        environment = {"HTTP_OPERATIONS": json.dumps({"elsewhere": f"{outside}/operations"})}
        async with cast(stage, 2 * _AT_ONCE, WEBHOOK_SECRETS=json.dumps([_ROOT]), **environment) as services:
            scene = Scene(services, model, outside)
            await scene.start("warming up", _WARM_UP)
            await scene.complete("warming up", _WARM_UP)
            before, redis_before = await _look(services), await _redis_bytes(stage)
            await scene.start("waiting", OPERATIONS)
            after, redis_after = await _look(services), await _redis_bytes(stage)
            began = time.monotonic()
            await scene.complete("waiting", OPERATIONS)
            seconds = time.monotonic() - began
            lost, doubled = await scene.count("waiting", OPERATIONS)
    added = {name: _added(before[name], after[name]) for name in SERVICES}
    return Waited(added, (redis_after - redis_before) / OPERATIONS, seconds, lost, doubled)


async def measure_baseline(stage: Stage) -> Added:
    async with _outside(stage) as outside, httpx.AsyncClient(base_url=outside, trust_env=False) as http:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.tools.naive_waiting", f"{outside}/held", str(OPERATIONS)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        await process.stdout.readline()
        before = footprint(process.pid)
        process.stdin.write(b"\n")

        async def all_held() -> bool:
            return int((await http.get("/holding")).json()) == OPERATIONS

        await wait_until(all_held, 60, "the outside service holds all operations of the baseline")
        after = footprint(process.pid)
        (await http.post("/release")).raise_for_status()
        if await process.wait():
            raise RuntimeError("the baseline failed")
    return Added(after.bytes - before.bytes, 0, OPERATIONS, after.files - before.files)


class Scene:
    """Turns whose one call is handed to the outside service. `what` tells one crowd of them from another."""

    def __init__(self, cast: Cast, model: ModelServer, outside: str) -> None:
        self._cast = cast
        self._model = model
        self._outside = outside
        self._completed: set[str] = set()

    async def start(self, what: str, number: int) -> None:
        """Begin so many turns; returns when all of them wait and nothing is queued."""
        await self._model.reset()
        asked = call("http_operation", "call-1", service="elsewhere", input={"what": what})
        await self._model.script(asked, {"finish": "tool_calls"}, match=what, times=number)
        await self._model.script({"text": "It is done."}, match=what, times=number)
        limit = asyncio.Semaphore(_AT_ONCE)

        async def one(chat: Chat, each: int) -> None:
            async with limit:
                await chat.ask(f"{what} {each:04}.")

        async with Chat(self._cast.url) as chat:
            await asyncio.gather(*(one(chat, each) for each in range(number)))
        await wait_until(lambda: self._all_wait(number), _WAITING_SECONDS, "all operations wait, and nothing else")

    async def complete(self, what: str, number: int) -> None:
        """Send a webhook for each operation; returns when all turns have ended."""
        async with httpx.AsyncClient(base_url=self._outside, trust_env=False) as http:
            taken: list[dict[str, Any]] = (await http.get("/taken")).json()
        operations = [one for one in taken if one["operation_id"] not in self._completed]
        self._completed |= {one["operation_id"] for one in operations}
        limit = asyncio.Semaphore(_AT_ONCE)

        async def one(http: httpx.AsyncClient, operation: dict[str, Any]) -> None:
            async with limit:
                response = await http.post(operation["callback_url"], **_signed(operation))
                if response.status_code != 202:
                    raise RuntimeError(f"a webhook was answered with {response.status_code}: {response.text}")

        async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
            await asyncio.gather(*(one(http, operation) for operation in operations))
        await wait_until(self._none_lives, _ENDING_SECONDS, f"all turns of {what} have ended")

    async def count(self, what: str, number: int) -> tuple[int, int]:
        """What is missing, and what was done more than once: of results in the history, and of the model's steps."""
        rows = await self._fetch(
            "SELECT o.id, o.status, t.status AS turn, m.parts FROM operations o JOIN tasks t ON t.id = o.task_id"
            " JOIN messages m ON m.session_id = o.session_id AND m.id = o.message_id"
            " WHERE o.input->'input'->>'what' = $1",
            what,
        )
        right = sum(_is_right(row) for row in rows)
        steps = len(await self._model.requests(what))
        return max(0, number - right) + max(0, 2 * number - steps), max(0, steps - 2 * number)

    async def _all_wait(self, number: int) -> bool:
        rows = await self._fetch("SELECT count(*) AS n FROM operations WHERE status = 'accepted'")
        async with Redis.from_url(self._cast.stage.valkey.url) as redis:
            queued = [await redis.xlen(keys.work_queue(queue)) for queue in _QUEUES]
        return int(rows[0]["n"]) == number and not any(queued)

    async def _none_lives(self) -> bool:
        return not await self._fetch("SELECT 1 FROM tasks WHERE ended_at IS NULL LIMIT 1")

    async def _fetch(self, statement: str, *arguments: Any) -> Sequence[asyncpg.Record]:
        connection = await asyncpg.connect(self._cast.stage.database_url)
        try:
            rows: Sequence[asyncpg.Record] = await connection.fetch(statement, *arguments)
        finally:
            await connection.close()
        return rows


def _signed(operation: dict[str, Any]) -> dict[str, Any]:
    """Content and headers of the webhook, as the outside service would send it."""
    now, webhook_id = datetime.now(UTC), f"msg_{uuid4().hex}"
    content = json.dumps({"success": True, "result": {"of": operation["operation_id"]}})
    headers = {
        "content-type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(operation["secret"]).sign(webhook_id, now, content),
    }
    return {"content": content.encode(), "headers": headers}


def _is_right(row: asyncpg.Record) -> bool:
    """The turn ended well, and its history has the result of its own operation, once."""
    outputs = [part.get("output") for part in json.loads(row["parts"]) if "toolCallId" in part]
    return (row["status"], row["turn"]) == ("succeeded", "completed") and outputs == [{"of": row["id"]}]


async def _look(cast: Cast) -> dict[str, tuple[Footprint, Held]]:
    await asyncio.sleep(_SETTLE_SECONDS)
    held = await cast.held()
    return {name: (footprint(cast.stage.pid(name)), held[name]) for name in SERVICES}


def _added(before: tuple[Footprint, Held], after: tuple[Footprint, Held]) -> Added:
    return Added(
        bytes=after[0].bytes - before[0].bytes,
        blocks=after[1].blocks - before[1].blocks,
        tasks=after[1].tasks - before[1].tasks,
        files=after[0].files - before[0].files,
    )


async def _redis_bytes(stage: Stage) -> int:
    async with Redis.from_url(stage.valkey.url) as redis:
        return int((await redis.info("memory"))["used_memory"])


@asynccontextmanager
async def _outside(stage: Stage) -> AsyncIterator[str]:
    """The address of an outside service that runs."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "bench.tools.outside", str(port)]
    child = Child("outside", command, stage.directory / "outside.log")
    child.start(directory=Path.cwd())

    async def answers() -> bool:
        return child.alive and await probe(url, "/holding") == 200

    try:
        await wait_until(answers, 20, "the outside service answers")
        yield url
    finally:
        child.end()
