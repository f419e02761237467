"""Calls that servers without the right parser left in the text, in the notations of the models that wrote them."""

import json
from collections.abc import Collection
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sluiceway_llm.reading.written_calls import WrittenCalls

from harness.model_server import ModelServer
from tests.llm.field.cases import NAMES, ONE, TWO, D, delta, end, good, misread, piece, say

pytestmark = pytest.mark.requirement("CH-25")

HERMES = f'<tool_call>\n{{"name": "note", "arguments": {ONE}}}\n</tool_call>'
CODER = "<function=note>\n<parameter=text>\none\n</parameter>\n</function>"
GLM = "<tool_call>note\n<arg_key>text</arg_key>\n<arg_value>one</arg_value>\n</tool_call>"
KIMI = f"<|tool_call_begin|>functions.note:0<|tool_call_argument_begin|>{ONE}<|tool_call_end|>"
DEEP = "<\uff5ctool\u2581call\u2581{}\uff5c>"
SEEK = "<\uff5ctool\u2581calls\u2581{}\uff5c>"
SEP = "<\uff5ctool\u2581sep\uff5c>"
DEEP_OLD = f"{DEEP.format('begin')}function{SEP}note\n```json\n{ONE}\n```{DEEP.format('end')}"
DEEP_NEW = f"{DEEP.format('begin')}note{SEP}{ONE}{DEEP.format('end')}"
INVOKE = '<invoke name="note">\n<parameter name="text">one</parameter>\n</invoke>'
DSML = INVOKE.replace("<invoke", "<\uff5cDSML\uff5cinvoke").replace("</invoke", "</\uff5cDSML\uff5cinvoke")
DSML = DSML.replace("<parameter", "<\uff5cDSML\uff5cparameter").replace('text">', 'text" string="true">')
DSML = DSML.replace("</parameter", "</\uff5cDSML\uff5cparameter")
STEP, STEPS = "<\uff5ctool_call_{}\uff5c>", "<\uff5ctool_calls_{}\uff5c>"
LLAMA = f'{{"name": "note", "parameters": {ONE}}}'
KINDS = {
    "Hermes": HERMES,
    "Hermes, without its end": HERMES.removesuffix("</tool_call>"),
    "Hermes, arguments as a text": f'<tool_call>{{"name": "note", "arguments": {json.dumps(ONE)}}}</tool_call>',
    "under function": f'<tool_call>{{"function": {{"name": "note", "arguments": {ONE}}}}}</tool_call>',
    "Qwen Coder": f"<tool_call>\n{CODER}\n</tool_call>",
    "Qwen Coder, without tags around": CODER,
    "Qwen Coder, its end alone": f"{CODER}\n</tool_call>",
    "Qwen Coder, its parameter not closed": CODER.replace("\n</parameter>", ""),
    "Hermes, as Python prints it": "<tool_call>\n{'name': 'note', 'arguments': {'text': 'one'}}\n</tool_call>",
    "Hermes, a brace too many": f'<tool_call>{{"name": "note", "arguments": {ONE}}}}}</tool_call>',
    "GLM": GLM,
    "Mistral, a list": f'[TOOL_CALLS][{{"name": "note", "arguments": {ONE}}}]',
    "Mistral, a list behind a blank": f'[TOOL_CALLS] [{{"name": "note", "arguments": {ONE}}}]',
    "Mistral, args": f"[TOOL_CALLS]note[ARGS]{ONE}",
    "Mistral, an id": f"[TOOL_CALLS]note[CALL_ID]abc123XYZ[ARGS]{ONE}",
    "Mistral, bare": f"[TOOL_CALLS]note{ONE}",
    "Kimi": f"<|tool_calls_section_begin|>{KIMI}<|tool_calls_section_end|>",
    "DeepSeek": f"{SEEK.format('begin')}{DEEP_OLD}{SEEK.format('end')}",
    "DeepSeek, newer": f"{SEEK.format('begin')}{DEEP_NEW}{SEEK.format('end')}",
    "DeepSeek, in its markup": f"<\uff5cDSML\uff5cfunction_calls>\n{DSML}\n</\uff5cDSML\uff5cfunction_calls>",
    "MiniMax": f"<minimax:tool_call>\n{INVOKE}\n</minimax:tool_call>",
    "Claude's": f"<function_calls>\n{INVOKE}\n</function_calls>",
    "Llama": f"<|python_tag|>{LLAMA}<|eom_id|>",
    "Llama, an object in its tag": f"<function=note>{ONE}</function>",
    "Llama, its tag not closed": f"<function=note{ONE}</function>",
    "InternLM": f"<|action_start|><|plugin|>\n{LLAMA}<|action_end|>\n",
    "Cohere": f'<|START_ACTION|>[\n{{"tool_call_id": "0", "tool_name": "note", "parameters": {ONE}}}\n]<|END_ACTION|>',
    "Nemotron": f'<TOOLCALL>[{{"name": "note", "arguments": {ONE}}}]</TOOLCALL>',
    "Seed": f"<seed:tool_call>\n{CODER}\n</seed:tool_call>",
    "LFM": '<|tool_call_start|>[note(text="one")]<|tool_call_end|>',
    "LFM, as JSON": f'<|tool_call_start|>[{{"name": "note", "arguments": {ONE}}}]<|tool_call_end|>',
    "LFM, in a namespace": "<|tool_call_start|>[notes.note(text='one',)]<|tool_call_end|>",
    "Llama 4": '<|python_start|>[note(text="one")]<|python_end|>',
    "Llama, as its own tools": '<|python_tag|>note.call(text="one")<|eom_id|>',
    "OLMo": '<function_calls>\nnote(text="one")\n</function_calls>',
    "Step-3": f"{STEPS.format('begin')}{STEP.format('begin')}function<\uff5ctool_sep\uff5c>"
    '<steptml:invoke name="note">\n<steptml:parameter name="text">one</steptml:parameter>\n</steptml:invoke>'
    f"{STEP.format('end')}{STEPS.format('end')}",
    "Apertus": f'<|tools_prefix|>[{{"note": {ONE}}}]<|tools_suffix|>',
    "LongCat": f'<longcat_tool_call>{{"name": "note", "arguments": {ONE}}}</longcat_tool_call>',
    "Granite, the coder": f'<function_call> {{"name": "note", "arguments": {ONE}}}',
    "Gemma": "<start_function_call>call:note{text:<escape>one<escape>}<end_function_call>",
    "Gemma, newer": '<|tool_call>call:note{text:<|"|>one<|"|>}<tool_call|>',
    "Phi, several": f'<|tool_calls|>[{{"name": "note", "arguments": {ONE}}}]<|/tool_calls|>',
    "Phi and Granite": f'<|tool_call|>[{{"name": "note", "arguments": {ONE}}}]<|/tool_call|>',
}


