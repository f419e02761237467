"""How many entries a worker that has just come may hold: few at first, all of its slots after some seconds.

Guarantees: workers that come up together share what waited for them, instead of the first one taking all that its slots
hold. Not guaranteed: that the shares are equal. Who has few slots is not held back.
"""

import time
from collections.abc import Callable

RAMP_SECONDS = 3.0
_AT_ONCE = 8


class Ramp:
    def __init__(self, slots: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._slots = slots
        self._clock = clock
        self._began = clock()

    @property
    def over(self) -> bool:
        return self.limit() == self._slots

    def limit(self) -> int:
        share = min(1.0, (self._clock() - self._began) / RAMP_SECONDS)
        return max(min(self._slots, _AT_ONCE), int(self._slots * share))
