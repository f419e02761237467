"""Capped exponential backoff with full jitter, for waits that go on until what is away comes back."""

import random


class Backoff:
    """Delays in seconds: random between nothing and a limit that doubles up to `cap_seconds`."""

    def __init__(self, first_seconds: float = 0.1, cap_seconds: float = 5.0) -> None:
        self._first = first_seconds
        self._cap = cap_seconds
        self._failures = 0

    def next_seconds(self) -> float:
        limit = min(self._cap, self._first * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return random.uniform(limit / 10, limit)  # noqa: S311 - jitter, not a secret

    def reset(self) -> None:
        self._failures = 0
