"""What a person's devices are told, for the hub: the same fan-out as for a task's stream, by the rules of another kind.

Guarantees: every event after the cursor, in order, without a gap; a stream that cannot say so any more (it was trimmed,
flushed, or Redis was away) is broken off, and who comes back is told what that means for him by the greeting.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from gateway.fanout.follow import Follow
from gateway.fanout.frames import (
    BEGINNING,
    BeginningLost,
    EntryId,
    Page,
    RawEntry,
    View,
    format_id,
    frame_entries,
    parse_id,
)


class PersonPage(Page):
    """Entries [id, [b"t", type, b"d", json, b"r", replication id]], all of one generation; it has no end."""

    __slots__ = ()
    doubted: ClassVar[bool] = True

    @staticmethod
    def is_terminal(entry: RawEntry) -> bool:
        return False

    def _check(self) -> None:
        for raw_id, _ in self.entries:
            entry_id = parse_id(raw_id)
            if entry_id != (self.last[0], self.last[1] + 1):
                raise BeginningLost(BEGINNING)
            self.last = entry_id

    def _flavours(self) -> tuple[bytes, bytes]:
        body = frame_entries(self.entries)
        return body, body

    def visible(self, view: View) -> Iterator[tuple[EntryId, RawEntry]]:
        return ((parse_id(entry[0]), entry) for entry in self.entries)


@dataclass(frozen=True, slots=True)
class FollowPerson(Follow):
    """Always after an entry that was there."""

    page_type: ClassVar[type[Page]] = PersonPage


def greeting(place: EntryId, *, resumed: bool) -> bytes:
    """The event `ready`, at the cursor behind which everything follows."""
    told = json.dumps({"type": "ready", "resumed": resumed}, separators=(",", ":"))
    return f"id: {format_id(place)}\ndata: {told}\n\n".encode()
