"""The one JSON object of an answer that is to be nothing else, without what a model says around it.

Guarantees
- What stands before and behind the object (a sentence, a code fence, a tag) is left out, and the object is told as it
  comes: any client reads it as partial JSON.
- A text without an object, or with other braces than those of one, is told in full, if late: it does not fit, and
  whoever reads why sees what was said.
"""

import re

from sluiceway_llm.reading.json_extent import JsonExtent

_FIRST_BRACE = re.compile(r"\{\s*(\S)")
_MOST_GAP_CHARS = 256


class ObjectAlone:
    """`shown`: how the answer begins, which was told already."""

    def __init__(self, shown: str = "") -> None:
        self._held: list[str] = []
        self._end = ""
        self._extent: JsonExtent | None = None
        self._all = bool(shown) and not shown.lstrip().startswith("{")
        if shown and not self._all:
            self._object(shown)

    def feed(self, text: str) -> str:
        """What of it is told now."""
        if self._all:
            return text
        return self._before(text) if self._extent is None else self._object(text)

    def rest(self) -> str:
        """What is told of the rest, when nothing more comes."""
        held = "".join(self._held)
        self._held.clear()
        return "" if self._extent is not None and "{" not in held else held

    def _before(self, text: str) -> str:
        self._held.append(text)
        seen = self._end + text
        found = _FIRST_BRACE.search(seen)
        if found is None:
            self._end = seen[-_MOST_GAP_CHARS:]
            self._all = "{" in seen[:-_MOST_GAP_CHARS]
        elif found[1] in '"}' and not seen[: found.start()].rstrip().endswith("["):
            self._held.clear()
            return self._object(seen[found.start() :])
        else:
            self._all = True
        return self.rest() if self._all else ""

    def _object(self, text: str) -> str:
        self._extent = self._extent or JsonExtent()
        told = 0 if self._extent.whole else self._extent.feed(text)
        self._held.append(text[told:])
        return text[:told]
