"""The bytes of bodies that have come, and that no request has taken yet.

A body is read when its request asks for it; what comes with its head, or while it is asked for, waits in its
connection. Guarantee: all of that has at most `most_bytes` together.
"""

from typing import Protocol


class Holder(Protocol):
    """A connection."""

    def unread_bytes(self) -> int: ...


class UnreadBodies:
    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._noted: dict[Holder, int] = {}
        self._bytes = 0

    def note(self, holder: Holder) -> bool:
        """Look at what a connection holds now. False when all together hold too much."""
        self._set(holder, holder.unread_bytes())
        if self._bytes <= self._most_bytes:
            return True
        # Requests take what they were given without telling.
        for other in list(self._noted):
            self._set(other, other.unread_bytes())
        return self._bytes <= self._most_bytes

    def forget(self, holder: Holder) -> None:
        self._bytes -= self._noted.pop(holder, 0)

    def _set(self, holder: Holder, size: int) -> None:
        self.forget(holder)
        if size:
            self._noted[holder] = size
            self._bytes += size
