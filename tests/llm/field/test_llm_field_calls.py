"""Tool calls as servers of the field give them: each case is what one was seen to send, in its smallest form."""

import json
from typing import Any

import pytest

from harness.model_server import ModelServer
from tests.llm.field.cases import ONE, TWO, Case, D, delta, end, good, misread, piece, say

pytestmark = pytest.mark.requirement("CH-25")


def one(name: str, *frames: Any) -> Case:
    """A stream that ends well, and was meant as one note."""
    return good(name, *frames, end("stop"), calls=[("note", ONE)])


def two(name: str, *frames: Any) -> Case:
    return good(name, *frames, end("stop"), calls=[("note", ONE), ("note", TWO)])


def call(name: str, arguments: Any, **fields: Any) -> dict[str, Any]:
    return {**fields, "function": {"name": name, "arguments": arguments}}


def call_of(name: str, arguments: Any, **fields: Any) -> dict[str, Any]:
    return delta(tool_calls=[call(name, arguments, **fields)])


def in_one(*calls: dict[str, Any], **choice: Any) -> dict[str, Any]:
    """Whole calls in one chunk."""
    return {"choices": [{"index": 0, "delta": {"tool_calls": list(calls)}, "finish_reason": None, **choice}]}


# The arguments of a call that has none, as servers write them, and what is told of them.
_WITHOUT: list[tuple[Any, str]] = [("{}", "{}"), ("", ""), (None, ""), ({}, "{}")]

