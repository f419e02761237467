"""How an operation ended, or how far it is: what tool runners and the gateway tell the completion consumer.

Guarantees: what these methods answered is queued; the consumer applies it once, however often it is sent. Until it is
applied, and for a minute at most, Redis says that the operation has been reported: nobody begins it again meanwhile.
With `ReplicaWait` replicas have it, too, or are told of in the log.
"""

from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from sluiceway import keys
from sluiceway.process.logs import get_logger
from sluiceway.queue.work_queue import Producer
from sluiceway.redis.client import command, commands
from sluiceway.tracing.spans import current
from sluiceway.wire.jobs import CompletionJob, OperationError, ProgressJob
from sluiceway.wire.json_values import clean_json

REPORTED = b"-"
_REPORTED_MS = 60_000


@dataclass(frozen=True, slots=True)
class ReplicaWait:
    """So many replicas are to have the end of an operation before its worker lets go of it. Which of them is promoted
    nobody knows: it makes the loss of a result in a failover rare, not impossible."""

    replicas: int
    timeout_ms: int

    def missed(self, reached: Any) -> bool:
        return isinstance(reached, int) and reached < self.replicas


class Completions:
    """The one producer of completions. Methods raise RedisUnavailable: it may or may not be queued; send it again."""

    def __init__(self, redis: Redis, wait: ReplicaWait | None = None, *, partitions: int = 1) -> None:
        self._redis = redis
        self._wait = wait if wait is not None and wait.replicas else None
        self._queue = Producer(redis, keys.COMPLETIONS, partitions)

    async def publish_operation_complete(
        self,
        operation_id: str | None,
        task_id: str | None,
        success: bool,
        result: Any = None,
        error: OperationError | str | None = None,
    ) -> str:
        """Queue the end of an operation; the id of the entry. `result` is JSON, and is
        queued clean (see `clean_json`); `error` says why it failed.

        Source: the design's feature CC-9.
        """
        told = OperationError(message=clean_json(error) or "It failed.") if isinstance(error, str) else error
        clean = clean_json(result)
        job = CompletionJob(operation_id=operation_id, task_id=task_id, success=success, result=clean, error=told)
        return await self.publish(job)

    async def is_reported(self, operation_id: str) -> bool:
        """Whether its end was queued lately."""
        return bool(await command(self._redis, "GET", keys.operation_reported(operation_id)) == REPORTED)

    async def publish(self, job: CompletionJob | ProgressJob) -> str:
        """Queue it, as a part of the trace that it names, or else of the current one."""
        if job.traceparent is None and (traceparent := current().traceparent) is not None:
            job = job.model_copy(update={"traceparent": traceparent})
        if isinstance(job, ProgressJob) or job.operation_id is None:
            return await self._queue.add(job.encode())
        reported = ("SET", keys.operation_reported(job.operation_id), REPORTED, "PX", _REPORTED_MS)
        queueing = self._queue.adding(job.encode())
        if self._wait is None:
            queued, _ = await commands(self._redis, [queueing, reported])
            return self._queue.entry_id(queued)
        # Right behind it: WAIT counts the writes of its own connection.
        waiting = ("WAIT", self._wait.replicas, self._wait.timeout_ms)
        queued, reached, _ = await commands(self._redis, [queueing, waiting, reported])
        if self._wait.missed(reached):
            get_logger().warning(
                "replicas_missed", operation_id=job.operation_id, wanted=self._wait.replicas, had=reached
            )
        return self._queue.entry_id(queued)
