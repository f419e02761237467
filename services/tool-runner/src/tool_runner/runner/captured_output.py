"""What tools print becomes lines of the log, instead of getting between them.

Guarantees: each line that is written to stdout or stderr, by Python code or by a child process that inherited them, is
one log event `tool_output_captured` with the text, cut at MAX_CHARS; what Python code prints carries the fields of its
operation. The log itself goes where it always went.
Not guaranteed: the last lines of child processes when this process is killed.
"""

import faulthandler
import io
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sluiceway.process.logs import get_logger

MAX_CHARS = 2000


class CapturedOutput(io.TextIOBase):
    """A stream whose lines are logged."""

    def __init__(self, name: str, descriptor: int) -> None:
        self._name = name
        self._descriptor = descriptor
        # By thread: halves of lines of two tools are no line.
        self._begun = threading.local()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def fileno(self) -> int:
        """For child processes, which inherit it."""
        return self._descriptor

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        lines = (getattr(self._begun, "text", "") + text).split("\n")
        # A text without an end of line is one, too, when it gets too long.
        rest = lines.pop()
        self._begun.text, full = ("", [*lines, rest]) if len(rest) > MAX_CHARS else (rest, lines)
        for line in full:
            tell(self._name, line)
        return len(text)


def tell(stream: str, line: str) -> None:
    if line.strip():
        get_logger().info("tool_output_captured", stream=stream, text=line[:MAX_CHARS])


def keep_the_log_whole() -> None:
    """To be called once, first of all: what `sys.stdout` is from here on is for the log alone. The descriptors 1 and 2
    are pipes then, for those who write there directly."""
    faulthandler.enable(file=os.fdopen(os.dup(2), "w", buffering=1))
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        own = os.fdopen(os.dup(descriptor), "w", buffering=1, encoding="utf-8", errors="backslashreplace")
        setattr(sys, name, own)
        reading, writing = os.pipe()
        os.dup2(writing, descriptor)
        os.close(writing)
        threading.Thread(target=_read_lines, args=(name, reading), name=f"captured-{name}", daemon=True).start()


@contextmanager
def output_captured() -> Iterator[None]:
    """What Python code prints is logged, for as long as the context lasts. The log must be configured already."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = CapturedOutput("stdout", 1), CapturedOutput("stderr", 2)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _read_lines(name: str, descriptor: int) -> None:
    with os.fdopen(descriptor, errors="replace") as lines:
        while line := lines.readline(MAX_CHARS):
            tell(name, line.rstrip("\n"))
