"""How long clients waited after a fault: from it to the next thing that they saw of a turn that it had touched.

A turn that came to its end without the fault's sign was not touched after all, and does not count. Clients that are
away or slow by themselves do not count either.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from chaos.clients import PROMPT
from chaos.ledger import Fault, Ledger, Seen, Turn

_VISIBLE = ("text-delta", "tool-input", "tool-output", "finish")


@dataclass(frozen=True, slots=True)
class Wait:
    fault: Fault
    turn: Turn
    seconds: float

    @property
    def too_long(self) -> bool:
        return self.fault.promised_seconds is not None and self.seconds > self.fault.promised_seconds

    def __str__(self) -> str:
        waited = f"the client of {self.turn.task_id} saw nothing for {self.seconds:.1f} s"
        return f"after {self.fault.what} {waited}; {self.fault.promised_seconds} s are promised"


def waits(ledger: Ledger) -> list[Wait]:
    """One for each fault and each turn that it touched."""
    return [wait for fault in ledger.faults for wait in _waits_of(fault, ledger.turns)]


def _waits_of(fault: Fault, turns: Sequence[Turn]) -> Iterator[Wait]:
    for turn in turns:
        if turn.client in PROMPT and turn.task_id in fault.touched:
            seconds = _seconds(fault, turn)
            if seconds is not None:
                yield Wait(fault, turn, seconds)


def _seconds(fault: Fault, turn: Turn) -> float | None:
    """None: the turn ended without the sign of this fault."""
    events = [seen for view in turn.views for seen in view.events]
    before = [seen for seen in events if seen.at <= fault.at]
    after = [seen for seen in events if seen.at > fault.at and seen.type.startswith(_VISIBLE)]
    match fault.sign:
        case "silence":
            return _longest_silence(before[-1:] + after) if not turn.question.rounds else None
        case "event":
            found = after
        case "connection":
            known = sum(at <= fault.at for at, _ in turn.opened)
            found = [seen for seen in after if seen.connection > known]
        case _:
            attempt = max((seen.entry_id[0] for seen in before if seen.entry_id), default=0)
            found = [seen for seen in after if seen.entry_id is not None and seen.entry_id[0] > attempt]
    if not found:
        return None
    return found[0].at - (_last_before(events, found[0], fault) if fault.sign == "release" else fault.at)


def _longest_silence(events: Sequence[Seen]) -> float | None:
    """The client had begun to see the answer, or sees its first event."""
    return max((later.at - earlier.at for earlier, later in pairwise(events)), default=None)


def _last_before(events: Sequence[Seen], first: Seen, fault: Fault) -> float:
    """When the old attempt was last heard of."""
    return max((seen.at for seen in events if seen.at < first.at), default=fault.at)
