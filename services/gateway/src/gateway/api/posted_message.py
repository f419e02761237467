"""The last message that an AI SDK client posts, as far as it is looked at: a user's, or an answer with what was said to
its tool calls."""

import json
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sluiceway.ids import is_client_id
from sluiceway.store.turns.approving import ClientOutput, Decision
from sluiceway.wire.json_values import clean_json

from gateway.api.inputs import ClientId
from gateway.api.models.texts import ApprovalReason

_MAX_ERROR_CHARS = 8192


class PostedMessage(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str | None = None
    role: str
    parts: list[dict[str, Any]]


class GivenApproval(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    approved: bool
    reason: ApprovalReason | None = None


class AnsweredPart(BaseModel):
    """A tool part of the client's message, with what the person has said, or with its output."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    call_id: ClientId = Field(alias="toolCallId")
    state: str
    approval: GivenApproval | None = None
    output: Any = None
    error_text: str = Field(default="", alias="errorText")


def answers_in(messages: Sequence[Any], max_output_chars: int) -> tuple[str, dict[str, Decision | ClientOutput]] | None:
    """The last message's id, and what was said to its tool calls; None where it is no such message."""
    try:
        message = PostedMessage.model_validate(messages[-1]) if messages else None
        if message is None or message.role != "assistant" or message.id is None or not is_client_id(message.id):
            return None
        parts = [AnsweredPart.model_validate(part) for part in message.parts if "toolCallId" in part]
    except ValidationError:
        return None
    answers = {part.call_id: _answer(part, max_output_chars) for part in parts}
    given = {call_id: one for call_id, one in answers.items() if one is not None}
    return (message.id, given) if given else None


def client_output(output: Any, error_text: str | None, max_chars: int) -> ClientOutput:
    """An output that can be stored, and that the model can be shown."""
    if error_text is not None:
        return ClientOutput(error_text=clean_json(error_text)[:_MAX_ERROR_CHARS])
    if len(json.dumps(output, ensure_ascii=False)) > max_chars:
        return ClientOutput(error_text=f"The output was longer than {max_chars} characters.")
    return ClientOutput(clean_json(output))


def _answer(part: AnsweredPart, max_output_chars: int) -> Decision | ClientOutput | None:
    match part.state:
        case "approval-responded" if part.approval is not None:
            return Decision(part.approval.approved, part.approval.reason)
        case "output-available":
            return client_output(part.output, None, max_output_chars)
        case "output-error":
            return client_output(None, part.error_text or "It failed.", max_output_chars)
        case _:
            return None
