"""Answers as servers of the field give them: each case is what one was seen to send, in its smallest form.

A case is the body of a response: `data:` lines that are written short (D is `[DONE]`), or something else altogether;
and what is to be made of it. All are read over HTTP, with retries as a turn has them.
"""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from sluiceway_llm.model import Model, ModelEvent, ModelRequest, Provided, Usage
from sluiceway_llm.model_errors import ModelError
from sluiceway_llm.retry import Patience, stream_with_retries

from harness.model_server import ModelServer
from tests.llm.llm_client import adapter, calls_of, finished, reasoning_of, refusal_of, text_of

pytestmark = pytest.mark.requirement("CH-25")

NAMES = ("note", "clear", "list_all", "note_all")
TOOLS = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in NAMES]
ONE, TWO = '{"text":"one"}', '{"text":"two"}'
U = {"choices": [], "usage": {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}}
USED = Usage(2, 3, 5)
D = "[DONE]"


def delta(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": None}]}


def say(text: Any) -> dict[str, Any]:
    return delta(content=text)


def end(reason: Any, **beside: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}], **beside}


def piece(arguments: Any = None, name: Any = None, **fields: Any) -> dict[str, Any]:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return delta(tool_calls=[{**fields, "function": function}])


def lines(*frames: Any) -> str:
    """Each frame as an event; a text that is not `[DONE]` stands there as it is."""
    written = (
        f"data: {frame}\n\n" if frame == D else frame if isinstance(frame, str) else f"data: {json.dumps(frame)}\n\n"
        for frame in frames
    )
    return "".join(written)


@dataclass(frozen=True)
class Case:
    """`calls`: name and arguments of each. `error`: its code; None: the answer is good. `requests`: how many."""

    name: str
    body: Any
    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)
    reason: str | None = "stop"
    usage: Usage | None = None
    error: str | None = None
    says: str = ""
    requests: int = 1
    status: int = 200
    content_type: str = "text/event-stream"

    def expected(self) -> dict[str, Any]:
        return {
            "said": (self.text, self.reasoning, self.refusal, self.calls),
            "end": (self.reason, self.usage) if self.error is None else None,
            "error": self.error,
            "says": True,
        }


def good(name: str, *frames: Any, **expected: Any) -> Case:
    return Case(name, lines(*frames), **expected)


def bad(name: str, *frames: Any, error: str = "MODEL_UNAVAILABLE", **expected: Any) -> Case:
    return Case(name, lines(*frames), error=error, **expected)


def answered(name: str, body: Any, error: str, status: int = 200, **expected: Any) -> Case:
    kind = "text/plain" if isinstance(body, str) else "application/json"
    return Case(name, body, error=error, status=status, content_type=kind, **expected)


