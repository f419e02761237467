"""The registry of tasks, with the reads that every browser begins with sent on the hub's connection.

A storm of reconnects asks once a browser. On the hub's connection such reads are pipelined by themselves, wait in no
pool, and cost a tenth of the processor time. Everything else goes through the client of the shared library.
"""

from typing import Any

from redis.asyncio import Redis
from sluiceway.process.retention import Retention
from sluiceway.stream.registry import TaskRegistry

from gateway.fanout.hub import Hub


class HubRegistry(TaskRegistry):
    def __init__(self, redis: Redis, hub: Hub, retention: Retention) -> None:
        super().__init__(redis, retention)
        self._hub = hub

    async def _ask(self, *arguments: str) -> Any:
        return await self._hub.ask(*arguments)
