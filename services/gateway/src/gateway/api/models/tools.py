"""The tools that models are offered."""

from typing import Any

from pydantic import Field
from sluiceway.wire.tools import ToolSpec

from gateway.api.models.wire import Wire


class ToolView(Wire):
    """`parameters`: the JSON schema of its arguments. `text_field`: the argument that a text alone is taken for."""

    name: str
    title: str | None
    description: str
    parameters: dict[str, Any]
    text_field: str | None
    approval: bool = Field(description="a person is asked before each call")
    background: bool = Field(
        default=False, description="it never blocks a turn: another one answers with its result, when that is there"
    )

    @classmethod
    def of(cls, spec: ToolSpec) -> "ToolView":
        return cls.model_validate(spec, from_attributes=True)


class ToolList(Wire):
    tools: list[ToolView]
