"""Stored entries as the bytes of an event stream.

Guarantees: the JSON of an entry is sent as it was stored and never parsed; an entry is framed once, whoever reads it;
a page either follows its cursor without a gap or raises `BeginningLost`; nothing is shown after a terminal entry; a
page has at most PAGE_BYTES and a piece of it at most PIECE_BYTES, or it is a single entry.
An entry's type is its field `t`, and nothing else decides anything.
"""

from collections.abc import Iterator
from itertools import groupby
from typing import Any, ClassVar

from sluiceway.wire.events import BACKGROUND_TYPE, TERMINAL_TYPES, is_known

# The id of an entry, ATTEMPT and SEQUENCE. It grows along a stream.
EntryId = tuple[int, int]
# An entry as Redis answers it: [id, [b"t", type, b"d", json]] or, for one protocol only, [id, [..., b"v", version]].
RawEntry = list[Any]
# Which of a page's entries a subscriber sees: those for its protocol version; of a job's events, those of one type.
View = bytes | None

BEGINNING: EntryId = (0, 0)
# What is kept of one reading; the rest of it is dropped, and read again when it is needed.
PAGE_BYTES = 128 * 1024
# What is written at once. It is also what may wait for a connection that takes nothing, once or twice.
PIECE_BYTES = 64 * 1024

_START = b"start"
_BACKGROUND = BACKGROUND_TYPE.encode()
_TERMINAL = frozenset(name.encode() for name in TERMINAL_TYPES)
_MERGED = frozenset({b"text-delta", b"reasoning-delta"})
_DELTA = b'"delta":"'
_PLAIN_FIELDS = 4
_FRAME_BYTES = 20


class BeginningLost(Exception):
    """What follows a cursor is no longer there. `read_on_from` is a cursor after which everything is."""

    def __init__(self, read_on_from: EntryId) -> None:
        super().__init__(f"the next entry is lost; read on from {format_id(read_on_from)}")
        self.read_on_from = read_on_from


def parse_id(raw: bytes) -> EntryId:
    attempt, _, sequence = raw.partition(b"-")
    return int(attempt), int(sequence)


def format_id(entry_id: EntryId) -> str:
    return f"{entry_id[0]}-{entry_id[1]}"


class Page:
    """Entries of a task's stream that follow one another, all after `after`, the newest being `last`.

    `ended`: the last of them is terminal. `answer_entries`: behind so many the turn is in the background. `full`: there
    may be more in Redis. `size`: about the bytes of all frames, which who cut the page has counted.
    Streams of another kind have a page of their own, with other rules; `restarts`: one that is gone begins again, and
    who comes back to it waits for that; `doubted`: whether Redis has lost some of it is found out when it is joined, so
    who follows one has to come back where Redis was away.
    """

    __slots__ = ("_bodies", "after", "answer_entries", "ended", "entries", "full", "last", "size", "unknown")
    restarts: ClassVar[bool] = False
    doubted: ClassVar[bool] = False

    def __init__(self, after: EntryId, entries: list[RawEntry], size: int, *, full: bool = False) -> None:
        self.after = self.last = after
        self.entries = entries
        self.full = full
        self.ended = False
        self.answer_entries: int | None = None
        self.unknown = 0
        self.size = size
        self._bodies: tuple[bytes, bytes] | None = None
        if entries:
            self._check()

    @staticmethod
    def entries_of(stored: list[RawEntry]) -> list[RawEntry]:
        """Stored entries of this kind of stream in the form that pages have."""
        return stored

    @staticmethod
    def is_terminal(entry: RawEntry) -> bool:
        return entry[1][1] in _TERMINAL

    def _check(self) -> None:
        """Find the terminal entry, and raise BeginningLost where an entry does not follow the one before it."""
        types = [fields[1] for _, fields in self.entries]
        kinds = set(types)
        if kinds & _TERMINAL:
            end = next(index for index, kind in enumerate(types) if kind in _TERMINAL) + 1
            self.entries = self.entries[:end]
            self.ended, self.full = True, False
        if _BACKGROUND in kinds:
            self.answer_entries = types.index(_BACKGROUND) + 1
        self.unknown = sum(types.count(kind) for kind in kinds if not is_known(kind.decode(errors="replace")))
        first, self.last = parse_id(self.entries[0][0]), parse_id(self.entries[-1][0])
        if not _follows(self.after, first, types[0]):
            raise BeginningLost(_before(first, types[0]))
        # Ids grow, so as many ids as there are numbers between the ends of one attempt leave no room for a gap.
        gapless = first[0] == self.last[0] and self.last[1] - first[1] == len(self.entries) - 1
        if not gapless or _START in types[1:]:
            self._check_each(first)

    def _check_each(self, previous: EntryId) -> None:
        for raw_id, fields in self.entries[1:]:
            entry_id = parse_id(raw_id)
            if not _follows(previous, entry_id, fields[1]):
                raise BeginningLost(_before(entry_id, fields[1]))
            previous = entry_id

    def body(self, view: View) -> bytes:
        """The frames that a subscriber with this view sees, as one piece that all of them share."""
        if self._bodies is None:
            self._bodies = self._flavours()
        return self._bodies[view == b"7"]

    def _flavours(self) -> tuple[bytes, bytes]:
        if {len(fields) for _, fields in self.entries} <= {_PLAIN_FIELDS}:
            body = frame_entries(self.entries)
            return body, body
        six, seven = (
            frame_entries([entry for entry in self.entries if _visible(entry, version)]) for version in (b"6", b"7")
        )
        return six, seven

    def visible(self, view: View) -> Iterator[tuple[EntryId, RawEntry]]:
        for entry in self.entries:
            if _visible(entry, view):
                yield parse_id(entry[0]), entry

    def answer(self) -> "Page":
        """What of the page is the answer: all of it, or up to where its turn went into the background, as an end."""
        if self.answer_entries is None:
            return self
        page = type(self)(self.after, self.entries[: self.answer_entries], self.size)
        page.ended = True
        return page

    def pieces(self) -> "Iterator[Page]":
        """The page in pages of PIECE_BYTES, each made when it is asked for."""
        if self.size <= PIECE_BYTES:
            yield self
            return
        after, begin, size = self.after, 0, 0
        for end, entry in enumerate(self.entries):
            more = _size(entry)
            if size + more > PIECE_BYTES and end > begin:
                piece = type(self)(after, self.entries[begin:end], size, full=True)
                yield piece
                after, begin, size = piece.last, end, 0
            size += more
        yield type(self)(after, self.entries[begin:], size, full=self.full)