ENDS = [
    good("stop", say("a"), end("stop"), U, D, text="a", usage=USED),
    good("length", say("a"), end("length"), D, text="a", reason="length"),
    good("content_filter", say("a"), end("content_filter"), D, text="a", reason="content_filter"),
    good("Anthropic's word", say("a"), end("end_turn"), D, text="a"),
    good("Gemini's word", say("a"), end("STOP"), text="a"),
    good("Gemini's other word", say("a"), end("MAX_TOKENS"), text="a", reason="length"),
    good("no reason, [DONE]", say("a"), D, text="a", reason=None),
    good(
        "the word null in every chunk",
        {"choices": [{"delta": {"content": "a"}, "finish_reason": "null"}]},
        D,
        text="a",
        reason=None,
    ),
    good(
        "an empty reason in every chunk",
        {"choices": [{"delta": {"content": "a"}, "finish_reason": ""}]},
        end("stop"),
        text="a",
    ),
    good("the end with the last text", {"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]}, text="a"),
    good("the end said twice", say("a"), end("stop"), end("stop"), D, text="a"),
    good("calls promised, text said", say("a"), end("tool_calls"), D, text="a"),
    good("text behind the end", say("a"), end("stop"), say("b"), D, text="ab"),
    good("nothing behind [DONE]", say("a"), end("stop"), D, say("b"), {"error": "late"}, text="a"),
    good("[DONE] in quotes", say("a"), 'data: "[DONE]"\n\n', text="a", reason=None),
    bad("error as the reason", say("Some"), end("error"), D, text="Some"),
    bad(
        "error as the reason, and what it is",
        say("Some"),
        end("error", error={"code": 502, "message": "gone"}),
        D,
        text="Some",
    ),
    bad(
        "error as the reason, and then what it is",
        say("Some"),
        end("error"),
        {"error": {"code": 429}},
        D,
        text="Some",
        error="MODEL_RATE_LIMITED",
    ),
    bad(
        "an error in the choice",
        say("Some"),
        {"choices": [{"delta": {}, "finish_reason": "stop", "error": {"code": 502, "message": "gone"}}]},
        D,
        text="Some",
    ),
    bad("an error behind the end", say("Some"), end("stop"), {"error": {"message": "x", "code": 500}}, D, text="Some"),
    bad("an error beside text", {**say("Some"), "error": {"message": "x"}}, end("stop"), D, text="Some"),
    bad("DeepSeek's word", say("Some"), end("insufficient_system_resource"), D, text="Some"),
    bad("a word that nobody knows", say("Some"), end("banana"), D, text="Some"),
    bad("abort", say("Some"), end("abort"), D, text="Some"),
    bad("error, nothing said", end("error"), D, requests=3),
    bad("cut", say("Some"), text="Some", error="MODEL_CUT"),
    bad("cut inside an event", say("Some"), 'data: {"choices": [{"del', text="Some", error="MODEL_CUT"),
    bad("nothing", end("stop"), U, D, error="MODEL_EMPTY", requests=2),
    bad("[DONE] alone", D, error="MODEL_EMPTY", requests=2),
    bad("thoughts alone", delta(reasoning_content="Hm."), end("stop"), D, reasoning="Hm.", error="MODEL_EMPTY"),
    bad("thoughts in tags alone", say("<think>Hm.</think>"), end("stop"), D, reasoning="Hm.", error="MODEL_EMPTY"),
    bad("thoughts to the limit", delta(reasoning="Hm."), end("length"), D, reasoning="Hm.", error="MODEL_OUTPUT_LIMIT"),
    bad(
        "no calls, though they are promised",
        delta(tool_calls=[]),
        end("tool_calls"),
        D,
        error="MODEL_EMPTY",
        requests=2,
    ),
    bad("whitespace", say(" "), say("\n"), end("stop"), D, text=" \n", error="MODEL_EMPTY"),
    bad("filtered before it was said", end("content_filter"), D, error="MODEL_CONTENT_FILTERED"),
    bad(
        "a call that is not whole, without an end",
        piece('{"te', "note", index=0, id="a"),
        D,
        error="MODEL_CUT",
        calls=[("note", '{"te')],
    ),
    good(
        "a call to the limit",
        piece('{"text": "a very lo', "note", index=0, id="a"),
        end("length"),
        D,
        calls=[("note", '{"text": "a very lo')],
        reason="length",
    ),
]

CALLS = [
    good(
        "index 0 twice",
        piece(ONE, "note", index=0, id="a"),
        piece(TWO, "note", index=0, id="b"),
        end("tool_calls"),
        calls=[("note", ONE), ("note", TWO)],
        reason="tool_calls",
    ),
    good(
        "index 0, empty ids",
        piece(ONE, "note", index=0, id=""),
        piece(TWO, "note", index=0, id=""),
        end("stop"),
        calls=[("note", ONE), ("note", TWO)],
    ),
    good(
        "neither index nor id",
        piece(ONE, "note"),
        piece(TWO, "note"),
        end("stop"),
        calls=[("note", ONE), ("note", TWO)],
    ),
    good(
        "the same call twice, without ids",
        piece(ONE, "note"),
        piece(ONE, "note"),
        end("stop"),
        calls=[("note", ONE), ("note", ONE)],
    ),
    good(
        "the same id twice",
        piece(ONE, "note", index=0, id="x"),
        piece(TWO, "note", index=0, id="x"),
        end("stop"),
        calls=[("note", ONE), ("note", TWO)],
    ),
    good(
        "a call that is said twice",
        piece(ONE, "note", index=0, id="x"),
        piece(ONE, "note", index=0, id="x"),
        end("stop"),
        calls=[("note", ONE)],
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
    good(
        "in pieces, at one index, without ids",
        piece('{"text":', "note", index=0),
        piece('"one"}', index=0),
        piece('{"text":', "note", index=0),
        piece('"two"}', index=0),
        end("stop"),
        calls=[("note", ONE), ("note", TWO)],
    ),
    good(
        "braces in texts",
        piece('{"text":"}{', "note", index=0),
        piece('\\"}"}', index=0),
        piece(TWO, "note", index=0),
        end("stop"),
        calls=[("note", '{"text":"}{\\"}"}'), ("note", TWO)],
    ),
    good(
        "two objects in one piece",
        piece(ONE + TWO, "note", index=0, id="a"),
        end("stop"),
        calls=[("note", ONE), ("note", TWO)],
    ),
    good(
        "a brace too many", piece(ONE, "note", index=0, id="a"), piece("}", index=0), end("stop"), calls=[("note", ONE)]
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
        "a name in pieces",
        piece("", "no", index=0, id="a"),
        piece("", "te", index=0),
        piece(ONE, index=0),
        end("stop"),
        calls=[("note", ONE)],
    ),
    good(
        "a name in pieces, with its id",
        piece("", "no", index=0, id="a"),
        piece(ONE, "te", index=0, id="a"),
        end("stop"),
        calls=[("note", ONE)],
    ),
    good(
        "a name in pieces that is one already",
        piece("", "note", index=0, id="a"),
        piece("", "_all", index=0),
        piece(ONE, index=0),
        end("stop"),
        calls=[("note_all", ONE)],
    ),
    good(
        "a name that grows",
        piece("", "no", index=0, id="a"),
        piece("", "note", index=0, id="a"),
        piece(ONE, index=0),
        end("stop"),
        calls=[("note", ONE)],
    ),
    good(
        "the name with each piece",
        piece('{"text":', "note", index=0, id="a"),
        piece('"one"}', "note", index=0, id="a"),
        end("stop"),
        calls=[("note", ONE)],
    ),
    good(
        "the name with each piece, no id",
        piece('{"text":', "note", index=0),
        piece('"one"}', "note", index=0),
        piece("", "note", index=0),
        end("stop"),
        calls=[("note", ONE)],
    ),
    good(
        "an id of its own for each piece",
        piece("", "note", index=0, id="r1"),
        piece('{"text":', index=0, id="r2"),
        piece('"one"}', index=0, id="r3"),
        end("stop"),
        calls=[("note", ONE)],
    ),
    good("the id late", piece("", "note", index=0), piece(ONE, index=0, id="a"), end("stop"), calls=[("note", ONE)]),
    good(
        "the name behind the arguments",
        piece(ONE, index=0, id="a"),
        piece("", "note", index=0),
        end("stop"),
        calls=[("note", ONE)],
    ),
    good(
        "taken in turns, by id alone",
        piece('{"text":', "note", id="a"),
        piece('{"text":', "note", id="b"),
        piece('"one"}', id="a"),
        piece('"two"}', id="b"),
        end("stop"),
        calls=[("note", ONE), ("note", TWO)],
    ),
    good(
        "the index as a text",
        piece('{"text":', "note", index="0", id="a"),
        piece('"one"}', index="0"),
        piece(TWO, "note", index="1", id="b"),
        end("stop"),
        calls=[("note", ONE), ("note", TWO)],
    ),
    good(
        "indexes from 1",
        piece(ONE, "note", index=1, id="a"),
        piece(TWO, "note", index=2, id="b"),
        end("stop"),
        calls=[("note", ONE), ("note", TWO)],
    ),
    good(
        "one call, not a list",
        delta(tool_calls={"id": "a", "function": {"name": "note", "arguments": ONE}}),
        end("stop"),
        calls=[("note", ONE)],
    ),
    good(
        "no function around name and arguments",
        delta(tool_calls=[{"id": "a", "name": "note", "arguments": ONE}]),
        end("stop"),
        calls=[("note", ONE)],
    ),
    good(
        "the old shape",
        delta(function_call={"name": "note", "arguments": '{"text":'}),
        delta(function_call={"arguments": '"one"}'}),
        end("function_call"),
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
    good(
        "null everywhere else",
        piece(None, "note", index=0, id="a", type=None),
        piece(ONE, None, index=0, id=None),
        end("stop"),
        calls=[("note", ONE)],
    ),
    good(
        "what is no call",
        delta(tool_calls=[None, 7, "call", []]),
        piece(ONE, "note", index=0, id="a"),
        end("stop"),
        calls=[("note", ONE)],
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
]

FRAMES = [
    good("an empty event", say("a"), "data: \n\n", say("b"), end("stop"), D, text="ab"),
    good("an empty event without a blank", say("a"), "data:\n\n", say("b"), end("stop"), D, text="ab"),
    good("comments", say("a"), ": OPENROUTER PROCESSING\n\n", ":\n\n", say("b"), end("stop"), D, text="ab"),
    good("a keep-alive that is no JSON", say("a"), "data: ping\n\n", say("b"), end("stop"), D, text="ab"),
    good(
        "an event of another type",
        say("a"),
        'event: ping\ndata: {"type": "ping"}\n\n',
        say("b"),
        end("stop"),
        text="ab",
    ),
    good("CR LF", lines(say("a"), say("b"), end("stop"), D).replace("\n", "\r\n"), text="ab"),
    good("no blank behind data:", lines(say("a"), end("stop"), D).replace("data: ", "data:"), text="a"),
    good(
        "one JSON in several data lines",
        'data: {"choices": [{"delta":\ndata: {"content": "a"}}]}\n\n',
        end("stop"),
        text="a",
    ),
    good("data: said twice", 'data: data: {"choices":[{"delta":{"content":"a"}}]}\n\n', end("stop"), text="a"),
    good("no blank lines at all", lines(say("a"), say("b"), end("stop"), D).replace("\n\n", "\n"), text="ab"),
    good("the last blank line lacks", lines(say("a"), end("stop"), D)[:-1], text="a"),
    good("chunks without data:", "".join(json.dumps(frame) + "\n" for frame in (say("a"), end("stop"))), text="a"),
    good("two chunks in one event", f"data: {json.dumps(say('a'))}{json.dumps(say('b'))}\n\n", end("stop"), text="ab"),
    good("a list of chunks", f"data: {json.dumps([say('a'), end('stop')])}\n\n", text="a"),
    good(
        "null errors",
        {**say("a"), "error": None},
        {**end("stop"), "error": None},
        {**U, "error": None},
        D,
        text="a",
        usage=USED,
    ),
    good(
        "errors with nothing in them",
        {**say("a"), "error": {}},
        {**say("b"), "error": ""},
        {**end("stop"), "error": {"code": None, "message": ""}},
        {**U, "error": {"code": 0, "message": "success"}},
        text="ab",
        usage=USED,
    ),
    good("padding", {**say("a"), "obfuscation": "x1", "padding": [None]}, {"p": "abc"}, end("stop"), D, text="a"),
    good(
        "no choices, null choices",
        {"choices": None},
        {"object": "chat.completion.chunk"},
        say("a"),
        end("stop"),
        D,
        text="a",
    ),
    good("a filter's result first", {"choices": [], "prompt_filter_results": [{}]}, say("a"), end("stop"), text="a"),
    good(
        "several choices",
        {"choices": [{"index": 1, "delta": {"content": "x"}}, {"index": 0, "delta": {"content": "a"}}]},
        {"choices": [{"index": 1, "delta": {"content": "x"}}]},
        end("stop"),
        text="a",
    ),
    good("choices that is one choice", {"choices": {"delta": {"content": "a"}, "finish_reason": "stop"}}, text="a"),
    good("a delta that is a text", {"choices": [{"delta": "a"}]}, end("stop"), text="a"),
    good("the old shape of a text", {"choices": [{"text": "a"}]}, end("stop"), text="a"),
    good("a number as text", say(7), say("!"), end("stop"), text="7!"),
    good(
        "content as parts",
        say([{"type": "text", "text": "a"}, "b", {"type": "image_url"}, None]),
        end("stop"),
        text="ab",
    ),
    good("content as one part", say({"type": "text", "text": "a"}), end("stop"), text="a"),
    good(
        "thinking as parts",
        say([{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}]),
        say("a"),
        end("stop"),
        text="a",
        reasoning="Hm.",
    ),
    good(
        "thoughts under two names",
        delta(reasoning="Hm.", reasoning_content="Hm."),
        say("a"),
        end("stop"),
        text="a",
        reasoning="Hm.",
    ),
    good(
        "thoughts in details alone",
        delta(reasoning_details=[{"type": "reasoning.text", "text": "Hm."}]),
        say("a"),
        end("stop"),
        text="a",
        reasoning="Hm.",
    ),
    good(
        "thoughts, and details of them",
        delta(reasoning="Hm.", reasoning_details=[{"text": "Hm."}]),
        say("a"),
        end("stop"),
        text="a",
        reasoning="Hm.",
    ),
    good(
        "thoughts of an odd type",
        delta(reasoning={"x": 1}, reasoning_content=False, content="a"),
        end("stop"),
        text="a",
    ),
    good("a refusal", delta(refusal="No."), end("stop"), refusal="No."),
    good(
        "halves of a character",
        'data: {"choices":[{"delta":{"content":"\\ud83d"}}]}\n\n',
        'data: {"choices":[{"delta":{"content":"\\ude00"}}]}\n\n',
        end("stop"),
        D,
        text="😀",
    ),
    good(
        "halves of a thought's",
        'data: {"choices":[{"delta":{"reasoning":"\\ud83d"}}]}\n\n',
        'data: {"choices":[{"delta":{"reasoning":"\\ude00"}}]}\n\n',
        say("a"),
        end("stop"),
        text="a",
        reasoning="😀",
    ),
    good(
        "halves of an argument's",
        lines(piece('{"text":"HALF', "note", index=0, id="a")).replace("HALF", "\\ud83d"),
        lines(piece('HALF"}', index=0)).replace("HALF", "\\ude00"),
        end("stop"),
        calls=[("note", '{"text":"😀"}')],
    ),
    good(
        "half a character that stays one",
        'data: {"choices":[{"delta":{"content":"a\\ud83d"}}]}\n\n',
        say("b"),
        end("stop"),
        text="a\ufffdb",
    ),
    good(
        "half a character at the end",
        'data: {"choices":[{"delta":{"content":"a\\ud83d"}}]}\n\n',
        end("stop"),
        text="a\ufffd",
    ),
    good("NUL", say("before\0after"), end("stop"), U, D, text="before\ufffdafter", usage=USED),
    good(
        "a control character as it is", 'data: {"choices":[{"delta":{"content":"a\tb"}}]}\n\n', end("stop"), text="a\tb"
    ),
    good(
        "tags of thoughts, in pieces",
        *(say(bit) for bit in ("<th", "ink>", "H", "m.</thi", "nk>\n", "\n", "a")),
        end("stop"),
        text="a",
        reasoning="Hm.",
    ),
    good("tags in one piece", say("\n<think>\nHm.\n</think>\n\na"), end("stop"), text="a", reasoning="Hm.\n"),
    good("empty tags", say("<think>\n\n</think>\n\na"), end("stop"), text="a"),
    good("tags that are not at the beginning", say("a <think>b</think>"), end("stop"), text="a <think>b</think>"),
    good("what may have been a tag", say("<thi"), say("s>"), end("stop"), text="<this>"),
    good("what may have been a tag, at the end", say("<thi"), end("stop"), text="<thi"),
    good(
        "a tag without its end",
        say("<think>Hm."),
        delta(reasoning="x"),
        piece(ONE, "note", id="a"),
        end("stop"),
        reasoning="Hm.x",
        calls=[("note", ONE)],
    ),
    bad(
        "JSON that is broken",
        say("Some"),
        'data: {"choices": [{"delta": {"cont\n\n',
        end("stop"),
        D,
        text="Some",
        error="MODEL_GARBAGE",
    ),
]

FRAMES += [
    good(
        "messages where deltas should be",
        {"choices": [{"message": {"content": "a"}}]},
        {"choices": [{"message": {"content": "b"}}]},
        end("stop"),
        text="ab",
    ),
    good(
        "a message that repeats what the deltas said",
        say("a"),
        say("b"),
        {"choices": [{"message": {"content": "ab"}, "finish_reason": "stop"}]},
        text="ab",
    ),
    good("[DONE] behind two blanks", say("a"), "data:  [DONE]\n\n", text="a", reason=None),
    good("an event that is null", say("a"), "data: null\n\n", say("b"), end("stop"), text="ab"),
    good("bytes that are no UTF-8, escaped", say("a\udcff"), end("stop"), text="a\ufffd"),
    bad("JSON that is nested without end", say("Some"), f"data: {'[' * 5000}\n\n", text="Some", error="MODEL_GARBAGE"),
    bad(
        "an error that is nested without end",
        say("Some"),
        f'data: {{"error": {"[" * 500}"x"{"]" * 500}}}\n\n',
        text="Some",
        error="MODEL_CUT",
    ),
    good(
        "arguments that are nested without end",
        f'data: {{"choices":[{{"delta":{{"tool_calls":[{{"id":"a","function":{{"name":"note","arguments":'
        f"{'[' * 600}1{']' * 600}}}}}]}}}}]}}\n\n",
        end("stop"),
        calls=[("note", "[" * 600 + "1" + "]" * 600)],
    ),
]
CALLS += [
    good(
        "ids that are numbers",
        piece(ONE, "note", id=0),
        piece(TWO, "note", id=1),
        end("stop"),
        calls=[("note", ONE), ("note", TWO)],
    ),
    good("blanks around a name", piece(ONE, " note\n", id="a"), end("stop"), calls=[("note", ONE)]),
]

COUNTS = [
    good(
        "usage that ends with nothing",
        say("a"),
        end("stop", usage=U["usage"]),
        {"choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}},
        D,
        text="a",
        usage=USED,
    ),
    good(
        "usage in the choice",
        say("a"),
        {"choices": [{"delta": {}, "finish_reason": "stop", "usage": U["usage"]}]},
        D,
        text="a",
        usage=USED,
    ),
    good("usage of Groq", say("a"), end("stop", x_groq={"id": "x", "usage": U["usage"]}), D, text="a", usage=USED),
    good(
        "usage in every chunk",
        {**say("a"), "usage": {"prompt_tokens": 2, "completion_tokens": 1}},
        end("stop", usage=U["usage"]),
        D,
        text="a",
        usage=USED,
    ),
    good(
        "usage under other names",
        say("a"),
        end("stop", usage={"input_tokens": 2, "output_tokens": 3, "total_tokens": 5}),
        text="a",
        usage=USED,
    ),
    good("usage that is a text", say("a"), end("stop"), {"choices": [], "usage": "5 tokens"}, D, text="a"),
    good("usage that is null", say("a"), end("stop"), {"choices": [], "usage": None}, D, text="a"),
    good(
        "usage beyond all bounds",
        say("a"),
        end("stop"),
        'data: {"choices":[],"usage":{"prompt_tokens":1e999}}\n\n',
        D,
        text="a",
    ),
    good(
        "usage with odd counts",
        say("a"),
        end("stop"),
        {
            "choices": [],
            "usage": {
                "prompt_tokens": "2",
                "completion_tokens": 3.0,
                "total_tokens": 5,
                "prompt_tokens_details": 7,
                "completion_tokens_details": [1],
            },
        },
        D,
        text="a",
        usage=USED,
    ),
    good("usage below nothing", say("a"), end("stop"), {"choices": [], "usage": {"prompt_tokens": -1}}, D, text="a"),
    good("a model that is no text", {**say("a"), "model": {"x": 1}}, {**end("stop"), "model": 7}, text="a"),
]

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
    good("a whole completion as an event", COMPLETION, D, text="a", usage=USED),
    answered(
        "no credit, with 200",
        {"error": {"code": 402, "message": "Insufficient credits"}},
        "MODEL_QUOTA_EXHAUSTED",
        says="credit",
    ),
    answered(
        "a wrong key, in a list",
        [{"error": {"code": 400, "message": "API key not valid", "status": "INVALID_ARGUMENT"}}],
        "MODEL_KEY_REJECTED",
        status=400,
    ),
    answered(
        "a list with a reason",
        [{"error": {"code": 400, "message": "Bad field x"}}],
        "MODEL_BAD_REQUEST",
        status=400,
        says="Bad field x",
    ),
    answered("detail", {"detail": "Bad field x"}, "MODEL_BAD_REQUEST", status=422, says="Bad field x"),
    answered(
        "details",
        {"detail": [{"loc": ["body", "x"], "msg": "Bad field x"}]},
        "MODEL_BAD_REQUEST",
        status=422,
        says="Bad field x",
    ),
    answered("message", {"message": "Bad field x"}, "MODEL_BAD_REQUEST", status=400, says="Bad field x"),
    answered("error as a text", {"error": "Bad field x"}, "MODEL_BAD_REQUEST", status=400, says="Bad field x"),
    answered("plain text", "Bad field x", "MODEL_BAD_REQUEST", status=400, says="Bad field x"),
    answered(
        "an error within an error",
        {
            "error": {
                "message": "Provider returned error",
                "code": 400,
                "metadata": {"raw": '{"error": {"message": "Bad field x"}}'},
            }
        },
        "MODEL_BAD_REQUEST",
        status=400,
        says="Bad field x",
    ),
    answered("detail, with 200", {"detail": "Invalid API key"}, "MODEL_KEY_REJECTED"),
    answered(
        "a code of its own, with 200", {"code": 400, "message": "Bad field x"}, "MODEL_BAD_REQUEST", says="Bad field x"
    ),
    answered(
        "MiniMax's, with 200",
        {"base_resp": {"status_code": 1004, "status_msg": "invalid api key"}},
        "MODEL_KEY_REJECTED",
    ),
    answered(
        "Groq's, with 200",
        {"x_groq": {"error": {"message": "no", "type": "invalid_request_error"}}},
        "MODEL_BAD_REQUEST",
    ),
    answered("no money", {"error": {"message": "Insufficient Balance"}}, "MODEL_QUOTA_EXHAUSTED", status=402),
    answered(
        "no credit, as a bad request",
        {"error": {"message": "Your credit balance is too low"}},
        "MODEL_QUOTA_EXHAUSTED",
        status=400,
    ),
    answered(
        "too long, as a fault",
        {"error": {"message": "the request exceeds the available context size"}},
        "MODEL_CONTEXT_LENGTH_EXCEEDED",
        status=500,
    ),
    answered(
        "moderated", {"error": {"message": "flagged for violence", "code": 403}}, "MODEL_CONTENT_FILTERED", status=403
    ),
    answered("nothing at all", "", "MODEL_BAD_REQUEST", status=400),
    answered("a page", "<html>Bad Gateway</html>", "MODEL_GARBAGE", requests=2),
    Case(
        "an error as an event's type",
        'event: error\ndata: {"message": "invalid api key"}\n\n',
        error="MODEL_KEY_REJECTED",
    ),
    Case(
        "an error as an event's type, in words",
        "event: error\ndata: no credits left\n\n",
        error="MODEL_QUOTA_EXHAUSTED",
    ),
    Case(
        "llama.cpp's errors",
        'error: {"code": 400, "message": "Bad field x", "type": "invalid_request_error"}\n\n',
        error="MODEL_BAD_REQUEST",
        says="Bad field x",
    ),
    bad("TGI's errors", say("Some"), {"error": "Too many", "error_type": "overloaded"}, text="Some"),
    bad(
        "vLLM's errors",
        {"object": "error", "message": "Bad field x", "code": 400},
        error="MODEL_BAD_REQUEST",
        says="Bad field x",
    ),
    answered(
        "LM Studio's, with 200",
        {"error": "Unexpected endpoint or method."},
        "MODEL_UNAVAILABLE",
        requests=3,
        says="Unexpected endpoint",
    ),
    answered("a greeting, with 200", {"message": "Welcome"}, "MODEL_UNAVAILABLE", requests=3),
    answered("nothing, with 200", "", "MODEL_CUT", requests=4),
    Case("an error without data:", '{"error": {"message": "Invalid API key"}}\n', error="MODEL_KEY_REJECTED"),
    bad("an error that is a text", say("Some"), {"error": "Bad"}, text="Some"),
    bad(
        "an error in a list",
        say("Some"),
        [{"error": {"code": 400, "message": "Bad"}}],
        text="Some",
        error="MODEL_BAD_REQUEST",
    ),
    bad(
        "a complaint instead of an end",
        say("Some"),
        {"detail": "Invalid API key"},
        text="Some",
        error="MODEL_KEY_REJECTED",
    ),
]


def asked() -> ModelRequest:
    return ModelRequest(model="fake", messages=[{"role": "user", "content": "Go"}], tools=TOOLS)


@pytest.mark.parametrize(
    "cases", [ENDS, CALLS, FRAMES, COUNTS, WHOLES], ids=["ends", "calls", "frames", "counts", "wholes and errors"]
)
async def test_an_answer_as_servers_give_it_is_read_as_it_is_meant(model: ModelServer, cases: list[Case]) -> None:
    """Opening a client takes longer than a case, so all of a kind share one."""
    wrong = []
    async with adapter(model) as llm:
        for case in cases:
            await model.reset()
            await model.script({"status": case.status, "body": case.body, "content_type": case.content_type}, times=100)
            seen = await read(llm, case)
            expected = case.expected()
            if seen != expected or len(await model.requests()) != case.requests:
                wrong.append((case.name, seen, expected, len(await model.requests()), case.requests))
    assert not wrong, "\n".join(str(fault) for fault in wrong)


async def read(llm: Model, case: Case) -> dict[str, Any]:
    """What a turn makes of it, in the shape of `Case.expected`."""
    events: list[ModelEvent] = []
    error: ModelError | None = None
    stream = stream_with_retries(llm, asked(), attempts=20, patience=Patience(20), first_seconds=0.001, must_say=True)
    try:
        async with stream as batches:
            async for batch in batches:
                events += batch
    except ModelError as told:
        error = told
    called = [(name, arguments) for _, (_, name, arguments) in sorted(calls_of(events).items())]
    return {
        "said": (text_of(events), reasoning_of(events), refusal_of(events), called),
        "end": (finished(events).reason, finished(events).usage) if error is None else None,
        "error": error.code if error is not None else None,
        "says": error is None or case.says in error.user_message,
    }


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ({"error": {"code": 429, "message": "slow", "details": [{"retryDelay": "7s"}]}}, 7),
        ({"error": {"message": "Rate limit reached. Please try again in 7.5s.", "type": "tokens"}}, 7.5),
        ({"error": {"message": "Please try again in 1m2.5s"}}, 62.5),
        ({"error": {"message": "try again in 20ms"}}, 0.02),
    ],
)
async def test_the_time_to_come_back_is_found_in_the_words_too(
    model: ModelServer, told: dict[str, Any], seconds: float
) -> None:
    await model.script({"status": 429, "body": told})
    async with adapter(model) as llm:
        with pytest.raises(ModelError) as raised:
            async with llm.stream(asked()) as batches:
                await anext(batches)
    assert raised.value.code == "MODEL_RATE_LIMITED"
    assert raised.value.retry_after_seconds == pytest.approx(seconds)


async def test_a_first_chunk_that_is_an_error_is_retried_as_what_it_is(model: ModelServer) -> None:
    limited = lines(end("error", error={"code": 429, "message": "slow down"}), D)
    await model.script({"status": 200, "body": limited, "content_type": "text/event-stream"})
    told: list[str] = []
    async with adapter(model) as llm:
        stream = stream_with_retries(
            llm, asked(), first_seconds=0.001, on_retry=lambda error, *_: told.append(error.code)
        )
        async with stream as batches:
            events = [event async for batch in batches for event in batch]
    assert told == ["MODEL_RATE_LIMITED"]
    assert text_of(events).startswith("Go ")


async def test_what_a_server_gives_with_its_calls_is_handed_on_unchanged(model: ModelServer) -> None:
    signature = {"google": {"thought_signature": "c2ln"}}
    details = [{"type": "reasoning.encrypted", "data": "x", "index": 1}, {"type": "reasoning.text", "text": "a"}]
    body = lines(
        delta(reasoning_content="Hm.", reasoning_details=details),
        delta(reasoning_details=[{"type": "reasoning.summary", "summary": "so", "index": 2}]),
        delta(reasoning_details=[{"type": "reasoning.summary", "summary": " it is", "index": 2}]),
        piece(ONE, "note", index=0, id="a", extra_content=signature),
        piece(TWO, "note", index=1, id="b"),
        end("tool_calls"),
    )
    await model.script({"status": 200, "body": body, "content_type": "text/event-stream"})
    async with adapter(model) as llm, llm.stream(asked()) as batches:
        events = [event async for batch in batches for event in batch]
        by = llm.manners_of("fake").by
    assert finished(events).provided == Provided(
        by,
        {"reasoning_details": [*details, {"type": "reasoning.summary", "summary": "so it is", "index": 2}]},
        [{"id": "a", "extra_content": signature}, {"id": "b"}],
        "reasoning_content",
    )
