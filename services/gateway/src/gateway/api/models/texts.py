"""Texts and ids that a request brings, each with what is wrong with it."""

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError
from sluiceway.ids import CLIENT_ID_PATTERN

from gateway.api.inputs import ClientId
from gateway.api.problems import EmptyMessage
from gateway.api.whitespace import NUL_FREE_PATTERN, TEXT_PATTERN, is_whitespace

# Words that stand where an id could, in the routes of this or a coming version; and what a URL cannot carry.
RESERVED_IDS = ("sessions", "tasks", "operations", "jobs", "agents", "webhooks", "tools", "files", ".", "..")


def _not_reserved(value: str) -> str:
    if value in RESERVED_IDS:
        raise PydanticCustomError("reserved", "is a reserved word")
    return value


def without_nul(value: str) -> str:
    if "\x00" in value:
        raise PydanticCustomError("nul", "must not have a NUL character")
    return value


def check_text(value: str) -> None:
    """Raises PydanticCustomError."""
    if is_whitespace(value):
        raise PydanticCustomError(EmptyMessage.code, "must not be empty")


def _title(value: str) -> str:
    if is_whitespace(value):
        raise PydanticCustomError("empty", "must not be empty")
    return value.strip()


NewSessionId = Annotated[
    ClientId, AfterValidator(_not_reserved), Field(json_schema_extra={"not": {"enum": list(RESERVED_IDS)}})
]


Title = Annotated[
    str,
    Field(max_length=200, json_schema_extra={"pattern": TEXT_PATTERN}),
    AfterValidator(without_nul),
    AfterValidator(_title),
]


ApprovalReason = Annotated[
    str, Field(max_length=2000, json_schema_extra={"pattern": NUL_FREE_PATTERN}), AfterValidator(without_nul)
]


PageText = Annotated[str, Field(json_schema_extra={"pattern": NUL_FREE_PATTERN}), AfterValidator(without_nul)]


FileName = Annotated[
    str, Field(max_length=1000, json_schema_extra={"pattern": NUL_FREE_PATTERN}), AfterValidator(without_nul)
]


MediaType = Annotated[str, Field(max_length=200)]


# As the `parent_id` of a message; empty: it is the first.
ParentId = Annotated[str, Field(pattern=f"^$|{CLIENT_ID_PATTERN}")]
ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:/@-]{1,100}$")]
