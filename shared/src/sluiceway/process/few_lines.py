"""What somebody else can make us do any number of times is done a few times at once, and as many again in a while; so
it is with the log lines of it.

Guarantees: of FewLines _MOST_LINES at once and as many an hour are written; the next one says how many were not.
"""

import time
from typing import Literal

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
    """A logger. `fields` are on each of its lines."""

    def __init__(self, **fields: object) -> None:
        self._log = get_logger().bind(**fields)
        self._few = Few(_MOST_LINES, _LINES_SECONDS)
        self._unsaid = 0

    def info(self, event: str, **fields: object) -> None:
        self._say("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        self._say("warning", event, fields)

    def _say(self, level: Literal["info", "warning"], event: str, fields: dict[str, object]) -> None:
        if not self._few.take():
            self._unsaid += 1
            return
        if self._unsaid:
            fields["unsaid"] = self._unsaid
            self._unsaid = 0
        getattr(self._log, level)(event, **fields)
