"""One consumer under twice-delivered completions: how many a second, and whether all of them counted once."""

import asyncio
import random
import time
from dataclasses import dataclass
from typing import Any

from sluiceway import keys
from sluiceway.store.records import Operation
from sluiceway.wire.jobs import CompletionJob

from bench.worker.stage import Stage
from harness.waiting import wait_until
from tests.completion_consumer.scene import PENDING, Scene, Waiting

DELIVERIES = 2
SINGLE, PARALLEL, CALLS = 800, 100, 4
OPERATIONS = SINGLE + PARALLEL * CALLS
_MAKING_AT_ONCE = 8
_RESULT = {"title": "What was found", "text": "word " * 60, "sources": [{"url": "https://example.com/", "rank": 1}]}


@dataclass(frozen=True)
class Load:
    """From the first completion in the queue to the last one's next step. `lost`, `doubled`: results and next steps."""

    seconds: float
    lost: int
    doubled: int

    @property
    def completions_per_second(self) -> float:
        """Each counted once, however often it was delivered."""
        return OPERATIONS / self.seconds


async def measure(stage: Stage, runs: int) -> list[Load]:
    await stage.completion_consumer()
    try:
        async with Scene.open(stage.valkey.url, stage.database_url) as scene:
            return [await _run(scene) for _ in range(runs)]
    finally:
        stage.stop_services()


async def _run(scene: Scene) -> Load:
    await scene.redis.delete(keys.work_queue("chat"))
    waitings = await _make(scene)
    operations = [operation for waiting in waitings for operation in waiting.operations]
    told = operations * DELIVERIES
    random.shuffle(told)
    began = time.monotonic()
    await _publish(scene, told)
    await wait_until(lambda: _all_done(scene, len(waitings)), 300, "every completion is done, and all turns go on")
    seconds = time.monotonic() - began
    lost, doubled = await _count(scene, waitings)
    return Load(seconds, lost, doubled)


async def _make(scene: Scene) -> list[Waiting]:
    limit = asyncio.Semaphore(_MAKING_AT_ONCE)

    async def one(calls: int) -> Waiting:
        async with limit:
            return await scene.waiting(*[PENDING] * calls)

    return await asyncio.gather(*(one(1) for _ in range(SINGLE)), *(one(CALLS) for _ in range(PARALLEL)))


async def _publish(scene: Scene, operations: list[Operation]) -> None:
    """As `Completions` does it, many in one round trip: the load is to come from the consumer, not from here."""
    async with scene.redis.pipeline(transaction=False) as pipe:
        for operation in operations:
            result = {**_RESULT, "of": operation.id}
            job = CompletionJob(operation_id=operation.id, task_id=operation.task_id, success=True, result=result)
            pipe.xadd(keys.work_queue(keys.COMPLETIONS), {"d": job.encode()})
        await pipe.execute()


async def _all_done(scene: Scene, turns: int) -> bool:
    return await scene.all_done() and await scene.redis.xlen(keys.work_queue("chat")) >= turns


async def _count(scene: Scene, waitings: list[Waiting]) -> tuple[int, int]:
    """What is missing, and what is there more than once: results in Postgres, outputs in streams, next steps."""
    times = list(await asyncio.gather(*(_shown(scene, o) for waiting in waitings for o in waiting.operations)))
    queued = await scene.queued("chat")
    times += [queued.count(waiting.task.id) for waiting in waitings]
    return times.count(0), sum(number - 1 for number in times if number > 1)


async def _shown(scene: Scene, operation: Operation) -> int:
    """How often the stream shows the result that Postgres has; 0 where Postgres has none."""
    part: dict[str, Any] = await scene.part(operation)
    outputs = [chunk.get("output") for chunk in await scene.chunks(operation)]
    stored = part["state"] == "output-available" and part["output"] == {**_RESULT, "of": operation.id}
    return outputs.count(part["output"]) if stored else 0
