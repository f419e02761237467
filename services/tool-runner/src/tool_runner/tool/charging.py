"""How a tool tells what it has asked of the model, so that it is charged to its turn."""

from collections.abc import Awaitable, Callable
from typing import Literal

from sluiceway_llm.model_events import ModelRequest, Usage

# The request, how it ended, what the server told that it used, how many characters it said. Never raises.
Charge = Callable[[ModelRequest, Literal["answered", "failed", "stopped"], Usage | None, int], Awaitable[None]]


async def nothing_charged(_request: ModelRequest, _outcome: str, _used: Usage | None, _said_chars: int) -> None:
    pass
