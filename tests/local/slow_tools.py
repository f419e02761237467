"""Tools for a runner that is to be caught in the middle of one: this file is copied into the TOOLS_DIR of a test."""

import threading
from pathlib import Path

from pydantic import BaseModel
from tool_runner.tool import ToolContext, tool


class Place(BaseModel):
    path: str


@tool(repeatable=True)
def wait_at_gate(arguments: Place, context: ToolContext) -> dict[str, int]:
    """Waits until somebody opens the pipe of that name for writing, and closes it."""
    context.progress_nowait(percent=10, message="waiting")
    Path(arguments.path).read_bytes()
    return {"attempt": context.attempt}


@tool
def never_ends(arguments: Place) -> None:
    """Says that it has begun, by making the file, and hears nothing more."""
    Path(arguments.path).touch()
    threading.Event().wait()
