"""Whether an operator wants a worker to take nothing more: a key in Redis, by the worker's name, which it looks at.

Guarantees: within `SEEN_WITHIN_SECONDS` a worker that is drained takes no entry, and is not ready; what it has it
finishes. It takes entries again when the wish is taken back, or is a day old. A restart under the same name changes
nothing. With Redis away, what was last seen holds.
"""

from collections.abc import Mapping

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from sluiceway import keys
from sluiceway.errors import RedisUnavailable
from sluiceway.process.logs import get_logger
from sluiceway.queue.worker import Worker
from sluiceway.redis.client import command

SEEN_WITHIN_SECONDS = 4
LOOK_SECONDS = 2.0
_DAY_SECONDS = 24 * 3600


async def drain(redis: Redis, worker: str) -> None:
    """Raises RedisUnavailable."""
    await command(redis, "SET", keys.drained(worker), "1", "EX", _DAY_SECONDS)


async def undrain(redis: Redis, worker: str) -> None:
    """Raises RedisUnavailable."""
    await command(redis, "DEL", keys.drained(worker))


class Drained:
    """What a process makes of that for its own workers, by their queues."""

    def __init__(self, redis: Redis, name: str, workers: Mapping[str, Worker]) -> None:
        self._redis = redis
        self._name = name
        self._workers = workers
        self._wanted = False

    async def look(self) -> str | None:
        """What keeps the process from its work; None: nobody wants that."""
        try:
            wanted = await command(self._redis, "EXISTS", keys.drained(self._name)) == 1
        except (RedisUnavailable, ResponseError):
            wanted = self._wanted
        if wanted != self._wanted:
            self._wanted = wanted
            get_logger().warning("worker_drained" if wanted else "worker_undrained", worker=self._name)
            for worker in self._workers.values():
                worker.pause() if wanted else worker.unpause()
        return "drained by an operator" if wanted else None
