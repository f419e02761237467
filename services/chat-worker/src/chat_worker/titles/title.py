"""A title out of what a model, or a person, has said: one line of plain text, a few words, whatever comes in."""

import re
import unicodedata

MAX_CHARS = 50
MAX_WORDS = 6
_MOST_SAID_CHARS = 4000
_MOST_LINE_CHARS = 400
"""More is no title, and the patterns look at it from each place on."""

# Of JSON it is a member: {"title": "…"}.
_LABEL = re.compile(r"^\s*(?:title|titel|titre|título|titolo)[\s\"']*[:：]\s*", re.IGNORECASE)  # noqa: RUF001
_FENCE = re.compile(r"^\s*(?:```|~~~)\w*\s*$")
_LINK = re.compile(r"!?\[([^\]\n]*)\]\((?:[^()\n]|\([^()\n]*\))*\)")
_TAG = re.compile(r"<[^<>\n]{0,200}>")
_MARKS = re.compile(r"[*_`#>|~<\\]+")
_EDGES = " \t\"'“”„‘’«»‹›()[]{}.,;:!-–—"  # noqa: RUF001
# What joins letters of some scripts, and emoji, is no danger; the other invisible characters reorder or hide text.
_JOINERS = frozenset("\u200c\u200d")


def title_of(said: str) -> str | None:
    """None where nothing is left of it."""
    for line in said[:_MOST_SAID_CHARS].splitlines():
        title = "" if _FENCE.match(line) else _plain(line[:_MOST_LINE_CHARS])
        if any(character.isalnum() for character in title):
            return _short(title)
    return None


def words_of(message: str) -> str | None:
    """The first words of a message, where no model has found better ones."""
    return title_of(" ".join(message.split())[: 4 * MAX_CHARS])


def _plain(line: str) -> str:
    visible = "".join(character if _is_visible(character) else " " for character in line)
    text = _MARKS.sub(" ", _TAG.sub(" ", _LINK.sub(r"\1", visible)))
    return _LABEL.sub("", " ".join(text.split()).strip(_EDGES)).strip(_EDGES)


def _is_visible(character: str) -> bool:
    if character == "\ufffd":  # what stands for a character that could not be kept
        return False
    return character in _JOINERS or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def _short(title: str) -> str:
    """As many words as have room; a single word that has none is cut."""
    words = title.split()[:MAX_WORDS]
    while len(words) > 1 and len(" ".join(words)) > MAX_CHARS:
        words.pop()
    return " ".join(words)[:MAX_CHARS].rstrip(_EDGES) or title[:MAX_CHARS]
