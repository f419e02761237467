"""Agent events as tests publish them, and as Redis has them."""

from typing import Any

from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.feeds.agent_events import AgentEvent, AgentStreams


async def publish(streams: AgentStreams, task_id: str, count: int) -> list[AgentEvent]:
    return [await streams.publish(task_id, "engineer", "thought", f"{task_id} {n}") for n in range(count)]


def numbers(events: list[AgentEvent]) -> list[int]:
    return [event.sequence for event in events]


async def stored(redis: Redis, task_id: str, slot: int) -> list[tuple[str, dict[bytes, bytes]]]:
    found: Any = await redis.xrange(keys.agent_events(task_id, slot))
    return [(entry_id.decode(), fields) for entry_id, fields in found]