def read(text: str, cuts: Collection[int] = (), names: Collection[str] = NAMES) -> tuple[str, list[tuple[str, Any]]]:
    """What is told as text, and the calls."""
    calls, places = WrittenCalls(names), [0, *sorted(cut for cut in cuts if 0 < cut < len(text)), len(text)]
    told = ""
    for place, after in pairwise(places):
        told += calls.feed(text[place:after], told)
    left, made = calls.rest()
    return told + left, [(call.name, json.loads(call.arguments)) for call in made]


ONE_CALL = [("note", {"text": "one"})]


@pytest.mark.parametrize("text", KINDS.values(), ids=KINDS.keys())
@settings(deadline=None, max_examples=12)
@given(cuts=st.sets(st.integers(1, 200), max_size=8))
def test_a_call_in_a_models_own_notation_is_a_call_however_it_is_torn(text: str, cuts: set[int]) -> None:
    assert read(text, cuts)[1] == ONE_CALL
    assert read(f"Let me see.\n\n{text}", cuts) == (read(f"Let me see.\n\n{text}")[0], ONE_CALL)
    assert read(f"Let me see.\n\n{text}")[0].strip() in ("Let me see.", "Let me see.\n\n<|/tool_call|>")


@pytest.mark.parametrize("text", [HERMES, GLM, KIMI, DEEP_NEW, INVOKE, f"[TOOL_CALLS]note[ARGS]{ONE}"])
def test_several_calls_are_several_and_words_behind_them_are_words(text: str) -> None:
    assert read(f"{text}\n{text}")[1] == ONE_CALL * 2
    assert read(f"{text}\nThere.") == ("There.", ONE_CALL)


