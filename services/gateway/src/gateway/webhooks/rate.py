"""How often progress may be reported. Counted in Redis, for all gateways together; while that is away, not limited."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.errors import RedisUnavailable, TooManyWebhooks
from sluiceway.redis_client import command, redis_errors

_WINDOW_SECONDS = 60
# A Redis that hangs must not hold up what it is not needed for.
_PATIENCE_SECONDS = 1


class ProgressRate:
    """So many reports an operation in each minute of the clock."""

    def __init__(self, redis: Redis, per_minute: int) -> None:
        self._redis = redis
        self._per_minute = per_minute

    async def check(self, operation_id: str) -> None:
        """Look, and count nothing. Raises TooManyWebhooks, with the seconds until the next minute."""
        await self._judge(operation_id, self._look)

    async def count(self, operation_id: str) -> None:
        """Count one report. Raises TooManyWebhooks."""
        await self._judge(operation_id, self._count)

    async def _judge(self, operation_id: str, counted: Callable[[str], Awaitable[int]]) -> None:
        now = int(time.time())
        count = 0
        with contextlib.suppress(RedisUnavailable, TimeoutError):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                count = await counted(keys.webhook_rate(operation_id, now // _WINDOW_SECONDS))
        if count > self._per_minute:
            raise TooManyWebhooks(retry_after_seconds=_WINDOW_SECONDS - now % _WINDOW_SECONDS)

    async def _look(self, key: str) -> int:
        """As if one more had come."""
        return int(await command(self._redis, "GET", key) or 0) + 1

    async def _count(self, key: str) -> int:
        async with redis_errors(self._redis), self._redis.pipeline(transaction=True) as pipe:
            pipe.incr(key)
            pipe.expire(key, keys.WEBHOOK_RATE_TTL)
            count, _ = await pipe.execute()
        return int(count)
