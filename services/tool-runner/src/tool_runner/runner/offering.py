"""Offering this runner's tools: announced while it is ready, withdrawn first of all when it is to end."""

import asyncio
import time

from redis.asyncio import Redis
from sluiceway.errors import RedisUnavailable
from sluiceway.operation.catalogue import RENEW_SECONDS, VALID_MS, announce, withdraw
from sluiceway.process.few_lines import FewLines
from sluiceway.process.lifecycle import Stopping
from sluiceway.process.logs import get_logger
from sluiceway.service.readiness import Readiness
from sluiceway.wire.tools import ToolSpec

from tool_runner.runner.registry import Registry

# A runner that is not ready looks again sooner, and so does one whose tools have changed.
_LOOK_SECONDS = 0.2
_WITHDRAW_SECONDS = 1
_PART = "catalogue"


class Offering:
    """`run` is its one task."""

    def __init__(self, redis: Redis, runner: str, registry: Registry, readiness: Readiness, stopping: Stopping) -> None:
        self._redis = redis
        self._runner = runner
        self._registry = registry
        self._readiness = readiness
        self._stopping = stopping
        self._offered: list[ToolSpec] | None = None
        self._offered_at = 0.0
        self._changes = FewLines()
        readiness.ask(_PART, self._problem)

    async def run(self) -> None:
        """Announce until the process is to end; then withdraw."""
        try:
            while not self._stopping:
                await self._look()
                await self._stopping.sleep(_LOOK_SECONDS)
        finally:
            await asyncio.shield(self._withdraw())

    async def _look(self) -> None:
        """Announce what is new, or was announced a while ago; withdraw when this runner cannot run anything."""
        specs = self._registry.specs()
        due = time.monotonic() - self._offered_at >= RENEW_SECONDS
        try:
            if not self._readiness.problems(without=_PART):
                if due or specs != self._offered:
                    await announce(self._redis, self._runner, specs, VALID_MS)
                    self._remember(specs)
            elif self._offered is not None:
                await withdraw(self._redis, self._runner)
                self._remember(None)
        except RedisUnavailable as error:
            get_logger().warning("catalogue_not_announced", reason=str(error))
            await self._stopping.sleep(RENEW_SECONDS / 2)

    def _problem(self) -> str | None:
        offered = self._offered is not None and self._age < VALID_MS / 1000
        return None if offered else "not announced yet"

    @property
    def _age(self) -> float:
        return time.monotonic() - self._offered_at

    def _remember(self, specs: list[ToolSpec] | None) -> None:
        if specs is not None and specs != self._offered:
            self._changes.info("tools_offered", tools=[spec.name for spec in specs])
        self._offered, self._offered_at = specs, time.monotonic()

    async def _withdraw(self) -> None:
        self._offered = None
        try:
            async with asyncio.timeout(_WITHDRAW_SECONDS):
                await withdraw(self._redis, self._runner)
        except (RedisUnavailable, TimeoutError) as error:
            get_logger().warning("catalogue_not_withdrawn", reason=str(error))  # it expires by itself
