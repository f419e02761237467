"""An error, as RFC 9457 has it."""

from pydantic import BaseModel, ConfigDict, Field

from gateway.api.models.wire import Wire


class Fault(Wire):
    """One thing wrong with a request: where it is in the body (a JSON pointer) or which parameter it is, and why."""

    detail: str
    pointer: str | None = None
    name: str | None = None


class ProblemBody(BaseModel):
    """RFC 9457. `code` is stable; some problems have further members."""

    model_config = ConfigDict(frozen=True, title="Problem", extra="allow")

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str
    errors: list[Fault] = Field(default_factory=list)
