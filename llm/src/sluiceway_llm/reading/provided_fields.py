"""What a server gives with its message beside what is shown: gathered over the chunks, to go back to it unchanged.

Lists grow by what each chunk has; pieces of one thought become one entry: those of the same type and `index`, as
OpenRouter numbers them, or `id`; or, where there is neither, up to the one with its signature, as LiteLLM has them.
Objects are put together, of anything else the last word counts. Of what is larger than `MAX_CHARS` nothing
is kept, from the moment on that it is.
"""

import json
from typing import Any

from sluiceway_llm.clean_text import clean_value

FIELDS = frozenset(
    {
        "reasoning_details",
        "extra_content",
        "thinking_blocks",
        "reasoning_opaque",
        "reasoning_signature",
        "provider_specific_fields",
        "thought_signature",
    }
)
MAX_CHARS = 1_000_000
_MOST_TAKEN_CHARS = 16 * MAX_CHARS
_MOST_PIECES = 200_000
_GROWING = ("text", "summary", "data", "thinking")
_SIGNATURE = "signature"


class Room:
    """How much is taken of what a server gives along with one answer: more than is kept in the end, as pieces say again
    what they belong to."""

    def __init__(self) -> None:
        self._chars, self._pieces = _MOST_TAKEN_CHARS, _MOST_PIECES

    def takes(self, value: Any) -> bool:
        """Whether there is room for it, too. Once there is not, there is for nothing more."""
        if self._chars >= 0 and self._pieces >= 0:
            self._pieces -= 1
            self._chars -= _size_of(value)
        return self._chars >= 0 and self._pieces >= 0


class ProvidedFields:
    def __init__(self) -> None:
        self._kept: dict[str, Any] = {}
        self._room = Room()

    def take(self, name: str, value: Any) -> None:
        known = self._kept.get(name)
        if value is None:
            return
        if not self._room.takes(value):
            self._kept.clear()
            return
        if isinstance(value, list) and isinstance(known, list):
            for entry in value:
                _grow(known, entry)
        elif isinstance(value, dict) and isinstance(known, dict):
            known.update(value)
        else:
            self._kept[name] = list(value) if isinstance(value, list) else value

    def cleaned(self) -> dict[str, Any]:
        kept: dict[str, Any] = clean_value(self._kept)
        return kept if kept and len(json.dumps(kept)) <= MAX_CHARS else {}


def _grow(entries: list[Any], entry: Any) -> None:
    last: Any = entries[-1] if entries else None
    if not _is_more_of(last, entry):
        entries.append(entry)
        return
    grown = {**last, **{name: value for name, value in entry.items() if value not in (None, "")}}
    for name in _GROWING:
        if isinstance(last.get(name), str) and isinstance(entry.get(name), str):
            grown[name] = (last[name] + entry[name])[: MAX_CHARS + 1]  # more than that is not kept anyway
    entries[-1] = grown


def _is_more_of(last: Any, entry: Any) -> bool:
    if not isinstance(last, dict) or not isinstance(entry, dict) or last.get("type") != entry.get("type"):
        return False
    for name in ("index", "id"):
        if entry.get(name) is not None:
            return bool(last.get(name) == entry[name])
    in_pieces = any(isinstance(entry.get(name), str) for name in _GROWING)
    return in_pieces and _SIGNATURE in entry and not last.get(_SIGNATURE) and last.get("id") is None


def _size_of(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    try:
        return len(json.dumps(value))
    except (ValueError, RecursionError):
        return _MOST_TAKEN_CHARS + 1
