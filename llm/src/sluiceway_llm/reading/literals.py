"""Calls in the notation of a programming language: `note(text="one", tags=["a"])`, as Python has it, and
`call:note{text:<escape>one<escape>}`, as Gemma has it. They are read, and nothing of them is run.

Guarantees: arguments have names, and values are literals: texts, numbers, words for true, false and nothing, lists,
tuples, and objects whose keys are texts. Anything else is no call. What is read can be written as JSON. The time grows
with the length of the text; depth, values and digits have limits. Nothing is raised.
"""

import math
import re
from collections.abc import Callable
from typing import Any

_MOST_DEPTH = 32
_MOST_VALUES = 2000
_GAP = re.compile(r"\s*")
_NAME = r"([A-Za-z_][\w.-]{0,63})"
_PYTHONS = re.compile(rf"{_NAME}\(")
_GEMMAS = re.compile(rf"call:\s*{_NAME}\{{")
_KEY = re.compile(r"[A-Za-z_][\w-]{0,255}+")
_QUOTED = re.compile(
    "|".join(
        (
            r'"""(?:[^\\"]++|\\.|"(?!""))*+"""',
            r"'''(?:[^\\']++|\\.|'(?!''))*+'''",
            r'"(?:[^\\"]++|\\.)*+"',
            r"'(?:[^\\']++|\\.)*+'",
        )
    ),
    re.DOTALL,
)
# Gemma's quotes are tokens of their own; there are no escapes between them.
_ESCAPED_WHOLE = re.compile(r'(<escape>|<\|"\|>)(.*?)\1', re.DOTALL)
_NUMBER = re.compile(r"[-+]?(?:[0-9]{1,300}+(?:\.[0-9]{0,300}+)?|\.[0-9]{1,300}+)(?:[eE][-+]?[0-9]{1,4})?(?![\w.])")
_WORD = re.compile(r"[A-Za-z]{4,5}(?!\w)")
_WORDS = {"True": True, "true": True, "False": False, "false": False, "None": None, "null": None}
_ESCAPE = re.compile(r"(?s)\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U(000[0-9a-fA-F]{5}|0010[0-9a-fA-F]{4})|(.))")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "\n": "", **{mark: mark for mark in "\\\"'/"}}

NamedCall = tuple[str, dict[str, Any], int]


def python_call_at(text: str, place: int) -> NamedCall | None:
    """Its name, its arguments, and where it ends; None where there is no whole one. `note.call()`, as Llama has it, is
    `note`."""
    called = _call_at(_PYTHONS, text, place, ")", "=")
    return None if called is None else (called[0].removesuffix(".call"), *called[1:])


def gemmas_call_at(text: str, place: int) -> NamedCall | None:
    return _call_at(_GEMMAS, text, place, "}", ":")


def object_at(text: str, place: int) -> tuple[dict[str, Any], int] | None:
    """An object as Python prints it."""
    if not text.startswith("{", place):
        return None
    reader = _Reader(text, place + 1)
    try:
        return reader.pairs("}", ":"), reader.place
    except _NoLiteral:
        return None


def _call_at(opening: re.Pattern[str], text: str, place: int, closing: str, between: str) -> NamedCall | None:
    if (found := opening.match(text, place)) is None:
        return None
    reader = _Reader(text, found.end())
    try:
        return found[1], reader.pairs(closing, between), reader.place
    except _NoLiteral:
        return None


class _NoLiteral(Exception):
    pass


class _Reader:
    """Reads on from `place`. Raises _NoLiteral at anything else."""

    def __init__(self, text: str, place: int) -> None:
        self._text = text
        self.place = place
        self._depth = 0
        self._values = 0

    def pairs(self, closing: str, between: str) -> dict[str, Any]:
        """Names and values, up to the closing bracket."""
        found: dict[str, Any] = {}
        while not self._takes(closing):
            key = self._scalar(_KEYS)
            if not (isinstance(key, str) and self._takes(between)) or key in found:
                raise _NoLiteral
            found[key] = self._value()
            self._separate(closing)
        return found

    def _items(self, closing: str) -> list[Any]:
        items: list[Any] = []
        while not self._takes(closing):
            items.append(self._value())
            self._separate(closing)
        return items

    def _value(self) -> Any:
        self._values += 1
        self._depth += 1
        if self._values > _MOST_VALUES or self._depth > _MOST_DEPTH:
            raise _NoLiteral
        if self._takes("{"):
            value: Any = self.pairs("}", ":")
        elif self._takes("["):
            value = self._items("]")
        elif self._takes("("):
            value = self._items(")")
        else:
            value = self._scalar(_SCALARS)
        self._depth -= 1
        return value

    def _scalar(self, forms: dict[re.Pattern[str], Callable[[re.Match[str]], Any]]) -> Any:
        self._skip()
        for form, value in forms.items():
            if (found := form.match(self._text, self.place)) is not None:
                self.place = found.end()
                return value(found)
        raise _NoLiteral

    def _takes(self, mark: str) -> bool:
        self._skip()
        if not self._text.startswith(mark, self.place):
            return False
        self.place += len(mark)
        return True

    def _separate(self, closing: str) -> None:
        """A comma; before the closing bracket there need not be one."""
        if not self._takes(",") and not self._text.startswith(closing, self.place):
            raise _NoLiteral

    def _skip(self) -> None:
        if (gap := _GAP.match(self._text, self.place)) is not None:
            self.place = gap.end()


def _text(found: re.Match[str]) -> str:
    quote = 3 if found[0][:3] in ('"""', "'''") else 1
    return _ESCAPE.sub(_unescaped, found[0][quote:-quote])


def _unescaped(found: re.Match[str]) -> str:
    if digits := found[1] or found[2] or found[3]:
        return chr(int(digits, 16))
    return _ESCAPES.get(found[4], found[0])


def _number(found: re.Match[str]) -> int | float:
    if found[0].lstrip("+-").isdigit():
        return int(found[0])
    value = float(found[0])
    if not math.isfinite(value):
        raise _NoLiteral
    return value


def _word(found: re.Match[str]) -> bool | None:
    if found[0] not in _WORDS:
        raise _NoLiteral
    return _WORDS[found[0]]


_TEXTS: dict[re.Pattern[str], Callable[[re.Match[str]], Any]] = {_QUOTED: _text, _ESCAPED_WHOLE: lambda found: found[2]}
_KEYS = {_KEY: lambda found: found[0], **_TEXTS}
_SCALARS = {**_TEXTS, _NUMBER: _number, _WORD: _word}
