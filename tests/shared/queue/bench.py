"""Workers of one queue on a real Valkey, and what they did."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.process.lifecycle import Stopping
from sluiceway.queue.partitioned_queue import PartitionedQueue
from sluiceway.queue.work_queue import Delivery
from sluiceway.queue.worker import Worker, WorkerOptions
from sluiceway.redis.client import open_redis

LEASE = timedelta(milliseconds=600)
Handle = Callable[[Delivery], Awaitable[None]]


class Bench:
    """Workers of one queue, and what they did."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.partitions = 1
        self.handled: list[str] = []
        self.dead_lettered: list[tuple[bytes, str]] = []
        self._stack = contextlib.AsyncExitStack()

    async def queue(self, name: str) -> PartitionedQueue:
        redis = await self._stack.enter_async_context(open_redis(self.url, name=name))
        blocking = await self._stack.enter_async_context(open_redis(self.url, name=name, blocking=True))
        return PartitionedQueue(redis, blocking, "test", name, lease=LEASE, partitions=self.partitions)

    async def dead_letter(self, delivery: Delivery, reason: str) -> None:
        self.dead_lettered.append((delivery.body, reason))

    @asynccontextmanager
    async def worker(
        self, name: str, handle: Handle, *, slots: int = 4, drain: float = 0.1, max_deliveries: int = 3
    ) -> AsyncIterator[Stopping]:
        """A running worker; it drains at the end of the context, or when `stopping` is set before."""
        stopping = Stopping()
        options = WorkerOptions(slots=slots, drain=timedelta(seconds=drain), max_deliveries=max_deliveries)
        worker = Worker(await self.queue(name), handle, self.dead_letter, options, stopping)
        running = asyncio.create_task(worker.run())
        try:
            yield stopping
        finally:
            stopping.set()
            await running

    async def record(self, delivery: Delivery) -> None:
        self.handled.append(delivery.body.decode())

    async def close(self) -> None:
        await self._stack.aclose()


async def pending(redis: Redis) -> int:
    groups = await redis.xinfo_groups(keys.work_queue("test")) if await redis.exists(keys.work_queue("test")) else []
    return sum(int(group["pending"]) for group in groups)


async def left(redis: Redis) -> int:
    return int(await redis.xlen(keys.work_queue("test")))


async def never(_: Delivery) -> None:
    await asyncio.Event().wait()


async def equals(count: Awaitable[int], wanted: int) -> bool:
    return await count == wanted
