"""Bytes of a server-sent event stream → the data of its events, as the WHATWG HTML standard says (section 9.2).

Any split of the bytes gives the same events: inside a character, between CR and LF, anywhere. Only `data` matters here;
comments and other fields are dropped. An event that was not ended by a blank line is dropped too, as the standard has
it: a cut must not look like an event. UTF-8 is left to whoever decodes the data.
"""

import re

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"
MAX_EVENT_BYTES = 8 * 1024 * 1024


class EventTooLarge(Exception):
    """An event, or a line, longer than `MAX_EVENT_BYTES`."""


class SseDecoder:
    """`feed` bytes as they come, take the events that they complete."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0
        self._at_start = True
        self._after_cr = False
        """The last byte was a CR; an LF that follows belongs to it."""
        self._idle = True

    def feed(self, received: bytes) -> list[bytes]:
        """The data of each event that ends in these bytes, in order. Raises EventTooLarge."""
        if self._idle and received[-2:] == b"\n\n" and received[:6] == b"data: " and b"\r" not in received:
            # What servers send nearly always: whole events of one line each.
            data = received[6:-2]
            if b"\n" not in data:
                return [data]
        return self._feed_lines(received)

    def _feed_lines(self, received: bytes) -> list[bytes]:
        text = self._rest + (received[1:] if self._after_cr and received[:1] == b"\n" else received)
        if self._at_start:
            if len(text) < len(_BOM) and _BOM.startswith(text):
                self._rest, self._idle = text, False
                return []
            self._at_start = False
            text = text.removeprefix(_BOM)
        lines = _LINE_END.split(text)
        self._rest = lines.pop()
        self._after_cr = text.endswith(b"\r")
        events: list[bytes] = []
        for line in lines:
            self._take(line, events)
        if self._size + len(self._rest) > MAX_EVENT_BYTES:
            raise EventTooLarge
        self._idle = not (self._rest or self._data or self._after_cr)
        return events

    def _take(self, line: bytes, events: list[bytes]) -> None:
        if not line:
            if self._data:
                events.append(b"\n".join(self._data))
                self._data, self._size = [], 0
            return
        name, _, value = line.partition(b":")
        if name == b"data":
            value = value[1:] if value[:1] == b" " else value
            self._data.append(value)
            self._size += len(value)
