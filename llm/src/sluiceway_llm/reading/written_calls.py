"""Calls that a model wrote into its text (call_notations.py), and that its server left there: most often it runs
without the parser that the model needs.

Guarantees: only calls of tools that were offered are taken for calls, and only where the whole rest of the text is such
calls, and words behind them; anything else stays text, and so does what stands in quotes. Any split of the text gives
the same. A text without such a mark is not held back.
"""

import re
from collections.abc import Collection

from sluiceway_llm.reading.call_notations import BETWEEN, OPENING, OPENINGS, WrittenCall, calls_in

# Behind which a mark is one that is shown, and not one that is meant.
_QUOTES = frozenset("`\"'")
_FENCED = re.compile(r"```\w{0,20}\s*\Z")
_FENCE_CHARS = 30
_MOST_HELD_CHARS = 200_000


class WrittenCalls:
    """A text is told as it comes, up to where calls may begin. `names`: of the tools that were offered."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = names
        # What may be the beginning of a mark; and all that stands behind one.
        self._held = ""
        self._calls: list[str] = []
        self._calls_chars = 0

    @property
    def holds(self) -> bool:
        return bool(self._held or self._calls)

    def feed(self, piece: str, before: str = "") -> str:
        """What of it is text for sure. `before`: what was told last; a mark is not one where that ends with a quote."""
        if self._calls:
            return self._hold(piece)
        if not (self._held or "<" in piece or "[" in piece) or not self._names:
            return piece
        text, self._held = self._held + piece, ""
        begins = _opening_in(text, before[-_FENCE_CHARS:])
        if begins is not None:
            return text[:begins] + self._hold(text[begins:])
        kept = _may_be_begun(text)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]

    def flush(self) -> str:
        """What is held, as text: something else follows."""
        held = self._held + "".join(self._calls)
        self._held, self._calls, self._calls_chars = "", [], 0
        return held

    def rest(self, *, made: bool = False) -> tuple[str, list[WrittenCall]]:
        """What is left when the text has ended: text, and the calls before it. `made`: the server has made calls, too;
        marks alone are then what it left of these."""
        begun, names = bool(self._calls), self._names
        held, self._names = self.flush(), ()
        if not begun:
            return held, []
        if made and BETWEEN.fullmatch(held):
            return "", []
        calls, end = calls_in(held, names)
        return held[end:], calls

    def _hold(self, piece: str) -> str:
        self._calls.append(piece)
        self._calls_chars += len(piece)
        if self._calls_chars <= _MOST_HELD_CHARS:
            return ""
        self._names = ()
        return self.flush()


def _may_be_begun(text: str) -> int:
    """How many characters at its end may be the beginning of a mark."""
    place = max(text.rfind("<"), text.rfind("["))
    begun = text[place:]
    return len(begun) if place >= 0 and any(opening.startswith(begun) for opening in OPENINGS) else 0


def _opening_in(text: str, before: str) -> int | None:
    whole = before + text
    for found in OPENING.finditer(whole, len(before)):
        last = whole[max(0, found.start() - 1) : found.start()]
        if not (last in _QUOTES or _FENCED.search(whole, max(0, found.start() - _FENCE_CHARS), found.start())):
            return found.start() - len(before)
    return None
