"""Words of a server that a person is shown where he decides: one line of at most so many characters, without what
cannot be seen. What reorders a line would have it say, with what stands around it, something else."""

import unicodedata
from typing import Any

from sluiceway.wire.json_values import clean_text

# They join letters of some scripts, and emoji.
_JOINERS = frozenset("\u200c\u200d")


def one_line(words: Any, most: int) -> str:
    # Nobody reads more, and each character is looked at.
    begun = clean_text(str(words or "")[: 4 * most])
    return " ".join("".join(map(_seen, begun)).split())[:most]


def _seen(character: str) -> str:
    if character in _JOINERS or character.isprintable() or character.isspace():
        return character
    return "" if unicodedata.category(character) == "Cf" else " "
