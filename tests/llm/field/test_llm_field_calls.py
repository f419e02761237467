"""Tool calls as servers of the field give them: each case is what one was seen to send, in its smallest form."""

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
]


async def test_calls_are_put_together_as_they_are_meant(model: ModelServer) -> None:
    assert not await misread(model, CALLS)
