"""JSON that everybody takes: what tools and outside services answer, before it is stored and shown.

Guarantees: whatever JSON goes in, what comes out of `clean_json` is stored by Postgres as jsonb, is taken by the AI
SDK's clients inside a chunk, and comes back the same from both (a large float perhaps as the integer that is the same
double). None of these functions raises on JSON, and doing it again changes nothing.

`encode_json` is the last line of defence, at the store's and the streams' own encoding. What comes from outside was
made fit before, where it came in; an edge that was forgotten costs a character then, and not a turn.
"""

import json
import math
import re
import sys
from typing import Any

from pydantic_core import PydanticSerializationError, to_json

# pydantic reads and writes no more than some 200 levels; chunks and messages wrap a value in a few of their own.
MAX_DEPTH = 100
TOO_DEEP = "[left out: nested too deep]"
# What serializers raise for a lone surrogate, for too many levels, for a number of too many digits, and for no JSON.
UNWRITABLE = (PydanticSerializationError, ValueError, TypeError, RecursionError)
# Line ends for Python's `splitlines` and the readers of streams that are built on it (httpx's and requests' lines), but
# none for JSON, and none for an event stream: there a line ends at CR, LF or both (WHATWG HTML, 9.2.6), as EventSource
# and httpx-sse have it.
_LINE_ENDS = tuple((end.encode(), f"\\u{ord(end):04x}".encode()) for end in "\x85\u2028\u2029")
_NUL = b"\\u0000"
_REFUSED_BY_POSTGRES = re.compile("[\x00\ud800-\udfff]")
_NOTE = "\n[Shortened: {} of {} characters are shown. The whole result is kept.]"


def clean_json(value: Any) -> Any:
    """The same value without what Postgres or a client refuses.

    NUL characters and lone surrogates become U+FFFD; NaN, infinities and integers beyond a double's range None; a
    container below `MAX_DEPTH` others becomes a text that says so. The key `__proto__`, and `constructor` with a
    `prototype` inside, are left out. A tuple becomes a list, and what is no JSON at all its text.
    """
    return _clean(value, MAX_DEPTH)


def clean_text(text: str) -> str:
    """The same text without NUL and lone surrogates, which become U+FFFD. Two halves of a pair that came apart are a
    character again."""
    if _REFUSED_BY_POSTGRES.search(text) is None:
        return text
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return whole.replace("\x00", "\ufffd")


def encode_json(value: Any) -> bytes:
    """The JSON of any value, in UTF-8: as it is where Postgres and clients take that, else of `clean_json`."""
    try:
        raw = to_json(value, inf_nan_mode="null")
    except UNWRITABLE:
        return to_json(clean_json(value))
    return to_json(clean_json(value)) if may_have_nul(raw) else raw


def may_have_nul(raw: bytes) -> bool:
    """Whether some text in this JSON has a NUL, or looks as if."""
    return _NUL in raw


def one_line(raw: bytes) -> bytes:
    """The same JSON in ASCII's line ends alone: others are escaped, so that it is one line for every reader."""
    if not raw.isascii():
        for end, escaped in _LINE_ENDS:
            raw = raw.replace(end, escaped)
    return raw


def shorten(value: Any, max_chars: int) -> Any:
    """A clean value as it is when its text (its own, or its JSON) has at most `max_chars` characters; else the
    beginning of that text with a note, together no longer than `max_chars`, or than the note."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(text) <= max_chars:
        return value
    room = max(0, max_chars - len(_NOTE.format(max_chars, len(text))))
    return text[:room] + _NOTE.format(room, len(text))


def _clean(value: Any, levels: int) -> Any:
    match value:
        case None | bool():
            return value
        case str():
            return clean_text(value)
        case int():
            return value if abs(value) <= sys.float_info.max else None  # JavaScript reads more as infinite
        case float():
            return value if math.isfinite(value) else None
        case dict() | list() | tuple() if levels == 0:
            return TOO_DEEP
        case dict():
            return _clean_object(value, levels - 1)
        case list() | tuple():
            return [_clean(inner, levels - 1) for inner in value]
        case _:
            return clean_text(str(value))


def _clean_object(value: dict[Any, Any], levels: int) -> dict[str, Any]:
    cleaned: dict[str, Any] = {}
    for key, inner in value.items():
        name, kept = clean_text(str(key)), _clean(inner, levels)
        poisonous = name == "constructor" and isinstance(kept, dict) and "prototype" in kept
        if name != "__proto__" and not poisonous:
            cleaned[name] = kept
    return cleaned
