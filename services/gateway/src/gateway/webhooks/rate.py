"""How often progress may be reported. Counted in Redis, for all gateways together; while that is away, not limited."""

import asyncio
import contextlib
import time

from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.errors import RedisUnavailable, TooManyWebhooks
from sluiceway.redis_client import redis_errors

_WINDOW_SECONDS = 60
# A Redis that hangs must not hold up what it is not needed for.
_PATIENCE_SECONDS = 1


class ProgressRate:
    """So many reports an operation in each minute of the clock."""

    def __init__(self, redis: Redis, per_minute: int) -> None:
        self._redis = redis
        self._per_minute = per_minute

    async def check(self, operation_id: str) -> None:
        """Count one report. Raises TooManyWebhooks, with the seconds until the next minute."""
        now = int(time.time())
        count = 0
        with contextlib.suppress(RedisUnavailable, TimeoutError):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                count = await self._count(keys.webhook_rate(operation_id, now // _WINDOW_SECONDS))
        if count > self._per_minute:
            raise TooManyWebhooks(retry_after_seconds=_WINDOW_SECONDS - now % _WINDOW_SECONDS)

    async def _count(self, key: str) -> int:
        async with redis_errors(self._redis), self._redis.pipeline(transaction=True) as pipe:
            pipe.incr(key)
            pipe.expire(key, keys.WEBHOOK_RATE_TTL)
            count, _ = await pipe.execute()
        return int(count)
