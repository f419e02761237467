"""How a new attempt takes an unfinished turn over: from what the stream and Postgres together know of it.

A step is durable when Postgres has its parts; what the stream shows beyond is a predecessor's unfinished step. Where
the model can continue it, it does, in the part that is open: no client sees that anything happened. Else the step is
replaced: clients of version 7 are sent `reset-step`, older ones get the open parts closed, and a new step. Replays
leave the abandoned entries out: their range is written to the task's metadata (`retracted`) once what closes them
stands in the stream. Written before that, it would hide them from a client to whom the next attempt, had this one died,
would have closed them.
What the stream lacks of the durable steps (Redis was flushed, failed over, or was away when a tool ended) is appended.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sluiceway.stream.entry import Entry
from sluiceway.stream.retracted import with_range
from sluiceway.turn.shown import Durable, fold_entries, untold
from sluiceway.wire.entry_id import EntryId
from sluiceway.wire.events import Event, FinishStep, ProtocolVersion, ResetStep, Start, StartStep
from sluiceway.wire.message import MessageFold, Part, calls_in, replay_of

Opening = list[tuple[Event, ProtocolVersion | None]]
# What the model can continue: nothing, a text whose beginning it is told, or an answer that its server keeps.
Continuable = Literal["nothing", "text", "answer"]
_RETRIED = "RETRIED: The step is done again."


@dataclass(frozen=True, slots=True)
class Takeover:
    """How this attempt begins: the events it writes first, the message so far, and the retracted ranges to be set.

    Between steps, `fold.step_open` is False: the caller begins a step before it calls the model. `continues`: the step
    that is open keeps what it has shown, and its open part continues; else it begins with nothing.
    """

    opening: Opening
    fold: MessageFold
    retracted: str | None
    continues: bool = False


def take_over(
    entries: Sequence[Entry],
    durable: Durable,
    message_id: str,
    attempt: int,
    retracted: str,
    *,
    able: Continuable = "nothing",
) -> Takeover:
    """Plan the beginning of an attempt on a stream that holds `entries`; some may be the attempt's own already.

    `able`: what the attempt could continue.
    """
    fold, step_began = fold_entries(entries, durable), _last_step_began(entries)
    plan = _Plan(fold)
    if not fold.started:
        plan.write(Start(message_id=message_id))
        plan.write(*untold(durable.parts[: durable.before], durable, fold))
        plan.write(*replay_of(durable.own))
        fold.adopt(durable.parts)
        return Takeover(plan.opening, fold, None)
    ranges = None
    whole = fold.steps >= durable.steps and calls_in(durable.own).keys() <= fold.calls().keys()
    unfinished = fold.steps > durable.steps
    continues = whole and fold.steps == durable.steps + 1 and _can_continue(fold, able)
    if step_began is None:
        plan.write(*replay_of(durable.own))
    elif (unfinished or not whole) and not continues:
        plan.reset()
        ranges = with_range(retracted, step_began, (attempt, _own(entries, attempt) + len(plan.opening)))
        if not whole:
            plan.write(*_steps_after(durable.own, fold.steps - 1))
    elif fold.step_open and not unfinished:
        plan.write(FinishStep())
    plan.write(*untold(durable.parts, durable, fold))
    fold.adopt(durable.parts)
    return Takeover(plan.opening, fold, ranges, continues)


class _Plan:
    def __init__(self, fold: MessageFold) -> None:
        self.opening: Opening = []
        self._fold = fold

    def write(self, *events: Event) -> None:
        for event in events:
            self.opening.append((event, None))
            self._fold.add(event)

    def reset(self) -> None:
        """Replace the last step: closed and begun again for older clients, reset for newer ones."""
        reset = ResetStep()
        closing = [*self._fold.abandoned_calls(_RETRIED), *self._fold.closers(), StartStep()]
        self.opening += [*((event, 6) for event in closing), (reset, 7)]
        self._fold.add(reset)


def _last_step_began(entries: Sequence[Entry]) -> EntryId | None:
    shown = (entry for entry in reversed(entries) if entry.protocol != 6)
    return next((entry.entry_id for entry in shown if isinstance(entry.event, StartStep)), None)


def _can_continue(fold: MessageFold, able: Continuable) -> bool:
    """Whitespace alone is no beginning that a model could continue; how far a tool call was shown is not known here. A
    step of which nothing was shown, as of one that waits for its model, has nothing to be replaced."""
    if fold.step_open and not fold.kinds_in_step:
        return True
    match able:
        case "text":
            return bool(fold.open_text.strip())
        case "answer":
            return fold.step_open and set(fold.kinds_in_step) <= {"text", "reasoning"}
        case "nothing":
            return False


def _own(entries: Sequence[Entry], attempt: int) -> int:
    return sum(entry.entry_id[0] == attempt for entry in entries)


def _steps_after(parts: Sequence[Part], begun: int) -> list[Event]:
    """The chunks of the durable steps after so many, of which the first is begun already."""
    found = 0
    for place, part in enumerate(parts):
        found += part["type"] == "step-start"
        if found > begun:
            return replay_of(parts[place:])[1:]
    return [FinishStep()]
