"""How much an MCP server may say at once, and how a call learns that it said more.

Guarantees: whatever a server sends, no more than MAX_MESSAGE_BYTES of a message (a line of a pipe, a body, an event of
a stream) are kept, and what is compressed is not read. A message of very many small things costs far more than its
bytes, and is not parsed. Of one server _MOST_LARGE large messages are read at once, whatever many calls it answers: a
large one costs four times its bytes until its result is stored. What is parsed has characters that can be stored, see
fit_text.py.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2

from tool_runner.mcp.fit_text import fit_text

# Images are in a message, too, although they are no part of the result.
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
# Strings, objects, lists and commas in a message. Each takes some hundred bytes of memory once it is parsed.
MAX_VALUES = 100_000
# The pieces of a result. The library reads each as everything that a piece may be, 0.1 ms each.
MAX_BLOCKS = 2000
_LARGE_BYTES = 1024 * 1024
_MOST_LARGE = 2
TOO_LARGE = f"the server answered more than {MAX_MESSAGE_BYTES} bytes, or too many small things"


class _TooLarge(httpx2.StreamError):
    """The library tells it to the call as an error of parsing, with this text in it."""


class BoundedTransport(httpx2.AsyncHTTPTransport):
    """HTTP to one server, with bodies that have a limit. Streams have one of each event, which the library holds."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._large = asyncio.Semaphore(_MOST_LARGE)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        request.headers["accept-encoding"] = "identity"
        response = await super().handle_async_request(request)
        if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
            await response.aclose()
            raise httpx2.RemoteProtocolError("the server compressed an answer, which was not asked for")
        streamed = response.headers.get("content-type", "").lower().startswith("text/event-stream")
        if isinstance(response.stream, httpx2.AsyncByteStream):
            bounded = _Events if streamed else _Body
            response.stream = bounded(response.stream, self._large)
            # Made fit, it may have another length.
            response.headers.pop("content-length", None)
        return response


class Values:
    """What JSON is made of, counted before it is parsed, as its bytes come.

    Commas and brackets in a string are none: a text may have as many as it likes. A string ends with its line.
    """

    def __init__(self) -> None:
        self._found = 0
        self._in_string = 0
        self._begun_escape = b""

    @property
    def too_many(self) -> bool:
        return self._found > MAX_VALUES

    def add(self, chunk: bytes) -> None:
        text = self._begun_escape + chunk
        odd = (len(text) - len(text.rstrip(b"\\"))) % 2
        self._begun_escape, text = text[len(text) - odd :], text[: len(text) - odd]
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
        pieces = text.split(b'"')
        between = b"".join(pieces[self._in_string :: 2])
        self._found += len(pieces) // 2 + sum(map(between.count, (b",", b"{", b"[")))
        _, line_end, last_line = text.rpartition(b"\n")
        self._in_string = (last_line.count(b'"') + (0 if line_end else self._in_string)) % 2


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, large: asyncio.Semaphore) -> None:
        self._stream = stream
        self._large = large
        self._is_large = False

    async def aclose(self) -> None:
        self._leave()
        await self._stream.aclose()

    async def _enter(self, size: int) -> None:
        """Wait until so much may be held."""
        if size > _LARGE_BYTES and not self._is_large:
            await self._large.acquire()
            self._is_large = True

    def _leave(self) -> None:
        if self._is_large:
            self._is_large = False
            self._large.release()


class _Body(_Bounded):
    """Comes in one piece: the library reads it whole, and would hold the pieces beside that."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks, left, values = list[bytes](), MAX_MESSAGE_BYTES, Values()
        async for chunk in self._stream:
            chunks.append(chunk)
            left -= len(chunk)
            values.add(chunk)
            if left < 0 or values.too_many:
                raise _TooLarge(TOO_LARGE)
            await self._enter(MAX_MESSAGE_BYTES - left)
        if chunks:
            chunks = [b"".join(chunks)]
            yield fit_text(chunks.pop())


class _Events(_Bounded):
    """A stream of events, whole lines at a time: the library bounds the bytes of each event."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        line, values = bytearray(), Values()
        async for chunk in self._stream:
            if b"\n\n" in chunk or b"\r\n\r\n" in chunk:
                values = Values()
            values.add(chunk)
            line += chunk
            if len(line) > MAX_MESSAGE_BYTES or values.too_many:
                raise _TooLarge(TOO_LARGE)
            await self._enter(len(line))
            end = max(chunk.rfind(b"\n"), chunk.rfind(b"\r"))
            if end >= 0:
                ended = len(line) - len(chunk) + end + 1
                yield fit_text(bytes(line[:ended]))
                del line[:ended]
                self._leave()
        if line:
            yield fit_text(bytes(line))
