"""The bodies of work queue entries. Services are deployed one by one: fields are only ever added, and are optional."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from sluiceway.wire.elicitation import Elicitation
from sluiceway.wire.json_values import UNWRITABLE, clean_text, encode_json

# Words of an exception may have anything in them, and an error is no place to fail.
_FIT = BeforeValidator(lambda text: clean_text(text) if isinstance(text, str) else text)


class Job(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    def encode(self) -> bytes:
        """Never raises: what no queue takes is replaced, as in `encode_json`."""
        try:
            return self.model_dump_json(exclude_none=True).encode()
        except UNWRITABLE:
            return encode_json(self.model_dump(exclude_none=True))


class ChatJob(Job):
    """Ask a chat worker for the next step of a task."""

    kind: Literal["chat"] = "chat"
    task_id: str
    traceparent: str | None = None


class ToolJob(Job):
    """Ask a tool runner to run an operation; what is to be run stands in Postgres."""

    kind: Literal["tool"] = "tool"
    operation_id: str
    task_id: str
    tool_name: str
    traceparent: str | None = None


class OperationError(BaseModel):
    """Why an operation failed: `type` is a stable code for programs, `message` a sentence for model and user."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: Annotated[str, _FIT] = Field(default="FAILED", min_length=1, max_length=100)
    message: Annotated[str, _FIT] = Field(min_length=1)


class CompletionJob(Job):
    """Say how an operation ended. It is found by its id, else by the task's, when that waits for one only.

    `receipt`: the row of the webhook journal that this came with, if it came so. `elicits`: it has not ended, but asks
    a person; where nobody can be asked, it has ended as the rest says.
    """

    kind: Literal["complete"] = "complete"
    operation_id: str | None = None
    task_id: str | None = None
    success: bool
    result: Any = None
    error: OperationError | None = None
    elicits: Elicitation | None = None
    receipt: int | None = None
    traceparent: str | None = None


class ProgressJob(Job):
    """Say how far an operation is. `percent`: 0 to 100. `number`: later ones are larger; an older one is not shown."""

    kind: Literal["progress"] = "progress"
    operation_id: str
    message: str | None = None
    percent: float | None = Field(default=None, ge=0, le=100)
    data: Any = None
    number: int = 0
    receipt: int | None = None
    traceparent: str | None = None
