"""The conversation that a tool was called in, for reading: texts, oldest first, within limits."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from sluiceway.store.records import Message
from sluiceway.wire.message import text_of

MAX_MESSAGES = 100
MAX_CHARS = 200_000


@dataclass(frozen=True, slots=True)
class Said:
    """One message. `role`: "user" or "assistant"."""

    role: str
    text: str


ReadConversation = Callable[[int], Awaitable[list[Said]]]


WriteDown = Callable[[str, str | None], Awaitable[int | None]]


async def nothing_said(_: int) -> list[Said]:
    return []


async def nothing_written(_name: str, _fact: str | None) -> int:
    return 0


def texts_of(messages: Sequence[Message]) -> list[Said]:
    """Those that have a text; at most MAX_CHARS of all, the newest kept, and of the oldest kept the end."""
    kept: list[Said] = []
    left = MAX_CHARS
    for message in reversed(messages):
        text = text_of(message.parts)[-left:] if left > 0 else ""
        if text:
            kept.append(Said(message.role, text))
            left -= len(text)
    return kept[::-1]
