"""Service processes without the price of their imports: forked from a process that has done them.

A service imports for half a second to two of processor time, and the tests start thousands of them: it was half of
what the whole suite computed. Here one process per test process has imported all services, with nothing running, no
thread and no event loop, and each service is a fork of it that takes its own environment, directory and log and calls
the main function of its console script. From there on it is a process like any other: signals, exit codes, its end
with the test run.

What a fork cannot have is done by a new interpreter: settings of the interpreter itself (`takes`). A test of what
stands in a process's environment block asks for one (`services.fork_server = None`). `make run` and `make chaos` know
nothing else.
"""

import atexit
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import coverage

from harness.processes.child import Child, die_with_parent

_POLL_SECONDS = 0.005
# Read by the interpreter, the loader or coverage when they start, or by what a program imports.
_OF_THE_INTERPRETER = ("PYTHON", "LD_", "MALLOC_", "COVERAGE_")
_PREFIX = "sluiceway-"
# What services import while they start and work.
_LATER = (
    "asyncpg.protocol.protocol",
    "encodings.idna",
    "multiprocessing.connection",
    "tiktoken_ext.openai_public",
    "uvicorn.lifespan.off",
    "uvicorn.protocols.http.httptools_impl",
)


class ForkServer:
    """Starts programs of this environment by their names. Its own process ends with the one that opened it."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self._environment = dict(environment)
        self._lock = threading.Lock()
        mine, its = socket.socketpair()
        self._socket, self._replies = mine, mine.makefile("rb")
        self._child = Child(
            "fork-server", [sys.executable, "-m", "harness.processes.fork_server", str(its.fileno())], log
        )
        self._child.start(environment=environment, directory=Path(__file__).parents[2], pass_fds=(its.fileno(),))
        its.close()

    def takes(self, program: str, environment: Mapping[str, str]) -> bool:
        return program.startswith(_PREFIX) and _of_interpreter(environment) == _of_interpreter(self._environment)

    def start(self, program: str, log: Path, environment: Mapping[str, str], directory: Path) -> "Forked":
        order = {"program": program, "log": str(log), "environment": dict(environment), "directory": str(directory)}
        return Forked(self, self.ask(order), program)

    def ask(self, order: Mapping[str, Any]) -> Any:
        with self._lock:
            self._socket.sendall(json.dumps(order).encode() + b"\n")
            reply = self._replies.readline()
        if not reply:
            raise RuntimeError(f"the fork server is gone:\n{self._child.output}")
        return json.loads(reply)

    def close(self) -> None:
        self._replies.close()
        self._socket.close()
        self._child.wait(20)


class Forked:
    """What `subprocess.Popen` is for a child of one's own."""

    def __init__(self, server: ForkServer, pid: int, program: str) -> None:
        self.pid = pid
        self._server = server
        self._program = program
        self._code: int | None = None

    def poll(self) -> int | None:
        if self._code is None:
            self._code = self._server.ask({"poll": self.pid})
        return self._code

    def wait(self, timeout: float) -> int:
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(self._program, timeout)
            time.sleep(_POLL_SECONDS)
        return code


def _of_interpreter(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_OF_THE_INTERPRETER)}


def _serve(orders: socket.socket) -> Callable[[], None]:
    """Until the other end is closed. In a child: the main function of its program, to be called once all of the
    server's is closed."""
    programs: dict[str, Callable[[], None]]
    programs = {one.name: one.load() for one in entry_points(group="console_scripts") if one.name.startswith(_PREFIX)}
    for name in _LATER:
        import_module(name)
    assert len(list(Path("/proc/self/task").iterdir()) if sys.platform == "linux" else [0]) == 1, "a thread runs"
    gc.collect()
    gc.freeze()
    with orders.makefile("rb") as lines:
        for line in lines:
            order = json.loads(line)
            if "poll" in order:
                reply = _ended(order["poll"])
            elif reply := os.fork():
                pass
            else:
                _become(order)
                return programs[order["program"]]
            orders.sendall(json.dumps(reply).encode() + b"\n")
    return lambda: None


def _ended(pid: int) -> int | None:
    done, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if done else None


def _become(order: dict[str, Any]) -> None:
    """All that an exec would have given it."""
    if (set_death_signal := die_with_parent(signal.SIGKILL)) is not None:
        set_death_signal()
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.chdir(order["directory"])
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv = [order["program"]]
    if "COVERAGE_PROCESS_START" in os.environ:
        _measure()


def _measure() -> None:
    """With coverage of its own; the server's counts what was imported."""
    if (inherited := coverage.Coverage.current()) is not None:
        inherited.stop()
        atexit.unregister(inherited._atexit)
    coverage.process_startup(force=True)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as _orders:
        _main = _serve(_orders)
    _main()
