"""Tools whose work somebody else goes on with, in every way in which they may say so; and what tools get to know."""

from typing import Any

from tool_runner.tool import Accepted, ToolContext, tool


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