def shortened(entries: list[RawEntry]) -> tuple[list[RawEntry], int]:
    """As many of the entries as PAGE_BYTES have room for, and one in any case; and about as many bytes as they have on
    the wire."""
    size = sum([len(fields[3]) for _, fields in entries]) + _FRAME_BYTES * len(entries)
    if size <= PAGE_BYTES:
        return entries, size
    size = 0
    for place, entry in enumerate(entries):
        more = _size(entry)
        if size + more > PAGE_BYTES and place:
            return entries[:place], size
        size += more
    return entries, size


def _size(entry: RawEntry) -> int:
    return len(entry[1][3]) + _FRAME_BYTES


def frame_entries(entries: list[RawEntry]) -> bytes:
    """`id:`, `data:` and a blank line for each."""
    return b"".join([b"id: %b\ndata: %b\n\n" % (raw_id, fields[3]) for raw_id, fields in entries])


def merge_deltas(entries: list[RawEntry]) -> list[RawEntry]:
    """Adjacent deltas of one part as one entry with the id of the last. Bytes are joined, no JSON is parsed."""
    merged: list[RawEntry] = []
    for head, group in groupby(entries, key=_delta_head):
        run = list(group)
        if head is None or len(run) == 1:
            merged += run
            continue
        text = b"".join([fields[3][len(head) : -2] for _, fields in run])
        raw_id, fields = run[-1]
        merged.append([raw_id, [*fields[:3], b'%b%b"}' % (head, text)]])
    return merged


def _delta_head(entry: RawEntry) -> bytes | None:
    """What comes before the text of a delta; None when that text is not the last thing in the JSON."""
    fields = entry[1]
    if fields[1] not in _MERGED or len(fields) != _PLAIN_FIELDS:
        return None
    before, found, after = fields[3].partition(_DELTA)
    if not found or not after.endswith(b'"}'):
        return None
    # A quote without a backslash before it ends the text: something else follows.
    if after.count(b'"') - 1 != after.count(b'\\"', 0, -2):
        return None
    return bytes(before + found)


def _visible(entry: RawEntry, view: View) -> bool:
    fields = entry[1]
    return len(fields) == _PLAIN_FIELDS or fields[5] == view


def _follows(previous: EntryId, entry_id: EntryId, kind: bytes) -> bool:
    if previous == BEGINNING or kind == _START:
        return previous == BEGINNING and kind == _START
    return entry_id == (previous[0], previous[1] + 1) or (entry_id[0] > previous[0] and entry_id[1] == 0)


def _before(entry_id: EntryId, kind: bytes) -> EntryId:
    """A cursor that the entry follows."""
    attempt, sequence = entry_id
    if kind == _START:
        return BEGINNING
    return (attempt, sequence - 1) if sequence else (attempt - 1, 1)
