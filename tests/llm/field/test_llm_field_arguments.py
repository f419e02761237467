"""Arguments of tool calls as servers of the field write them: objects, nothing, placeholders, said twice, in pieces."""

from typing import Any

import pytest

from harness.model_server import ModelServer
from tests.llm.field.cases import ONE, TWO, call_of, delta, end, good, misread, one, piece, two

pytestmark = pytest.mark.requirement("CH-25")

# The arguments of a call that has none, as servers write them, and what is told of them.
_WITHOUT: list[tuple[Any, str]] = [("{}", "{}"), ("", ""), (None, ""), ({}, "{}")]

ARGUMENTS = [
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
        "leading newline in arguments",
        piece("\n" + ONE + "\n", "note", index=0, id="a"),
        end("tool_calls"),
        calls=[("note", "\n" + ONE)],
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
        "blank piece behind end",
        piece(ONE, "note", index=0, id="a"),
        piece(" \n", index=0),
        end("tool_calls"),
        calls=[("note", ONE)],
        reason="tool_calls",
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
]


async def test_arguments_are_read_as_they_are_meant(model: ModelServer) -> None:
    assert not await misread(model, ARGUMENTS)
