"""What a subscriber asks of the hub."""

import asyncio
from dataclasses import dataclass, field
from typing import ClassVar

from gateway.fanout.frames import BEGINNING, PAGE_BYTES, EntryId, Page, View

# How many entries are read at once: nobody knows how large they are before they come, so the first reading is a short
# one, and those after it are as long as what came before allows.
FIRST_ENTRIES = 64
MOST_ENTRIES = 512
_GROWTH = 4
# The bytes that Redis has of a stream, as soon as it answers; None when it does not tell.
Size = asyncio.Future[int | None]


def next_count(page: Page, asked: int) -> int:
    """How many entries to ask for after a page that was read by asking for `asked`."""
    if page.size <= PAGE_BYTES // _GROWTH:
        return min(asked * _GROWTH, MOST_ENTRIES)
    return max(1, min(MOST_ENTRIES, len(page.entries) * PAGE_BYTES // page.size))


@dataclass(frozen=True, slots=True)
class Follow:
    """What a subscriber wants to see.

    `cursor`: entries after this id. `retracted`: pairs (kept, resumed); entries between the two were abandoned by a
    retried step, and one that has not seen them yet does not get them. `protocol`: 6 or 7; entries for the other one
    are left out. `start_index`: leave out so many visible entries from the beginning of the stream, whatever is
    retracted.
    `merge`: join adjacent deltas of what is replayed. `wait_for_start`: an empty stream is one that has yet to begin.
    `waits`: it is told its place in the queue while the stream is empty; see `Hub.tell_waiting`.
    `answer_only`: the stream ends where its turn goes into the background, with a `finish` of ours.
    `size`: from `Hub.measure`, where there was something to ask before; else it is asked for, one round trip later.
    A kind of stream with other rules than a task's has a subclass, which says them by `page_type` and `view`.
    """

    events_key: str
    cursor: EntryId = BEGINNING
    retracted: tuple[tuple[EntryId, EntryId], ...] = ()
    protocol: int = 6
    start_index: int | None = None
    merge: bool = False
    wait_for_start: bool = True
    waits: bool = False
    answer_only: bool = False
    size: Size | None = field(default=None, compare=False, repr=False)
    page_type: ClassVar[type[Page]] = Page

    @property
    def view(self) -> View:
        return b"7" if self.protocol == 7 else b"6"
