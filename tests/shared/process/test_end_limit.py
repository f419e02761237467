"""A process that is told to end does, whatever it waits for: a task, a thread, a wait of its own."""

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest

from harness.processes.child import Child
from harness.waiting import wait_until

pytestmark = pytest.mark.requirement("CC-10")
_PROGRAM = """
import asyncio, sys, threading, time
from sluiceway.process.lifecycle import Stopping, stop_on_signals
from sluiceway.process.logs import configure_logging
from sluiceway.process.starting import _served
import uvloop

async def deaf():
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass

async def serve():
    stopping = Stopping()
    with stop_on_signals(stopping, 0.5 if sys.argv[1] == "wait" else 60):
        print("listening", flush=True)
        await stopping.wait()
        match sys.argv[1]:
            case "wait":
                await asyncio.Event().wait()
            case "task":
                asyncio.create_task(deaf(), name="the task")
                await asyncio.sleep(0)
            case "thread":
                threading.Thread(target=time.sleep, args=(600,), name="the thread").start()
            case "executor":
                asyncio.get_running_loop().run_in_executor(None, time.sleep, 600)

configure_logging("deaf", "json", "INFO")
uvloop.run(_served(serve()))
"""


@pytest.mark.parametrize(
    ("kind", "code", "named"),
    [
        ("wait", 1, "Task-1 (locks.py:"),
        ("task", 0, "the task (locks.py:"),
        ("thread", 0, "the thread"),
        ("executor", 0, "uvloop_0"),
    ],
)
async def test_whatever_it_waits_for_it_ends_and_says_what_that_was(
    kind: str, code: int, named: str, tmp_path: Path
) -> None:
    child = Child(kind, [sys.executable, "-c", _PROGRAM, kind], tmp_path / "log")
    child.start()
    await wait_until(lambda: "listening" in child.output, 60, "it listens to signals")
    assert await asyncio.to_thread(child.end, signal.SIGTERM, 20) == code
    told = json.loads(child.output.splitlines()[-1])
    assert (told["event"], told["level"]) == ("end_forced", "error" if code else "warning")
    assert any(name.startswith(named) for name in told["tasks"] + told["threads"]), told
