"""Bytes of a server-sent event stream → the data of its events, as the WHATWG HTML standard says (section 9.2).

Any split of the bytes gives the same events: inside a character, between CR and LF, anywhere. An event without data is
none; `event: error`, or a field `error`, makes its data an `ErrorEvent`, also without data; other fields, and comments,
are dropped; names of fields may have blanks around them and capitals, beyond the standard. A line that is an object is
an event, too (NDJSON): a `BareObject`. Each byte is looked at once, however small the pieces are in which a long line
comes.

An event that was not ended by a blank line does not come out of `feed`: a cut must not look like an event. `left` has
it, and lines that are no fields at all, such as JSON over several of them, for a response that has ended as it should.
UTF-8 is left to whoever decodes the data.
"""

import re

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"
_FIELDS = frozenset({b"id", b"retry"})
_KNOWN = _FIELDS | {b"data", b"event", b"error", b""}
MAX_EVENT_BYTES = 8 * 1024 * 1024


class EventTooLarge(Exception):
    """An event, or a line, longer than `MAX_EVENT_BYTES`."""


class ErrorEvent(bytes):
    """The data of an event of the type `error`."""


class BareObject(bytes):
    """An object that stood on a line of its own, which is no field."""


class SseDecoder:
    """`feed` bytes as they come, take the events that they complete."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        """The pieces of a line that has not ended."""
        self._rest_size = 0
        self._data: list[bytes] = []
        self._size = 0
        self._at_start = True
        self._after_cr = False
        """The last byte was a CR; an LF that follows belongs to it."""
        self._idle = True
        self._is_error = False
        self._stray: list[bytes] = []
        self._stray_size = 0

    @property
    def left(self) -> bytes:
        """What came out of no event: lines that were no fields, and an event that lacks its end."""
        return b"\n".join([*self._stray, *self._data, b"".join(self._rest)])

    def feed(self, received: bytes) -> list[bytes]:
        """The data of each event that ends in these bytes, in order. Raises EventTooLarge."""
        if self._idle and received[-2:] == b"\n\n" and received[:6] == b"data: " and b"\r" not in received:
            # What servers send nearly always: whole events of one line each.
            data = received[6:-2]
            if b"\n" not in data:
                return [data]
        return self._feed_lines(received)

    def _feed_lines(self, received: bytes) -> list[bytes]:
        text = received[1:] if self._after_cr and received[:1] == b"\n" else received
        if self._at_start:
            text = b"".join([*self._rest, text])
            self._rest, self._rest_size = [], 0
            if len(text) < len(_BOM) and _BOM.startswith(text):
                self._rest, self._rest_size, self._idle = [text], len(text), False
                return []
            self._at_start = False
            text = text.removeprefix(_BOM)
        events: list[bytes] = []
        *lines, rest = _LINE_END.split(text)
        for line in lines:
            self._take(b"".join([*self._rest, line]) if self._rest else line, events)
            self._rest, self._rest_size = [], 0
        if rest:
            self._rest.append(rest)
            self._rest_size += len(rest)
        self._after_cr = text.endswith(b"\r")
        if self._size + self._rest_size > MAX_EVENT_BYTES:
            raise EventTooLarge
        self._idle = not (self._rest or self._data or self._after_cr or self._is_error)
        return events

    def _take(self, line: bytes, events: list[bytes]) -> None:
        if not line:
            data = b"\n".join(self._data)
            if data.strip() or self._is_error:
                events.append(ErrorEvent(data) if self._is_error else data)
            self._data, self._size, self._is_error = [], 0, False
            return
        name, _, value = line.partition(b":")
        if name not in _KNOWN:
            name = name.strip().lower()  # what servers write by hand
        if name == b"data":
            value = value[1:] if value[:1] == b" " else value
            self._data.append(value)
            self._size += len(value)
        elif name == b"error":  # llama.cpp's
            self._data.append(value)
            self._size += len(value)
            self._is_error = True
        elif name == b"event":
            self._is_error = value.strip().lower() == b"error"
        elif name not in _FIELDS and line[:1] != b":":
            self._take_stray(line, events)

    def _take_stray(self, line: bytes, events: list[bytes]) -> None:
        """A line that is no field: an object is an event, as NDJSON has them; of anything else more may come."""
        bare = line.strip()
        if bare[:1] == b"{" and bare[-1:] == b"}" and not self._stray and not self._data:
            events.append(BareObject(bare))
        elif self._stray_size < MAX_EVENT_BYTES:
            self._stray.append(line)
            self._stray_size += len(line)
