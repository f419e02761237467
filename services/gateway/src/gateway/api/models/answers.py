"""What somebody in front of the client answers to a tool call."""

from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool

from gateway.api.models.texts import ApprovalReason
from gateway.api.models.wire import Asked, Wire


class ApprovalAnswer(Asked):
    approved: StrictBool
    reason: ApprovalReason | None = None


class ClientOutputGiven(Asked):
    """What came of a call that the client ran: its output, or why it failed."""

    output: Any = None
    error: Annotated[str, Field(min_length=1, max_length=8192)] | None = None


class AnswerTaken(Wire):
    """`recorded`: `remaining` other calls of the step wait for an answer, too. `accepted`: `task_id` has the rest."""

    status: Literal["recorded", "accepted"]
    remaining: int
    task_id: str | None = None
    assistant_message_id: str | None = None
    stream_url: str | None = None
