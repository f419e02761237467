"""The edge at which text from a model server comes in: what is behind it is `CleanText`.

Guarantees
- Clean text is stored by Postgres as jsonb and taken by every client: it has no NUL and no lone surrogate; both are
  U+FFFD. Two halves of a character that came in two pieces are one character again.
- Names, ids and words of errors are no longer than their limit; numbers are counts that a client reads exactly.
- Nothing here raises on what JSON can hold.
"""

import math
import re
from typing import Any, NewType

CleanText = NewType("CleanText", str)

MAX_NAME_CHARS = 256
MAX_ID_CHARS = 256
MAX_COUNT = 2**53 - 1
_MAX_DEPTH = 32
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_HIGH_HALF = re.compile("[\ud800-\udbff]\\Z")


def cleaned(text: str) -> CleanText:
    if _UNSTORABLE.search(text) is None:
        return CleanText(text)
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return CleanText(whole.replace("\x00", "\ufffd"))


def label_of(value: object, max_chars: int) -> CleanText | None:
    """A name or an id; None where it is empty, or no text at all."""
    if not isinstance(value, str) or not value:
        return None
    return cleaned(value[:max_chars])


def count_of(value: object) -> int | None:
    """A number of tokens, from whatever a server wrote; None where it is none."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    # Of any size: what is no number is in no range, and an integer may be larger than any float.
    return int(value) if 0 <= value <= MAX_COUNT else None


def clean_value(value: Any, levels: int = _MAX_DEPTH) -> Any:
    """JSON that can be stored: texts are clean, numbers finite; what is nested too deep is None."""
    match value:
        case str():
            return cleaned(value)
        case float():
            return value if math.isfinite(value) else None
        case dict() if levels > 0:
            return {cleaned(str(key)): clean_value(inner, levels - 1) for key, inner in value.items()}
        case list() if levels > 0:
            return [clean_value(inner, levels - 1) for inner in value]
        case None | bool() | int():
            return value
        case _:
            return None


class TextJoiner:
    """One text that comes in pieces. Half a character at a piece's end waits for the next piece."""

    __slots__ = ("_half",)

    def __init__(self) -> None:
        self._half = ""

    def feed(self, piece: str) -> CleanText:
        if not self._half and ((piece.isascii() and "\x00" not in piece) or _UNSTORABLE.search(piece) is None):
            return piece  # type: ignore[return-value]  # a call of a NewType costs a tenth of all that a token costs
        text, self._half = self._half + piece, ""
        if _HIGH_HALF.search(text) is not None:
            text, self._half = text[:-1], text[-1]
        return cleaned(text)

    def rest(self) -> CleanText:
        """The half character that nothing followed, if there is one."""
        half, self._half = self._half, ""
        return cleaned(half)
