"""A test that hangs is ended, and told with where it stood: every thread, and every task down to what it awaits.

pytest's own `faulthandler_timeout` shows threads, and of an event loop only that it waits; and what one of
pytest-xdist's processes wrote is far from the failure that is shown. It remains for a process that hangs in C code.
"""

import asyncio
import contextlib
import faulthandler
import gc
import os
import shutil
import tempfile
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from sluiceway.process.end_limit import frames_of

# The slowest test takes a third of this.
LIMIT_SECONDS = 300.0
_DIRECTORY = "hanging_directory"


class HangWatch:
    """A pytest plugin. What a process of pytest-xdist tells is shown at the end by the one that started it."""

    def __init__(self, config: pytest.Config, seconds: float = LIMIT_SECONDS) -> None:
        self._seconds = seconds
        # Captured while tests run; not yet.
        self._stderr = os.dup(2)
        told: dict[str, str] = getattr(config, "workerinput", {})
        self._is_worker = _DIRECTORY in told
        self._directory = Path(told[_DIRECTORY] if self._is_worker else tempfile.mkdtemp(prefix="sluiceway-hanging-"))

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """pytest-xdist starts a process."""
        node.workerinput[_DIRECTORY] = str(self._directory)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        watch = threading.Timer(self._seconds, self._end, [item.nodeid])
        watch.daemon = True
        watch.start()
        try:
            return (yield)
        finally:
            watch.cancel()

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for told in sorted(self._directory.iterdir()):
            terminalreporter.section("where a test hung")
            terminalreporter.write(told.read_text())

    def pytest_unconfigure(self) -> None:
        if not self._is_worker:
            shutil.rmtree(self._directory, ignore_errors=True)

    def _end(self, test: str) -> None:
        with (self._directory / str(os.getpid())).open("w+") as told:
            print(f"{test} took {self._seconds} s. Its process was ended.", file=told, flush=True)
            faulthandler.dump_traceback(told)
            with contextlib.suppress(Exception):  # whatever a thread that runs on changes meanwhile
                for task in waiting_tasks():
                    print("", *task, sep="\n", file=told, flush=True)
            told.seek(0)
            os.write(self._stderr, told.read().encode())
        os._exit(1)


def waiting_tasks() -> Iterator[list[str]]:
    """Of each task of any event loop its name, and where it and all that it awaits stand, outermost first."""
    for task in gc.get_objects():
        if isinstance(task, asyncio.Task) and not task.done():
            stands = (f"  {at.f_code.co_filename}:{at.f_lineno} in {at.f_code.co_name}" for at in frames_of(task))
            yield [f"Task {task.get_name()!r} waits in", *stands]