CALLS = [
    good(
        "index 0 twice",
        piece(ONE, "note", index=0, id="a"),
        piece(TWO, "note", index=0, id="b"),
        end("tool_calls"),
        calls=[("note", ONE), ("note", TWO)],
        reason="tool_calls",
    ),
    two(
        "index 0, empty ids",
        piece(ONE, "note", index=0, id=""),
        piece(TWO, "note", index=0, id=""),
    ),
    one(
        "a name that is the word null",
        piece('{"text":', "note", index=0, id="a"),
        piece('"one"}', "null", index=0, id=""),
    ),
    one("labels that are None", piece('{"text":', "note", index=0), piece('"one"}', "None", index=0, id="None")),
    two(
        "neither index nor id",
        piece(ONE, "note"),
        piece(TWO, "note"),
    ),
    good(
        "the same call twice, without ids",
        piece(ONE, "note"),
        piece(ONE, "note"),
        end("stop"),
        calls=[("note", ONE), ("note", ONE)],
    ),
    two(
        "the same id twice",
        piece(ONE, "note", index=0, id="x"),
        piece(TWO, "note", index=0, id="x"),
    ),
    one(
        "a call that is said twice",
        piece(ONE, "note", index=0, id="x"),
        piece(ONE, "note", index=0, id="x"),
    ),
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
    two(
        "in pieces, at one index, without ids",
        piece('{"text":', "note", index=0),
        piece('"one"}', index=0),
        piece('{"text":', "note", index=0),
        piece('"two"}', index=0),
    ),
    good(
        "braces in texts",
        piece('{"text":"}{', "note", index=0),
        piece('\\"}"}', index=0),
        piece(TWO, "note", index=0),
        end("stop"),
        calls=[("note", '{"text":"}{\\"}"}'), ("note", TWO)],
    ),
    two(
        "two objects in one piece",
        piece(ONE + TWO, "note", index=0, id="a"),
    ),
    one(
        "a brace too many",
        piece(ONE, "note", index=0, id="a"),
        piece("}", index=0),
    ),
    good(
        "arguments as an object",
        piece({"text": "one"}, "note", index=0, id="a"),
        end("stop"),
        calls=[("note", '{"text": "one"}')],
    ),
    good("arguments as an empty object", piece({}, "note", index=0, id="a"), end("stop"), calls=[("note", "{}")]),
    good(
        "no arguments",
        piece(None, "clear", index=0, id="a"),
        end("tool_calls"),
        calls=[("clear", "")],
        reason="tool_calls",
    ),
    good(
        "two without arguments",
        piece("", "clear", index=0),
        piece("", "list_all", index=0),
        end("stop"),
        calls=[("clear", ""), ("list_all", "")],
    ),
    good(
        "two without arguments, with ids",
        piece("", "clear", index=0, id="a"),
        piece("", "clear", index=0, id="b"),
        end("stop"),
        calls=[("clear", ""), ("clear", "")],
    ),
    one(
        "a name in pieces",
        piece("", "no", index=0, id="a"),
        piece("", "te", index=0),
        piece(ONE, index=0),
    ),
    one(
        "a name in pieces, with its id",
        piece("", "no", index=0, id="a"),
        piece(ONE, "te", index=0, id="a"),
    ),
    good(
        "a name in pieces that is one already",
        piece("", "note", index=0, id="a"),
        piece("", "_all", index=0),
        piece(ONE, index=0),
        end("stop"),
        calls=[("note_all", ONE)],
    ),
    one(
        "a name that grows",
        piece("", "no", index=0, id="a"),
        piece("", "note", index=0, id="a"),
        piece(ONE, index=0),
    ),
    one(
        "the name with each piece",
        piece('{"text":', "note", index=0, id="a"),
        piece('"one"}', "note", index=0, id="a"),
    ),
    one(
        "the name with each piece, no id",
        piece('{"text":', "note", index=0),
        piece('"one"}', "note", index=0),
        piece("", "note", index=0),
    ),
    one(
        "an id of its own for each piece",
        piece("", "note", index=0, id="r1"),
        piece('{"text":', index=0, id="r2"),
        piece('"one"}', index=0, id="r3"),
    ),
    one(
        "the id late",
        piece("", "note", index=0),
        piece(ONE, index=0, id="a"),
    ),
    one(
        "the name behind the arguments",
        piece(ONE, index=0, id="a"),
        piece("", "note", index=0),
    ),
    two(
        "taken in turns, by id alone",
        piece('{"text":', "note", id="a"),
        piece('{"text":', "note", id="b"),
        piece('"one"}', id="a"),
        piece('"two"}', id="b"),
    ),
    two(
        "the index as a text",
        piece('{"text":', "note", index="0", id="a"),
        piece('"one"}', index="0"),
        piece(TWO, "note", index="1", id="b"),
    ),
    two(
        "indexes from 1",
        piece(ONE, "note", index=1, id="a"),
        piece(TWO, "note", index=2, id="b"),
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
    good("a NUL in the name", piece(ONE, "no\0te", index=0, id="a\0"), end("stop"), calls=[("no\ufffdte", ONE)]),
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
    two(
        "ids that are numbers",
        piece(ONE, "note", id=0),
        piece(TWO, "note", id=1),
    ),
    one(
        "blanks around a name",
        piece(ONE, " note\n", id="a"),
    ),
    good(
        "the second begins at the first one's index, and goes on at its own",
        piece("", "note", index=0, id="a"),
        piece(ONE, index=0),
        piece("", "note", index=0, id="b"),
        piece('{"text":', index=1),
        piece('"two"}', index=1),
        end("tool_calls"),
        calls=[("note", ONE), ("note", TWO)],
        reason="tool_calls",
    ),
    good(
        "an index that counts the pieces",
        piece("", "note", index=0, id="a"),
        piece('{"text":', index=1),
        piece('"one"}', index=2),
        end("tool_calls"),
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
    good(
        "empty ids and names behind the first piece",
        piece("", "note", index=0, id="a"),
        piece('{"text":', "", index=0, id=""),
        piece('"one"}', "", index=0, id=""),
        end("tool_calls"),
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
    good(
        "an id of its own for each piece, and pieces of nothing behind the end",
        piece("", "note", index=0, id="r1"),
        piece('{"text":', index=0, id="r2"),
        piece('"one"}', index=0, id="r3"),
        piece("", index=0, id="r4"),
        piece("", index=0, id="r5"),
        end("stop"),
        calls=[("note", ONE)],
    ),
    good(
        "an id alone, and then its call",
        piece("", index=0, id="a"),
        piece(ONE, "note", index=0),
        end("stop"),
        calls=[("note", ONE)],
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
        "whole again other whitespace",
        piece('{"text": ', "note", index=0, id="a"),
        piece('"one"}', index=0),
        piece('{"text":"one"}', "note", index=0, id="a"),
        end("tool_calls"),
        calls=[("note", '{"text": "one"}')],
        reason="tool_calls",
    ),
    good(
        "whole again without id & name",
        piece('{"text":', "note", index=0, id="a"),
        piece('"one"}', index=0),
        piece(ONE, index=0),
        end("tool_calls"),
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
    good(
        "whole again with name, no id",
        piece('{"text":', "note", index=0, id="a"),
        piece('"one"}', index=0),
        piece(ONE, "note", index=0),
        end("tool_calls"),
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
    good(
        "{} first then pieces",
        piece("{}", "note", index=0, id="a"),
        piece('{"text":', index=0),
        piece('"one"}', index=0),
        end("tool_calls"),
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
    good(
        "dict {} first then pieces",
        piece({}, "note", index=0, id="a"),
        piece('{"text":', index=0),
        piece('"one"}', index=0),
        end("tool_calls"),
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
    good(
        "{} first then pieces with id",
        piece("{}", "note", index=0, id="a"),
        piece('{"text":', index=0, id="a"),
        piece('"one"}', index=0, id="a"),
        end("tool_calls"),
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
    good(
        "{} first no index",
        piece("{}", "note", id="a"),
        piece('{"text":'),
        piece('"one"}'),
        end("tool_calls"),
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
    good(
        "{} then {} again",
        piece("{}", "clear", index=0, id="a"),
        piece("{}", index=0),
        end("tool_calls"),
        calls=[("clear", "{}")],
        reason="tool_calls",
    ),
    good(
        "pieces then {}",
        piece('{"text":', "note", index=0, id="a"),
        piece('"one"}', index=0),
        piece("{}", index=0),
        end("tool_calls"),
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
    good(
        "'null' arguments",
        piece("null", "clear", index=0, id="a"),
        end("tool_calls"),
        calls=[("clear", "null")],
        reason="tool_calls",
    ),
    good(
        "index null",
        piece('{"text":', "note", index=None, id="a"),
        piece('"one"}', index=None),
        end("tool_calls"),
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
    good(
        "index null parallel by id",
        piece('{"text":', "note", index=None, id="a"),
        piece('"one"}', index=None, id="a"),
        piece('{"text":', "note", index=None, id="b"),
        piece('"two"}', index=None, id="b"),
        end("tool_calls"),
        calls=[("note", ONE), ("note", TWO)],
        reason="tool_calls",
    ),
    good(
        "index -1",
        piece('{"text":', "note", index=-1, id="a"),
        piece('"one"}', index=-1),
        end("tool_calls"),
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
    good(
        "index -1 and 0",
        piece(ONE, "note", index=-1, id="a"),
        piece(TWO, "note", index=0, id="b"),
        end("tool_calls"),
        calls=[("note", ONE), ("note", TWO)],
        reason="tool_calls",
    ),
    good(
        "index huge",
        piece(ONE, "note", index=10**30, id="a"),
        end("tool_calls"),
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
    good(
        "index 1.0",
        piece(ONE, "note", index=0.0, id="a"),
        piece(TWO, "note", index=1.0, id="b"),
        end("tool_calls"),
        calls=[("note", ONE), ("note", TWO)],
        reason="tool_calls",
    ),
    good(
        "index bool",
        piece(ONE, "note", index=False, id="a"),
        piece(TWO, "note", index=True, id="b"),
        end("tool_calls"),
        calls=[("note", ONE), ("note", TWO)],
        reason="tool_calls",
    ),
    good(
        "positions in a list, no index",
        delta(
            tool_calls=[
                {"id": "a", "function": {"name": "note", "arguments": ""}},
                {"id": "b", "function": {"name": "note", "arguments": ""}},
            ]
        ),
        delta(tool_calls=[{"function": {"arguments": ONE}}, {"function": {"arguments": TWO}}]),
        end("tool_calls"),
        calls=[("note", ONE), ("note", TWO)],
        reason="tool_calls",
    ),
    good(
        "positions in a list, pieces",
        delta(
            tool_calls=[
                {"id": "a", "function": {"name": "note", "arguments": '{"text":'}},
                {"id": "b", "function": {"name": "note", "arguments": '{"text":'}},
            ]
        ),
        delta(tool_calls=[{"function": {"arguments": '"one"}'}}, {"function": {"arguments": '"two"}'}}]),
        end("tool_calls"),
        calls=[("note", ONE), ("note", TWO)],
        reason="tool_calls",
    ),
    good(
        "interleaved index pieces",
        piece("", "note", index=0, id="a"),
        piece("", "note", index=1, id="b"),
        piece('{"text":', index=1),
        piece('{"text":', index=0),
        piece('"one"}', index=0),
        piece('"two"}', index=1),
        end("tool_calls"),
        calls=[("note", ONE), ("note", TWO)],
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
        "leading newline in arguments",
        piece("\n" + ONE + "\n", "note", index=0, id="a"),
        end("tool_calls"),
        calls=[("note", "\n" + ONE)],
        reason="tool_calls",
    ),
    good(
        "name null in later pieces",
        piece('{"text":', "note", index=0, id="a"),
        delta(tool_calls=[{"index": 0, "id": None, "type": None, "function": {"name": None, "arguments": '"one"}'}}]),
        end("tool_calls"),
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
    good(
        "arguments null then pieces",
        delta(tool_calls=[{"index": 0, "id": "a", "function": {"name": "note", "arguments": None}}]),
        piece(ONE, index=0),
        end("tool_calls"),
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
    good(
        "arguments list",
        piece([1], "note", index=0, id="a"),
        end("tool_calls"),
        calls=[("note", "[1]")],
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
        "two servers indexes skip",
        piece(ONE, "note", index=0, id="a"),
        piece(TWO, "note", index=5, id="b"),
        end("tool_calls"),
        calls=[("note", ONE), ("note", TWO)],
        reason="tool_calls",
    ),
    good(
        "same id, different index",
        piece(ONE, "note", index=0, id="a"),
        piece(TWO, "note", index=1, id="a"),
        end("tool_calls"),
        calls=[("note", ONE), ("note", TWO)],
        reason="tool_calls",
    ),
    good(
        "same id same index, other name",
        piece(ONE, "note", index=0, id="a"),
        piece("{}", "clear", index=0, id="a"),
        end("tool_calls"),
        calls=[("note", ONE), ("clear", "{}")],
        reason="tool_calls",
    ),
    good(
        "id grows",
        piece("", "note", index=0, id="call_"),
        piece(ONE, index=0, id="call_1"),
        end("tool_calls"),
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
    good(
        "index 0 for second with new id, in pieces",
        piece('{"text":', "note", index=0, id="a"),
        piece('"one"}', index=0, id="a"),
        piece('{"text":', "note", index=0, id="b"),
        piece('"two"}', index=0, id="b"),
        end("tool_calls"),
        calls=[("note", ONE), ("note", TWO)],
        reason="tool_calls",
    ),
    good(
        "alternating by id at index 0",
        piece('{"text":', "note", index=0, id="a"),
        piece('{"text":', "note", index=0, id="b"),
        piece('"one"}', index=0, id="a"),
        piece('"two"}', index=0, id="b"),
        end("tool_calls"),
        calls=[("note", ONE), ("note", TWO)],
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
        "10 parallel at 0 no id one chunk",
        delta(
            tool_calls=[
                {"index": 0, "function": {"name": "note", "arguments": json.dumps({"text": str(n)})}} for n in range(10)
            ]
        ),
        end("tool_calls"),
        calls=[("note", json.dumps({"text": str(n)})) for n in range(10)],
        reason="tool_calls",
    ),
    good(
        "string args char by char",
        *([piece("", "note", index=0, id="a")] + [piece(ch, index=0) for ch in ONE]),
        end("tool_calls"),
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
    good(
        "string args char by char parallel idx 0",
        *(
            [piece("", "note", index=0, id="a")]
            + [piece(ch, index=0) for ch in ONE]
            + [piece("", "note", index=0, id="b")]
            + [piece(ch, index=0) for ch in TWO]
        ),
        end("tool_calls"),
        calls=[("note", ONE), ("note", TWO)],
        reason="tool_calls",
    ),
    good(
        "names in turn at 0, pieces",
        piece("", "note", index=0),
        piece(ONE, index=0),
        piece("", "clear", index=0),
        piece("{}", index=0),
        end("tool_calls"),
        calls=[("note", ONE), ("clear", "{}")],
        reason="tool_calls",
    ),
    good(
        "index only on first",
        piece("", "note", index=0, id="a"),
        piece('{"text":'),
        piece('"one"}'),
        end("tool_calls"),
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
    good(
        "index only on first call",
        piece(ONE, "note", index=0, id="a"),
        piece(TWO, "note", id="b"),
        end("tool_calls"),
        calls=[("note", ONE), ("note", TWO)],
        reason="tool_calls",
    ),
    good(
        "id, name, args separate",
        piece("", None, index=0, id="a"),
        piece("", "note", index=0),
        piece(ONE, index=0),
        end("tool_calls"),
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
    good(
        "empty name then name",
        piece("", "", index=0, id="a"),
        piece("", "note", index=0),
        piece(ONE, index=0),
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
        "blank piece behind end",
        piece(ONE, "note", index=0, id="a"),
        piece(" \n", index=0),
        end("tool_calls"),
        calls=[("note", ONE)],
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
        "{} then whole by dict",
        piece({}, "note", index=0, id="a"),
        piece({"text": "one"}, "note", index=0, id="a"),
        end("tool_calls"),
        calls=[("note", '{"text": "one"}')],
        reason="tool_calls",
    ),
    good(
        "string {} and array",
        piece("[]", "clear", index=0, id="a"),
        end("tool_calls"),
        calls=[("clear", "[]")],
        reason="tool_calls",
    ),
    good(
        "number args",
        piece(5, "clear", index=0, id="a"),
        end("tool_calls"),
        calls=[("clear", "5")],
        reason="tool_calls",
    ),
    good(
        "false args",
        piece(False, "clear", index=0, id="a"),
        end("tool_calls"),
        calls=[("clear", "")],
        reason="tool_calls",
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
    *(
        good(
            f"one whose arguments are {arguments!r} before another",
            call_of("clear", arguments, index=0, id="a"),
            call_of("note", ONE, index=1, id="b"),
            end("tool_calls"),
            calls=[("clear", told), ("note", ONE)],
            reason="tool_calls",
        )
        for arguments, told in _WITHOUT
    ),
    good(
        "a place held by {} before another call, and its arguments behind that",
        call_of("note", "{}", index=0, id="a"),
        call_of("note", TWO, index=1, id="b"),
        delta(tool_calls=[{"index": 0, "function": {"arguments": ONE}}]),
        end("tool_calls"),
        calls=[("note", ONE), ("note", TWO)],
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


async def test_calls_are_put_together_as_they_are_meant(model: ModelServer) -> None:
    assert not await misread(model, CALLS)
