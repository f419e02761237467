"""One child process: started, its output told line by line, started again when it dies, ended.

Guarantees: what ends without being told to is started again, at first at once, then with growing pauses; a program
that never gets ready even once is given up (CannotRun). A child has a session of its own, so Ctrl-C in the terminal
reaches the supervisor only, and it never outlives the supervisor (see launcher). It has ended when it has: what it left
behind may hold its output open for ever, and neither its next start nor the supervisor's end waits for that.
"""

import asyncio
import os
import signal
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from sluiceway_local import launcher
from sluiceway_local.display import Display
from sluiceway_local.errors import CannotRun

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 10.0
HEALTHY_AFTER_SECONDS = 30.0
HOPELESS_STARTS = 3
PROBE_EVERY_SECONDS = 0.05
LONGEST_LINE = 64 * 1024
LOOK_EVERY_SECONDS = 0.5
LAST_OUTPUT_SECONDS = 1.0  # for what it had said, and nobody had read yet
KILLED_SECONDS = 5.0


async def _nothing() -> None:
    return None


@dataclass(frozen=True)
class Program:
    """What to run. `ready` says whether it answers, `before` runs ahead of every start."""

    name: str
    command: tuple[str, ...]
    ready: Callable[[], Awaitable[bool]]
    environment: Mapping[str, str] = field(default_factory=dict)
    before: Callable[[], Awaitable[None]] = _nothing
    stop_signal: signal.Signals = signal.SIGTERM
    orphan_signal: signal.Signals = signal.SIGKILL  # what the kernel sends when the supervisor was killed
    user: str | None = None
    quiet: bool = False  # what it says is shown only when it dies


async def launch(program: Program, stdin: int = asyncio.subprocess.DEVNULL) -> asyncio.subprocess.Process:
    """Its process, with stdout and stderr in one pipe."""
    return await asyncio.create_subprocess_exec(
        *launcher.command(program.orphan_signal, program.user),
        *program.command,
        stdin=stdin,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **program.environment},
        start_new_session=True,
    )


async def until_ready(program: Program) -> None:
    """Asks it until it answers."""
    while not await program.ready():  # noqa: ASYNC110 - another process has no Event for us
        await asyncio.sleep(PROBE_EVERY_SECONDS)


class Child:
    """A program that is kept running until `stop`."""

    def __init__(self, program: Program, display: Display, on_change: Callable[[], None]) -> None:
        self.name = program.name
        self.ready = asyncio.Event()
        self._program = program
        self._display = display
        self._on_change = on_change
        self._stopping = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._was_ready = False
        self._last_lines: deque[str] = deque(maxlen=12)

    @property
    def pid(self) -> int | None:
        """None while it is not running."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def keep(self) -> None:
        """Run it, again and again, until `stop`. Raises CannotRun when it does not get ready even once."""
        pause, starts = FIRST_PAUSE_SECONDS, 0
        while not self._stopping.is_set():
            started = time.monotonic()
            code = await self._live_once()
            starts += 1
            if self._stopping.is_set():
                return
            if not self._was_ready and starts >= HOPELESS_STARTS:
                raise self.failure(f"{self.name} does not start ({_ending(code)})")
            if time.monotonic() - started > HEALTHY_AFTER_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            self._tell_of_death(f"{_ending(code)}; starting again in {pause:g} s")
            await self._rest(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def stop(self, grace_seconds: float) -> None:
        """Signal it, and kill what is left of it when the grace is over. Returns when it is gone."""
        self._stopping.set()
        if self._process is None:
            return
        if self._process.returncode is None:
            # Not Process.send_signal: it may reap a child that just died, whose exit code asyncio then never learns.
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, self._program.stop_signal)
            if await _ended(self._process, grace_seconds):
                return
            self._display.note(self.name, f"did not end within {grace_seconds:g} s: killed", alarming=True)
        self.kill()
        await _ended(self._process, KILLED_SECONDS)

    def kill(self) -> None:
        """End it and everything in its process group at once."""
        self._stopping.set()
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def failure(self, sentence: str) -> CannotRun:
        """The sentence with what the program said last."""
        return CannotRun("\n".join([f"{sentence}. It said last:", *(f"  {line}" for line in self._last_lines)]))

    async def _live_once(self) -> int:
        await self._program.before()
        self._process = await launch(self._program)
        if self._stopping.is_set():  # told so while it was being launched
            self.kill()
        self._on_change()
        probing = asyncio.create_task(self._announce_readiness(), name=f"readiness of {self.name}")
        try:
            return await self._told_to_the_end(self._process)
        finally:
            probing.cancel()
            self.ready.clear()

    async def _announce_readiness(self) -> None:
        started = time.monotonic()
        await until_ready(self._program)
        self._was_ready = True
        self.ready.set()
        self._display.ready(self.name, time.monotonic() - started)

    async def _told_to_the_end(self, process: asyncio.subprocess.Process) -> int:
        """Its exit code, when it has ended. asyncio's own `wait` waits for the end of its output, too."""
        telling = asyncio.create_task(self._tell_output(process), name=f"output of {self.name}")
        try:
            while (code := process.returncode) is None:
                if telling.done():
                    await asyncio.sleep(PROBE_EVERY_SECONDS)
                else:
                    await asyncio.wait((telling,), timeout=LOOK_EVERY_SECONDS)
            await asyncio.wait((telling,), timeout=LAST_OUTPUT_SECONDS)
            if telling.done():
                telling.result()
            return code
        finally:
            telling.cancel()
            # What holds its output open holds ours, too; only this closes it.
            process._transport.close()  # type: ignore[attr-defined]

    async def _tell_output(self, process: asyncio.subprocess.Process) -> None:
        rest = b""
        while process.stdout and (chunk := await process.stdout.read(LONGEST_LINE)):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._tell(line)
            if len(rest) >= LONGEST_LINE:
                self._tell(rest)
                rest = b""
        if rest:
            self._tell(rest)

    def _tell(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        if not text:
            return
        self._last_lines.append(text)
        if not self._program.quiet:
            self._display.line(self.name, text)

    def _tell_of_death(self, sentence: str) -> None:
        if self._program.quiet:
            for line in self._last_lines:
                self._display.line(self.name, line)
        self._last_lines.clear()
        self._display.note(self.name, sentence, alarming=True)

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()


async def _ended(process: asyncio.subprocess.Process, seconds: float) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while process.returncode is None:  # noqa: ASYNC110 - asyncio's own `wait` waits for its output, too
                await asyncio.sleep(PROBE_EVERY_SECONDS)
    return process.returncode is not None


def _ending(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
