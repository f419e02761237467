"""Where tool calls stand in what servers of the field send: other fields and shapes, one chunk, beside the end."""

import json

import pytest

from harness.model_server import ModelServer
from tests.llm.field.cases import ONE, TWO, D, call, delta, end, good, in_one, misread, one, piece, say

pytestmark = pytest.mark.requirement("CH-25")

PLACES = [
    good(
        "both in one chunk",
        delta(
            tool_calls=[
                {"index": 0, "id": "a", "function": {"name": "note", "arguments": ONE}},
                {"index": 0, "id": "b", "function": {"name": "clear", "arguments": "{}"}},
            ]
        ),
        end("stop"),
        calls=[("note", ONE), ("clear", "{}")],
    ),
    one(
        "one call, not a list",
        delta(tool_calls={"id": "a", "function": {"name": "note", "arguments": ONE}}),
    ),
    one(
        "no function around name and arguments",
        delta(tool_calls=[{"id": "a", "name": "note", "arguments": ONE}]),
    ),
    good(
        "the old shape",
        delta(function_call={"name": "note", "arguments": '{"text":'}),
        delta(function_call={"arguments": '"one"}'}),
        end("function_call"),
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
    one(
        "null everywhere else",
        piece(None, "note", index=0, id="a", type=None),
        piece(ONE, None, index=0, id=None),
    ),
    one(
        "what is no call",
        delta(tool_calls=[None, 7, "call", []]),
        piece(ONE, "note", index=0, id="a"),
    ),
    good("whole, without [DONE]'s reason", piece(ONE, "note", index=0, id="a"), D, calls=[("note", ONE)], reason=None),
    good(
        "text before and behind",
        say("Now: "),
        piece(ONE, "note", index=0, id="a"),
        say("done"),
        end("tool_calls"),
        text="Now: done",
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
    good(
        "the calls in a choice of their own",
        say("Look: "),
        {
            "choices": [
                {"index": 1, "delta": {"tool_calls": [{"id": "a", "function": {"name": "note", "arguments": ONE}}]}}
            ]
        },
        {"choices": [{"index": 1, "delta": {}, "finish_reason": "tool_calls"}]},
        D,
        text="Look: ",
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
    good(
        "function_call legacy in chunks w/ name repeated",
        delta(function_call={"name": "note", "arguments": ""}),
        delta(function_call={"name": "note", "arguments": ONE}),
        end("function_call"),
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
    good(
        "function_call with dict args",
        delta(function_call={"name": "note", "arguments": {"text": "one"}}),
        end("function_call"),
        calls=[("note", '{"text": "one"}')],
        reason="tool_calls",
    ),
    good(
        "function_call null + tool_calls",
        delta(function_call=None, tool_calls=[{"index": 0, "id": "a", "function": {"name": "note", "arguments": ONE}}]),
        end("tool_calls"),
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
    good(
        "both function_call and tool_calls",
        delta(
            function_call={"name": "note", "arguments": ONE},
            tool_calls=[{"index": 0, "id": "a", "function": {"name": "note", "arguments": ONE}}],
        ),
        end("tool_calls"),
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
    good("tool_calls null", {"choices": [{"delta": {"content": "a", "tool_calls": None}}]}, end("stop"), text="a"),
    good(
        "tool_calls dict by index",
        delta(tool_calls={"0": {"id": "a", "function": {"name": "note", "arguments": ONE}}}),
        end("tool_calls"),
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
    good(
        "message tool_calls at the end repeated",
        piece(ONE, "note", index=0, id="a"),
        {
            "choices": [
                {
                    "index": 0,
                    "message": {"tool_calls": [{"id": "a", "function": {"name": "note", "arguments": ONE}}]},
                    "finish_reason": "tool_calls",
                }
            ]
        },
        D,
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
    good(
        "calls only in final message",
        delta(content=""),
        {
            "choices": [
                {
                    "index": 0,
                    "delta": {},
                    "message": {"tool_calls": [{"id": "a", "function": {"name": "note", "arguments": ONE}}]},
                    "finish_reason": "tool_calls",
                }
            ]
        },
        D,
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
    good(
        "text by deltas, calls only in final message",
        say("Look"),
        {
            "choices": [
                {
                    "index": 0,
                    "message": {
                        "content": "Look",
                        "tool_calls": [{"id": "a", "function": {"name": "note", "arguments": ONE}}],
                    },
                    "finish_reason": "tool_calls",
                }
            ]
        },
        D,
        text="Look",
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
    good(
        "calls in choice, beside delta",
        {
            "choices": [
                {
                    "index": 0,
                    "delta": {},
                    "tool_calls": [{"id": "a", "function": {"name": "note", "arguments": ONE}}],
                    "finish_reason": "tool_calls",
                }
            ]
        },
        D,
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
    good("finish_reason stop with calls", piece(ONE, "note", index=0, id="a"), end("stop"), D, calls=[("note", ONE)]),
    good(
        "tool call under 'parameters'",
        delta(tool_calls=[{"id": "a", "function": {"name": "note", "parameters": {"text": "one"}}}]),
        end("tool_calls"),
        calls=[("note", '{"text": "one"}')],
        reason="tool_calls",
    ),
    good(
        "input anthropic",
        delta(tool_calls=[{"id": "a", "type": "tool_use", "name": "note", "input": {"text": "one"}}]),
        end("tool_calls"),
        calls=[("note", '{"text": "one"}')],
        reason="tool_calls",
    ),
    good(
        "function null",
        delta(tool_calls=[{"index": 0, "id": "a", "function": None}]),
        piece(ONE, "note", index=0),
        end("tool_calls"),
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
    good(
        "id in function",
        delta(tool_calls=[{"index": 0, "function": {"id": "a", "name": "note", "arguments": ONE}}]),
        end("tool_calls"),
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
    good(
        "call_id",
        delta(tool_calls=[{"index": 0, "call_id": "a", "function": {"name": "note", "arguments": ONE}}]),
        end("tool_calls"),
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
    good(
        "summary list at the end",
        piece(ONE, "note", index=0, id="a"),
        piece(TWO, "note", index=1, id="b"),
        in_one(call("note", ONE, index=0, id="a"), call("note", TWO, index=1, id="b")),
        end("tool_calls"),
        calls=[("note", ONE), ("note", TWO)],
        reason="tool_calls",
    ),
    good(
        "pieces behind the reason",
        piece('{"text":', "note", index=0, id="a"),
        end("tool_calls"),
        piece('"one"}', index=0),
        D,
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
    good(
        "reason with each call",
        in_one(call("note", ONE, index=0, id="a"), finish_reason="tool_calls"),
        in_one(call("note", TWO, index=0, id="b"), finish_reason="tool_calls"),
        D,
        calls=[("note", ONE), ("note", TWO)],
        reason="tool_calls",
    ),
    good(
        "reason stop with each call",
        in_one(call("note", ONE, id="a"), finish_reason="stop"),
        in_one(call("note", TWO, id="b"), finish_reason="stop"),
        D,
        calls=[("note", ONE), ("note", TWO)],
    ),
    good(
        "type missing, function str",
        delta(tool_calls=[{"index": 0, "id": "a", "function": "note"}]),
        say("x"),
        end("stop"),
        text="x",
    ),
    good("tool_calls of strings", delta(tool_calls=["note"]), say("x"), end("stop"), text="x"),
    good(
        "tool_calls as JSON string",
        delta(tool_calls=json.dumps([call("note", ONE, index=0, id="a")])),
        end("tool_calls"),
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
    good(
        "no type custom",
        delta(tool_calls=[{"index": 0, "id": "a", "type": "custom", "custom": {"name": "note", "input": ONE}}]),
        end("tool_calls"),
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
]


async def test_calls_are_found_where_they_stand(model: ModelServer) -> None:
    assert not await misread(model, PLACES)
