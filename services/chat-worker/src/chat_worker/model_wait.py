"""What a turn has gone through that waits for its model without a worker: stored with it, for whoever continues.

Guarantees: waiting in pieces, by several workers, ends when waiting in one piece would have: patience, the number of
tries and of requests that may have been paid for continue where they were. A place in the model's line is kept.
"""

from dataclasses import dataclass
from typing import Any, Self

from sluiceway_llm.calling.line import InLine, Place
from sluiceway_llm.calling.retry import PutOff, Tried


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
        costs = 0.0 if isinstance(put_off.error, InLine) else put_off.delay_seconds
        left = max(0.0, left_seconds - costs)
        return cls(step, left, put_off.tried, str(status["since"]), status)

    def stored(self) -> dict[str, Any]:
        place = self.tried.place
        return {
            "step": self.step,
            "left_seconds": round(self.left_seconds, 3),
            "failures": self.tried.failures,
            "requests": dict(self.tried.kinds),
            "since": self.since,
            "status": self.status,
            **({} if place is None else {"place": [place.ticket, place.arrived]}),
        }

    @classmethod
    def read(cls, stored: dict[str, Any] | None) -> Self | None:
        if stored is None:
            return None
        place = Place(*stored["place"]) if "place" in stored else None
        tried = Tried(stored["failures"], stored["requests"], place)
        return cls(stored["step"], stored["left_seconds"], tried, stored["since"], stored["status"])
