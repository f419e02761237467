"""Where the queue entries of a task's operations are, as far as Redis knows: how a lost one is noticed.

Methods raise RedisUnavailable when Redis is away.
"""

from collections.abc import Sequence

from redis.asyncio import Redis

from sluiceway import keys
from sluiceway.redis.client import answered, commands
from sluiceway.scripts import source


class OperationEntries:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def note(self, entries: Sequence[tuple[str, str, str]]) -> None:
        """Note the queue entries of operations, each (task id, operation id, entry id); one round trip."""
        noted = [
            ("EVAL", source("stream/set_if_live"), 1, keys.task_meta(task_id), f"entry:{operation_id}", entry_id)
            for task_id, operation_id, entry_id in entries
        ]
        for answer in await commands(self._redis, noted):
            answered(answer)

    async def find(self, operations: Sequence[tuple[str, str]]) -> list[str | Exception | None]:
        """The queue entries that were noted last for operations, each (task id, operation id), or what Redis answered
        instead; one round trip."""
        asked = [("HGET", keys.task_meta(task_id), f"entry:{operation_id}") for task_id, operation_id in operations]
        answers = await commands(self._redis, asked)
        return [answer.decode() if isinstance(answer, bytes) else answer for answer in answers]
