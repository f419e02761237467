"""A flusher, and the streams that it writes to, without the worker's process."""

from chat_worker.flusher import Flusher, StreamWriter
from redis.asyncio import Redis
from sluiceway.scripts import Scripts
from sluiceway.wire.events import (
    TextDelta,
)
from sluiceway.wire.task import TaskFields

from harness.clients.turns import Streams
from harness.retention import retention


class Desk:
    """A worker process's flusher, running, and the streams it writes to."""

    def __init__(self, redis: Redis) -> None:
        self.streams = Streams(redis, retention(live_seconds=60))
        self.scripts = Scripts(redis)
        self.flusher = Flusher(self.scripts, live_ttl_ms=60_000)

    async def writer(self, task_id: str, attempt: int = 1) -> StreamWriter:
        task = TaskFields(task_id, "ses_1", None, "msg_1", "2026-11-22T00:00:00+00:00")
        await self.streams.registry.create(task)
        await self.streams.writer.begin(task, attempt)
        return self.flusher.open(task_id, attempt)

    async def text(self, task_id: str) -> str:
        events = [entry.event for entry in await self.streams.reader.read(task_id)]
        return "".join(event.delta for event in events if isinstance(event, TextDelta))

    async def quiet_since(self, task_id: str) -> int | None:
        meta = await self.streams.registry.meta(task_id)
        assert meta is not None
        return meta.quiet_since
