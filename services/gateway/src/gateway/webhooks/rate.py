"""How often progress may be reported. Counted in Redis, for all gateways together; while that is away, not limited.

The window is Redis's: it begins with its first report, so the clocks of gateways do not matter.
"""

import asyncio
import contextlib
import math

from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.errors import RedisUnavailable, TooManyWebhooks
from sluiceway.scripts import Scripts

_WINDOW_MS = 60_000
# A Redis that hangs must not hold up what it is not needed for.
_PATIENCE_SECONDS = 1


class ProgressRate:
    """So many reports an operation in a minute, which the first of them begins."""

    def __init__(self, redis: Redis, per_minute: int) -> None:
        self._scripts = Scripts(redis)
        self._per_minute = per_minute

    async def check(self, operation_id: str) -> None:
        """Count one report. Raises TooManyWebhooks, with the seconds until the minute is over."""
        count, left_ms = 0, 0
        with contextlib.suppress(RedisUnavailable, TimeoutError):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                key = keys.webhook_rate(operation_id)
                count, left_ms = await self._scripts.run("operation/count_progress", [key], [_WINDOW_MS])
        if count > self._per_minute:
            raise TooManyWebhooks(retry_after_seconds=max(1, math.ceil(left_ms / 1000)))
