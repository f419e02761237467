"""How often progress may be reported. Counted in Redis, for all gateways together; while that is away, not limited."""

from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.errors import RedisUnavailable, TooManyWebhooks

from gateway.rates import Limit, SharedCounts

_WINDOW_SECONDS = 60
# A Redis that hangs must not hold up what it is not needed for.
_PATIENCE_SECONDS = 1


class ProgressRate:
    """So many reports an operation in a minute."""

    def __init__(self, redis: Redis, per_minute: int) -> None:
        self._counts = SharedCounts(redis, _PATIENCE_SECONDS)
        self._limit = Limit(keys.PROGRESS_RATE, per_minute, _WINDOW_SECONDS)

    async def check(self, operation_id: str) -> None:
        """Look, and count nothing. Raises TooManyWebhooks, with the seconds until one more is allowed."""
        await self._judge(operation_id, counting=False)

    async def count(self, operation_id: str) -> None:
        """Count one report. Raises TooManyWebhooks."""
        await self._judge(operation_id, counting=True)

    async def _judge(self, operation_id: str, *, counting: bool) -> None:
        ask = self._counts.take if counting else self._counts.look
        try:
            taken = await ask(self._limit, operation_id)
        except RedisUnavailable:
            return
        if not taken.allowed:
            raise TooManyWebhooks(retry_after_seconds=taken.seconds)
