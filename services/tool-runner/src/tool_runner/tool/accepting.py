"""Whether what a tool answered means that somebody else continues the work, and will tell how it ended."""

import json
from typing import Any

_MAX_TEXT_CHARS = 100_000
_WRAPPER = "result"


def is_accepted(answer: Any) -> bool:
    """An object whose `status` is "accepted", whatever else is in it; also as JSON text, or as the one member `result`
    of an object, as libraries of MCP servers wrap what a function returns."""
    if isinstance(answer, dict) and answer.keys() == {_WRAPPER}:
        answer = answer[_WRAPPER]
    if isinstance(answer, str):
        answer = _object_in(answer)
    return isinstance(answer, dict) and answer.get("status") == "accepted"


def _object_in(text: str) -> Any:
    if len(text) > _MAX_TEXT_CHARS or not text.lstrip().startswith("{"):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
