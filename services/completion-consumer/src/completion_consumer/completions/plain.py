"""Completions of producers that know nothing of our envelope: operation_id, task_id, success, result, error.

As a JSON object, or as fields of the entry, where everything is a text: `success` "true" or "false", `result` and
`error` JSON or any text.
"""

import json
from typing import Any

from sluiceway.wire.jobs import CompletionJob, OperationError

_MEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_NOTHING = ("", "null", "None")
_MAX_TYPE_CHARS = 100


def read_plain(value: dict[str, Any]) -> CompletionJob | None:
    """None: it is no such completion."""
    operation_id, task_id = _id(value.get("operation_id")), _id(value.get("task_id"))
    success, as_texts = _success(value.get("success"))
    if "kind" in value or success is None or (operation_id is None and task_id is None):
        return None
    result, error = value.get("result"), value.get("error")
    if as_texts:
        result, error = _value_of(result), _value_of(error)
    told = None if success else _error(error)
    return CompletionJob(operation_id=operation_id, task_id=task_id, success=success, result=result, error=told)


def _id(value: Any) -> str | None:
    return value if isinstance(value, str) and value not in _NOTHING else None


def _success(value: Any) -> tuple[bool | None, bool]:
    """What it means, and whether it was a text."""
    if isinstance(value, str):
        return _MEANS.get(value.strip().lower()), True
    return (value if isinstance(value, bool) else None), False


def _value_of(text: Any) -> Any:
    if not isinstance(text, str) or text in _NOTHING:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _error(error: Any) -> OperationError | None:
    if isinstance(error, dict):
        message, kind = error.get("message"), error.get("type") or error.get("code")
        told = message if isinstance(message, str) and message else json.dumps(error, ensure_ascii=False)
        return OperationError(type=str(kind or "FAILED")[:_MAX_TYPE_CHARS], message=told)
    text = error if isinstance(error, str) else json.dumps(error, ensure_ascii=False) if error is not None else ""
    return OperationError(message=text) if text else None
