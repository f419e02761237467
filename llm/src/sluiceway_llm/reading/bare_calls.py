"""A text that is nothing but calls, without a mark, as Llama, xLAM and others write them:

    {"name": "note", "parameters": {"text": "one"}}
    [note(text="one"), clear()]

Guarantees: only where the whole text is such calls, each of a tool that was offered, with its arguments and nothing
else: an answer that begins with another word, a code block or any other JSON is told as it comes, and one that turns
out to be more is told unchanged. Any split of the text gives the same.
"""

import json
import re
from collections.abc import Collection

from sluiceway_llm.reading.call_notations import WrittenCall, call_of, json_at
from sluiceway_llm.reading.edge_tokens import is_end
from sluiceway_llm.reading.literals import python_call_at

_BEGINNINGS = (
    '{{"name":{0}',
    '{{"function":{0}',
    '{{"function":{{"name":{0}',
    '{{"type":"function","name":{0}',
    '{{"type":"function","function":{0}',
    '{{"type":"function","function":{{"name":{0}',
)
"""Without whitespace; `{0}` is a name in quotes."""
_MOST_BEGINNING_CHARS = 400
_FIRST_LOOK_CHARS = 64
_MOST_HELD_CHARS = 200_000
# Another call, or tokens at the end.
_MAY_FOLLOW = frozenset({"", "{", "<"})
_GAP = re.compile(r"\s*")
_APART = re.compile(r"[\s;,]*")
_FIELDS = frozenset({"type", "id", "name", "function", "arguments", "parameters"})


class BareCalls:
    """Reads the beginning of a text, up to where it is known that it is something else: then it is `over`.
    `names`: of the tools that were offered."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = names
        self._pieces: list[str] = []
        self._chars = 0
        self._begun = False
        self._looks_at_chars = _FIRST_LOOK_CHARS
        self.over = not names

    def feed(self, piece: str) -> str:
        """What of it is text for sure."""
        self._pieces.append(piece)
        self._chars += len(piece)
        self.over = self.over or not self._may_be_calls()
        return self._take() if self.over else ""

    def rest(self) -> tuple[str, list[WrittenCall]]:
        """What is left when the text has ended: text, or calls."""
        text = self._take()
        calls, end = _calls_in(text, self._names)
        return ("", calls) if calls and is_end(text[end:]) else (text, [])

    def _take(self) -> str:
        self.over = True
        text = "".join(self._pieces)
        self._pieces.clear()
        return text

    def _may_be_calls(self) -> bool:
        if not self._begun:
            return self._may_begin("".join(self._pieces))
        if self._chars < self._looks_at_chars:
            return True
        # Seldom: a long text is not looked at for every piece.
        self._looks_at_chars = 2 * self._chars
        text = "".join(self._pieces)
        calls, end = _calls_in(text, self._names)
        return self._chars <= _MOST_HELD_CHARS and not (calls and text[end : end + 1] not in _MAY_FOLLOW)

    def _may_begin(self, text: str) -> bool:
        seen = text[:_MOST_BEGINNING_CHARS].lstrip()
        whole = len(text) < _MOST_BEGINNING_CHARS
        if not seen:
            return whole
        if seen[0] not in "{[":
            return False
        seen = "".join(seen.split())
        listed = seen.startswith("[")
        beginnings = [
            beginning.format(json.dumps(name, ensure_ascii=False)) for name in self._names for beginning in _BEGINNINGS
        ]
        if listed:
            seen, beginnings = seen[1:], [*beginnings, *(f"{name}(" for name in self._names)]
        self._begun = any(map(seen.startswith, beginnings))
        return self._begun or (whole and any(beginning.startswith(seen) for beginning in beginnings))


def _calls_in(text: str, names: Collection[str]) -> tuple[list[WrittenCall], int]:
    """The calls that it begins with, and where they end: of a list all, with its end. None, where there are others."""
    calls: list[WrittenCall] = []
    place = _behind(_GAP, text, 0)
    listed = text.startswith("[", place)
    place = _behind(_GAP, text, place + 1) if listed else place
    while text.startswith("{", place) or listed:
        call, place = _one_at(text, place, names)
        if call is None:
            # What has begun behind whole ones may not be whole yet.
            return ([], 0) if listed else (calls, place)
        calls.append(call)
        place = _behind(_GAP, text, place)
        if listed and text.startswith("]", place):
            return calls, _behind(_GAP, text, place + 1)
        if listed and not text.startswith(",", place):
            return [], 0
        place = _behind(_APART, text, place)
    return calls, place


def _one_at(text: str, place: int, names: Collection[str]) -> tuple[WrittenCall | None, int]:
    """The call there, and where it ends; None, and where it begins."""
    if text.startswith("{", place):
        value, end = json_at(text, place)
        call = call_of(value) if _has_arguments(value) else None
    else:
        named = python_call_at(text, place)
        call, end = (None, place) if named is None else (WrittenCall.of(named[0], named[1]), named[2])
    return (call, end) if call is not None and call.name in names else (None, place)


def _has_arguments(value: object) -> bool:
    """Whether this is a call, and nothing beside it."""
    if not isinstance(value, dict) or not _FIELDS.issuperset(value):
        return False
    inner = value.get("function")
    call = inner if isinstance(inner, dict) else value
    return _FIELDS.issuperset(call) and ("arguments" in call or "parameters" in call)


def _behind(pattern: re.Pattern[str], text: str, place: int) -> int:
    found = pattern.match(text, place)
    return place if found is None else found.end()
