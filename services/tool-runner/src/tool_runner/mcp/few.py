"""What a server can make us do any number of times is done a few times at once, and as many again in a while.

Guarantees: of the log lines that a server causes by what it lists, _MOST_LINES at once and as many an hour are written;
the next one says how many were not.
"""

import time

from sluiceway.process.logs import get_logger

_MOST_LINES, _LINES_SECONDS = 100, 3600


class Few:
    """`most` at once, and as many again in `seconds`."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._a_second = most / seconds
        self._left = float(most)
        self._left_at = time.monotonic()

    def take(self) -> bool:
        """Whether there is one left; it is taken."""
        now = time.monotonic()
        self._left = min(self._most, self._left + (now - self._left_at) * self._a_second)
        self._left_at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class FewLines:
    """The log of what a server lists."""

    def __init__(self, server: str) -> None:
        self._log = get_logger().bind(mcp_server=server)
        self._few = Few(_MOST_LINES, _LINES_SECONDS)
        self._unsaid = 0

    def info(self, event: str, **fields: object) -> None:
        if self._may():
            self._log.info(event, **fields, **self._left_unsaid())

    def warning(self, event: str, **fields: object) -> None:
        if self._may():
            self._log.warning(event, **fields, **self._left_unsaid())

    def _may(self) -> bool:
        may = self._few.take()
        self._unsaid += not may
        return may

    def _left_unsaid(self) -> dict[str, int]:
        unsaid, self._unsaid = self._unsaid, 0
        return {"unsaid": unsaid} if unsaid else {}
