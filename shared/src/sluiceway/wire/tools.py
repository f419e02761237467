"""What a tool is to those who do not run it: the entry of the catalogue that tool runners announce."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

TOOL_NAME_PATTERN = r"^[a-zA-Z][a-zA-Z0-9_-]{0,63}$"
DEFAULT_QUEUE = "default"
CLIENT_QUEUE = "client"
"""Of calls that the client runs: no runner reads such a queue, and nothing is put there."""


class ToolSpec(BaseModel):
    """One tool that a living runner offers.

    `parameters`: the JSON schema of its arguments, an object's. `queue`: where its operations are put. `approval`: a
    person must agree to each call. `deadline_seconds`: how long an operation may take in all, from the model's call or
    from its approval; past it the operation has failed. `text_field`: the argument that takes the text of a
    `/tool_name some text`; None: only JSON will do. `by_client`: the client that asked runs it, and posts its output.
    `background`: it never blocks its turn: the model is told that it was started, and a turn of its own answers with
    its result.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = Field(pattern=TOOL_NAME_PATTERN)
    description: str
    parameters: dict[str, Any]
    title: str | None = None
    queue: str = Field(default=DEFAULT_QUEUE, pattern=TOOL_NAME_PATTERN)
    approval: bool = False
    deadline_seconds: float = Field(default=3600, gt=0)
    text_field: str | None = None
    by_client: bool = False
    background: bool = False
