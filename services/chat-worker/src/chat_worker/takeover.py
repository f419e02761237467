"""What a new attempt finds of its predecessors, and how it replaces what they had shown of an unfinished step.

Clients of version 7 are sent `reset-step`. Older ones get the open parts closed, and a new step. Replays to others
leave the abandoned entries out: the interval is written to the task's metadata (`void`) before anything else.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sluiceway.events import Event, ProtocolVersion, ResetStep, Start, StartStep
from sluiceway.message import MessageFold
from sluiceway.task_stream import Entry, EntryId, format_entry_id, parse_void

Opening = list[tuple[Event, ProtocolVersion | None]]


@dataclass(frozen=True, slots=True)
class Takeover:
    """How this attempt goes on: the events it writes first, the message so far, and the intervals to be left out."""

    opening: Opening
    fold: MessageFold
    void: str | None


def take_over(entries: Sequence[Entry], message_id: str, attempt: int, void: str) -> Takeover:
    """Plan the beginning of an attempt on a stream that holds `entries`."""
    fold = MessageFold()
    step_began: EntryId | None = None
    for entry in entries:
        if entry.protocol == 6 or not isinstance(entry.event, Event):
            continue
        fold.add(entry.event)
        if isinstance(entry.event, StartStep):
            step_began = entry.entry_id
    if not fold.started:
        return _planned([(Start(message_id=message_id), None), (StartStep(), None)], fold, None)
    if not fold.step_open or step_began is None:
        return _planned([(StartStep(), None)], fold, None)
    closing: Opening = [(event, 6) for event in [*fold.closers(), StartStep()]]
    opening: Opening = [*closing, (ResetStep(), 7)]
    return _planned(opening, fold, _with_interval(void, step_began, (attempt, len(opening))))


def _planned(opening: Opening, fold: MessageFold, void: str | None) -> Takeover:
    for event, protocol in opening:
        if protocol != 6:
            fold.add(event)
    return Takeover(opening, fold, void)


def _with_interval(void: str, kept: EntryId, resumed: EntryId) -> str:
    """A later retry of the same step swallows the earlier one's interval."""
    intervals = dict(parse_void(void)) | {kept: resumed}
    return ",".join(f"{format_entry_id(a)}>{format_entry_id(b)}" for a, b in intervals.items())
