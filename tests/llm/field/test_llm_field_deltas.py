"""Choices and deltas as servers of the field fill them: each case is what one was seen to send, as small as it goes."""

import pytest

from harness.model_server import ModelServer
from tests.llm.field.cases import ONE, USED, D, U, delta, end, good, lines, misread, piece, say

pytestmark = pytest.mark.requirement("CH-25")

DELTAS = [
    good("choices by their numbers", {"choices": {"0": {"delta": {"content": "a"}}}}, end("stop"), D, text="a"),
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
    good("bytes that are no UTF-8, escaped", say("a\udcff"), end("stop"), text="a\ufffd"),
    good(
        "arguments that are nested without end",
        f'data: {{"choices":[{{"delta":{{"tool_calls":[{{"id":"a","function":{{"name":"note","arguments":'
        f"{'[' * 600}1{']' * 600}}}}}]}}}}]}}\n\n",
        end("stop"),
        calls=[("note", "[" * 600 + "1" + "]" * 600)],
    ),
    good(
        "null delta",
        {"choices": [{"index": 0, "delta": None, "finish_reason": None}]},
        say("a"),
        {"choices": [{"index": 0, "delta": None, "finish_reason": "stop"}]},
        D,
        text="a",
    ),
    good(
        "azure no delta after stop",
        say("a"),
        end("stop"),
        {
            "choices": [
                {
                    "index": 0,
                    "finish_reason": None,
                    "content_filter_results": {"hate": {"filtered": False, "severity": "safe"}},
                    "content_filter_offsets": {"check_offset": 1},
                }
            ],
            "usage": None,
        },
        D,
        text="a",
    ),
    good(
        "azure content_filter error",
        say("a"),
        {
            "choices": [
                {
                    "index": 0,
                    "delta": {},
                    "finish_reason": "content_filter",
                    "content_filter_results": {"hate": {"filtered": True, "severity": "high"}},
                }
            ]
        },
        D,
        text="a",
        reason="content_filter",
    ),
    good(
        "azure filter result with an error in it",
        {
            "choices": [
                {
                    "index": 0,
                    "delta": {"content": "a"},
                    "finish_reason": None,
                    "content_filter_results": {
                        "error": {"code": "content_filter_error", "message": "The contents are not filtered"}
                    },
                }
            ]
        },
        end("stop"),
        D,
        text="a",
    ),
    good("choice null", {"choices": [None]}, say("a"), end("stop"), D, text="a"),
    good("choices is {}", {"choices": {}}, say("a"), end("stop"), D, text="a"),
    good("choices is ''", {"choices": ""}, say("a"), end("stop"), D, text="a"),
    good("choices false", {"choices": False}, say("a"), end("stop"), D, text="a"),
    good("empty choice", {"choices": [{}]}, say("a"), end("stop"), D, text="a"),
    good("content true", say(True), say("a"), end("stop"), D, text="a"),
    good("content false/0", say(0), say("a"), end("stop"), D, text="0a"),
    good("content parts output_text", say([{"type": "output_text", "text": "a"}]), end("stop"), D, text="a"),
    good("content parts text obj", say([{"type": "text", "text": {"value": "a"}}]), end("stop"), D, text="a"),
    good(
        "content parts with index",
        say([{"index": 0, "type": "text", "text": "a"}]),
        say([{"index": 0, "type": "text", "text": "b"}]),
        end("stop"),
        D,
        text="ab",
    ),
    good(
        "text and delta.content both",
        {"choices": [{"index": 0, "text": "a", "delta": {"content": "a"}}]},
        end("stop"),
        D,
        text="a",
    ),
    good("delta.text", delta(text="a"), end("stop"), D, text="a"),
    good(
        "annotations", delta(content="a", annotations=[{"type": "url_citation"}], audio=None), end("stop"), D, text="a"
    ),
    good("role wrong", delta(role="user", content="a"), end("stop"), D, text="a"),
    good("role tool", delta(role="tool", content="a"), end("stop"), D, text="a"),
    good("index as text", {"choices": [{"index": "0", "delta": {"content": "a"}}]}, end("stop"), D, text="a"),
    good(
        "index none then 0",
        {"choices": [{"delta": {"content": "a"}}]},
        {"choices": [{"index": 0, "delta": {"content": "b"}}]},
        {"choices": [{"index": None, "delta": {}, "finish_reason": "stop"}]},
        D,
        text="ab",
    ),
    good(
        "index 1 only",
        {"choices": [{"index": 1, "delta": {"content": "a"}}]},
        {"choices": [{"index": 1, "delta": {}, "finish_reason": "stop"}]},
        D,
        text="a",
    ),
    good(
        "the pieces are numbered instead of the answers",
        {"choices": [{"index": 1, "delta": {"content": "a"}}]},
        {"choices": [{"index": 2, "delta": {"content": "b"}}]},
        {"choices": [{"index": 3, "delta": {"content": "c"}, "finish_reason": "stop"}]},
        D,
        text="abc",
    ),
    good(
        "first index 0 null then 1",
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
        {"choices": [{"index": 1, "delta": {"content": "a"}}]},
        {"choices": [{"index": 1, "delta": {}, "finish_reason": "stop"}]},
        D,
        text="a",
    ),
    good(
        "minimax: whole message after deltas without delta",
        say("a"),
        {
            "object": "chat.completion",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "a", "tool_calls": None},
                    "finish_reason": "stop",
                }
            ],
            "usage": U["usage"],
        },
        text="a",
        usage=USED,
    ),
    good(
        "reasoning then message repeat with reasoning",
        delta(reasoning_content="Hm."),
        say("a"),
        {"choices": [{"index": 0, "message": {"content": "a", "reasoning_content": "Hm."}, "finish_reason": "stop"}]},
        D,
        text="a",
        reasoning="Hm.",
    ),
    good(
        "delta content and message content same chunk",
        {"choices": [{"index": 0, "delta": {"content": "a"}, "message": {"content": "a"}}]},
        end("stop"),
        D,
        text="a",
    ),
    good("content nested content", say({"content": "a"}), end("stop"), D, text="a"),
    good("content list empty", say([]), say("a"), end("stop"), D, text="a"),
    good(
        "perplexity citations/search results",
        {**say("a"), "citations": ["x"], "search_results": [{}]},
        {**end("stop"), "citations": ["x"]},
        D,
        text="a",
    ),
    good(
        "perplexity delta AND message cumulative",
        {"choices": [{"index": 0, "delta": {"content": "a"}, "message": {"role": "assistant", "content": "a"}}]},
        {"choices": [{"index": 0, "delta": {"content": "b"}, "message": {"role": "assistant", "content": "ab"}}]},
        {
            "choices": [
                {
                    "index": 0,
                    "delta": {"content": ""},
                    "message": {"role": "assistant", "content": "ab"},
                    "finish_reason": "stop",
                }
            ]
        },
        text="ab",
    ),
    good(
        "perplexity first chunk empty delta",
        {
            "choices": [
                {
                    "index": 0,
                    "delta": {"role": "assistant", "content": ""},
                    "message": {"role": "assistant", "content": ""},
                }
            ]
        },
        {"choices": [{"index": 0, "delta": {"content": "a"}, "message": {"role": "assistant", "content": "a"}}]},
        {
            "choices": [
                {"index": 0, "delta": {}, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}
            ]
        },
        text="a",
    ),
    good("refusal pieces", delta(refusal="No"), delta(refusal="."), end("stop"), D, refusal="No."),
    good("audio transcript", delta(audio={"transcript": "a"}), say("b"), end("stop"), D, text="b"),
    good(
        "logprobs beside",
        {"choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": {"content": [{"token": "a"}]}}]},
        end("stop"),
        D,
        text="a",
    ),
    good(
        "content_block anthropic",
        {"type": "message_start", "message": {"id": "m", "content": []}},
        say("a"),
        end("stop"),
        D,
        text="a",
    ),
    good("think in caps in pieces", say("<THI"), say("NK>Hm.</Think>a"), end("stop"), D, text="a", reasoning="Hm."),
    good("two think blocks", say("<think>A</think><think>B</think>c"), end("stop"), D, text="c", reasoning="AB"),
    good("half emoji across think", say("a\ud83d"), say("\ude00"), end("stop"), text="a😀"),
]


async def test_odd_deltas_lose_nothing(model: ModelServer) -> None:
    assert not await misread(model, DELTAS)
