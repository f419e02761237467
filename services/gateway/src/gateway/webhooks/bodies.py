"""What outside services say of an operation: its end, or how far it is.

The bytes are read only after their signature held. What is read here can be stored and queued: it is JSON to Postgres
and to every client, and wrong types are told by their place. No body is good for both: a signature says nothing of the
path that its webhook was sent to, so an end has `success` and a report of progress must not have it.
"""

import math
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, ConfigDict, Field, StrictBool, ValidationError, model_validator
from pydantic_core import PydanticCustomError, from_json
from sluiceway.wire.jobs import OperationError
from sluiceway.wire.json_values import clean_json

from gateway.api.body import check_values
from gateway.api.inputs import faults_of
from gateway.api.models.wire import Wire
from gateway.api.problems import InvalidInput, InvalidWebhook, MalformedJson

B = TypeVar("B", bound=Wire)

_LONGEST_MESSAGE_CHARS = 2000
# Each is looked at here, and again by those who clean and store it.
_MOST_VALUES = 50_000
_UNEXPLAINED = OperationError(message="The service that worked on it says that it failed, and not why.")


def _as_error(value: object) -> object:
    if isinstance(value, str):
        if not value:
            raise PydanticCustomError("empty", "must not be empty")
        return {"message": value}
    return value


class WebhookError(OperationError):
    """Why it failed: a code for programs, a sentence for model and user."""


ReportedError = Annotated[
    WebhookError | None,
    BeforeValidator(_as_error, json_schema_input_type=Annotated[str, Field(min_length=1)] | WebhookError | None),
]


class Completion(Wire):
    """How an operation ended. `result` is any JSON; `error` is looked at where it did not succeed."""

    success: StrictBool
    result: Any = None
    error: ReportedError = None

    @property
    def journalled(self) -> dict[str, Any]:
        error = None if self.success else (self.error or _UNEXPLAINED).model_dump()
        return {"success": self.success, "result": clean_json(self.result), "error": clean_json(error)}


class Progress(Wire):
    """How far it is. All of it is optional: a report of nothing says that it is alive."""

    model_config = ConfigDict(json_schema_extra={"not": {"required": ["success"]}})

    message: Annotated[str, Field(max_length=_LONGEST_MESSAGE_CHARS)] | None = None
    percent: Annotated[float, Field(strict=True, ge=0, le=100)] | None = None
    data: Any = None

    @model_validator(mode="before")
    @classmethod
    def _is_no_end(cls, value: object) -> object:
        if isinstance(value, dict) and "success" in value:
            raise PydanticCustomError("end", "has success, so it tells of an end: send it to /complete")
        return value

    @property
    def journalled(self) -> dict[str, Any]:
        return {"message": clean_json(self.message), "percent": self.percent, "data": clean_json(self.data)}


def read_webhook(model: type[B], body: bytes) -> B:
    """Raises TooManyValues; MalformedJson; InvalidInput with the places of what is wrong."""
    check_values(body, _MOST_VALUES)
    try:
        value = from_json(body, allow_inf_nan=False)
    except ValueError:
        raise MalformedJson from None
    if not _finite(value):
        raise MalformedJson("A number is larger than any that can be stored.")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise InvalidInput(InvalidWebhook(), faults_of(error)) from None


def _finite(value: object) -> bool:
    """1e999 is JSON, and would be infinite. What was parsed is never deeper than the parser's bound."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(_finite(each) for each in value.values())
    return all(_finite(each) for each in value) if isinstance(value, list) else True
