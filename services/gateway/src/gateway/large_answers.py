"""Answers that may be large: read and rendered a few at a time, so that everybody else's requests get through.

A history of 4 MB takes the event loop for tens of milliseconds, and a connection to Postgres meanwhile: forty that come
at once would hold up all others for seconds.

Guarantees: at most `most` of them are in flight in a process, and `most_of_caller` of one caller, who waits behind his
own, not before others; one at a time is rendered, and the loop is left to others for as long afterwards; one that
waited for `patience_seconds` is told to come again (Retry-After), and whether it was for others (503) or for his own
(429). How long it is sent is serving/outbox.py's.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sluiceway.process.shares import NoPlace, Shares

from gateway.api.problems import Overloaded, TooManyAtOnce

_PATIENCE_SECONDS = 20
# Somebody who reads nothing is cut after 45.
_COME_AGAIN_SECONDS = 10
# A rendering that was over sooner held nobody up.
_SHORT_SECONDS = 0.005


class LargeAnswers:
    def __init__(self, most: int, most_of_caller: int, patience_seconds: float = _PATIENCE_SECONDS) -> None:
        self._shares = Shares(most, most_of_caller)
        self._patience_seconds = patience_seconds
        self._rendering = asyncio.Lock()

    @asynccontextmanager
    async def turn(self, caller: str) -> AsyncIterator[None]:
        """Around reading and rendering one. Raises Overloaded, TooManyAtOnce."""
        try:
            async with self._shares.within(caller, self._patience_seconds):
                yield
        except NoPlace:
            if self._shares.has_all(caller):
                raise TooManyAtOnce(retry_after_seconds=_COME_AGAIN_SECONDS) from None
            raise Overloaded from None

    @asynccontextmanager
    async def rendering(self) -> AsyncIterator[None]:
        """Around what takes the loop and waits for nothing."""
        async with self._rendering:
            began = time.perf_counter()
            yield
            taken = time.perf_counter() - began
            if taken > _SHORT_SECONDS:
                await asyncio.sleep(taken)
