"""The end of a gateway, in order: readiness goes off, then open streams are broken, then the process closes.

Streams are broken, never ended: a clean end without `finish` would look like a finished answer. Their browsers come
back to another gateway and resume after the last event that they have seen.
"""

from collections.abc import Callable


class Drain:
    """Shared by the server, which begins it, and by whoever must know or has streams open."""

    def __init__(self) -> None:
        self._begun = False
        self._breaking = False
        self._breakers: list[Callable[[], object]] = []

    @property
    def begun(self) -> bool:
        """From here on `/readyz` answers 503, so that no new browser is sent here."""
        return self._begun

    @property
    def breaking(self) -> bool:
        """From here on no stream is opened any more."""
        return self._breaking

    def begin(self) -> None:
        self._begun = True

    def on_break(self, breaker: Callable[[], object]) -> None:
        """Call `breaker` when open streams must go; it must not block."""
        self._breakers.append(breaker)

    def break_streams(self) -> None:
        self._breaking = True
        for breaker in self._breakers:
            breaker()
