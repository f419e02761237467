"""From the stored conversation to what the model is sent.

Guarantees: every tool call that the model is shown has a result, whatever became of it; otherwise servers would reject
this and every later request of the conversation. What a server gave with its calls (`keep_provided`) goes along with
them, for the model's client to send it back to that server. The client makes the rest fit
(sluiceway_llm.asking.history).
"""

import json
from collections.abc import Sequence
from typing import Any

from sluiceway.store.records import Message
from sluiceway.wire.message import Part, calls_in, steps_of, text_of, tool_name_of
from sluiceway.wire.question import Question
from sluiceway_llm.asking.history import PROVIDER
from sluiceway_llm.calling.model import Provided

from chat_worker.attachments import content_of
from chat_worker.question import place_of_newest_page, worded

DEFAULT_SYSTEM_PROMPT = "You are a helpful assistant. Answer clearly and briefly."

_METADATA = "callProviderMetadata"
"""The AI SDK's name, in a tool's part, for what a provider gave with a call."""
_OURS = "sluiceway"

ModelMessages = list[dict[str, Any]]


def to_model_messages(
    system_prompt: str, history: Sequence[Message], own_parts: Sequence[Part] = (), *, whole_page: bool = True
) -> ModelMessages:
    """Chat messages in the OpenAI shape. Reasoning is left out, and so is an answer that has no text. Of the pages that
    messages came with, the newest is told (or not: `whole_page`), of older ones their addresses.

    `own_parts`: the steps that this answer has already.
    """
    messages: ModelMessages = [{"role": "system", "content": system_prompt}] if system_prompt else []
    newest = place_of_newest_page(history) if whole_page else None
    for place, message in enumerate(history):
        if message.role == "assistant":
            messages += _answer(message.parts)
        else:
            text = text_of(message.parts)
            said = worded(Question.read(message.metadata), text, whole_page=place == newest) if text else ""
            if content := content_of(message.parts, said):
                messages.append({"role": message.role, "content": content})
    return messages + _answer(own_parts)


def keep_provided(calls: Sequence[Part], provided: Provided) -> None:
    """Store what the server gave with the calls of a step beside them, the message's part with the first."""
    for place, part in enumerate(calls):
        kept: dict[str, Any] = {"by": provided.by}
        if place < len(provided.calls) and provided.calls[place]:
            kept["call"] = dict(provided.calls[place])
        if place == 0:
            kept |= {"message": dict(provided.fields), "reasoningField": provided.reasoning_field}
        part[_METADATA] = {_OURS: kept}


def _provided(part: Part) -> dict[str, Any]:
    metadata = part.get(_METADATA)
    kept = metadata.get(_OURS) if isinstance(metadata, dict) else None
    return kept if isinstance(kept, dict) else {}


def _answer(parts: Sequence[Part]) -> ModelMessages:
    return [message for step in steps_of(parts) for message in _step(step)]


def _step(parts: Sequence[Part]) -> ModelMessages:
    text, calls = text_of(parts), calls_in(parts)
    if not calls:
        return [{"role": "assistant", "content": text}] if text else []
    asked = [
        {
            "id": call_id,
            "type": "function",
            "function": {"name": tool_name_of(part), "arguments": _as_json(part.get("input", {}))},
            PROVIDER: {"by": _provided(part).get("by", ""), "fields": _provided(part).get("call", {})},
        }
        for call_id, part in calls.items()
    ]
    results = [{"role": "tool", "tool_call_id": id_, "content": result_of(part)} for id_, part in calls.items()]
    return [{"role": "assistant", "content": text or None, "tool_calls": asked, PROVIDER: _of_message(parts)}, *results]


def _of_message(parts: Sequence[Part]) -> dict[str, Any]:
    """What the server gave with a step's message, from where its first call keeps it."""
    kept = _provided(next(part for part in parts if "toolCallId" in part))
    return {
        "by": kept.get("by", ""),
        "fields": kept.get("message", {}),
        "reasoning_field": kept.get("reasoningField", ""),
        "reasoning": "".join(part["text"] for part in parts if part["type"] == "reasoning"),
    }


def result_of(part: Part) -> str:
    """What the model is told of how a call ended."""
    match part["state"]:
        case "output-available" if not part.get("preliminary"):
            output = part["output"]
            return output if isinstance(output, str) else _as_json(output)
        case "output-error":
            return f"Error: {part['errorText']}"
        case "output-denied":
            reason = part.get("approval", {}).get("reason")
            return f"The user did not allow this call. {f'Their reason: {reason}' if reason else ''}".strip()
        case _:
            return "Error: This call was not run."


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
