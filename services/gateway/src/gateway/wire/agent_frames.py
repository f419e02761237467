"""A task's agent events for the hub: the same fan-out as for a task's stream, by the rules of another kind of stream.

Guarantees: every event after the cursor, in order, without a gap, until `connection_end`, and nothing of the task's
next stream after it; nothing of a stream that has an owner is shown to anybody else, also not to one who came before
the stream was there.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from sluiceway.feeds.agent_events import CONNECTION_END

from gateway.fanout.follow import Follow
from gateway.fanout.frames import BEGINNING, BeginningLost, EntryId, Page, RawEntry, View, frame_entries, parse_id

_END = CONNECTION_END.encode()


class AgentPage(Page):
    """Entries [id, [b"t", type, b"d", json, b"o", owner]], all of one generation; the view is who looks."""

    __slots__ = ()

    @staticmethod
    def is_terminal(entry: RawEntry) -> bool:
        return bool(entry[1][1] == _END)

    def _check(self) -> None:
        """Raise BeginningLost where another stream has taken the place of the one that was read."""
        previous = self.after
        for place, entry in enumerate(self.entries, start=1):
            entry_id = parse_id(entry[0])
            if entry_id != (previous[0], previous[1] + 1) and not (previous == BEGINNING and entry_id[1] == 1):
                raise BeginningLost(BEGINNING)
            self.last = previous = entry_id
            if self.is_terminal(entry):
                self.entries = self.entries[:place]
                self.ended, self.full = True, False
                return

    def _flavours(self) -> tuple[bytes, bytes]:
        body = frame_entries(self.entries)
        return body, body

    def body(self, view: View) -> bytes:
        return super().body(view) if self._is_for(view) else b""

    def visible(self, view: View) -> Iterator[tuple[EntryId, RawEntry]]:
        if self._is_for(view):
            yield from ((parse_id(entry[0]), entry) for entry in self.entries)

    def _is_for(self, view: View) -> bool:
        return not self.entries or self.entries[0][1][5] in (b"", view)


@dataclass(frozen=True, slots=True)
class FollowAgents(Follow):
    """`user_id`: who looks, None for somebody anonymous."""

    user_id: str | None = None
    page_type: ClassVar[type[Page]] = AgentPage

    @property
    def view(self) -> View:
        return None if self.user_id is None else self.user_id.encode()
