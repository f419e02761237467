"""Files that come, of each person one after the other: what is held of one is the room of many messages. Those behind
it are not read meanwhile, and take none.

Guarantees: however many files somebody sends at once, they take the room of one. Others wait for none of his.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sluiceway.process.shares import NoPlace, Shares

from gateway.api.problems import TooManyAtOnce

_COME_AGAIN_SECONDS = 10


class Uploads:
    """`patience_seconds`: how long one waits behind others of its person."""

    def __init__(self, patience_seconds: float) -> None:
        self._shares = Shares(sys.maxsize, 1)
        self._patience_seconds = patience_seconds

    @asynccontextmanager
    async def turn(self, caller: str) -> AsyncIterator[None]:
        """Around reading and storing one. Raises TooManyAtOnce."""
        try:
            async with self._shares.within(caller, self._patience_seconds):
                yield
        except NoPlace:
            detail = "Other files of yours are still coming. Send this one after them."
            raise TooManyAtOnce(detail, retry_after_seconds=_COME_AGAIN_SECONDS) from None
