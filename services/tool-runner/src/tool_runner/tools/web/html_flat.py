"""Taking out of HTML what makes parsing it take the square of its size. What a reader sees of it stays.

- Formatting that says nothing to a reader of the text (`<b>`, `<font>`): each paragraph opens the unclosed ones again.
- Elements that are nested deeper than MAX_DEPTH, which no page needs: each tag looks at all that are open.
- Tags that are longer than any tag of a page: each attribute is compared with all that came before.
- End tags of what is not open.

By the look of the tags, in one pass: what is open is guessed, not known as a parser knows it. A page that was made to
be guessed wrong gets deeper than this, and has the limits of its process before it.
"""

import re

MAX_DEPTH = 200
_MAX_TAG_CHARS = 20_000
_FORMATTING = frozenset({"b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u"})
_VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"}
)
# These end by the next of their kind, closed or not.
_FLAT = frozenset(
    {"a", "body", "caption", "colgroup", "dd", "dt", "head", "html", "li", "optgroup", "option", "p", "tbody", "td"}
    | {"tfoot", "th", "thead", "tr"}
)
_WALLS = frozenset({"applet", "marquee", "math", "object", "select", "svg", "table", "template"})
_MARKUP = re.compile(
    r"<!--.*?(?:-->|\Z)"  # nothing in a comment is a tag
    r"|<(?P<raw>script|style|textarea|title|xmp|iframe|noembed|noframes)\b.*?(?:</(?P=raw)\b|\Z)"
    r"|<(?P<end>/?)(?P<name>[a-z][^\s/>]*+)(?:[^>\"']++|\"[^\"]*+\"|'[^']*+')*+>?",
    re.IGNORECASE | re.DOTALL,
)


def flat(html: str) -> str:
    return _MARKUP.sub(_Nesting().keep, html)


class _Nesting:
    """What is open, as it seems."""

    def __init__(self) -> None:
        self._open: list[str] = []

    def keep(self, found: re.Match[str]) -> str:
        """The markup, or what stands for it."""
        whole, name = found[0], (found["name"] or "").lower()
        if not name or name in _VOID or name in _FLAT:
            return whole if len(whole) <= _MAX_TAG_CHARS or found["raw"] else " "
        if name in _FORMATTING:
            return ""
        return self._end(whole, name) if found["end"] else self._begin(whole, name)

    def _begin(self, whole: str, name: str) -> str:
        if len(self._open) >= MAX_DEPTH or len(whole) > _MAX_TAG_CHARS:
            return " "
        self._open.append(name)
        return whole

    def _end(self, whole: str, name: str) -> str:
        """It ends what was opened within, too; but nothing is ended from inside a table that it stands around."""
        for place in range(len(self._open) - 1, -1, -1):
            if self._open[place] == name:
                del self._open[place:]
                return whole
            if self._open[place] in _WALLS:
                break
        return " "
