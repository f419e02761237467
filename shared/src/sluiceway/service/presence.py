"""Which workers are there and ready: a sorted set per kind, member = worker, score = until when (ms since 1970).

A gateway's readiness stands on it: a message is answered only when a worker is there to answer it. Times are Redis's,
in the scripts, so a machine whose clock is wrong neither misses workers nor sees dead ones.
"""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import timedelta

from redis.asyncio import Redis

from sluiceway import keys
from sluiceway.errors import RedisUnavailable
from sluiceway.process.logs import get_logger
from sluiceway.redis.client import command
from sluiceway.scripts import Scripts

_PERIOD = timedelta(seconds=2)
# A worker that is not ready looks again sooner: until it has announced itself, no gateway is ready.
_UNREADY_PERIOD = timedelta(milliseconds=200)
_VALID_MS = 7000
_LEAVE_SECONDS = 1


async def count_live(redis: Redis, kind: str) -> int:
    """How many ready workers of that kind there are now."""
    return int(await Scripts(redis).run("service/count_workers", [keys.live_workers(kind)]))


class Presence:
    """Announces one worker for as long as `ready` says so; `run` is its one task."""

    def __init__(self, redis: Redis, kind: str, worker: str, ready: Callable[[], bool]) -> None:
        self._redis = redis
        self._scripts = Scripts(redis)
        self._key = keys.live_workers(kind)
        self._worker = worker
        self._ready = ready
        self._log = get_logger()

    async def run(self) -> None:
        """Announce until cancelled; then say goodbye."""
        try:
            while True:
                announced = True
                try:
                    announced = await self._announce()
                except RedisUnavailable as error:
                    self._log.warning("presence_delayed", reason=str(error))
                await asyncio.sleep((_PERIOD if announced else _UNREADY_PERIOD).total_seconds())
        finally:
            await asyncio.shield(self._leave())

    async def _announce(self) -> bool:
        """Whether the worker is ready, and now known to be."""
        if not self._ready():
            await command(self._redis, "ZREM", self._key, self._worker)
            return False
        await self._scripts.run("service/announce_worker", [self._key], [self._worker, _VALID_MS])
        return True

    async def _leave(self) -> None:
        with contextlib.suppress(RedisUnavailable, TimeoutError):  # it expires by itself
            async with asyncio.timeout(_LEAVE_SECONDS):
                await command(self._redis, "ZREM", self._key, self._worker)
