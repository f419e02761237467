"""How a request becomes models: its path, query and headers one, its JSON body another.

The same models make the OpenAPI document, so what is documented is what is checked. Nothing of a rejected input is
repeated in the answer.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, RootModel, ValidationError, WithJsonSchema
from pydantic_core import ErrorDetails, PydanticCustomError
from sluiceway.errors import DomainError
from sluiceway.ids import CLIENT_ID_PATTERN
from starlette.requests import Request

from gateway.api.body import Body, check_values
from gateway.api.problems import (
    EmptyMessage,
    InvalidBody,
    InvalidCursor,
    InvalidInput,
    InvalidParameter,
    MalformedJson,
    UnsupportedMediaType,
)

Place = Literal["path", "query", "header"]
P = TypeVar("P", bound="Params")
B = TypeVar("B", bound=BaseModel)

_MOST_FAULTS = 20
_LARGEST_NUMBER = 2**31 - 1
_NO_NUL = "must not have a NUL character"
# A validator raises one of these by its code where a fault has a code of its own.
_OWN_CODES: dict[str, type[DomainError]] = {problem.code: problem for problem in (EmptyMessage, InvalidCursor)}


@dataclass(frozen=True, slots=True)
class In:
    """Where a field of `Params` stands in a request, and its name there when it is another. `any_text`: its route takes
    a NUL in it, which is an error elsewhere: no name of ours has one, and Postgres takes none."""

    place: Place
    name: str | None = None
    any_text: bool = False


class Params(BaseModel):
    """What a route takes beside a body. Each field is annotated with `In`."""

    model_config = ConfigDict(frozen=True)

    @classmethod
    @functools.cache
    def places(cls) -> tuple[tuple[str, Place, str], ...]:
        """(field, place, name on the wire)"""
        marks = [(field, mark) for field, info in cls.model_fields.items() for mark in info.metadata]
        return tuple((field, mark.place, mark.name or field) for field, mark in marks if isinstance(mark, In))

    @classmethod
    @functools.cache
    def names(cls) -> tuple[str, ...]:
        """The fields that take no NUL."""
        marks = [(field, mark) for field, info in cls.model_fields.items() for mark in info.metadata]
        return tuple(field for field, mark in marks if isinstance(mark, In) and not mark.any_text)


def _number(value: object) -> object:
    """Query values are text; int() would also take signs, spaces and underscores."""
    if isinstance(value, str):
        if not (value.isascii() and value.isdecimal() and len(value) <= 10):
            raise PydanticCustomError("not_a_number", "must be a whole number in decimal digits")
        return int(value)
    return value


ClientId = Annotated[str, Field(pattern=CLIENT_ID_PATTERN)]
# The bounds come first: after a validator they would be checked, but not documented.
WholeNumber = Annotated[int, Field(ge=0, le=_LARGEST_NUMBER), BeforeValidator(_number)]
PositiveNumber = Annotated[int, Field(ge=1, le=_LARGEST_NUMBER), BeforeValidator(_number)]


def read_params(model: type[P], request: Request[Any]) -> P:
    """Raises InvalidInput."""
    sources: dict[Place, Mapping[str, str]] = {
        "path": request.path_params,
        "query": request.query_params,
        "header": request.headers,
    }
    found = {field: sources[place].get(name) for field, place, name in model.places()}
    for field in model.names():
        if "\x00" in (found[field] or ""):
            place, name = next((place, name) for one, place, name in model.places() if one == field)
            raise InvalidInput(InvalidParameter(), [{"in": place, "name": name, "detail": _NO_NUL}])
    try:
        return model.model_validate({field: value for field, value in found.items() if value is not None})
    except ValidationError as error:
        names = {field: {"in": place, "name": name} for field, place, name in model.places()}
        faults = [
            {**names.get(str(fault["loc"][0]) if fault["loc"] else "", {}), "detail": fault["msg"]}
            for fault in _faults(error)
        ]
        raise InvalidInput(_problem(error, InvalidParameter), faults) from None


async def read_body(model: type[B], request: Request[Any], unread: Body, *, plain_text: bool = False) -> B:
    """The JSON body; an empty one counts as `{}`. Raises InvalidInput and the problems of its parts."""
    content_type = request.headers.get("content-type")
    if content_type is not None:
        _check_media_type(content_type, plain_text)
    body = await unread.read()
    if body and content_type is None:
        raise UnsupportedMediaType("The body has no Content-Type; it must be application/json.")
    check_values(body)
    if not body and issubclass(model, RootModel):
        raise MalformedJson  # Nothing is not the same as an empty object: that replaces what there is.
    try:
        return model.model_validate_json(body or b"{}")
    except ValidationError as error:
        if any(fault["type"] == "json_invalid" for fault in error.errors(include_input=False, include_url=False)):
            raise MalformedJson from None
        raise InvalidInput(_problem(error, InvalidBody), faults_of(error)) from None


def faults_of(error: ValidationError) -> list[dict[str, str]]:
    """What is wrong with a body, each with its place."""
    return [{"pointer": _pointer(fault), "detail": fault["msg"]} for fault in _faults(error)]


def _check_media_type(content_type: str, plain_text: bool) -> None:
    """A page elsewhere sends the types that forms have without asking; JSON it has to ask for."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == "text/plain" and plain_text:
        return
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise UnsupportedMediaType


def _faults(error: ValidationError) -> list[ErrorDetails]:
    return error.errors(include_url=False, include_input=False, include_context=False)[:_MOST_FAULTS]


def _problem(error: ValidationError, default: type[DomainError]) -> DomainError:
    own = [_OWN_CODES[fault["type"]] for fault in _faults(error) if fault["type"] in _OWN_CODES]
    return own[0]() if own else default()


def _pointer(fault: ErrorDetails) -> str:
    """RFC 6901, relative to the body."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in fault["loc"])


def text_schema(pattern: str, **more: Any) -> WithJsonSchema:
    """The documented form of a value that a validator of ours reads from text."""
    return WithJsonSchema({"type": "string", "pattern": pattern, **more})
