"""How often somebody may do something: so many in any window of time, counted in Redis for all gateways together.

While Redis is away, has no memory left, or does not answer quickly, each gateway counts `Rates` for itself: limits are
then as many times as large as there are gateways, and nobody is refused because of Redis. See `lua/limits/count.lua`
for how a window slides, by Redis's clock.
"""

import asyncio
import math
import time
from collections import OrderedDict
from dataclasses import dataclass

from redis.asyncio import Redis
from redis.exceptions import RedisError
from sluiceway import keys
from sluiceway.errors import RedisUnavailable
from sluiceway.scripts import Scripts

# A Redis that hangs must not hold up what it is not needed for.
_PATIENCE_SECONDS = 0.5
# For so long it is not asked after it failed.
_REST_SECONDS = 5.0
_MOST_COUNTED_HERE = 20_000


@dataclass(frozen=True, slots=True)
class Limit:
    """`count` in each `seconds`; 0: as many as one likes. `name` tells it from others of the same person."""

    name: str
    count: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Taken:
    """`seconds`: until one more is allowed, or until some are given back."""

    allowed: bool
    limit: int
    remaining: int
    seconds: int


class SharedCounts:
    """The counts in Redis."""

    def __init__(self, redis: Redis, patience_seconds: float) -> None:
        self._scripts = Scripts(redis)
        self._patience_seconds = patience_seconds

    async def take(self, limit: Limit, who: str) -> Taken:
        """Count one. What is refused is not counted. Raises RedisUnavailable, also where it does not answer quickly."""
        return await self._ask(limit, who)

    async def look(self, limit: Limit, who: str) -> Taken:
        """Whether one more would be allowed; nothing is counted. Raises RedisUnavailable likewise."""
        return await self._ask(limit, who, "look")

    async def _ask(self, limit: Limit, who: str, *how: str) -> Taken:
        key = keys.rate(limit.name, who)
        try:
            async with asyncio.timeout(self._patience_seconds):
                answer = await self._scripts.run("limits/count", [key], [limit.count, limit.seconds * 1000, *how])
        except (RedisError, TimeoutError) as error:
            raise RedisUnavailable(f"{type(error).__name__}: {error}") from error
        return _taken(limit, *map(int, answer))


class Rates:
    def __init__(self, redis: Redis) -> None:
        self._shared = SharedCounts(redis, _PATIENCE_SECONDS)
        self._here = LocalCounts()
        self._asked_again_at = 0.0

    async def take(self, limit: Limit, who: str) -> Taken:
        """Count one. What is refused is not counted."""
        if time.monotonic() >= self._asked_again_at:
            try:
                return await self._shared.take(limit, who)
            except RedisUnavailable:
                self._asked_again_at = time.monotonic() + _REST_SECONDS
        counted = self._here.take(keys.rate(limit.name, who), limit.count, limit.seconds * 1000, time.time() * 1000)
        return _taken(limit, *counted)


class LocalCounts:
    """The same counting as `lua/limits/count.lua`, in this process. Who was not seen for longest is forgotten first."""

    def __init__(self) -> None:
        self._counts: OrderedDict[str, tuple[int, int, int]] = OrderedDict()

    def take(self, key: str, limit: int, window_ms: int, now_ms: float) -> tuple[int, int, int]:
        number = int(now_ms // window_ms)
        passed = now_ms - number * window_ms
        known, count, before = self._counts.get(key, (number, 0, 0))
        if known != number:
            count, before = 0, count if number - known == 1 else 0
        used = count + before * (window_ms - passed) / window_ms
        if used + 1 > limit:
            return 0, 0, _wait_ms(limit, count, before, window_ms, passed)
        self._counts[key] = number, count + 1, before
        self._counts.move_to_end(key)
        if len(self._counts) > _MOST_COUNTED_HERE:
            self._counts.popitem(last=False)
        return 1, math.floor(limit - used - 1), round(window_ms - passed)


def _wait_ms(limit: int, count: int, before: int, window_ms: int, passed: float) -> int:
    if count + 1 > limit:
        return math.ceil(window_ms - passed + window_ms * max(0.0, 1 - (limit - 1) / count))
    return math.ceil(window_ms * (1 - (limit - count - 1) / before) - passed)


def _taken(limit: Limit, allowed: int, remaining: int, wait_ms: int) -> Taken:
    return Taken(bool(allowed), limit.count, remaining, max(1, math.ceil(wait_ms / 1000)))
