"""A tool that answers what it was called with, whatever that is."""

from typing import Any

from pydantic import BaseModel
from tool_runner.tool import tool


class Anything(BaseModel):
    value: Any = None


@tool(repeatable=True)
async def repeat_it(arguments: Anything) -> Any:
    """Repeat it."""
    return arguments.value
