"""Reading a stranger's bytes in a process of its own, which has nothing to lose.

Guarantees
- An answer, or NotRead, within `seconds` and a moment, for any bytes. At most `at_once` children read at a time.
- A child has an empty environment, what confined_child.py leaves it, and can open nothing. Of what it says no more than
  was asked for is read. Whatever becomes of it, this process survives.
"""

import asyncio
import contextlib
import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sluiceway.cancelling import cancelled
from sluiceway.process.logs import get_logger

_PIECE_BYTES = 64 * 1024


class NotRead(Exception):
    """It is too much for the reader."""


class Confined:
    """A program that reads: `python -I -S PROGRAM PACKAGES… ARGUMENTS…`, bytes on stdin, JSON on stdout. `needs`: the
    modules whose packages it is told where to find: without `site` it has none."""

    def __init__(self, program: Path, needs: Sequence[str], *, seconds: float, at_once: int) -> None:
        self._program = program
        self._needs = needs
        self._seconds = seconds
        self._places = asyncio.Semaphore(at_once)

    async def read(self, content: bytes, arguments: Sequence[str], most_bytes: int) -> Any:
        """What the program says of it, at most so many bytes. Raises NotRead."""
        async with self._places:
            try:
                async with asyncio.timeout(self._seconds):
                    return json.loads(await self._told(content, arguments, most_bytes))
            except (TimeoutError, ValueError, OSError) as error:
                reason = type(error).__name__
                get_logger().warning("not_read", reader=self._program.stem, reason=reason, bytes=len(content))
                raise NotRead from error

    async def _told(self, content: bytes, arguments: Sequence[str], most_bytes: int) -> bytes:
        reader = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(self._program), *map(_place_of, self._needs), *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={},
            limit=most_bytes,
        )
        try:
            feeding = asyncio.create_task(_feed(reader, content), name="confined-feeding")
            try:
                told = await _read_all(reader, most_bytes)
                await reader.wait()
            finally:
                await cancelled([feeding])
            return told
        finally:
            if reader.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    reader.kill()
            # In this order: a child has not ended for asyncio as long as there is something in its pipe.
            await _discard(reader)
            await reader.wait()


async def _discard(reader: asyncio.subprocess.Process) -> None:
    """What a dead child has still said: its pipe is closed with the end of that."""
    while reader.stdout is not None and await reader.stdout.read(_PIECE_BYTES):
        pass


async def _feed(reader: asyncio.subprocess.Process, content: bytes) -> None:
    if reader.stdin is not None:
        with contextlib.suppress(ConnectionError):  # it has ended; what it said tells more
            reader.stdin.write(content)
            await reader.stdin.drain()
            reader.stdin.close()


async def _read_all(reader: asyncio.subprocess.Process, most_bytes: int) -> bytes:
    told = bytearray()
    while reader.stdout is not None and (piece := await reader.stdout.read(most_bytes)):
        told += piece
        if len(told) > most_bytes:
            raise ValueError("the reader says more than it was asked for")
    return bytes(told)


def _place_of(module: str) -> str:
    """The folder that a package is imported from."""
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise ImportError(module)
    return str(Path(found.origin).parents[module.count(".") + 1])
