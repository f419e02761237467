"""What the rounds leave out for a while: things that could not be done, and things that were done and take their time.

In memory, and bounded: the next leader tries everything once more, which is harmless.
"""

import time
from dataclasses import dataclass

_FIRST_SECONDS = 2.0
_LONGEST_SECONDS = 300.0
_MOST = 10_000


@dataclass(frozen=True, slots=True)
class _Quarantined:
    until: float
    failures: int


class Quarantine:
    """By kind and id. A thing that fails again and again is left out for longer and longer, up to five minutes."""

    def __init__(self) -> None:
        self._left_out: dict[str, dict[str | int, _Quarantined]] = {}

    def failed(self, kind: str, key: str | int) -> None:
        known = self._left_out.get(kind, {}).get(key)
        failures = known.failures + 1 if known is not None else 1
        self._note(kind, key, min(_LONGEST_SECONDS, _FIRST_SECONDS * 2.0 ** min(failures - 1, 30)), failures)

    def leave_out(self, kind: str, key: str | int, seconds: float) -> None:
        self._note(kind, key, seconds, 0)

    def of(self, kind: str) -> set[str | int]:
        """What is left out now."""
        now = time.monotonic()
        left_out = self._left_out.get(kind, {})
        # Remembered for some time after its time: what fails then fails again.
        for key in [key for key, one in left_out.items() if one.until + _LONGEST_SECONDS < now]:
            del left_out[key]
        return {key for key, one in left_out.items() if one.until > now}

    def _note(self, kind: str, key: str | int, seconds: float, failures: int) -> None:
        left_out = self._left_out.setdefault(kind, {})
        left_out.pop(key, None)
        left_out[key] = _Quarantined(time.monotonic() + seconds, failures)
        while len(left_out) > _MOST:
            del left_out[next(iter(left_out))]
