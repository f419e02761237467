"""What is left of a model's template in an answer: tokens at its edges, marks of calls, names in namespaces."""

from typing import Any

import pytest

from harness.model_server import ModelServer
from tests.llm.field.cases import ONE, TWO, Case, D, bad, delta, end, good, misread, piece, say

pytestmark = pytest.mark.requirement("CH-25")

HERMES = '<tool_call>\n{"name": "note", "arguments": {"text":"one"}}\n</tool_call>'
WRITTEN = [("note", '{"text": "one"}')]
SEEK = "<\uff5cend\u2581of\u2581sentence\uff5c>"


def both_ways(name: str, said: str, text: str, **expected: Any) -> list[Case]:
    """In one piece, and character by character."""
    return [
        good(name, say(said), end("stop"), D, text=text, **expected),
        good(f"{name}, in pieces", *map(say, said), end("stop"), D, text=text, **expected),
    ]


EDGES = [
    *both_ways("ChatML's end", "Yes.<|im_end|>", "Yes."),
    *both_ways("Llama's end", "Yes.<|eot_id|>", "Yes."),
    *both_ways("Mistral's end", "Yes.</s>", "Yes."),
    *both_ways("DeepSeek's end", f"Yes.{SEEK}", "Yes."),
    *both_ways("Gemma's end", "Yes.<end_of_turn>\n", "Yes."),
    *both_ways("Phi's end", "Yes.<|end|><|endoftext|>", "Yes."),
    *both_ways("ChatML's beginning", "<|im_start|>assistant\nYes.", "Yes."),
    *both_ways("Llama's beginning", "<|start_header_id|>assistant<|end_header_id|>\n\nYes.", "Yes."),
    *both_ways("Gemma's beginning", "<bos><start_of_turn>model\nYes.", "Yes."),
    *both_ways("thoughts behind a beginning", "<|im_start|>assistant\n<think>Hm.</think>Yes.", "Yes.", reasoning="Hm."),
    *both_ways("a token in the middle", "It ends with <|im_end|> there.", "It ends with <|im_end|> there."),
    *both_ways("a token in quotes", "It ends with `<|im_end|>", "It ends with `<|im_end|>"),
    *both_ways("a beginning in the middle", "a <|im_start|>assistant", "a <|im_start|>assistant"),
    *both_ways("what may have been a token", "a < b <|im_", "a < b <|im_"),
    *both_ways("struck out", "<s>Yes</s>", "<s>Yes</s>"),
    *both_ways("whitespace at the edges", " Yes. \n", " Yes. \n"),
    *both_ways("what may have been a beginning", "<|im_", "<|im_"),
]

MARKS = [
    good("before the call", say("[TOOL_CALLS]"), piece(ONE, "note", index=0), end("stop"), D, calls=[("note", ONE)]),
    good(
        "behind it",
        piece(ONE, "note", index=0),
        say("\n</tool_call>"),
        end("tool_calls"),
        D,
        text="\n",
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
    good("spoken of", say("It ends with </tool_call>"), end("stop"), D, text="It ends with </tool_call>"),
    good("a call in thoughts", say(f"<think>Hm.{HERMES}"), end("stop"), D, reasoning="Hm.", calls=WRITTEN),
    good(
        "a call in a field of thoughts",
        delta(reasoning_content=f"Hm.{HERMES}"),
        end("stop"),
        D,
        reasoning="Hm.",
        calls=WRITTEN,
    ),
    good(
        "a call that was only thought of",
        delta(reasoning_content=f"Hm.{HERMES}"),
        say("Yes."),
        end("stop"),
        D,
        reasoning=f"Hm.{HERMES}",
        text="Yes.",
    ),
    good(
        "a call that was thought of, and another made",
        delta(reasoning_content=f"Hm.{HERMES}"),
        piece(TWO, "note", index=0),
        end("tool_calls"),
        D,
        reasoning=f"Hm.{HERMES}",
        calls=[("note", TWO)],
        reason="tool_calls",
    ),
    bad(
        "an error in the line behind half an event",
        say("Some"),
        'data: {"choices":[{"del\ndata: {"type":"error","error":{"message":"stream_read_error"}}\n\n',
        text="Some",
    ),
]


def named(written: str, read: str = "note") -> Case:
    return good(f"named {written}", piece(ONE, written, index=0, id="a"), end("stop"), D, calls=[(read, ONE)])


NAMES = [
    *map(named, ("functions.note", "Note", "functions.note:0", "default_api.note", "default_api:note", "tools/note")),
    *map(named, ('"note"', "note()", "a.b.note", "`note`", "note:12")),
    named("no_such.tool", "no_such.tool"),
    named("note.", "note."),
    named("notes", "notes"),
    named("functions.note<|channel|>json", "functions.note<|channel|>json"),
]


async def test_tokens_of_the_template_at_the_edges_are_no_text(model: ModelServer) -> None:
    assert not await misread(model, EDGES)


async def test_marks_of_calls_are_no_text_where_a_call_was_made(model: ModelServer) -> None:
    assert not await misread(model, MARKS)


async def test_a_tool_is_known_by_its_name_in_whatever_namespace(model: ModelServer) -> None:
    assert not await misread(model, NAMES)
