"""JSON as servers write it that are not careful: for what a strict parser refuses.

It takes control characters and halves of characters in texts, bytes that are no UTF-8, integers of any length, several
values in one event, and `data:` said twice; commas before a closing bracket, escapes that are none, and what Python
prints of a dictionary. What is cut off is not taken for whole.
"""

import ast
import json
import re
from typing import Any

_MOST_DIGITS = 4000  # Python refuses to read integers of more; no count is as long


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MOST_DIGITS else float(digits)


_DECODER = json.JSONDecoder(strict=False, parse_int=_integer)
_BETWEEN = re.compile(r"(?:\s|,|data:)*+")
_DONE = "[DONE]"
_MOST_PRINTED_CHARS = 100_000
# A text, also one without its end, so that none is looked for in it; or a comma that nothing follows.
_TEXT = re.compile(r'"(?:[^"\\]++|\\.)*+"?|,(?=\s*+[}\]])', re.DOTALL)
_NO_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = frozenset('"\\/bfnrtu')


class NotJson(Exception):
    """There is something that is neither JSON nor `[DONE]`. `begun`: it looks as if it had begun as a JSON object.
    `before`: the values before it."""

    def __init__(self, begun: bool, before: list[Any]) -> None:
        self.begun = begun
        self.before = before
        super().__init__("not JSON")


def loose_values(data: bytes) -> list[Any]:
    """The values, one behind the other; `[DONE]` is the text of that name. Raises NotJson."""
    text = data.decode("utf-8", "replace")
    values: list[Any] = []
    place = _end_of_gap(text, 0)
    while place < len(text):
        if text.startswith(_DONE, place):
            values.append(_DONE)
            place += len(_DONE)
        else:
            try:
                value, place = _DECODER.raw_decode(text, place)
            except (ValueError, RecursionError) as error:
                mended = _mended(text[place:])
                if mended is None:
                    raise NotJson(text[place] in "{[", values) from error
                value, place = mended, len(text)
            values.append(value)
        place = _end_of_gap(text, place)
    return values


def _end_of_gap(text: str, place: int) -> int:
    found = _BETWEEN.match(text, place)
    return found.end() if found is not None else place


def object_in(text: str) -> dict[str, Any] | None:
    """One whole object, as models write it: bare, as a JSON text, or between the fences of a code block."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```"):
        text = text[3:-3].removeprefix("json").strip()
    try:
        value = json.loads(text, strict=False)
        if isinstance(value, str):
            value = json.loads(value, strict=False)
    except (ValueError, RecursionError):
        value = _mended(text)
    return value if isinstance(value, dict) else None


def _mended(text: str) -> dict[str, Any] | None:
    """One whole object that is nearly JSON, to the end of the text."""
    if not text.startswith("{"):
        return None
    try:
        return _an_object(json.loads(_TEXT.sub(_strict, text), strict=False))
    except (ValueError, RecursionError):
        pass
    if len(text) > _MOST_PRINTED_CHARS or not text.startswith(("{'", "{}")):
        return None
    try:
        return _an_object(ast.literal_eval(text.strip()))
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None


def _an_object(value: Any) -> dict[str, Any] | None:
    return value if isinstance(value, dict) else None


def _strict(found: re.Match[str]) -> str:
    return "" if found[0] == "," else _NO_ESCAPE.sub(_escape, found[0])


def _escape(found: re.Match[str]) -> str:
    return found[0] if found[1] in _ESCAPES else found[1]
