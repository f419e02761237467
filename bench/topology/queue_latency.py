"""From putting an entry into a queue to a consumer that waits for it having it: what a partition more costs."""

import asyncio
import time
from datetime import timedelta

from sluiceway import keys
from sluiceway.queue.partitioned_queue import PartitionedQueue
from sluiceway.queue.work_queue import Delivery, Producer
from sluiceway.redis.client import open_redis

_LEASE = timedelta(minutes=1)
_BLOCK = timedelta(seconds=5)
_WAITING_SECONDS = 0.01


async def measure(redis_url: str, partitions: int, entries: int) -> list[float]:
    """Milliseconds, an entry at a time."""
    kind = keys.tool_queue(f"bench{partitions}")
    async with (
        open_redis(redis_url, name="bench") as redis,
        open_redis(redis_url, name="bench-reader", blocking=True) as blocking,
    ):
        queue = PartitionedQueue(redis, blocking, kind, "bench", lease=_LEASE, partitions=partitions)
        producer = Producer(redis, kind, partitions)
        await queue.ensure_group()
        took: list[float] = []
        try:
            for number in range(entries):
                reading = asyncio.create_task(_next(queue))
                await asyncio.sleep(_WAITING_SECONDS)  # it waits by now
                began = time.perf_counter()
                await producer.add(str(number).encode())
                delivery = await reading
                took.append(1000 * (time.perf_counter() - began))
                await queue.ack(delivery.entry_id)
        finally:
            await queue.leave()
        return took


async def _next(queue: PartitionedQueue) -> Delivery:
    while not (found := await queue.read(1, _BLOCK)):
        pass
    return found[0]
