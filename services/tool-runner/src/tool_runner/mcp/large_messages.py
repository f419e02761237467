"""Messages of more than LARGE_BYTES: a few are held at once in a process, whatever many servers and calls there are.

Guarantees: one that grows large waits for a place before more of it is kept. Of all there are _MOST, and
_MOST_OF_SERVER of one server. A server has LARGE_SECONDS for the rest of a message that has a place: who sends it more
slowly keeps others waiting. The place is kept until what the message brought is stored, which costs some three times
its bytes, but no longer than LARGE_SECONDS: nothing that waits for another place meanwhile waits for ever.
"""

import asyncio
from collections.abc import Awaitable, Callable

from sluiceway.process.shares import Place, Shares

LARGE_BYTES = 1024 * 1024
LARGE_SECONDS = 30.0
_MOST = 3
_MOST_OF_SERVER = 2
TOO_SLOW = f"the server took more than {LARGE_SECONDS:.0f} seconds for a large answer"

Enter = Callable[[], Awaitable[Place]]


def places() -> Shares:
    """For the process."""
    return Shares(_MOST, _MOST_OF_SERVER)


class Growing:
    """A message that is coming. `until`: of the loop's clock; None while it is small."""

    def __init__(self, enter: Enter) -> None:
        self.until: float | None = None
        self._enter = enter
        self._place: Place | None = None

    @property
    def is_large(self) -> bool:
        return self._place is not None

    async def grow(self, size: int) -> None:
        """It has so many bytes now. Waits where these are many."""
        if size > LARGE_BYTES and self._place is None:
            self._place = await self._enter()
            self.until = asyncio.get_running_loop().time() + LARGE_SECONDS

    def over(self) -> Place | None:
        """It is whole: its place is for who has it now, and the next message begins."""
        place, self._place, self.until = self._place, None, None
        if place is not None:
            asyncio.get_running_loop().call_later(LARGE_SECONDS, place.leave)
        return place

    def leave(self) -> None:
        place = self.over()
        if place is not None:
            place.leave()
