"""A child process of the tests: started with its output in a file, signalled and ended by its own pid.

A child never outlives the test run, not even one that was killed: on Linux the kernel ends it with its parent.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

_PR_SET_PDEATHSIG = 1


def die_with_parent(with_signal: signal.Signals) -> Callable[[], None] | None:
    """What the child must call before its exec so that it gets `with_signal` when the test process is gone."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(_PR_SET_PDEATHSIG, int(with_signal))


class Process(Protocol):
    """Of `subprocess.Popen`, what a child is asked for."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float) -> int: ...


class Child:
    """One operating system process and what it printed."""

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
        self.command = list(command)
        self.log = log
        self._process: Process | None = None

    def start(
        self,
        environment: Mapping[str, str] | None = None,
        at_parents_death: signal.Signals = signal.SIGKILL,
        directory: Path | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        """Start it; its output is appended to the log of its earlier lives."""
        self.adopt(lambda: self._execute(environment, at_parents_death, directory, pass_fds))

    def adopt(self, start: Callable[[], Process]) -> None:
        """Start it in another way, which writes to `log`."""
        assert not self.alive, f"{self.name} runs already"
        self._process = start()

    def _execute(
        self,
        environment: Mapping[str, str] | None,
        at_parents_death: signal.Signals,
        directory: Path | None,
        pass_fds: Sequence[int],
    ) -> Process:
        with self.log.open("ab") as output:
            return subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if environment is None else dict(environment),
                cwd=directory,
                pass_fds=pass_fds,
                preexec_fn=die_with_parent(at_parents_death),
            )

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} was never started"
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: ended by that signal."""
        return None if self._process is None else self._process.poll()

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self, timeout: float) -> int:
        """Its exit code. Raises subprocess.TimeoutExpired when it still runs after `timeout` seconds."""
        assert self._process is not None, f"{self.name} was never started"
        return self._process.wait(timeout)

    def end(self, number: signal.Signals = signal.SIGTERM, timeout: float = 20.0) -> int:
        """Signal it and wait; what does not go by itself is killed, and that is an error."""
        if not self.alive:
            return self.wait(timeout)
        self.send(number)
        try:
            return self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGKILL)
            self.wait(timeout)
            raise AssertionError(
                f"{self.name} did not end within {timeout} s of {number.name}\n{self.output}"
            ) from None

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""
