"""From the stored conversation to what the model is sent.

Guarantees: every tool call that the model is shown has a result, whatever became of it; otherwise servers would reject
this and every later request of the conversation. What a server gave with its calls (`keep_provided`) goes along with
them, for the model's client to send it back to that server. The client makes the rest fit
(sluiceway_llm.asking.history).
"""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sluiceway.store.records import BACKGROUND, Message
from sluiceway.wire.message import Part, calls_in, is_answered, steps_of, text_of, tool_name_of
from sluiceway.wire.question import Question
from sluiceway.wire.results import results_in
from sluiceway_llm.asking.history import PROVIDER
from sluiceway_llm.model_events import Provided

from chat_worker.prompt.attachments import content_of
from chat_worker.prompt.question import place_of_newest_page, worded

DEFAULT_SYSTEM_PROMPT = "You are a helpful assistant. Answer clearly and briefly."

RESULTS_OPEN = "[The application says this: tool calls from further up have ended. Answer with their results.]"
"""How a message begins that brings results of calls which ran in the background."""

_STILL_RUNS = (
    "It was started, and still runs. Its result comes later in this conversation. Do not call it again for that."
)
_METADATA = "callProviderMetadata"
"""The AI SDK's name, in a tool's part, for what a provider gave with a call."""
_OURS = "sluiceway"

ModelMessages = list[dict[str, Any]]


def to_model_messages(
    system_prompt: str,
    history: Sequence[Message],
    own_parts: Sequence[Part] = (),
    *,
    whole_page: bool = True,
    later: Collection[str] = (),
) -> ModelMessages:
    """Chat messages in the OpenAI shape. Reasoning is left out, and so is an answer that has no text. Of the pages that
    messages came with, the newest is told (or not: `whole_page`), of older ones their addresses.

    `own_parts`: the steps that this answer has already. `later`: calls whose results stand further down in the
    conversation, in a message of their own, or will.
    """
    messages: ModelMessages = [{"role": "system", "content": system_prompt}] if system_prompt else []
    newest = place_of_newest_page(history) if whole_page else None
    for place, message in enumerate(history):
        if message.role == "assistant":
            messages += _answer(message.parts, {*later, *_open_in_background(message)})
        elif results := results_in(message.parts):
            messages.append({"role": message.role, "content": _told_later(results)})
        else:
            text = text_of(message.parts)
            said = worded(Question.read(message.metadata), text, whole_page=place == newest) if text else ""
            if content := content_of(message.parts, said):
                messages.append({"role": message.role, "content": content})
    return messages + _answer(own_parts, later)


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


def _open_in_background(message: Message) -> list[str]:
    """The calls of an answer that are still running in the background."""
    background = (message.metadata or {}).get(BACKGROUND)
    calls = calls_in(message.parts)
    known = [call_id for call_id in background if call_id in calls] if isinstance(background, list) else []
    return [call_id for call_id in known if not is_answered(calls[call_id])]


def _told_later(results: Sequence[Mapping[str, Any]]) -> str:
    told = [f"{one.get('toolName')} ({one.get('toolCallId')}):\n{_result_told(one)}" for one in results]
    return "\n\n".join([RESULTS_OPEN, *told])


def _result_told(result: Mapping[str, Any]) -> str:
    if "errorText" in result:
        return f"Error: {result['errorText']}"
    output = result.get("output")
    return output if isinstance(output, str) else _as_json(output)


def _answer(parts: Sequence[Part], later: Collection[str] = ()) -> ModelMessages:
    return [message for step in steps_of(parts) for message in _step(step, later)]


def _step(parts: Sequence[Part], later: Collection[str]) -> ModelMessages:
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
    results = [
        {"role": "tool", "tool_call_id": id_, "content": _STILL_RUNS if id_ in later else result_of(part)}
        for id_, part in calls.items()
    ]
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
