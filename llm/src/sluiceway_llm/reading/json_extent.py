"""Where a JSON value ends that comes in pieces: each character is looked at once."""

import re

_OUTSIDE = re.compile(r'["{}\[\]]')
_INSIDE = re.compile(r'["\\]')


class JsonExtent:
    """`whole` once an object, or a text, has its end. Of other values the end cannot be seen."""

    __slots__ = ("_began", "_depth", "_ends", "_escaped", "_in_text", "whole")

    def __init__(self) -> None:
        self.whole = False
        self._began = False
        self._ends = False
        self._depth = 0
        self._in_text = False
        self._escaped = False

    def feed(self, piece: str) -> int:
        """How many characters of this piece belong to the value."""
        if not self._began:
            begun = piece.lstrip()
            if not begun:
                return len(piece)
            self._began, self._ends = True, begun[0] in '{"'
        place = 0
        while self._ends and not self.whole and place < len(piece):
            place = self._read_text(piece, place) if self._in_text else self._read_structure(piece, place)
        return place if self.whole else len(piece)

    def _read_text(self, piece: str, place: int) -> int:
        if self._escaped:
            self._escaped = False
            return place + 1
        found = _INSIDE.search(piece, place)
        if found is None:
            return len(piece)
        if found[0] == "\\":
            self._escaped = True
        else:
            self._in_text = False
            self.whole = self._depth == 0
        return found.end()

    def _read_structure(self, piece: str, place: int) -> int:
        """Up to the next text, or its end. In one loop: of a model's brackets there may be millions."""
        depth = self._depth
        for found in _OUTSIDE.finditer(piece, place):
            if found[0] == '"':
                self._depth, self._in_text = depth, True
                return found.end()
            depth += 1 if found[0] in "{[" else -1
            if depth == 0:
                self._depth, self.whole = 0, True
                return found.end()
        self._depth = depth
        return len(piece)
