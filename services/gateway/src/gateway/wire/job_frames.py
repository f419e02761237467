"""A job's events for the hub: the same fan-out as for a task's stream, by the rules of another kind of stream.

Guarantees: every event after the cursor, in order, and the JSON is sent as it was stored, but for U+0085, U+2028 and
U+2029, which are escaped; what others than our publisher have written is shown, too
(`sluiceway.feeds.job_events.JobEvent`).
A stream that is followed ends with the job: at `task_completed`, `task_failed` or `task_stopped`, where that is the
newest event; a job that is run again after it continues.
Not guaranteed: that a gap is noticed. Ids are Redis's own times, so nobody can tell from them what is missing between
two. A job that never says how it ended has a stream without an end. One that expires while it is followed is broken;
who comes back waits for its new beginning.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from sluiceway.feeds.job_events import JobEvent
from sluiceway.wire.json_values import one_line

from gateway.fanout.follow import Follow
from gateway.fanout.frames import EntryId, Page, RawEntry, View, frame_entries, parse_id

_LAST = frozenset({b"task_completed", b"task_failed", b"task_stopped"})


class JobPage(Page):
    """Entries in the form of a task's, [id, [b"t", event_type, b"d", data]]; the view is a type, or None for all."""

    __slots__ = ()
    restarts: ClassVar[bool] = True

    @staticmethod
    def entries_of(stored: list[RawEntry]) -> list[RawEntry]:
        return [_entry(raw_id, fields) for raw_id, fields in stored]

    @staticmethod
    def is_terminal(entry: RawEntry) -> bool:
        return entry[1][1] in _LAST

    def _check(self) -> None:
        """What comes behind an end was read with it, so that was not the end."""
        self.last = parse_id(self.entries[-1][0])
        self.ended = not self.full and self.is_terminal(self.entries[-1])

    def body(self, view: View) -> bytes:
        if view is None:
            return super().body(view)
        return frame_entries([entry for entry in self.entries if entry[1][1] == view])

    def visible(self, view: View) -> Iterator[tuple[EntryId, RawEntry]]:
        for raw_id, fields in self.entries:
            if view in (None, fields[1]):
                yield parse_id(raw_id), [raw_id, fields]


@dataclass(frozen=True, slots=True)
class FollowJob(Follow):
    """`event_type`: leave out events of other types."""

    event_type: str | None = None
    page_type: ClassVar[type[Page]] = JobPage

    @property
    def view(self) -> View:
        return None if self.event_type is None else self.event_type.encode()


def _entry(raw_id: bytes, fields: list[bytes]) -> RawEntry:
    event = JobEvent.read(raw_id, dict(zip(fields[::2], fields[1::2], strict=True)))
    # A frame ends at an empty line; JSON that somebody has printed over several lines is one event all the same.
    data = b"\ndata: ".join(one_line(event.data).splitlines())
    return [raw_id, [b"t", event.event_type.encode(), b"d", data]]
