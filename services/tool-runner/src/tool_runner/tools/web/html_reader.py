"""Reading HTML of strangers: in a process of its own, which has nothing to lose.

Guarantees
- An answer, or HtmlNotRead, within READ_SECONDS and a moment, for any page. At most MAX_READERS read at once.
- The child has MEMORY_BYTES, CPU_SECONDS, an empty environment, and can open nothing: no file, no socket. Of what it
  says no more than a text of the wanted length is read. Whatever becomes of it, this process survives.
"""

import asyncio
import contextlib
import importlib.util
import json
import sys
from functools import cache
from pathlib import Path

from sluiceway.process.logs import get_logger

from tool_runner.tools.web.html_child import CPU_SECONDS, MEMORY_BYTES

__all__ = ["CPU_SECONDS", "MAX_READERS", "MEMORY_BYTES", "READ_SECONDS", "HtmlNotRead", "HtmlReaders"]

# Of a loaded machine; what the child may compute is less.
READ_SECONDS = 20.0
MAX_READERS = 2
# A character is at most twelve bytes of JSON. Beside the text there is a title.
_BYTES_OF_A_CHAR = 12
_MORE_BYTES = 64 * 1024


class HtmlNotRead(Exception):
    """The page is too much for the reader."""


class HtmlReaders:
    def __init__(self) -> None:
        self._places = asyncio.Semaphore(MAX_READERS)

    async def read(self, body: bytes, charset: str, url: str, max_chars: int) -> tuple[str | None, str]:
        """The title, if there is one, and the text, which may be one character longer than wanted.

        Raises HtmlNotRead.
        """
        async with self._places:
            try:
                async with asyncio.timeout(READ_SECONDS):
                    told = await _told(body, charset, url, max_chars)
                answer = json.loads(told)
                return answer["title"], answer["text"]
            except (TimeoutError, ValueError, OSError) as error:
                get_logger().warning("html_not_read", reason=type(error).__name__, bytes=len(body))
                raise HtmlNotRead from error


async def _told(body: bytes, charset: str, url: str, max_chars: int) -> bytes:
    limit = max_chars * _BYTES_OF_A_CHAR + _MORE_BYTES
    reader = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", *_program(), charset, url, str(max_chars)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={},
        limit=limit,
    )
    try:
        feeding = asyncio.create_task(_feed(reader, body), name="html-body")
        try:
            told = await _read_all(reader, limit)
            await reader.wait()
        finally:
            feeding.cancel()
            await asyncio.wait({feeding})
        return told
    finally:
        if reader.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                reader.kill()
            await reader.wait()


async def _feed(reader: asyncio.subprocess.Process, body: bytes) -> None:
    if reader.stdin is not None:
        with contextlib.suppress(ConnectionError):  # it has ended; what it said tells more
            reader.stdin.write(body)
            await reader.stdin.drain()
            reader.stdin.close()


async def _read_all(reader: asyncio.subprocess.Process, limit: int) -> bytes:
    told = bytearray()
    while reader.stdout is not None and (piece := await reader.stdout.read(limit)):
        told += piece
        if len(told) > limit:
            raise ValueError("the reader says more than it was asked for")
    return bytes(told)


@cache
def _program() -> tuple[str, str, str]:
    """The program, and where it finds what it imports: without `site` the child has no packages."""
    here = Path(__file__)
    parser = importlib.util.find_spec("selectolax")
    if parser is None or parser.origin is None:
        raise ImportError("selectolax")
    return str(here.with_name("html_child.py")), str(here.parents[3]), str(Path(parser.origin).parents[1])
