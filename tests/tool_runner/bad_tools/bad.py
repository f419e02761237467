"""Tools that do everything that a tool must not do, and a few that behave."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import date
from typing import Any

from pydantic import BaseModel, Field
from sluiceway.wire.events import Data
from tool_runner.tool import Tool, ToolContext, ToolFailed, tool

left: list[asyncio.Task[None]] = []


async def _deaf() -> None:
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


class Place(BaseModel):
    place: str = "somewhere"


class Sum(BaseModel):
    left: int
    right: int = Field(ge=0)


class Pair(BaseModel):
    name: str
    on: date


@dataclass
class Point:
    x: int
    y: float


@tool
async def add(arguments: Sum) -> int:
    """Add."""
    return arguments.left + arguments.right


@tool
def add_in_thread(arguments: Sum, context: ToolContext) -> dict[str, Any]:
    """Add, without a loop."""
    context.progress_nowait(50, "adding")
    context.show_nowait(Data(type="data-sum", data=arguments.left + arguments.right))
    return {"sum": arguments.left + arguments.right, "user": context.user_id, "attempt": context.attempt}


@tool
async def model_result() -> Pair:
    """A model."""
    return Pair(name="ü", on=date(2026, 11, 22))


@tool
async def dataclass_result() -> Point:
    """A dataclass."""
    return Point(1, float("nan"))


@tool
async def raises() -> None:
    """Raise."""
    raise KeyError("the reason" + "!" * 10_000)


@tool
async def fails() -> None:
    """Fail in a known way."""
    raise ToolFailed("No bananas today.", type="NO_BANANAS")


@tool
async def leaves() -> None:
    """Call sys.exit."""
    sys.exit(3)


@tool
def leaves_in_thread() -> None:
    """Call sys.exit in a thread."""
    sys.exit(3)


@tool(timeout_seconds=0.3)
async def hangs() -> None:
    """Wait for ever."""
    await asyncio.Event().wait()


@tool(timeout_seconds=0.3)
async def hangs_stubbornly() -> None:
    """Wait for ever, whatever one says."""
    await _deaf()


@tool(timeout_seconds=0.3)
def hangs_in_thread(arguments: Place) -> None:
    """Wait for ever, where nobody can interrupt."""
    time.sleep(600)


@tool(timeout_seconds=0.3)
async def hangs_in_executor() -> None:
    """Wait for ever, in a thread that the event loop waits for at its end."""
    await asyncio.to_thread(time.sleep, 600)


@tool
async def leaves_a_task() -> str:
    """Answer, and leave a task that does not end."""
    left.append(asyncio.create_task(_deaf(), name="left-by-a-tool"))
    return "here"


@tool
def prints(arguments: Place) -> str:
    """Print in all ways."""
    print(f"on stdout at {arguments.place}")
    print("on stderr", file=sys.stderr)
    print("without end", end="")
    sys.stdout.write("\n{not json}\n")
    subprocess.run(["echo", "from a child"], check=True)
    os.write(1, b"raw bytes \xff\n")
    return "printed"


@tool
async def wrong_type() -> object:
    """Return no JSON."""
    return object()


@tool
async def circular() -> list[Any]:
    """Return what has no end."""
    endless: list[Any] = []
    endless.append(endless)
    return endless


@tool
async def bytes_that_are_no_text() -> bytes:
    """Return bytes."""
    return b"\xff\xfe"


@tool
async def too_large() -> str:
    """Return too much."""
    return "x" * (2 * 1024 * 1024)


@tool
async def poisonous() -> dict[str, Any]:
    """Return what clients and Postgres refuse."""
    return {"__proto__": {"admin": True}, "text": "nul \x00 and \ud800", "inf": float("inf")}


@tool
async def kills() -> None:
    """End the process."""
    os.kill(os.getpid(), signal.SIGKILL)


@tool(repeatable=True)
async def kills_again() -> None:
    """End the process, each time."""
    os.kill(os.getpid(), signal.SIGKILL)


@tool(repeatable=True)
async def waits(arguments: Place, context: ToolContext) -> str:
    """Wait for the gate; may be repeated."""
    return await _wait(arguments.place, context)


@tool
async def waits_once(arguments: Place, context: ToolContext) -> str:
    """Wait for the gate; must not be repeated."""
    return await _wait(arguments.place, context)


@tool(concurrency=1)
async def one_at_a_time(arguments: Place, context: ToolContext) -> str:
    """Wait for the gate, one after the other."""
    return await _wait(arguments.place, context)


@tool(long=True)
async def long_work(arguments: Place, context: ToolContext) -> str:
    """Say how far it is."""
    for percent in range(0, 100, 5):
        await context.progress(percent, f"at {percent}", {"step": percent})
        await context.show(Data(type="data-step", id=str(percent), data=percent))
        await asyncio.sleep(0.02)
    return await _wait(arguments.place, context)


@tool(approval=True)
async def dangerous(arguments: Place) -> str:
    """Only with a person's agreement."""
    return "done"


class Greeter(Tool[Pair]):
    """A tool as a class, with a run that is not async."""

    name = "greet"
    description = "Greets."
    Input = Pair

    def run(self, arguments: Pair, context: ToolContext) -> Any:
        return f"Hello {arguments.name}"


async def _wait(place: str, context: ToolContext) -> str:
    await context.redis.rpush(f"test:{{{place}-began}}", str(context.attempt))
    await context.redis.expire(f"test:{{{place}-began}}", 600)
    while not await context.redis.exists(f"test:{{{place}}}"):  # noqa: ASYNC110 - another process opens it
        await asyncio.sleep(0.02)
    return f"through {place}"
