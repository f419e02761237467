"""How one run of a tool ended, and how what it returned becomes JSON that everybody takes."""

import json
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python
from sluiceway.wire.elicitation import INPUT_REQUIRED, Elicitation
from sluiceway.wire.jobs import OperationError
from sluiceway.wire.json_values import clean_json

from tool_runner.tool.accepting import is_accepted
from tool_runner.tool.definition import Accepted, AsksPerson, InProgress, ToolFailed

_MAX_REASON_CHARS = 2000
_MAX_TYPE_CHARS = 100
_MAX_MISTAKES = 5


@dataclass(frozen=True, slots=True)
class Succeeded:
    """`result` is JSON."""

    result: Any


@dataclass(frozen=True, slots=True)
class Failed:
    error: OperationError


@dataclass(frozen=True, slots=True)
class HandedOver:
    """An outside service has the work."""


@dataclass(frozen=True, slots=True)
class Asked:
    """An outside service has the work, and is asked for it after so many seconds, with the handle."""

    handle: dict[str, Any]
    seconds: float


@dataclass(frozen=True, slots=True)
class Elicits:
    """The outside service that has the work asks a person. `unanswerable`: where nobody can be asked."""

    handle: dict[str, Any]
    elicitation: Elicitation
    unanswerable: OperationError


@dataclass(frozen=True, slots=True)
class Unwanted:
    """The turn ended meanwhile: there is nobody to tell."""


Outcome = Succeeded | Failed | HandedOver | Asked | Elicits | Unwanted


def failed(error_type: str, message: str) -> Failed:
    kind, reason = clean_json(str(error_type))[:_MAX_TYPE_CHARS], clean_json(str(message))[:_MAX_REASON_CHARS]
    return Failed(OperationError(type=kind or "FAILED", message=reason or "It failed without a reason."))


def outcome_of(returned: Any, max_bytes: int) -> Outcome:
    """What a tool's answer means."""
    if isinstance(returned, Accepted):
        return HandedOver()
    if isinstance(returned, InProgress):
        return Asked(clean_json(dict(returned.handle)), returned.seconds)
    if isinstance(returned, AsksPerson):
        reason = failed(INPUT_REQUIRED, returned.otherwise).error
        return Elicits(clean_json(dict(returned.handle)), returned.elicitation, reason)
    try:
        result = clean_json(to_jsonable_python(returned))
        size = len(json.dumps(result, ensure_ascii=False).encode())
    except (PydanticSerializationError, ValueError, TypeError, RecursionError) as error:
        return failed("INVALID_RESULT", f"The tool returned what is no JSON: {error}")
    if size > max_bytes:
        return failed("RESULT_TOO_LARGE", f"The tool returned {size} bytes; at most {max_bytes} are taken.")
    if is_accepted(result):
        return HandedOver()
    return Succeeded(result)


def outcome_of_error(error: BaseException) -> Failed:
    """What a tool's exception means."""
    try:
        if isinstance(error, ToolFailed):
            return failed(error.type, error.message)
        text = str(error)
    except Exception:  # noqa: BLE001 - an exception may fail to say what it is
        text = ""
    return failed("FAILED", f"{type(error).__name__}: {text}" if text else type(error).__name__)


def invalid_arguments(name: str, error: ValidationError) -> Failed:
    """A sentence from which a model learns to call it better."""
    mistakes = [
        f"{_place(each['loc'])}: {each['msg']}" for each in error.errors(include_url=False, include_input=False)
    ]
    more = len(mistakes) - _MAX_MISTAKES
    said = "; ".join(mistakes[:_MAX_MISTAKES]) + (f"; and {more} more" if more > 0 else "")
    return failed("INVALID_ARGUMENTS", f"The arguments do not fit {name}: {said}. Nothing was run.")


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location)) or "arguments"
