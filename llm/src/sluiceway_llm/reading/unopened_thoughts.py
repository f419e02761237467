"""Thoughts whose opening tag is in the model's template and not in its answer: `thoughts</think>answer`.

Nothing tells such thoughts from an answer before the closing tag comes. So the first answer of such a model shows them
as text, without the tag; from then on (`Manners.thinks_first`) what comes before the tag is told as reasoning. One
that turns out to have no tag is told as text at its end, whole, and the next one is text from its beginning again.

Guarantees: a closing tag is one alone at the beginning of a line, in a text that has no opening tag before it; what may
be the beginning of one is all that is held back.
"""

import re

from sluiceway_llm.reading.think_tags import NAMES, Said

_TAGS = "|".join(NAMES)
_OPENING = re.compile(rf"<({_TAGS})>", re.IGNORECASE)
_CLOSING = re.compile(rf"(?:\A|(?<=\n))[ \t]{{0,99}}+</({_TAGS})>", re.IGNORECASE)
# What may be the beginning of either at the end of what came.
_BEGUN = re.compile(
    r"(?:\A|(?<=\n))[ \t]{1,99}+\Z|(?:\A|(?<=\n))[ \t]{0,99}+</?[a-z]{0,9}\Z|<[a-z]{0,9}\Z", re.IGNORECASE
)


class ClosingTag:
    """Finds the closing tag in a text that comes in pieces."""

    def __init__(self) -> None:
        self.found = False
        self._over = False
        self._held = ""
        self._line_begins = True

    @property
    def plain(self) -> bool:
        """Whether a piece would be told as it is where it begins no tag and no line."""
        return self._over or not (self._held or self._line_begins)

    def feed(self, piece: str) -> tuple[str, str]:
        """What stands before the tag, and behind it; without a tag all of it is before."""
        if self._over or not (self._held or self._line_begins or "<" in piece or "\n" in piece):
            return piece, ""
        # The patterns take the beginning of what they see for one of a line.
        begin = 0 if self._line_begins else 1
        seen = "." * begin + self._held + piece
        closing, opening = _CLOSING.search(seen), _OPENING.search(seen)
        self._held = ""
        if closing is not None and (opening is None or opening.start() > closing.start()):
            self.found = self._over = True
            return seen[begin : closing.start()], seen[closing.end() :]
        self._over = opening is not None
        if not self._over and (begun := _BEGUN.search(seen, begin)) is not None:
            self._held, seen = seen[begun.start() :], seen[: begun.start()]
        if len(seen) > begin:
            self._line_begins = seen.endswith("\n")
        return seen[begin:], ""

    def rest(self) -> str:
        held, self._held = self._held, ""
        return held


class WatchedText:
    """A text as it comes, without such a tag; of one that begins with the tag, without the whitespace behind it."""

    def __init__(self) -> None:
        self._tag = ClosingTag()
        self._said_any = False

    @property
    def found(self) -> bool:
        return self._tag.found

    @property
    def plain(self) -> bool:
        """Whether a piece would be told as it is where it begins no tag and no line."""
        return self._said_any and self._tag.plain

    def feed(self, piece: str) -> Said:
        before, behind = ("", piece) if self._tag.found else self._tag.feed(piece)
        self._said_any = self._said_any or bool(before)
        if self._tag.found and not self._said_any:
            behind = behind.lstrip()
            self._said_any = bool(behind)
        return [("text", text) for text in (before, behind) if text]

    def rest(self, *, answered: bool) -> Said:
        held = self._tag.rest()
        return [("text", held)] if held else []


class UnopenedThoughts:
    """The answer of a model that thinks first: thoughts up to the tag, then text."""

    def __init__(self) -> None:
        self._tag = ClosingTag()
        self._thought: list[str] = []
        self._said_any = False

    @property
    def found(self) -> bool:
        return self._tag.found

    @property
    def plain(self) -> bool:
        """Whether what comes now is text, told as it is."""
        return self._tag.found and self._said_any

    def feed(self, piece: str) -> Said:
        if self._tag.found:
            return self._say(piece)
        before, behind = self._tag.feed(piece)
        return [*self._think(before), *self._say(behind)]

    def rest(self, *, answered: bool) -> Said:
        """What was held when the text ended; all of it again, as text, where it was no thought but the answer."""
        said = self._think(self._tag.rest())
        if answered and not self.found and self._thought:
            said.append(("text", "".join(self._thought)))
        return said

    def _say(self, text: str) -> Said:
        """Without the whitespace behind the tag."""
        text = text if self._said_any else text.lstrip()
        self._said_any = self._said_any or bool(text)
        return [("text", text)] if text else []

    def _think(self, text: str) -> Said:
        if not text:
            return []
        self._thought.append(text)
        return [("reasoning", text)]
