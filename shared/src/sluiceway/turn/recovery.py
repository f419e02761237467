"""What a stream and Postgres together know of an unfinished turn, and how a new attempt goes on from there.

A step is durable when Postgres has its parts; what the stream shows beyond is a predecessor's unfinished step. Where
the model can go on with that, it does, in the part that is open: no client sees that anything happened. Else the step
is replaced: clients of version 7 are sent `reset-step`, older ones get the open parts closed, and a new step. Replays
to others leave the abandoned entries out: their interval is written to the task's metadata (`retracted`) once what
closes them stands in the stream. Written before, it hid them from somebody to whom the next attempt, had this one died,
would have closed them.
What the stream lacks of the durable steps (Redis was flushed, failed over, or was away when a tool
ended) is told.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal

from sluiceway.stream.task_streams import Entry, parse_retracted
from sluiceway.wire.entry_id import EntryId, format_entry_id
from sluiceway.wire.events import Event, FinishStep, ProtocolVersion, ResetStep, Start, StartStep
from sluiceway.wire.message import MessageFold, Part, calls_in, count_steps, output_of, replay_of

Opening = list[tuple[Event, ProtocolVersion | None]]
# What the model can go on with: nothing, a text whose beginning it is told, or an answer that its server keeps.
Continuable = Literal["nothing", "text", "answer"]
_RETRIED = "RETRIED: The step is done again."


@dataclass(frozen=True, slots=True)
class Durable:
    """What Postgres has of the turn's message: all parts, how many of them are older than this turn, the calls that
    this turn has operations for, and whether one of these is for a person to approve."""

    parts: Sequence[Part] = ()
    before: int = 0
    calls: Collection[str] = field(default_factory=frozenset)
    asks: bool = False

    @property
    def own(self) -> Sequence[Part]:
        return self.parts[self.before :]

    @property
    def steps(self) -> int:
        return count_steps(self.own)


@dataclass(frozen=True, slots=True)
class Takeover:
    """How this attempt goes on: the events it writes first, the message so far, and the intervals to be left out.

    Between steps, `fold.step_open` is False: who goes on with the model begins a step. `continues`: the step that is
    open keeps what it has shown, and its open part goes on; else it begins with nothing.
    """

    opening: Opening
    fold: MessageFold
    retracted: str | None
    continues: bool = False


def as_shown(entries: Sequence[Entry], durable: Durable) -> tuple[MessageFold, list[Event]]:
    """The message with its unfinished step, as clients see it, and the chunks that the stream lacks of it: how a turn
    is ended that nobody goes on with. (`start` is not among them: what closes a stream sees to that.)"""
    fold, _ = _read(entries, durable)
    lacking = [] if fold.started else replay_of(durable.own)
    lacking += _answers(durable.parts[: durable.before] if lacking else durable.parts, durable, fold)
    for event in lacking:
        fold.add(event)
    fold.adopt(durable.parts)
    return fold, lacking


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

    `able`: what the attempt could go on with.
    """
    fold, step_began = _read(entries, durable)
    plan = _Plan(fold)
    if not fold.started:
        plan.write(Start(message_id=message_id))
        plan.write(*_answers(durable.parts[: durable.before], durable, fold))
        plan.write(*replay_of(durable.own))
        fold.adopt(durable.parts)
        return Takeover(plan.opening, fold, None)
    intervals = None
    whole = fold.steps >= durable.steps and calls_in(durable.own).keys() <= fold.calls().keys()
    unfinished = fold.steps > durable.steps
    continues = whole and fold.steps == durable.steps + 1 and _can_continue(fold, able)
    if step_began is None:
        plan.write(*replay_of(durable.own))
    elif (unfinished or not whole) and not continues:
        plan.reset()
        intervals = _with_interval(retracted, step_began, (attempt, _own(entries, attempt) + len(plan.opening)))
        if not whole:
            plan.write(*_steps_after(durable.own, fold.steps - 1))
    elif fold.step_open and not unfinished:
        plan.write(FinishStep())
    plan.write(*_answers(durable.parts, durable, fold))
    fold.adopt(durable.parts)
    return Takeover(plan.opening, fold, intervals, continues)


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


def _read(entries: Sequence[Entry], durable: Durable) -> tuple[MessageFold, EntryId | None]:
    """The fold of what clients of version 7 saw, and where its last step began."""
    fold = MessageFold(durable.parts[: durable.before])
    step_began: EntryId | None = None
    for entry in entries:
        if entry.protocol == 6 or not isinstance(entry.event, Event):
            continue
        fold.add(entry.event)
        if isinstance(entry.event, StartStep):
            step_began = entry.entry_id
    return fold, step_began


def _can_continue(fold: MessageFold, able: Continuable) -> bool:
    """Blanks alone are no beginning that a model could go on with; of a tool call, what was shown is not known here."""
    match able:
        case "text":
            return bool(fold.open_text.strip())
        case "answer":
            return fold.step_open and set(fold.kinds_in_step) <= {"text", "reasoning"}
        case "nothing":
            return False


def _own(entries: Sequence[Entry], attempt: int) -> int:
    return sum(entry.entry_id[0] == attempt for entry in entries)


def _answers(parts: Sequence[Part], durable: Durable, fold: MessageFold) -> list[Event]:
    """How calls of this turn ended, as far as it was not told."""
    calls = calls_in(parts).items()
    events = [output_of(part) for call_id, part in calls if call_id in durable.calls and call_id not in fold.told]
    return [event for event in events if event is not None]


def _steps_after(parts: Sequence[Part], begun: int) -> list[Event]:
    """The chunks of the durable steps after so many, of which the first is begun already."""
    found = 0
    for place, part in enumerate(parts):
        found += part["type"] == "step-start"
        if found > begun:
            return replay_of(parts[place:])[1:]
    return [FinishStep()]


def _with_interval(retracted: str, kept: EntryId, resumed: EntryId) -> str:
    """A later retry of the same step swallows the earlier one's interval."""
    intervals = dict(parse_retracted(retracted)) | {kept: resumed}
    return ",".join(f"{format_entry_id(a)}>{format_entry_id(b)}" for a, b in intervals.items())
