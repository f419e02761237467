"""Tools for the tests of whole turns. They meet their test at gates: keys in Redis that the test sets."""

import asyncio
import base64
import os
import signal

from pydantic import BaseModel
from sluiceway.wire.events import Data
from tool_runner.tool import Accepted, ToolContext, ToolFailed, tool


class Say(BaseModel):
    text: str
    times: int = 1


class Gate(BaseModel):
    gate: str


@tool(repeatable=True)
async def echo(arguments: Say) -> dict[str, str]:
    """Say the text again."""
    return {"said": " ".join([arguments.text] * arguments.times)}


@tool(repeatable=True)
async def wait_at(arguments: Gate, context: ToolContext) -> str:
    """Wait until the gate is open."""
    await context.progress(30, "waiting at the gate")
    await _opened(arguments.gate, context)
    await context.show(Data(type="data-gate", data={"gate": arguments.gate}))
    return f"through {arguments.gate}"


@tool(timeout_seconds=5)
async def once(arguments: Gate, context: ToolContext) -> str:
    """Wait at the gate; not to be run twice."""
    await _opened(arguments.gate, context)
    return "once"


@tool(approval=True)
async def careful(arguments: Say) -> str:
    """Say something, if a person agrees."""
    return f"carefully: {arguments.text}"


@tool
async def broken(arguments: Say) -> str:
    """Fail."""
    raise ToolFailed(f"cannot say {arguments.text}", type="SPEECHLESS")


@tool(deadline_seconds=3600)
async def outside(arguments: Say) -> Accepted:
    """Leave the work to somebody outside."""
    return Accepted()


@tool(deadline_seconds=2)
async def forgotten(arguments: Say) -> Accepted:
    """Leave the work to somebody outside who never answers."""
    return Accepted()


@tool
async def huge(arguments: Say) -> str:
    """Say very much."""
    return arguments.text * 50_000


@tool
async def deadly(arguments: Say) -> str:
    """End the process in the middle."""
    os.kill(os.getpid(), signal.SIGKILL)
    return "never"


@tool
async def draw(arguments: Say, context: ToolContext) -> dict[str, object]:
    """Draw a picture."""
    pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    return {"drawn": arguments.text, "files": [await context.keep_file("drawing.png", base64.b64decode(pixel))]}


async def _opened(gate: str, context: ToolContext) -> None:
    while not await context.redis.exists(f"test:{{{gate}}}"):  # noqa: ASYNC110 - another process opens it
        await asyncio.sleep(0.02)
