"""How long one answer may keep the event loop, whatever a server sends and however fast.

Guarantees: after SLICE_SECONDS of reading that was not waited for, the loop is left to others for as long. A server
that sends a million events without a text takes half of the process at most, in small pieces: nobody's first token
waits for it. An answer that comes as fast as models speak never gets there.
"""

import asyncio
from time import perf_counter

SLICE_SECONDS = 0.004
_MOST_SECONDS = 0.05


class Pace:
    """Of one answer."""

    def __init__(self) -> None:
        self._kept = 0.0
        self._since = perf_counter()

    def waits(self) -> None:
        """For the server: others have the loop."""
        self._since = perf_counter()

    def reads(self) -> None:
        """From here on."""
        now = perf_counter()
        self._kept = max(0.0, self._kept - (now - self._since))
        self._since = now

    def kept_too_long(self) -> bool:
        """By reading; it is to be asked now and then."""
        now = perf_counter()
        self._kept += now - self._since
        self._since = now
        return self._kept > SLICE_SECONDS

    async def leave(self) -> None:
        await asyncio.sleep(min(self._kept, _MOST_SECONDS))
        self._kept = 0.0
        self._since = perf_counter()
