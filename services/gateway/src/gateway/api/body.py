"""A request's body: read up to a bound and within a time, and judged before it is parsed.

Guarantees: all bodies that a process reads at once have at most `most_bytes` together. Beyond that whoever holds most
is told to come again (503, Retry-After), be it who asks or somebody whose body is still to come. JSON with more than
MOST_VALUES values is refused before a parser sees it: a million empty arrays fit into 4 MB, and would stop the process
for as long as it takes to make them.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from starlette.requests import ClientDisconnect, Request

from gateway.api.problems import BodyTooLarge, BodyTooSlow, Overloaded, TooManyValues

MOST_VALUES = 100_000


class Room:
    """What one request holds of the bytes that all may hold. `who`: whose it is."""

    __slots__ = ("_cut", "_rooms", "_waiting", "taken", "who")

    def __init__(self, rooms: "Rooms", who: str) -> None:
        self.who = who
        self.taken = 0
        self._rooms = rooms
        self._waiting: asyncio.Timeout | None = None
        self._cut = False

    @property
    def waits(self) -> bool:
        """More of its body is to come."""
        return self._waiting is not None

    def take(self, size: int) -> None:
        """Raises Overloaded."""
        if self._cut:
            raise Overloaded
        self._rooms.take(self, size)

    @asynccontextmanager
    async def waiting(self, seconds: float) -> AsyncIterator[None]:
        """Raises Overloaded: others need what it holds; BodyTooSlow."""
        try:
            async with asyncio.timeout(seconds) as self._waiting:
                yield
        except TimeoutError:
            raise Overloaded if self._cut else BodyTooSlow from None
        finally:
            self._waiting = None

    def cut(self) -> None:
        """Whoever reads it stops now, and it is given back."""
        self._cut = True
        if self._waiting is not None and not self._waiting.expired():
            self._waiting.reschedule(asyncio.get_running_loop().time())


class Rooms:
    """The bytes of bodies that a process holds. `most_bytes`: together.

    Where they are all taken, the largest body that is still to come is cut for who holds less than the one whose it is:
    else a few slow bodies of one caller would keep everybody out.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._open: set[Room] = set()
        self._held: Counter[str] = Counter()
        self.bytes = 0

    @contextmanager
    def open(self, who: str) -> Iterator[Room]:
        room = Room(self, who)
        try:
            yield room
        finally:
            self._give_back(room)

    def take(self, room: Room, size: int) -> None:
        while self.bytes + size > self._most_bytes:
            self._make_place(self._held[room.who] + size)
        self._open.add(room)
        self._held[room.who] += size
        self.bytes += size
        room.taken += size

    def _make_place(self, wanted: int) -> None:
        larger = [one for one in self._open if one.waits and self._held[one.who] > wanted]
        if not larger:
            raise Overloaded
        largest = max(larger, key=lambda one: (self._held[one.who], one.taken))
        largest.cut()
        self._give_back(largest)

    def _give_back(self, room: Room) -> None:
        self._open.discard(room)
        self.bytes -= room.taken
        self._held[room.who] -= room.taken
        room.taken = 0
        if not self._held[room.who]:
            del self._held[room.who]


class Body:
    """A body that has not been read yet."""

    __slots__ = ("_max_bytes", "_request", "_room", "_timeout_seconds")

    def __init__(self, request: Request[Any], room: Room, max_bytes: int, timeout_seconds: float) -> None:
        self._request = request
        self._room = room
        self._max_bytes = max_bytes
        self._timeout_seconds = timeout_seconds

    async def read(self) -> bytes:
        """The bytes as they came. Raises BodyTooLarge, BodyTooSlow, Overloaded, ClientDisconnect."""
        if (self.announced_bytes or 0) > self._max_bytes:
            raise BodyTooLarge(max_body_bytes=self._max_bytes)
        async with self._room.waiting(self._timeout_seconds):
            return await self._read()

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
            async with self._room.waiting(min(self._timeout_seconds, left)):
                message = await self._request.receive()
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
