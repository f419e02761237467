"""Answers that are nothing but calls, without a mark that says so; and those that only begin so."""

import json
from collections.abc import Collection
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sluiceway_llm.model_events import ModelRequest
from sluiceway_llm.reading.bare_calls import BareCalls

from harness.model_server import ModelServer
from tests.llm.field.cases import NAMES, ONE, TOOLS, D, delta, end, good, lines, misread, piece, say
from tests.llm.llm_client import adapter, calls_of, events_of, text_of

pytestmark = pytest.mark.requirement("CH-25")

LLAMA = f'{{"name": "note", "parameters": {ONE}}}'
KINDS = {
    "Llama 3": LLAMA,
    "Llama 3, printed": json.dumps(json.loads(LLAMA), indent=4),
    "Llama 3, with its type": f'{{"type": "function", "name": "note", "parameters": {ONE}}}',
    "Llama 3, under function": f'{{"type": "function", "function": {{"name": "note", "parameters": {ONE}}}}}',
    "Llama 3, function for name": f'{{"function": "note", "parameters": {ONE}}}',
    "Llama 3, its end": f"{LLAMA}<|eot_id|>",
    "arguments": f'\n{{"name": "note", "arguments": {ONE}}}\n',
    "arguments as a text": f'{{"name": "note", "arguments": {json.dumps(ONE)}}}',
    "xLAM, a list": f'[{{"name": "note", "arguments": {ONE}}}]',
    "Llama 4": '[note(text="one")]',
    "Llama 4, its end": "[note(text='one')]<|eot_id|>",
}
ONE_CALL = [("note", {"text": "one"})]


def read(text: str, cuts: Collection[int] = (), names: Collection[str] = NAMES) -> tuple[str, list[tuple[str, Any]]]:
    """What is told as text, and the calls."""
    calls, places = BareCalls(names), [0, *sorted(cut for cut in cuts if 0 < cut < len(text)), len(text)]
    told = "".join(calls.feed(text[place:after]) for place, after in pairwise(places))
    left, made = calls.rest()
    return told + left, [(call.name, json.loads(call.arguments)) for call in made]


@pytest.mark.parametrize("text", KINDS.values(), ids=KINDS.keys())
@settings(deadline=None, max_examples=12)
@given(cuts=st.sets(st.integers(1, 100), max_size=8))
def test_an_answer_that_is_a_call_is_one_however_it_is_torn(text: str, cuts: set[int]) -> None:
    assert read(text, cuts) == ("", ONE_CALL)


@pytest.mark.parametrize(
    "text",
    [
        f"{LLAMA}; {LLAMA}",
        f"{LLAMA}\n{LLAMA}",
        f"[{LLAMA}, {LLAMA}]",
        '[note(text="one"), note(text="one")]',
        f'[note(text="one"), {LLAMA}]',
    ],
)
@settings(deadline=None, max_examples=12)
@given(cuts=st.sets(st.integers(1, 100), max_size=8))
def test_several_calls_are_several(text: str, cuts: set[int]) -> None:
    assert read(text, cuts) == ("", ONE_CALL * 2)


NO_CALLS = [
    LLAMA.replace("note", "no_such_tool"),
    f"{LLAMA} is what it takes.",
    f"{LLAMA}; {LLAMA.replace('note', 'no_such_tool')}",
    f"Here: {LLAMA}",
    f"```json\n{LLAMA}\n```",
    f"`{LLAMA}`",
    LLAMA[:-1],
    '{"name": "note"}',
    '{"name": "note", "parameters": {}, "price": 3}',
    '{"name": "note", "parameters": [1]}',
    '{"name": "notebook", "parameters": {}}',
    '{"name": "Ada", "parameters": {}}',
    '{"city": "Paris"}',
    "{}",
    "[]",
    "[1, 2]",
    "[note](https://example.com) is a link.",
    "[note] that this is text.",
    '[note(text="one"), no_such_tool()]',
    '[note(text="one")] is how one writes it.',
    '[note(text="one"',
    '[note("one")]',
    "[note(text=one())]",
    'note(text="one")',
    "[x for x in note(text=1)]",
]


@pytest.mark.parametrize("text", NO_CALLS)
@settings(deadline=None, max_examples=12)
@given(cuts=st.sets(st.integers(1, 100), max_size=8))
def test_any_other_answer_is_told_unchanged(text: str, cuts: set[int]) -> None:
    assert read(text, cuts) == (text, [])
    assert read(KINDS["Llama 3"], cuts, names=()) == (KINDS["Llama 3"], [])


def test_what_cannot_be_a_call_is_told_at_once() -> None:
    for pieces, told in [
        (["Hello"], "Hello"),
        (["{", '"city"'], '{"city"'),
        (["[", "note", "]"], "[note]"),
        (['{"name": "', "not", "her"], '{"name": "nother'),
        (["{" + " " * 500], "{" + " " * 500),
        ([LLAMA, " is how one writes a note, ", "says"], f"{LLAMA} is how one writes a note, says"),
    ]:
        calls = BareCalls(NAMES)
        assert "".join(map(calls.feed, pieces)) == told
        assert calls.over


def test_one_that_begins_as_a_call_and_never_ends_is_told() -> None:
    calls = BareCalls(NAMES)
    told = "".join(calls.feed(piece) for piece in ['{"name": "note", "parameters": {"text": "', *["x" * 10_000] * 60])
    assert calls.over
    assert len(told) == len('{"name": "note", "parameters": {"text": "') + 600_000


CALL = {"text": "", "calls": [("note", '{"text": "one"}')]}
STREAMED = [
    good("JSON, in pieces", *map(say, LLAMA), end("stop"), D, **CALL),
    good("Python's, in pieces", *map(say, KINDS["Llama 4"]), end("stop"), D, **CALL),
    good("behind thoughts", *map(say, f"<think>Hm.</think>\n{LLAMA}"), end("stop"), D, **CALL, reasoning="Hm."),
    good(
        "behind thoughts of their own",
        delta(reasoning_content="Hm."),
        say(LLAMA),
        end("stop"),
        D,
        **CALL,
        reasoning="Hm.",
    ),
    good(
        "made by the server, too",
        say(LLAMA),
        piece(ONE, "note", index=0, id="c"),
        end("tool_calls"),
        D,
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
    good("no call", *map(say, f"{LLAMA} is one."), end("stop"), D, text=f"{LLAMA} is one."),
    good("cut off", *map(say, LLAMA[:-3]), end("length"), D, text=LLAMA[:-3], reason="length"),
]


async def test_calls_without_a_mark_are_made(model: ModelServer) -> None:
    assert not await misread(model, STREAMED)


async def test_an_answer_that_was_asked_to_be_json_is_no_call(model: ModelServer) -> None:
    await model.script(
        {"status": 200, "body": lines(say(LLAMA), end("stop"), D), "content_type": "text/event-stream"}, times=1
    )
    request = ModelRequest(
        model="fake",
        messages=[{"role": "user", "content": "Go"}],
        tools=TOOLS,
        answer_format={"name": "it", "schema": {"type": "object"}},
    )
    async with adapter(model) as llm:
        events = await events_of(llm, request)
    assert (text_of(events), calls_of(events)) == (LLAMA, {})
