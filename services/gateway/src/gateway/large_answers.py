"""Answers that may be large: read and rendered a few at a time, so that everybody else's requests get through.

A history of 4 MB takes the event loop for tens of milliseconds, and a connection to Postgres meanwhile: forty that come
at once would hold up all others for seconds.

Guarantees: at most `most` of them are in flight in a process, and `most_of_caller` of one caller, who waits behind his
own, not before others; one at a time is rendered, and the loop is left to others for as long afterwards; one that
waited for `patience_seconds` is told to come again (503, Retry-After). How long it is sent is serving/outbox.py's.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from gateway.api.problems import Overloaded

_PATIENCE_SECONDS = 20
# A rendering that was over sooner held nobody up.
_SHORT_SECONDS = 0.005


@dataclass(slots=True)
class _Share:
    """What one caller may have in flight."""

    room: asyncio.Semaphore
    callers: int = field(default=0)


class LargeAnswers:
    def __init__(self, most: int, most_of_caller: int, patience_seconds: float = _PATIENCE_SECONDS) -> None:
        self._room = asyncio.Semaphore(most)
        self._most_of_caller = most_of_caller
        self._patience_seconds = patience_seconds
        self._shares: dict[str, _Share] = {}
        self._rendering = asyncio.Lock()

    @asynccontextmanager
    async def turn(self, caller: str) -> AsyncIterator[None]:
        """Around reading and rendering one. Raises Overloaded."""
        share = self._shares.setdefault(caller, _Share(asyncio.Semaphore(self._most_of_caller)))
        share.callers += 1
        try:
            async with _entered(share.room, self._room, self._patience_seconds):
                yield
        finally:
            share.callers -= 1
            if not share.callers:
                del self._shares[caller]

    @asynccontextmanager
    async def rendering(self) -> AsyncIterator[None]:
        """Around what takes the loop and waits for nothing."""
        async with self._rendering:
            began = time.perf_counter()
            yield
            taken = time.perf_counter() - began
            if taken > _SHORT_SECONDS:
                await asyncio.sleep(taken)


@asynccontextmanager
async def _entered(share: asyncio.Semaphore, room: asyncio.Semaphore, patience_seconds: float) -> AsyncIterator[None]:
    """The caller's own share first: of one caller only so many wait among all."""
    patience = asyncio.timeout(patience_seconds)
    try:
        async with patience:
            await share.acquire()
            try:
                await room.acquire()
            except BaseException:
                share.release()
                raise
    except TimeoutError:
        raise Overloaded from None
    try:
        yield
    finally:
        room.release()
        share.release()
