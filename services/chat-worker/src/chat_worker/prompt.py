"""From the stored conversation to what the model is sent.

Guarantees: every tool call that the model is shown has a result, whatever became of it; otherwise servers would reject
this and every later request of the conversation.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sluiceway.store.records import Message
from sluiceway.wire.message import Part, calls_in, text_of, tool_name_of

DEFAULT_SYSTEM_PROMPT = "You are a helpful assistant. Answer clearly and briefly."

ModelMessages = list[dict[str, Any]]


def load_system_prompt(file: Path | None) -> str:
    """The file's text, or the default. Raises OSError, UnicodeDecodeError: better at the start than in a turn."""
    return DEFAULT_SYSTEM_PROMPT if file is None else file.read_text("utf-8").strip()


def to_model_messages(
    system_prompt: str, history: Sequence[Message], own_parts: Sequence[Part] = (), *, with_tools: bool = True
) -> ModelMessages:
    """Chat messages in the OpenAI shape. Reasoning is left out, and so is an answer that has no text.

    `own_parts`: the steps that this answer has already. `with_tools`: False tells of tool results as text, for models
    that know no tools.
    """
    messages: ModelMessages = [{"role": "system", "content": system_prompt}] if system_prompt else []
    for message in history:
        if message.role == "assistant":
            messages += _answer(message.parts, with_tools)
        elif text := text_of(message.parts):
            messages.append({"role": message.role, "content": text})
    return messages + _answer(own_parts, with_tools)


def _answer(parts: Sequence[Part], with_tools: bool) -> ModelMessages:
    return [message for step in _steps(parts) for message in _step(step, with_tools)]


def _steps(parts: Sequence[Part]) -> list[list[Part]]:
    steps: list[list[Part]] = [[]]
    for part in parts:
        if part["type"] == "step-start":
            steps.append([])
        else:
            steps[-1].append(part)
    return steps


def _step(parts: Sequence[Part], with_tools: bool) -> ModelMessages:
    text, calls = text_of(parts), calls_in(parts)
    if not calls:
        return [{"role": "assistant", "content": text}] if text else []
    if not with_tools:
        said: ModelMessages = [{"role": "assistant", "content": text}] if text else []
        return [*said, {"role": "user", "content": "\n\n".join(_told(part) for part in calls.values())}]
    asked = [
        {
            "id": call_id,
            "type": "function",
            "function": {"name": tool_name_of(part), "arguments": _as_json(part.get("input", {}))},
        }
        for call_id, part in calls.items()
    ]
    results = [{"role": "tool", "tool_call_id": id_, "content": result_of(part)} for id_, part in calls.items()]
    return [{"role": "assistant", "content": text or None, "tool_calls": asked}, *results]


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


def _told(part: Part) -> str:
    return f"[Result of the tool {tool_name_of(part)}: {result_of(part)}]"


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
