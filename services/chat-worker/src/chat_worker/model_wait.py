"""What a turn has gone through that waits for its model without a worker: stored with it, for whoever continues.

Guarantees: waiting in pieces, by several workers, ends when waiting in one piece would have: patience, the number of
tries and of requests that may have been paid for continue where they were.
"""

from dataclasses import dataclass
from typing import Any, Self

from sluiceway_llm.retry import PutOff, Tried


@dataclass(frozen=True, slots=True)
class ModelWait:
    """`step`: the one that waits, counted in the message. `left_seconds`: of the turn's patience. `since`: when the
    model was first found away, in that step (ISO). `status`: what followers were told."""

    step: int
    left_seconds: float
    tried: Tried
    since: str
    status: dict[str, Any]

    @classmethod
    def of(cls, put_off: PutOff, step: int, left_seconds: float, status: dict[str, Any]) -> Self:
        left = max(0.0, left_seconds - put_off.delay_seconds)
        return cls(step, left, put_off.tried, str(status["since"]), status)

    def stored(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "left_seconds": round(self.left_seconds, 3),
            "failures": self.tried.failures,
            "requests": dict(self.tried.kinds),
            "since": self.since,
            "status": self.status,
        }

    @classmethod
    def read(cls, stored: dict[str, Any] | None) -> Self | None:
        if stored is None:
            return None
        tried = Tried(stored["failures"], stored["requests"])
        return cls(stored["step"], stored["left_seconds"], tried, stored["since"], stored["status"])
