"""Handing operations to tool runners: Postgres has them, the queues say that there is something to do.

Not guaranteed: that an operation is queued once. Runners drop a second entry, and an operation ends once.
"""

import asyncio
from collections.abc import Sequence

from redis.asyncio import Redis

from sluiceway import keys
from sluiceway.jobs import ToolJob
from sluiceway.store.records import Operation
from sluiceway.task_stream import TaskStreams
from sluiceway.work_queue import Producer


class Operations:
    def __init__(self, redis: Redis, streams: TaskStreams) -> None:
        self._redis = redis
        self._streams = streams

    async def publish(self, operations: Sequence[Operation]) -> None:
        """Queue operations that were not queued before. Raises RedisUnavailable; sent again, it does the rest."""
        await asyncio.gather(*(self._publish(operation) for operation in operations))

    async def is_queued(self, operation: Operation) -> bool:
        """Whether its entry waits, or is in a runner's hand."""
        entry_id = await self._streams.operation_entry(operation.task_id, operation.id)
        return entry_id is not None and await self._queue(operation).holds(entry_id)

    async def republish(self, operations: Sequence[Operation]) -> list[Operation]:
        """Queue those whose entry is gone; answers them."""
        lost = [operation for operation in operations if not await self.is_queued(operation)]
        await self.publish(lost)
        return lost

    async def _publish(self, operation: Operation) -> None:
        job = ToolJob(
            operation_id=operation.id,
            task_id=operation.task_id,
            tool_name=operation.tool_name,
            traceparent=operation.traceparent,
        )
        entry_id, _ = await asyncio.gather(
            self._queue(operation).add(job.encode()),
            self._streams.bind_operation(operation.id, operation.task_id),
        )
        await self._streams.set_operation_entry(operation.task_id, operation.id, entry_id)

    def _queue(self, operation: Operation) -> Producer:
        return Producer(self._redis, keys.tool_queue(operation.queue))
