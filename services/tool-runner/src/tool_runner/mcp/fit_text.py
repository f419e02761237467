"""JSON as a server sends it, made readable: half of a character, and bytes that are none, become U+FFFD.

The library refuses a whole message for one of them: a listing, and with it every tool of that server.

Guarantees: what is readable stays as it is, byte by byte unless something in the same text is not; no text within
strings changes otherwise.
"""

import re
from collections.abc import Iterator
from typing import overload

_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
_FIRST_ALONE = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})")
_SECOND_ALONE = re.compile(rb"(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_UNKNOWN = rb"\\ufffd"
_PAIR = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F]")
_PIECE_BYTES = 64 * 1024


@overload
def fit_text(text: bytes) -> bytes: ...
@overload
def fit_text(text: bytearray) -> bytes | bytearray: ...
def fit_text(text: bytes | bytearray) -> bytes | bytearray:
    """The same object where nothing is to be changed."""
    if not _is_utf8(text):
        text = text.decode(errors="replace").encode()
    if _HALF.search(text) is None:
        return text
    # A backslash by another name: from here on each one that is left begins an escape.
    text = text.replace(rb"\\", rb"\u005c")
    return b"".join(_SECOND_ALONE.sub(_UNKNOWN, _FIRST_ALONE.sub(_UNKNOWN, piece)) for piece in _pieces(text))


def _pieces(text: bytes | bytearray) -> Iterator[bytes]:
    """No pair is cut. Of a whole text a substitution would hold objects for each of a million halves."""
    begin = 0
    while begin < len(text):
        end = text.find(b"\\", begin + _PIECE_BYTES)
        if end < 0:
            end = len(text)
        elif _PAIR.match(text, end - 6) is not None:
            end += 6
        yield bytes(text[begin:end])
        begin = end


def _is_utf8(text: bytes | bytearray) -> bool:
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
