"""What chat workers tell gateways of their models: how many tokens each takes, prompt and answer together.

Guarantees: it expires a minute after the last worker that told it. Where nothing is told, nothing is refused for it.
"""

from collections.abc import Mapping

from pydantic import TypeAdapter, ValidationError
from redis.asyncio import Redis

from sluiceway import keys
from sluiceway.redis.client import command

DEFAULT = ""
"""In place of a name: the model of turns that name none."""
_VALID_MS = 60_000
_WINDOWS: TypeAdapter[dict[str, int]] = TypeAdapter(dict[str, int])


async def publish_windows(redis: Redis, windows: Mapping[str, int]) -> None:
    """Raises RedisUnavailable."""
    if windows:
        await command(redis, "SET", keys.WINDOWS, _WINDOWS.dump_json(dict(windows)), "PX", _VALID_MS)


async def read_windows(redis: Redis) -> dict[str, int]:
    """By model. Raises RedisUnavailable."""
    told = await command(redis, "GET", keys.WINDOWS)
    try:
        return _WINDOWS.validate_json(told) if told is not None else {}
    except ValidationError:
        return {}  # of a version that says it otherwise
