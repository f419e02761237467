"""A request's body: read up to a bound and within a time, and judged before it is parsed.

Guarantees: all bodies that a process reads at once have at most `most_bytes` together, beyond which a request is told
to come again (503, Retry-After); JSON with more than MOST_VALUES values is refused before a parser sees it: a million
empty arrays fit into 4 MB, and would stop the process for as long as it takes to make them.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from starlette.requests import ClientDisconnect, Request

from gateway.api.problems import BodyTooLarge, BodyTooSlow, Overloaded, TooManyValues

MOST_VALUES = 100_000


class Room:
    """What one request holds of the bytes that all may hold."""

    __slots__ = ("_rooms", "taken")

    def __init__(self, rooms: "Rooms") -> None:
        self._rooms = rooms
        self.taken = 0

    def take(self, size: int) -> None:
        """Raises Overloaded."""
        self._rooms.take(size)
        self.taken += size


class Rooms:
    """The bytes of bodies that a process holds."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self.bytes = 0

    @contextmanager
    def open(self) -> Iterator[Room]:
        room = Room(self)
        try:
            yield room
        finally:
            self.bytes -= room.taken

    def take(self, size: int) -> None:
        if self.bytes + size > self._most_bytes:
            raise Overloaded
        self.bytes += size


class Body:
    """A body that has not been read yet."""

    __slots__ = ("_max_bytes", "_request", "_room", "_timeout_seconds")

    def __init__(self, request: Request[Any], room: Room, max_bytes: int, timeout_seconds: float) -> None:
        self._request = request
        self._room = room
        self._max_bytes = max_bytes
        self._timeout_seconds = timeout_seconds

    def judge_length(self) -> None:
        """Raises BodyTooLarge for a body that says so itself."""
        announced = self._request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > self._max_bytes:
            raise BodyTooLarge(max_body_bytes=self._max_bytes)

    async def read(self) -> bytes:
        """The bytes as they came. Raises BodyTooLarge, BodyTooSlow, Overloaded, ClientDisconnect."""
        self.judge_length()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._read()
        except TimeoutError:
            raise BodyTooSlow from None

    @property
    def media_type(self) -> str | None:
        return self._request.headers.get("content-type")

    @property
    def announced_bytes(self) -> int | None:
        """How long it says that it is."""
        announced = self._request.headers.get("content-length", "")
        return int(announced) if announced.isdecimal() else None

    async def pieces(self, most_held: int, whole_seconds: float) -> AsyncIterator[bytes]:
        """The bytes as they come, for who holds no more than `most_held` of them at once. The next ones have to come
        within the time that whole bodies have, and all of them within `whole_seconds`.

        Raises BodyTooSlow, Overloaded, ClientDisconnect.
        """
        ends = asyncio.get_running_loop().time() + whole_seconds
        while True:
            left = ends - asyncio.get_running_loop().time()
            try:
                async with asyncio.timeout(min(self._timeout_seconds, left)):
                    message = await self._request.receive()
            except TimeoutError:
                raise BodyTooSlow from None
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            if piece := message.get("body", b""):
                if self._room.taken < most_held:
                    self._room.take(len(piece))
                yield piece
            if not message.get("more_body", False):
                return

    async def _read(self) -> bytes:
        pieces: list[bytes] = []
        while True:
            message = await self._request.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            piece = message.get("body", b"")
            if self._room.taken + len(piece) > self._max_bytes:
                raise BodyTooLarge(max_body_bytes=self._max_bytes)
            self._room.take(len(piece))
            pieces.append(piece)
            if not message.get("more_body", False):
                return b"".join(pieces)


def check_values(body: bytes, most: int = MOST_VALUES) -> None:
    """Raises TooManyValues. What is no JSON at all is left to the parser."""
    if _separators(body) >= most and _separators(_without_strings(body, most)) >= most:
        raise TooManyValues(max_values=most)


def _separators(text: bytes) -> int:
    """At least as many as there are values: each is the first of its array or object, or stands after a comma."""
    return len(text) - len(text.translate(None, b",[{"))


def _without_strings(body: bytes, most: int) -> bytes:
    """A long text may have many commas."""
    quoted = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    if quoted.count(b'"') >= 2 * most:
        return body
    return b'"'.join(quoted.split(b'"')[::2])
