"""The tasks that Redis knows: their metadata, the active one of each session, cancel flags and queue entries.

Guarantees: a task that is known is never registered again; a change to a task that Redis does not know creates nothing,
so every key keeps its TTL. Methods raise RedisUnavailable when it is away.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from sluiceway import keys
from sluiceway.process.retention import Retention
from sluiceway.redis.client import command, commands
from sluiceway.scripts import Scripts
from sluiceway.stream.ordered import keys_of
from sluiceway.stream.task_meta import TaskMeta
from sluiceway.stream.task_snapshot import TaskSnapshot
from sluiceway.wire.task import TaskFields


class TaskRegistry:
    def __init__(self, redis: Redis, retention: Retention) -> None:
        self._redis = redis
        self._scripts = Scripts(redis)
        self.live_ttl_ms = retention.live_ms

    async def create(self, task: TaskFields) -> bool:
        """Register a queued task, as the active one of its session. False when it is known already."""
        fields = [*task.flat(), "status", "queued", "attempt", "0"]
        active = keys.session_active(task.session_id)
        created, _ = await asyncio.gather(
            self._scripts.run("stream/create", [keys.task_meta(task.task_id)], [self.live_ttl_ms, *fields]),
            command(self._redis, "SET", active, task.task_id, "PX", self.live_ttl_ms),
        )
        return bool(created)

    async def meta(self, task_id: str) -> TaskMeta | None:
        return TaskMeta.read(await self._ask("HGETALL", keys.task_meta(task_id)))

    async def snapshots(self, task_ids: Sequence[str]) -> list[TaskSnapshot]:
        """What Redis knows of many tasks, in their order; one round trip."""
        asked = ([("HGETALL", meta), ("PTTL", meta), ("PTTL", events)] for meta, events in map(keys_of, task_ids))
        answers = iter(await commands(self._redis, [one for three in asked for one in three]))
        return [TaskSnapshot(fields, *left_ms) for fields, *left_ms in zip(answers, answers, answers, strict=True)]

    async def active(self, session_id: str) -> str | None:
        """The id of the session's running task, as far as Redis knows. One key, whatever the number of tasks."""
        value = await self._ask("GET", keys.session_active(session_id))
        return value.decode() if value is not None else None

    async def set_queue_entry(self, task_id: str, entry_id: str) -> None:
        """Note which queue entry asks for the task's next step."""
        await self._scripts.run("stream/set_if_live", [keys.task_meta(task_id)], ["entry", entry_id])

    async def set_owner(self, task_id: str, user_id: str) -> None:
        """From here on only that user follows the task, also when it has ended."""
        await self._scripts.run("stream/set_owner", [keys.task_meta(task_id)], [user_id])

    async def set_before(self, task_id: str, before: str) -> None:
        """Note of a live task what its message had before it; as of `TaskFields`."""
        await self._scripts.run("stream/set_if_live", [keys.task_meta(task_id)], ["before", before])

    async def request_cancel(self, task_id: str) -> bool:
        """Raise the flag that the holder looks at. False when Redis knows no such live task."""
        return bool(await self._scripts.run("stream/set_if_live", [keys.task_meta(task_id)], ["cancel", "1"]))

    async def refresh(self, task_ids: Sequence[str]) -> None:
        """Renew the TTLs of tasks that nobody holds at the moment; one round trip."""
        names = (name for task_id in task_ids for name in keys_of(task_id))
        await commands(self._redis, [("PEXPIRE", name, self.live_ttl_ms) for name in names])

    async def drop(self, task_id: str) -> None:
        """Forget a task and its stream, so that it may be registered again, under an attempt that nobody has seen."""
        await commands(self._redis, [("DEL", name) for name in keys_of(task_id)])

    async def inactive(self, session_id: str, task_id: str) -> None:
        """The session's running task is not that one any more."""
        await self._scripts.run("stream/delete_if_equal", [keys.session_active(session_id)], [task_id])

    async def scan(self, cursor: int, count: int) -> tuple[int, list[str]]:
        """Some of the tasks that Redis knows, about that many keys further; and where to continue, 0 at the end."""
        after, found = await command(self._redis, "SCAN", cursor, "MATCH", keys.TASK_METAS, "COUNT", count)
        return int(after), [keys.task_of_meta(key.decode()) for key in found]

    async def _ask(self, *arguments: str) -> Any:
        """How the reads that every follower begins with are sent."""
        return await command(self._redis, *arguments)
