"""How often progress may be reported. Counted in Redis, for all gateways together; while that is away, not limited.

The window is Redis's: it begins with its first report, so the clocks of gateways do not matter.
"""

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable

from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.errors import RedisUnavailable, TooManyWebhooks
from sluiceway.redis.client import command
from sluiceway.scripts import Scripts

_WINDOW_MS = 60_000
# A Redis that hangs must not hold up what it is not needed for.
_PATIENCE_SECONDS = 1


class ProgressRate:
    """So many reports an operation in a minute, which the first of them begins."""

    def __init__(self, redis: Redis, per_minute: int) -> None:
        self._redis = redis
        self._scripts = Scripts(redis)
        self._per_minute = per_minute

    async def check(self, operation_id: str) -> None:
        """Look, and count nothing. Raises TooManyWebhooks, with the seconds until the minute is over."""
        await self._judge(operation_id, self._look)

    async def count(self, operation_id: str) -> None:
        """Count one report. Raises TooManyWebhooks."""
        await self._judge(operation_id, self._count)

    async def _judge(self, operation_id: str, counted: Callable[[str], Awaitable[tuple[int, int]]]) -> None:
        count, left_ms = 0, 0
        with contextlib.suppress(RedisUnavailable, TimeoutError):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                count, left_ms = await counted(keys.webhook_rate(operation_id))
        if count > self._per_minute:
            raise TooManyWebhooks(retry_after_seconds=max(1, math.ceil(left_ms / 1000)))

    async def _look(self, key: str) -> tuple[int, int]:
        """As if one more had come."""
        count = int(await command(self._redis, "GET", key) or 0) + 1
        return count, await command(self._redis, "PTTL", key) if count > self._per_minute else 0

    async def _count(self, key: str) -> tuple[int, int]:
        count, left_ms = await self._scripts.run("operation/count_progress", [key], [_WINDOW_MS])
        return count, left_ms
