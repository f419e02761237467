"""A conversation as exchanges: a user's message and what was said to it. What is cut off is whole exchanges, so that
what is left begins with a user's message, and no result is without its call.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sluiceway.store.records import Message
from sluiceway.wire.results import results_in

from chat_worker.prompt.attachments import FILE_OPENS
from chat_worker.prompt.prompt import RESULTS_OPEN, ModelMessages, to_model_messages
from chat_worker.prompt.question import place_of_newest_page

LEAST_CHARS = 200


@dataclass(frozen=True, slots=True)
class Exchange:
    """`through`: the sequence of its last message."""

    through: int
    messages: ModelMessages


def exchanges_of(history: Sequence[Message]) -> list[Exchange]:
    """Oldest first; an answer whose question is not there is one by itself. Of pages the newest is told whole. The
    results of calls that ran in the background are told where they came: what was sent before stays as it was."""
    exchanges: list[Exchange] = []
    later = {str(one.get("toolCallId")) for message in history for one in results_in(message.parts)}
    newest = place_of_newest_page(history)
    for place, message in enumerate(history):
        sent = to_model_messages("", [message], whole_page=place == newest, later=later)
        if message.role == "user" or not exchanges:
            exchanges.append(Exchange(message.sequence, sent))
        else:
            exchanges[-1] = Exchange(message.sequence, exchanges[-1].messages + sent)
    return exchanges


def steps_of(messages: ModelMessages) -> list[ModelMessages]:
    """Each with its results."""
    steps: list[ModelMessages] = []
    for message in messages:
        if message["role"] == "tool" and steps:
            steps[-1].append(message)
        else:
            steps.append([message])
    return steps


def shortened(messages: ModelMessages, chars: int) -> ModelMessages:
    """Results, arguments and texts of files that are longer than that, cut in the middle. Arguments stay JSON: servers
    read them."""
    return [_shortened(message, chars) for message in messages]


def cut_middle(text: str, chars: int) -> str:
    """The beginning and the end of a text, and how much was left out between them."""
    if len(text) <= chars:
        return text
    note = f"\n[… {len(text) - chars:,} characters left out …]\n"
    head = max(0, chars * 2 // 3)
    return text[:head] + note + text[len(text) - (chars - head) :]


def _shortened(message: dict[str, Any], chars: int) -> dict[str, Any]:
    content = message.get("content")
    is_result = message["role"] == "tool" or str(content).startswith(RESULTS_OPEN)
    if is_result and isinstance(content, str) and len(content) > chars:
        return {**message, "content": cut_middle(content, chars)}
    if message["role"] == "user" and isinstance(content, list):
        return {**message, "content": _short_files(content, chars)}
    calls = message.get("tool_calls")
    if calls and any(len(call["function"]["arguments"]) > chars for call in calls):
        return {**message, "tool_calls": [_short_call(call, chars) for call in calls]}
    return message


def _short_files(content: list[dict[str, Any]], chars: int) -> list[dict[str, Any]]:
    """The texts of files, which share the room of one result."""
    files = [part for part in content if str(part.get("text", "")).startswith(FILE_OPENS)]
    each = max(LEAST_CHARS, chars // max(1, len(files)))
    return [{**part, "text": cut_middle(part["text"], each)} if part in files else part for part in content]


def _short_call(call: dict[str, Any], chars: int) -> dict[str, Any]:
    arguments = call["function"]["arguments"]
    if len(arguments) <= chars:
        return call
    short = json.dumps({"shortened": cut_middle(arguments, chars)}, ensure_ascii=False)
    return {**call, "function": {**call["function"], "arguments": short}}
