"""What an outside service asks a person for while it works on a call (an elicitation of the Model Context Protocol).

It is shown as the approval that clients know, and beside that as a part of its own: what the service says, and what an
approval answers it. The part's id is the approval's, so a call may ask more than once.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sluiceway.wire.events import Data, Event, ToolApprovalRequest
from sluiceway.wire.message import Part

ELICITATION_TYPE = "data-elicitation"
# How a call ends whose service asks a person, where nobody can be asked.
INPUT_REQUIRED = "INPUT_REQUIRED"


class ElicitedField(BaseModel):
    """The one thing that a person has to say beside yes: the reason that he gives with his approval is its value."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    title: str
    type: Literal["string", "number", "integer"] = "string"
    options: tuple[str, ...] = ()


class Elicitation(BaseModel):
    """`source`: who asks. `content`: what else an approval answers. `url`: a page that the person is to visit; it is
    never visited by us. `problem`: why it is asked again."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    approval_id: str = ""
    source: str
    message: str
    content: dict[str, Any] = Field(default_factory=dict)
    field: ElicitedField | None = None
    url: str | None = None
    problem: str | None = None

    def part(self, tool_call_id: str) -> Part:
        """As it stands in the message."""
        told = self.model_dump(mode="json", exclude={"approval_id"}, exclude_none=True)
        return {"type": ELICITATION_TYPE, "id": self.approval_id, "data": {"toolCallId": tool_call_id, **told}}


def asking_events(part: Part) -> list[Event]:
    """The chunks by which followers learn of it."""
    call_id, approval_id = str(part["data"]["toolCallId"]), str(part["id"])
    shown = Data(type=ELICITATION_TYPE, data=part["data"], id=approval_id)
    return [shown, ToolApprovalRequest(approval_id=approval_id, tool_call_id=call_id)]
