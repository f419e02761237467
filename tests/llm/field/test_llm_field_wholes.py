"""Whole completions that servers of the field answer instead of a stream."""

import json

import pytest

from harness.model_server import ModelServer
from tests.llm.field.cases import ONE, USED, Case, D, U, end, good, lines, misread, say

pytestmark = pytest.mark.requirement("CH-25")

COMPLETION = {
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}],
    "usage": U["usage"],
}
CALLING = {
    "choices": [
        {
            "message": {"content": None, "tool_calls": [{"id": "a", "function": {"name": "note", "arguments": ONE}}]},
            "finish_reason": "tool_calls",
        }
    ]
}
WHOLES = [
    Case("a whole completion", COMPLETION, text="a", usage=USED, content_type="application/json"),
    Case(
        "a whole completion over several lines",
        json.dumps(COMPLETION, indent=2),
        text="a",
        usage=USED,
        content_type="application/json",
    ),
    Case(
        "a whole completion without a reason",
        {"choices": [{"message": {"content": "a"}}]},
        text="a",
        reason=None,
        content_type="application/json",
    ),
    Case(
        "a whole completion with calls",
        CALLING,
        calls=[("note", ONE)],
        reason="tool_calls",
        content_type="application/json",
    ),
    Case(
        "a whole completion with its calls in a choice of their own",
        {"choices": [{"message": {"content": "Look:"}, "finish_reason": "tool_calls"}, CALLING["choices"][0]]},
        text="Look:",
        calls=[("note", ONE)],
        reason="tool_calls",
        content_type="application/json",
    ),
    good("a whole completion as an event", COMPLETION, D, text="a", usage=USED),
    Case(
        "whole completion, BOM",
        "\ufeff" + json.dumps({"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}),
        text="a",
        content_type="application/json",
    ),
    Case(
        "whole completion, trailing newline/garbage",
        json.dumps({"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}) + "\n\n\n",
        text="a",
        content_type="application/json",
    ),
    Case(
        "whole completion in list",
        json.dumps([{"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}]),
        text="a",
        content_type="application/json",
    ),
    Case(
        "whole completion wrapped in data",
        json.dumps({"data": {"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}}),
        text="a",
        content_type="application/json",
    ),
    Case("code 0 message ok", lines({"code": 0, "message": "success"}, say("a"), end("stop"), D), text="a"),
    Case(
        "wrapped stream code 0 data choices",
        lines({"code": 0, "message": "success", "choices": [{"delta": {"content": "a"}}]}, end("stop"), D),
        text="a",
    ),
]


async def test_what_is_no_stream_is_read_as_what_it_is(model: ModelServer) -> None:
    assert not await misread(model, WHOLES)
