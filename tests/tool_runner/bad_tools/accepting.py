"""Tools whose work somebody else goes on with, in every way in which they may say so; and what tools get to know."""

from typing import Any

from sluiceway.wire.events import Data
from tool_runner.tool import Accepted, ToolContext, ToolFailed, tool


@tool
async def accepted() -> Accepted:
    """As an object."""
    return Accepted()


@tool
async def accepted_dict() -> dict[str, Any]:
    """As a dictionary."""
    return {"status": "accepted"}


@tool
async def accepted_with_more() -> dict[str, Any]:
    """As a dictionary with more in it."""
    return {"status": "accepted", "job": 7, "eta": "soon"}


@tool
def accepted_text() -> str:
    """As JSON text, from a thread."""
    return ' {"status": "accepted", "job": 7}'


@tool
async def not_accepted() -> dict[str, Any]:
    """No such thing."""
    return {"status": "done", "was": "accepted"}


@tool
async def knows(context: ToolContext) -> dict[str, Any]:
    """What a tool gets to know."""
    said = [[one.role, one.text] for one in await context.conversation()]
    return {"callback_url": context.callback_url, "secret": context.secret, "said": said, "shown": repr(context)}


class Mute(Exception):
    """It cannot say what it is."""

    def __str__(self) -> str:
        raise ValueError("no words")


@tool
async def mute() -> str:
    """Raises what cannot be told."""
    raise Mute


@tool
async def odd_failure() -> str:
    """Fails in characters that nobody takes."""
    raise ToolFailed("nul \x00 half \ud83d", type="ODD\x00")


@tool(title="nul \x00 title")
async def odd_words(context: ToolContext) -> Any:
    """Says what no database takes: \x00 and half of a pair."""
    await context.progress(percent="half", message="nul \x00 half \ud83d", data={"\x00": "\ud83d"})  # type: ignore[arg-type]
    await context.show(Data(type="data-odd", id="\x00", data={"text": "\ud83d", "deep": _deep()}))
    await context.show(Data(type="data-odd", data="x" * 1_000_000))
    return {"nul": "\x00", "half": "\ud83d", "number": float("nan"), "deep": _deep()}


def _deep() -> Any:
    value: Any = "bottom"
    for _ in range(150):
        value = [value]
    return value
