"""What servers answer over HTTP, read with a limit, and how a call learns that it was more.

Guarantees: whatever a server sends, no more than MAX_MESSAGE_BYTES of a message (a body, an event of a stream) are
kept, and what is compressed is not read. Large ones wait for a place, and are read at the edge. What is parsed has
characters that can be stored, see fit_text.py; large ones are read in a thread.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator

import httpx2
from sluiceway.process.interim_answers import bound_interim_answers

from tool_runner.mcp.edge import Edge, refusal
from tool_runner.mcp.fit_text import fit_text
from tool_runner.mcp.large_messages import TOO_SLOW, Growing
from tool_runner.mcp.limits import MAX_LINES, MAX_MESSAGE_BYTES, TOO_LARGE, Values

_EVENT_END = re.compile(rb"\n\r?\n|\r\r")
_LINE_END = re.compile(rb"\r\n|\n|\r")
_DATA = b"data:"
_PROGRESS = b"notifications/progress"
_MAX_FIELD_BYTES = 1000


class _Refused(httpx2.StreamError):
    """The library tells it to the call as an error of parsing, with this text in it."""


class BoundedTransport(httpx2.AsyncHTTPTransport):
    """HTTP to one server, with bodies that have a limit. Streams have one of each event, which the library holds."""

    def __init__(self, edge: Edge) -> None:
        super().__init__()
        bound_interim_answers(self)
        self._edge = edge

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        request.headers["accept-encoding"] = "identity"
        response = await super().handle_async_request(request)
        if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
            await response.aclose()
            raise httpx2.RemoteProtocolError("the server compressed an answer, which was not asked for")
        streamed = response.headers.get("content-type", "").lower().startswith("text/event-stream")
        if isinstance(response.stream, httpx2.AsyncByteStream):
            bounded = _Events if streamed else _Body
            response.stream = bounded(response.stream, self._edge)
            # Made fit, it may have another length.
            response.headers.pop("content-length", None)
        return response


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, edge: Edge) -> None:
        self._stream = stream
        self._edge = edge
        self._growing = Growing(edge.enter)

    async def aclose(self) -> None:
        self._growing.leave()
        await self._stream.aclose()

    async def _pieces(self) -> AsyncIterator[bytes]:
        """Raises _Refused: it is large, and comes too slowly."""
        pieces = aiter(self._stream)
        while True:
            try:
                async with asyncio.timeout_at(self._growing.until):
                    piece = await anext(pieces, None)
            except TimeoutError:
                raise _Refused(TOO_SLOW) from None
            if piece is None:
                return
            yield piece

    async def _small(self, message: bytes | bytearray) -> bytes:
        """What the library is given of it."""
        place = self._growing.over()
        return fit_text(bytes(message)) if place is None else await self._edge.park(message, place)


class _Body(_Bounded):
    """Comes in one piece: the library reads it whole, and would hold the pieces beside that."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        body, values = bytearray(), Values()
        async for piece in self._pieces():
            body += piece
            values.add(piece)
            if len(body) > MAX_MESSAGE_BYTES or values.too_many:
                raise _Refused(TOO_LARGE)
            await self._growing.grow(len(body))
        if body:
            small, body = await self._small(body), bytearray()
            yield small


class _Events(_Bounded):
    """A stream of events, whole ones at a time. One that is refused is told as an answer: what is raised here the
    library takes for a connection that broke."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for events in self._whole():
                yield events
        except _Refused as error:
            yield b"data: " + refusal(str(error)) + b"\n\n"

    async def _whole(self) -> AsyncIterator[bytes]:
        held, values, lines = bytearray(), Values(), 0
        async for piece in self._pieces():
            seen = max(0, len(held) - 3)
            held += piece
            ends = [found.end() for found in _EVENT_END.finditer(held, seen)]
            if ends:
                values, lines = Values(), 0
            values.add(piece)
            lines += piece.count(b"\n") + piece.count(b"\r")
            if len(held) > MAX_MESSAGE_BYTES or values.too_many or lines > MAX_LINES:
                raise _Refused(TOO_LARGE)
            await self._growing.grow(len(held))
            if ends:
                rest = held[ends[-1] :]
                del held[ends[-1] :]
                if not (_PROGRESS in held and self._was_progress(held, len(ends))):
                    yield await self._given(held, ends[0])
                held = rest
        if not self._growing.is_large:
            yield fit_text(bytes(held))

    def _was_progress(self, events: bytearray, number: int) -> bool:
        """Whether it is nothing else, and was told. The library takes ten times as long for one."""
        if number > 1 or self._growing.is_large:
            return False
        data = b"\n".join(_taken(_LINE_END.split(bytes(events)), _DATA))
        return self._edge.was_progress(data)

    async def _given(self, events: bytearray, first_end: int) -> bytes:
        """Whole events. Where they are large, that is the first of them: it has been growing."""
        if not self._growing.is_large:
            return fit_text(bytes(events))
        rest = bytes(events[first_end:])
        del events[first_end:]
        event = bytes(events)
        events.clear()
        fields = _LINE_END.split(event)
        del event
        data = b"\n".join(_taken(fields, _DATA))
        others = [field for field in fields if 0 < len(field) < _MAX_FIELD_BYTES]
        return b"\n".join([*others, _DATA + await self._small(data)]) + b"\n\n" + fit_text(rest)


def _taken(fields: list[bytes], name: bytes) -> Iterator[bytes]:
    """What those of this name say, which are no fields afterwards."""
    for number, field in enumerate(fields):
        if field.startswith(name):
            fields[number] = b""
            yield field[len(name) :]
