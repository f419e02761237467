"""Handing operations to tool runners: Postgres has them, the queues say that there is something to do.

Not guaranteed: that an operation is queued once. Runners drop a second entry, and an operation ends once.
"""

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from sluiceway import keys
from sluiceway.queue.work_queue import Producer
from sluiceway.redis.client import commands
from sluiceway.store.records import Operation
from sluiceway.stream.operation_entries import OperationEntries
from sluiceway.tracing.spans import within
from sluiceway.wire.jobs import ToolJob


class Operations:
    def __init__(self, redis: Redis, entries: OperationEntries, *, partitions: int = 1) -> None:
        self._redis = redis
        self._partitions = partitions
        self._entries = entries

    async def publish(self, operations: Sequence[Operation]) -> None:
        """Queue operations that were not queued before. Raises RedisUnavailable; it is right to do it again then."""
        await self.note(operations, await commands(self._redis, self.adding(operations)))

    def adding(self, operations: Sequence[Operation]) -> list[tuple[str | bytes | int, ...]]:
        """The commands that queue operations, to be sent along with others. Their answers go to `note`."""
        return [self._queue(one).adding(_job_of(one).encode()) for one in operations]

    async def note(self, operations: Sequence[Operation], answers: Sequence[Any]) -> None:
        """Write down where the entries of operations are. Raises RedisUnavailable."""
        entry_ids = map(Producer.entry_id, answers)
        noted = [(one.task_id, one.id, entry_id) for one, entry_id in zip(operations, entry_ids, strict=True)]
        await self._entries.note(noted)

    def _queue(self, operation: Operation) -> Producer:
        return Producer(self._redis, keys.tool_queue(operation.queue), self._partitions)


def _job_of(operation: Operation) -> ToolJob:
    return ToolJob(
        operation_id=operation.id,
        task_id=operation.task_id,
        tool_name=operation.tool_name,
        traceparent=within(operation.traceparent),
    )
