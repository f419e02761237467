"""Where things stand in what servers send: the choice, a text in whatever holds it, a status. Nothing here raises."""

from typing import Any

_MAX_DEPTH = 4


def error_status_of(frame: dict[str, Any]) -> str | None:
    """What says that a frame without choices is an error, where it has a status, or MiniMax's `base_resp`."""
    for name in ("status", "code", "statusCode", "status_code"):
        told = str(frame.get(name))
        if len(told) == 3 and told[0] in "45" and told.isascii() and told.isdigit():
            return told
    base = frame.get("base_resp")
    code = base.get("status_code") if isinstance(base, dict) else None
    return str(code) if code not in (None, 0, "0") else None


def is_completion(value: Any) -> bool:
    """A whole answer: it ends where its JSON does."""
    choice = first_choice(value.get("choices")) if isinstance(value, dict) else None
    return isinstance(choice, dict) and isinstance(choice.get("message"), dict)


def first_choice(choices: Any) -> Any:
    if isinstance(choices, dict) and choices and all(isinstance(choice, dict) for choice in choices.values()):
        is_one = "delta" in choices or "message" in choices
        choices = choices if is_one else list(choices.values())
    if isinstance(choices, dict):
        return choices
    if not isinstance(choices, list):
        return None
    choices = [{} if choice is None else choice for choice in choices]
    numbered = (choice for choice in choices if isinstance(choice, dict) and choice.get("index") in (0, "0", None))
    return next(numbered, {} if all(isinstance(choice, dict) for choice in choices) else None)


def flat_text(value: Any, depth: int = 0) -> str:
    """The text in whatever holds it: a text, a number, a part, a list of these."""
    match value:
        case str():
            return value
        case bool() | None:
            return ""
        case int() | float():
            return str(value)
        case list() if depth < _MAX_DEPTH:
            return "".join(flat_text(inner, depth + 1) for inner in value)
        case dict() if depth < _MAX_DEPTH:
            names = ("text", "thinking", "summary", "content", "value", "refusal", "reasoning")
            return next((text for name in names if (text := flat_text(value.get(name), depth + 1))), "")
        case _:
            return ""
