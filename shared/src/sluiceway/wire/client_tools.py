"""Tools that run in the client, as a request or the settings declare them.

The model is offered them beside those of the runners. A call of one ends its turn; the client posts the output, and a
turn of its own continues the message.
"""

import json
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from sluiceway.wire.json_values import clean_json
from sluiceway.wire.tools import CLIENT_QUEUE, TOOL_NAME_PATTERN, ToolSpec

MAX_TOOLS = 64
MAX_CHARS = 65_536


class ClientTool(BaseModel):
    """One tool of a client. `parameters`: the JSON schema of its arguments, an object's."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    description: str = Field(default="", max_length=8192)
    parameters: dict[str, Any] = Field(default_factory=lambda: {"type": "object", "properties": {}})


def _bounded(tools: dict[str, ClientTool]) -> dict[str, ClientTool]:
    """Every step of the turn sends them to the model."""
    if len(json.dumps(stored(tools))) > MAX_CHARS:
        raise ValueError(f"the tools must have at most {MAX_CHARS} characters as JSON")
    return tools


Name = Annotated[str, StringConstraints(pattern=TOOL_NAME_PATTERN)]
# A name of another form is refused, which the schema of a dict does not say by itself.
ClientTools = Annotated[
    dict[Name, ClientTool],
    Field(max_length=MAX_TOOLS, json_schema_extra={"additionalProperties": False}),
    AfterValidator(_bounded),
]
_DECLARED: TypeAdapter[dict[str, ClientTool]] = TypeAdapter(ClientTools)


def read_client_tools(text: str) -> dict[str, ClientTool]:
    """Of a JSON text. Raises ValueError (pydantic's)."""
    return _DECLARED.validate_json(text)


def stored(tools: dict[str, ClientTool]) -> dict[str, Any] | None:
    """As a turn keeps them: without what Postgres does not store."""
    return clean_json({name: tool.model_dump() for name, tool in tools.items()}) or None


def specs_of(declared: dict[str, Any] | None, deadline_seconds: float) -> dict[str, ToolSpec]:
    """What the model is offered of a turn's declared tools. `deadline_seconds`: how long a client is waited for."""
    return {
        name: ToolSpec(
            name=name,
            description=tool["description"],
            parameters=tool["parameters"],
            queue=CLIENT_QUEUE,
            by_client=True,
            deadline_seconds=deadline_seconds,
        )
        for name, tool in (declared or {}).items()
    }
