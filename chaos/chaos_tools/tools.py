"""The tools of a chaos run. What `tally` does cannot be taken back: a line in the file that TALLY_FILE names."""

import asyncio
import os
from pathlib import Path

from pydantic import BaseModel
from tool_runner.tool import ToolContext, tool


class Text(BaseModel):
    text: str


class Work(Text):
    seconds: float


@tool(repeatable=True)
async def look_up(arguments: Text) -> dict[str, str]:
    """Look something up."""
    return {"found": arguments.text}


@tool
async def tally(arguments: Work) -> dict[str, str]:
    """Count something. Not to be run twice."""
    _note(arguments.text)
    await asyncio.sleep(arguments.seconds)
    return {"counted": arguments.text}


@tool(repeatable=True, long=True)
async def long_walk(arguments: Work, context: ToolContext) -> dict[str, str]:
    """Take a long walk, and tell of it on the way."""
    for part in range(4):
        await asyncio.sleep(arguments.seconds / 4)
        await context.progress(25 * (part + 1), "walking")
    return {"walked": arguments.text}


def _note(text: str) -> None:
    with Path(os.environ["TALLY_FILE"]).open("a") as file:
        file.write(f"{text}\n")
