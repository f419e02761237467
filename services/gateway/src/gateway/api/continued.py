"""A stored message that the active turn continues, as a client must have it to follow that turn's stream.

The stream of such a turn tells the outputs of the approved calls again. The AI SDK adds a stream to the message it has
only if a call there waits for its output (`approval-responded`); else it begins an empty message, in which those calls
are unknown, and fails. So the calls of the last step that a person has answered wait for their outputs, until the turn
has ended and the message is stored whole.
"""

from typing import Any

from gateway.api.models import ActiveTask, MessageView

_OUTPUT_FIELDS = frozenset({"output", "errorText", "preliminary"})


def as_followed(messages: list[MessageView], active: ActiveTask | None) -> list[MessageView]:
    """The messages of a session, the last one as it was before the active turn, if that continues it."""
    if active is None or not messages or messages[-1].id != active.message_id:
        return messages
    last = messages[-1]
    if (last.metadata or {}).get("taskId") == active.task_id:
        return messages  # The turn ended between the two queries.
    steps = [index for index, part in enumerate(last.parts) if part["type"] == "step-start"]
    begin = steps[-1] if steps else 0
    parts = last.parts[:begin] + [_before_output(part) for part in last.parts[begin:]]
    return [*messages[:-1], last.model_copy(update={"parts": parts})]


def _before_output(part: dict[str, Any]) -> dict[str, Any]:
    if (part.get("approval") or {}).get("approved") is None:
        return part
    kept = {name: value for name, value in part.items() if name not in _OUTPUT_FIELDS}
    return kept | {"state": "approval-responded"}
