"""What tests ask Redis itself, past the services."""

from typing import Any

from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.queue.partitions import placed


async def entry_ids(redis: Redis, task_id: str) -> list[tuple[int, int]]:
    """(attempt, sequence) of every entry of a task's stream, in its order."""
    entries: Any = await redis.xrange(keys.task_events(task_id))
    return [(int(attempt), int(sequence)) for attempt, _, sequence in (name.partition(b"-") for name, _ in entries)]


async def holder_of(redis: Redis, task_id: str) -> str | None:
    """The worker that has the task's queue entry in flight, and has begun it."""
    held: Any = await redis.hget(keys.task_meta(task_id), "held")
    if held is None:
        return None
    partition, there = placed(held.decode())
    pending: Any = await redis.xpending_range(keys.work_queue("chat", partition), keys.GROUP, there, there, 1)
    return str(pending[0]["consumer"].decode()) if pending else None


async def nothing_is_queued(redis: Redis) -> bool:
    """No entry of the chat queue is waiting or in anybody's hands: it is deleted with its acknowledgement."""
    queues = [keys.work_queue("chat", partition) for partition in range(keys.MOST_PARTITIONS)]
    return sum([await redis.xlen(queue) for queue in queues]) == 0


async def lease_is_older_than(redis: Redis, seconds: float) -> bool:
    """The one pending entry of the chat queue was delivered or renewed that long ago."""
    pending: Any = await redis.xpending_range(keys.work_queue("chat"), keys.GROUP, "-", "+", 2)
    (entry,) = pending
    return bool(entry["time_since_delivered"] >= seconds * 1000)
