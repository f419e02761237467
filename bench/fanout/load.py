"""The load program of this benchmark: compiled when it is needed, run as a process, its answer read as JSON."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SOURCE = Path(__file__).with_name("load.c")
_TIMEOUT_SECONDS = 180


class LoadFailed(Exception):
    """The load program said what went wrong."""


class Load:
    """The compiled program. What its modes take and answer stands at the top of load.c."""

    def __init__(self, directory: Path) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if compiler is None:
            sys.exit("bench.fanout: a C compiler is needed for the load program: there is no cc, gcc or clang on PATH.")
        if sys.platform != "linux":
            sys.exit("bench.fanout: the load program stands on epoll, so this benchmark runs on Linux only.")
        self._program = directory / "load"
        subprocess.run([compiler, "-O2", "-o", self._program, _SOURCE], check=True)

    def run(self, mode: str, *arguments: str | int) -> dict[str, Any]:
        command = [str(self._program), mode, *map(str, arguments)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False)
        if ended.returncode != 0:
            raise LoadFailed(f"{mode}: {ended.stderr.strip()}")
        answer: dict[str, Any] = json.loads(ended.stdout)
        return answer

    @contextmanager
    def open_streams(self, *arguments: str | int) -> Iterator[None]:
        """Hold streams open for as long as the context lasts."""
        command = [str(self._program), "open", *map(str, arguments)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            if process.stdout.readline() != "open\n":
                raise LoadFailed("the streams could not be opened")
            yield
            process.stdin.close()
