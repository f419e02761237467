"""Texts and ids that a request brings, each with what is wrong with it."""

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError
from sluiceway.ids import CLIENT_ID_PATTERN

from gateway.api.inputs import ClientId
from gateway.api.problems import EmptyMessage
from gateway.api.whitespace import NUL_FREE_PATTERN, TEXT_PATTERN, is_whitespace

# Words that stand where an id could, in the routes of this or a coming version; and what a URL cannot carry.
RESERVED_IDS = ("sessions", "tasks", "operations", "jobs", "agents", "webhooks", "tools", ".", "..")


def _not_reserved(value: str) -> str:
    if value in RESERVED_IDS:
        raise PydanticCustomError("reserved", "is a reserved word")
    return value


def _without_nul(value: str) -> str:
    if "\x00" in value:
        raise PydanticCustomError("nul", "must not have a NUL character")
    return value


def _with_text(value: str) -> str:
    if is_whitespace(value):
        raise PydanticCustomError(EmptyMessage.code, "must not be empty")
    return value


def _title(value: str) -> str:
    if is_whitespace(value):
        raise PydanticCustomError("empty", "must not be empty")
    return value.strip()


NewSessionId = Annotated[
    ClientId, AfterValidator(_not_reserved), Field(json_schema_extra={"not": {"enum": list(RESERVED_IDS)}})
]


MessageText = Annotated[
    str,
    AfterValidator(_without_nul),
    AfterValidator(_with_text),
    Field(json_schema_extra={"pattern": TEXT_PATTERN}),
]


Title = Annotated[
    str,
    Field(max_length=200, json_schema_extra={"pattern": TEXT_PATTERN}),
    AfterValidator(_without_nul),
    AfterValidator(_title),
]


ApprovalReason = Annotated[
    str, Field(max_length=2000, json_schema_extra={"pattern": NUL_FREE_PATTERN}), AfterValidator(_without_nul)
]


PageText = Annotated[str, Field(json_schema_extra={"pattern": NUL_FREE_PATTERN}), AfterValidator(_without_nul)]


# As the `parent_id` of a message; empty: it is the first.
ParentId = Annotated[str, Field(pattern=f"^$|{CLIENT_ID_PATTERN}")]
ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:/@-]{1,100}$")]
