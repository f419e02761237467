"""Task streams as the gateway sees them: what every browser that comes asks for is read on the hub's connection.

A storm of reconnects asks once a browser. On the hub's connection such reads are pipelined by themselves, wait in no
pool, and cost a tenth of the processor time. Everything else goes through the client of the shared library.
"""

from datetime import timedelta

from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.task_stream import TaskMeta, TaskStreams

from gateway.hub import Hub


class HubStreams(TaskStreams):
    def __init__(self, redis: Redis, hub: Hub, *, live_ttl: timedelta, retention: timedelta) -> None:
        super().__init__(redis, live_ttl=live_ttl, retention=retention)
        self._hub = hub

    async def meta(self, task_id: str) -> TaskMeta | None:
        fields = await self._hub.ask("HGETALL", keys.task_meta(task_id))
        return TaskMeta.parse(fields) if b"status" in fields and b"task_id" in fields else None

    async def active(self, session_id: str) -> str | None:
        value = await self._hub.ask("GET", keys.session_active(session_id))
        return value.decode() if value is not None else None
