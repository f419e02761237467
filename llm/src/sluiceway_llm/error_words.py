"""What a server says of an error, wherever it puts it: an object, a list, a text, `detail`, `message`.

Guarantees: `told_of` raises on nothing that JSON can hold, and what it gives is short and clean. The words may quote
the conversation: they are for the user, not for a log.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jiter

from sluiceway_llm.clean_text import cleaned

MAX_WORDS_CHARS = 4000
_MAX_DEPTH = 6
_MAX_ITEMS = 12
_LABELS = (
    "code",
    "type",
    "error_type",
    "status",
    "error_code",
    "errorCode",
    "statusCode",
    "status_code",
    "__type",
    "reason",
    "kind",
)
_MESSAGES = (
    "message",
    "Message",
    "error_msg",
    "msg",
    "detail",
    "error_description",
    "error_message",
    "errorMessage",
    "description",
    "title",
)
_MESSAGES_TOO = ("status_msg", "error", "text")
_WITHIN = ("error", "errors", "detail", "details", "message", "innererror", "metadata", "raw", "base_resp", "response")
_WINDOWS = ("n_ctx", "max_model_len", "context_length")
_RETRY_DELAY = re.compile(r"^(\d+(?:\.\d+)?)s$")
_AGAIN_IN = re.compile(
    r"(?:try|retry) (?:again )?(?:in|after) (?:(\d+)m(?!s))?\s*(\d+(?:\.\d+)?)\s*(ms|s|seconds?|minutes?)\b", re.I
)
_DELAYS = ("retry_after", "retryAfter", "retry_after_seconds", "estimated_time")
_LONGEST_DELAY = 86_400
_NOTHING = frozenset({"", "null", "none", "ok", "success", "false"})


@dataclass(frozen=True, slots=True)
class Told:
    """`labels`: codes and types; `message`: the sentence meant for people; `words`: all that was said;
    `window_tokens`: a field that says how much the model takes."""

    labels: tuple[str, ...] = ()
    message: str = ""
    parameter: str = ""
    retry_after_seconds: float | None = None
    window_tokens: int | None = None

    @property
    def words(self) -> str:
        return " ".join([*self.labels, self.message])[:MAX_WORDS_CHARS]

    @property
    def status(self) -> int | None:
        """A status that stands in the body."""
        for label in self.labels:
            if len(label) == 3 and label.isascii() and label.isdigit() and 400 <= int(label) <= 599:
                return int(label)
        return None


def is_error(value: object, depth: int = 0) -> bool:
    """Whether an `error` field tells of an error: many servers always have one, with nothing in it."""
    match value:
        case None | bool() | int() | float():
            return bool(value)
        case str():
            return value.strip().lower() not in _NOTHING
        case list() if depth < _MAX_DEPTH:
            return any(is_error(inner, depth + 1) for inner in value)
        case dict() if depth < _MAX_DEPTH:
            said = [inner for key, inner in value.items() if key in _LABELS or key in _MESSAGES or key in _WITHIN]
            return any(_says(inner, depth + 1) for inner in said) if said else bool(value)
        case _:
            return False


def _says(value: object, depth: int) -> bool:
    return value not in (0, 200, "0", "200") and is_error(value, depth)


def told_of(body: object) -> Told:
    labels: list[str] = []
    messages: list[str] = []
    parameters: list[str] = []
    delays: list[float] = []
    windows: list[int] = []
    for value in _objects(body, 0):
        if isinstance(value, str):
            messages.append(value)
            continue
        labels += [str(value[name])[:100] for name in _LABELS if _is_label(value.get(name))]
        texts = [value[name] for name in (*_MESSAGES, *_MESSAGES_TOO) if isinstance(value.get(name), str)]
        messages += texts
        parameters += [str(value[name]) for name in ("param", "field") if isinstance(value.get(name), str)]
        windows += [value[name] for name in _WINDOWS if isinstance(value.get(name), int)]
        if value.get("flagged_input") is not None:
            labels.append("flagged")  # OpenRouter's moderation, which has no other word for it
        where = value.get("loc")
        if isinstance(where, list) and where:
            path = where[1:] if where[0] == "body" and len(where) > 1 else where[-1:]
            parameters.append(".".join(map(str, path)))
        for name in _DELAYS:
            told_seconds = value.get(name)
            if isinstance(told_seconds, int | float) and 0 < told_seconds < _LONGEST_DELAY:
                delays.append(float(told_seconds))
        if isinstance(value.get("retryDelay"), str) and (delay := _RETRY_DELAY.match(value["retryDelay"])):
            delays.append(float(delay[1]))
    message = cleaned(" · ".join(dict.fromkeys(text.strip() for text in messages if text.strip()))[:MAX_WORDS_CHARS])
    return Told(
        tuple(cleaned(label) for label in dict.fromkeys(labels)),
        message,
        cleaned(parameters[0][:100]) if parameters else "",
        delays[0] if delays else _again_in(message),
        windows[0] if windows else None,
    )


def _is_label(value: object) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool) and bool(value)


def _objects(value: object, level: int) -> Iterator[Any]:
    """The objects that may say something, from the outside in; what is only text, as text."""
    if level > _MAX_DEPTH:
        return
    if isinstance(value, dict):
        yield value
        for name in _WITHIN:
            inner = value.get(name)
            if isinstance(inner, (dict, list)):
                yield from _objects(inner, level + 1)
            elif isinstance(inner, str) and (parsed := _json_in(inner)) is not None:
                yield from _objects(parsed, level + 1)
    elif isinstance(value, list):
        for inner in value[:_MAX_ITEMS]:
            yield from _objects(inner, level + 1)
    elif isinstance(value, str):
        parsed = _json_in(value)
        if parsed is not None:
            yield from _objects(parsed, level + 1)
        elif not value.lstrip().startswith("<"):
            yield value[:MAX_WORDS_CHARS]


def _json_in(text: str) -> Any:
    """Some servers put another's error into a text."""
    start = text.find("{")
    if start < 0 or len(text) > 100_000:
        return None
    try:
        return jiter.from_json(text[start:].strip().encode("utf-8", "replace"))
    except ValueError:
        return None


def _again_in(message: str) -> float | None:
    found = _AGAIN_IN.search(message)
    if found is None:
        return None
    unit = {"ms": 0.001, "m": 60.0}.get(found[3].lower() if found[3].lower() == "ms" else found[3][0].lower(), 1.0)
    return float(found[1] or 0) * 60 + float(found[2]) * unit
