"""What the rounds leave out for a while: things that could not be done, and things that were done and take their time.

In memory, and bounded: whoever leads next tries everything once more, which is harmless.
"""

import time
from dataclasses import dataclass

_FIRST_SECONDS = 2.0
_LONGEST_SECONDS = 300.0
_MOST = 10_000


@dataclass(frozen=True, slots=True)
class _Rest:
    until: float
    failures: int


class Quarantine:
    """By kind and id. A thing that fails again and again rests longer and longer, up to five minutes."""

    def __init__(self) -> None:
        self._rests: dict[str, dict[str | int, _Rest]] = {}

    def failed(self, kind: str, key: str | int) -> None:
        known = self._rests.get(kind, {}).get(key)
        failures = known.failures + 1 if known is not None else 1
        self._note(kind, key, min(_LONGEST_SECONDS, _FIRST_SECONDS * 2.0 ** min(failures - 1, 30)), failures)

    def rest(self, kind: str, key: str | int, seconds: float) -> None:
        self._note(kind, key, seconds, 0)

    def of(self, kind: str) -> set[str | int]:
        """What rests now."""
        now = time.monotonic()
        rests = self._rests.get(kind, {})
        # Remembered for some time after its rest: what fails then fails again.
        for key in [key for key, rest in rests.items() if rest.until + _LONGEST_SECONDS < now]:
            del rests[key]
        return {key for key, rest in rests.items() if rest.until > now}

    def _note(self, kind: str, key: str | int, seconds: float, failures: int) -> None:
        rests = self._rests.setdefault(kind, {})
        rests.pop(key, None)
        rests[key] = _Rest(time.monotonic() + seconds, failures)
        while len(rests) > _MOST:
            del rests[next(iter(rests))]
