"""So many places in a process, and fewer of them for each of those who want one.

Guarantees: at most `most` are taken, and `most_of_one` by one, who waits behind his own, not before others. Nothing is
kept of whoever has none and waits for none.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class NoPlace(Exception):
    """None became free in time."""


class Shares:
    def __init__(self, most: int, most_of_one: int) -> None:
        self._room = asyncio.Semaphore(most)
        self._most_of_one = most_of_one
        self._shares: dict[str, asyncio.Semaphore] = {}
        self._present: Counter[str] = Counter()
        self._placed: Counter[str] = Counter()

    @asynccontextmanager
    async def within(self, who: str, seconds: float) -> AsyncIterator[None]:
        """Around what needs a place. Raises NoPlace: there was none in time."""
        try:
            async with asyncio.timeout(seconds):
                place = await self.enter(who)
        except TimeoutError:
            raise NoPlace from None
        try:
            yield
        finally:
            place.leave()

    async def enter(self, who: str) -> "Place":
        """Wait for a place. His own share comes first: of one only so many wait among all."""
        share = self._shares.setdefault(who, asyncio.Semaphore(self._most_of_one))
        self._present[who] += 1
        try:
            await share.acquire()
            try:
                await self._room.acquire()
            except BaseException:
                share.release()
                raise
        except BaseException:
            self._forget(who)
            raise
        self._placed[who] += 1
        return Place(self, who)

    def has_all(self, who: str) -> bool:
        """Whether he has as many as one may."""
        return self._placed[who] >= self._most_of_one

    def taken(self) -> int:
        """How many are there, and wait."""
        return self._present.total()

    def _leave(self, who: str) -> None:
        self._room.release()
        self._shares[who].release()
        self._placed[who] -= 1
        self._forget(who)

    def _forget(self, who: str) -> None:
        self._present[who] -= 1
        if not self._present[who]:
            del self._present[who], self._placed[who], self._shares[who]


class Place:
    """What `enter` gave; it is left once, however often that is said."""

    __slots__ = ("_shares", "_who")

    def __init__(self, shares: Shares, who: str) -> None:
        self._shares: Shares | None = shares
        self._who = who

    def leave(self) -> None:
        if self._shares is not None:
            shares, self._shares = self._shares, None
            shares._leave(self._who)
