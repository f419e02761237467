"""llama.cpp's own server with the small model of `make run`, as a process of a test."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sluiceway_local.model import program

from harness.processes.child import Child
from harness.processes.ports import free_port
from harness.processes.services import probe
from harness.waiting import wait_until


@asynccontextmanager
async def llama_cpp(directory: Path) -> AsyncIterator[str]:
    """Its address, as a client of the OpenAI API is given it."""
    port = free_port()
    child = Child("llama", [sys.executable, *program(port).command[1:]], directory / "llama.log")
    child.start(environment={}, directory=directory)

    async def is_up() -> bool:
        return await probe(f"http://127.0.0.1:{port}", "/health") == 200

    try:
        await wait_until(is_up, timeout=60, what="llama.cpp has loaded its model")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        child.end()
