"""A script and commands behind it, in one round trip and in that order.

The script's text is sent, not its digest: a server that had to be taught the script first would carry out the commands
before it.
"""

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from sluiceway import keys
from sluiceway.redis.client import answered, commands
from sluiceway.scripts import Argument, source
from sluiceway.wire.events import Event


async def script_then(
    redis: Redis, script: str, names: Sequence[str], arguments: Sequence[Argument], then: Sequence[Sequence[Argument]]
) -> tuple[str, list[Any]]:
    """The script's one word, and the answers of the commands, or the ResponseErrors that they got."""
    call = ("EVAL", source(script), len(names), *names, *arguments)
    word, *answers = await commands(redis, [call, *then], ordered=True)
    return answered(word).decode(), answers


def keys_of(task_id: str) -> list[str]:
    """The two keys that most scripts of a task's stream work on."""
    return [keys.task_meta(task_id), keys.task_events(task_id)]


def flat(events: Sequence[Event]) -> list[Argument]:
    """Events as scripts take them: type, JSON, type, JSON, …"""
    return [text for event in events for text in (event.type, event.encode())]