@pytest.mark.parametrize(
    "text",
    [
        HERMES.replace("note", "no_such_tool"),
        CODER.replace("note", "no_such_tool"),
        GLM.replace("note", "no_such_tool"),
        "Write <tool_call> in front of a call, and </tool_call> behind it.",
        f"It looks so: `{HERMES}` is what it writes.\n<tool_call>",
        f"It looks so:\n```xml\n{HERMES}\n```\n",
        f'"{HERMES}"',
        f"It looks so: {HERMES}`",
        '<tool_call>{"name": "note", "argum',
        "<tool_call>{}</tool_call>",
        "<tool_call>[1, 2]</tool_call>",
        "[TOOL_CALLS]",
        "a < b [and] c <tool",
        "<|python_tag|>print(1)",
        "[" * 3000,
        "<function=note",
        '<function=note>{"text": "o',
        '<function=note>{"text": "o</function>',
        '<TOOLCALL>[{"name": "no_such_tool", "arguments": {}}]</TOOLCALL>',
        "<|action_start|><|interpreter|>print(1)<|action_end|>",
        '<|tool_call_start|>[note("one")]<|tool_call_end|>',
        "<|tool_call_start|>[note(text=open('/etc/passwd').read())]<|tool_call_end|>",
        '<|python_start|>[note(text="one"<|python_end|>',
        "<|python_start|>import os\nos.remove(path='x')<|python_end|>",
        "<|tool_call_start|>[no_such_tool(text='one')]<|tool_call_end|>",
    ],
)
@settings(deadline=None, max_examples=12)
@given(cuts=st.sets(st.integers(1, 200), max_size=5))
def test_what_is_no_call_of_a_tool_that_was_offered_stays_text(text: str, cuts: set[int]) -> None:
    assert read(text, cuts) == (text, [])


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>note" + "<arg_key>a</arg_key><arg_value>b</arg_value>" * 1000 + "x</tool_call>",
        "<tool_call>note" + "<arg_key>" * 20_000,
        "<function=note>" + "<parameter=text>" * 12_000 + "</function>",
        '<invoke name="note">' + '<parameter name="text">' * 8_000 + "</invoke>",
        "[TOOL_CALLS]note" + " " * 190_000 + "x",
        "[TOOL_CALLS]" + "note[ARGS]" * 19_000,
        "`<tool_call>" * 16_000,
        "<tool_call>" + "[" * 190_000,
        "<tool_call>" + '{"name":' * 20_000,
        "<|python_start|>[note(text=[" + "1," * 90_000,
        "<|python_start|>[note(text=" + "[" * 190_000,
        '<|python_start|>[note(text="' + "\\" * 190_001,
        "<|python_start|>[note(" + "a" * 190_000,
        "<|tool_call>call:note{text:<escape>" + "<escap" * 30_000,
        "<steptml:invoke name=" * 9_000,
    ],
)
def test_no_text_takes_long_to_read(text: str) -> None:
    # Of which each took from seconds to for ever, where a pattern looks again at what it has seen.
    told, calls = read(text, range(0, len(text), 1000))
    assert told == text or calls


def test_without_tools_nothing_is_held_back() -> None:
    calls = WrittenCalls(())
    assert calls.feed(HERMES) == HERMES


def test_only_what_may_be_the_beginning_of_a_mark_is_held_back() -> None:
    calls = WrittenCalls(NAMES)
    assert [calls.feed(piece) for piece in ("a <", "b", " [TOO", "]", " <tool")] == ["a ", "<b", " ", "[TOO]", " "]
    assert calls.rest() == ("<tool", [])


def test_a_text_that_never_ends_behind_a_mark_is_told() -> None:
    calls = WrittenCalls(NAMES)
    told = "".join(calls.feed(piece) for piece in ["<tool_call>", *["x" * 10_000] * 30])
    assert told.startswith("<tool_call>xxx")
    assert len(told) + len(calls.rest()[0]) == 300_011


@pytest.mark.parametrize(
    ("written", "value"),
    [("one", "one"), ("3", 3), ("true", True), ("[1]", [1]), ('"quoted"', '"quoted"'), ("a\nb", "a\nb"), ("", "")],
)
def test_values_that_are_json_are_what_they_say(written: str, value: Any) -> None:
    text = f"<function=note><parameter=text>\n{written}\n</parameter></function>"
    assert read(text)[1] == [("note", {"text": value})]
    assert read(f"<tool_call>note<arg_key>text</arg_key><arg_value>{written}</arg_value></tool_call>")[1] == [
        ("note", {"text": value})
    ]


CALL = {"text": "Well.", "calls": [("note", '{"text": "one"}')]}
STREAMED = [
    good("in the text", say(f"Well.{HERMES}"), end("stop"), D, **CALL),
    good("in the text, in pieces", *map(say, f"Well.{HERMES}"), end("stop"), D, **CALL),
    good(
        "behind thoughts", say(f"<think>Hm.</think>{HERMES}"), end("stop"), D, **{**CALL, "text": ""}, reasoning="Hm."
    ),
    good(
        "behind thoughts of their own",
        delta(reasoning_content="Hm."),
        say(HERMES),
        end("stop"),
        D,
        text="",
        reasoning="Hm.",
        calls=CALL["calls"],
    ),
    good(
        "left in the text, and made",
        piece(TWO, "note", index=0, id="c"),
        say(f"Well.{HERMES}"),
        end("tool_calls"),
        D,
        text="Well.",
        calls=[("note", TWO)],
        reason="tool_calls",
    ),
    good("LFM's, in pieces", *map(say, f"Well.{KINDS['LFM']}"), end("stop"), D, **CALL),
    good("whole", say(HERMES), end("stop"), D, calls=CALL["calls"]),
    good(
        "cut off",
        say('<tool_call>{"name": "note", "argum'),
        end("length"),
        D,
        text='<tool_call>{"name": "note", "argum',
        reason="length",
    ),
]


async def test_calls_that_were_left_in_the_text_are_made(model: ModelServer) -> None:
    assert not await misread(model, STREAMED)
