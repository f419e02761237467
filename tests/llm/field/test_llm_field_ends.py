"""How answers of servers of the field end: each case is what one was seen to send, in its smallest form."""

from typing import Any

import pytest

from harness.model_server import ModelServer
from tests.llm.field.cases import USED, D, U, bad, delta, end, good, misread, piece, say

pytestmark = pytest.mark.requirement("CH-25")


def ending(reason: str | None, **choice: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {}, "finish_reason": reason, **choice}]}


ENDS = [
    good("stop", say("a"), end("stop"), U, D, text="a", usage=USED),
    good("length", say("a"), end("length"), D, text="a", reason="length"),
    good("content_filter", say("a"), end("content_filter"), D, text="a", reason="content_filter"),
    good("Anthropic's word", say("a"), end("end_turn"), D, text="a"),
    good("Anthropic's word, under its name", say("a"), ending(None, stop_reason="end_turn"), text="a"),
    good("what it stopped at", say("a"), ending("stop", stop_reason="###"), D, text="a"),
    bad("a word under another name", say("a"), ending(None, stop_reason="###"), error="MODEL_CUT", text="a"),
    good("words of the AI SDK", say("a"), end("content-filter"), D, text="a", reason="content_filter"),
    good("an end with a hyphen", say("a"), end("end-turn"), D, text="a"),
    good(
        "calls with a hyphen",
        piece("{}", "note", index=0, id="a"),
        end("tool-calls"),
        D,
        calls=[("note", "{}")],
        reason="tool_calls",
    ),
    good("Gemini's word", say("a"), end("STOP"), text="a"),
    good("Gemini's other word", say("a"), end("MAX_TOKENS"), text="a", reason="length"),
    good("the token that it stopped at", say("a"), end("<|eot_id|>"), D, text="a"),
    good("another such token", say("a"), end("<\uff5cend\u2581of\u2581sentence\uff5c>"), D, text="a"),
    good("a reason with its type's name", say("a"), end("FINISH_REASON_STOP"), D, text="a"),
    bad("a call that could not be made", say("Some"), end("MALFORMED_FUNCTION_CALL"), D, text="Some"),
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
    # It is no server that is away, to be waited for: it took the request, and may have charged for it.
    bad("an error without a word", {"error": True}, requests=3),
    bad(
        "an error whose code nobody reads", f'data: {{"error":{{"code":{"1" * 5000},"message":null}}}}\n\n', requests=3
    ),
    bad("cut", say("Some"), text="Some", error="MODEL_CUT"),
    *(
        bad(f"cut at {rest!r}", say("Some"), rest, text="Some", error="MODEL_CUT")
        for rest in ("d", "dat", "data:", "data: ", "data: [DO", "event: mess", ": keep-al", "\n", "id: 7\n")
    ),
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
    good(
        "camel finishReason",
        say("a"),
        {"choices": [{"index": 0, "delta": {}, "finish_reason": None, "finishReason": "stop"}]},
        text="a",
    ),
    good(
        "camel finishReason alone",
        say("a"),
        {"choices": [{"index": 0, "delta": {}, "finishReason": "MAX_TOKENS"}]},
        text="a",
        reason="length",
    ),
    bad("network_error zai", say("Some"), end("network_error"), D, text="Some"),
    bad("timeout reason", say("Some"), end("timeout"), D, text="Some"),
    bad("cancelled", say("Some"), end("cancelled"), D, text="Some"),
    bad("OTHER gemini", say("Some"), end("OTHER"), D, text="Some"),
    bad("UNEXPECTED_TOOL_CALL", end("UNEXPECTED_TOOL_CALL"), D, requests=3),
    good("eos_token tgi", say("a"), end("eos_token"), D, text="a"),
    good("sensitive zhipu", say("a"), end("sensitive"), D, text="a", reason="content_filter"),
    good("LANGUAGE", say("a"), end("SAFETY"), D, text="a", reason="content_filter"),
    good("guardrail bedrock", say("a"), end("guardrail_intervened"), D, text="a", reason="content_filter"),
    good("content_filtered bedrock", say("a"), end("content_filtered"), D, text="a", reason="content_filter"),
    good("pause_turn", say("a"), end("stop_sequence"), D, text="a"),
    good("ERROR_TOXIC? COMPLETE cohere", say("a"), end("COMPLETE"), D, text="a"),
    bad("ERROR cohere", say("Some"), end("ERROR"), D, text="Some"),
    good(
        "reason as number 0",
        say("a"),
        {"choices": [{"delta": {"content": "b"}, "finish_reason": 0}]},
        end("stop"),
        text="ab",
    ),
    good(
        "reason false",
        say("a"),
        {"choices": [{"delta": {"content": "b"}, "finish_reason": False}]},
        end("stop"),
        text="ab",
    ),
    good("reason as object", say("a"), end({"type": "stop"}), D, text="a"),
    bad("error true in choice", say("Some"), ending("stop", error=True), D, text="Some"),
    bad("error in delta", say("Some"), delta(error={"code": 502, "message": "gone"}), end("stop"), D, text="Some"),
    bad(
        "error in message",
        say("Some"),
        {"choices": [{"message": {"error": "gone"}, "finish_reason": "error"}]},
        D,
        text="Some",
    ),
    bad("two error reasons then stop", say("Some"), end("error"), end("stop"), D, text="Some"),
    bad("error reason after stop", say("Some"), end("stop"), end("error"), D, text="Some"),
    bad("native_finish_reason error", say("Some"), ending("stop", native_finish_reason="error"), D, text="Some"),
    good("native_finish_reason STOP", say("a"), ending("stop", native_finish_reason="STOP"), D, text="a"),
    bad(
        "native MALFORMED_FUNCTION_CALL nothing",
        ending("stop", native_finish_reason="MALFORMED_FUNCTION_CALL"),
        D,
        requests=3,
    ),
    bad("finish_reason error at root", {**say("Some")}, {"choices": [], "finish_reason": "error"}, D, text="Some"),
    bad(
        "whole body: error reason",
        {"choices": [{"message": {"content": "Some"}, "finish_reason": "error"}]},
        D,
        text="Some",
    ),
    bad("only role", delta(role="assistant"), end("stop"), D, error="MODEL_EMPTY", requests=2),
    bad(
        "only role with empty content",
        delta(role="assistant", content=""),
        end("stop"),
        U,
        D,
        error="MODEL_EMPTY",
        requests=2,
    ),
    bad("null content", delta(content=None), end("stop"), D, error="MODEL_EMPTY", requests=2),
    bad("empty tool call", delta(tool_calls=[{"index": 0}]), end("tool_calls"), D, error="MODEL_EMPTY", requests=2),
    bad(
        "tool call with empty function",
        delta(tool_calls=[{"index": 0, "id": "a", "function": {"name": "", "arguments": ""}}]),
        end("tool_calls"),
        D,
        error="MODEL_EMPTY",
        requests=2,
    ),
    bad("stop, no DONE, nothing", end("stop"), error="MODEL_EMPTY", requests=2),
    bad("length, nothing", end("length"), D, error="MODEL_OUTPUT_LIMIT"),
    bad("zero width space", say("\u200b"), end("stop"), D, text="\u200b", error="MODEL_EMPTY"),
    bad("refusal empty", delta(refusal=""), end("stop"), D, error="MODEL_EMPTY", requests=2),
    bad("empty choices only", {"choices": []}, U, D, error="MODEL_EMPTY", requests=2),
    bad("usage only then close", {"choices": []}, U, error="MODEL_CUT", requests=4),
    bad("cut with role only", delta(role="assistant"), error="MODEL_CUT", requests=4),
    bad("cut with usage", say("Some"), U, text="Some", error="MODEL_CUT"),
]


async def test_an_end_is_good_only_where_it_is_known_to_be(model: ModelServer) -> None:
    assert not await misread(model, ENDS)
