"""JSON as servers write it that are not careful: for what a strict parser refuses.

It takes control characters and halves of characters in texts, bytes that are no UTF-8, several values in one event, and
`data:` said twice. What is cut off is not taken for whole.
"""

import json
import re
from typing import Any

_DECODER = json.JSONDecoder(strict=False)
_BETWEEN = re.compile(r"(?:\s|,|data:)*")
_DONE = "[DONE]"


class NotJson(Exception):
    """There is something that is neither JSON nor `[DONE]`. `begun`: it looks as if it had begun as a JSON object.
    `before`: the values before it."""

    def __init__(self, begun: bool, before: list[Any]) -> None:
        self.begun = begun
        self.before = before
        super().__init__("not JSON")


def loose_values(data: bytes) -> list[Any]:
    """The values, one behind the other; `[DONE]` is the text of that name. Raises NotJson."""
    text = data.decode("utf-8", "replace")
    values: list[Any] = []
    place = _end_of_gap(text, 0)
    while place < len(text):
        if text.startswith(_DONE, place):
            values.append(_DONE)
            place += len(_DONE)
        else:
            try:
                value, place = _DECODER.raw_decode(text, place)
            except (ValueError, RecursionError) as error:
                raise NotJson(text[place] in "{[", values) from error
            values.append(value)
        place = _end_of_gap(text, place)
    return values


def _end_of_gap(text: str, place: int) -> int:
    found = _BETWEEN.match(text, place)
    return found.end() if found is not None else place
