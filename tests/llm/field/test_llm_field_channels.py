"""Channels of gpt-oss that a server left in its text: each case is what one was seen to send, in its smallest form."""

from typing import Any

import pytest

from harness.model_server import ModelServer
from tests.llm.field.cases import ONE, TWO, Case, D, delta, end, good, misread, piece, say

pytestmark = pytest.mark.requirement("CH-25")

THOUGHT, ANSWER = "<|channel|>analysis<|message|>Hm.<|end|>", "<|start|>assistant<|channel|>final<|message|>"
NOTE = "<|start|>assistant<|channel|>commentary to=functions.note <|constrain|>json<|message|>"
BOTH = {"reasoning": "Hm.", "text": "Yes."}
THOUGHT_BARE, NOTE_BARE = "analysisWe should.", "assistantcommentary to=functions.note json"


def said(name: str, answer: str, **expected: Any) -> list[Case]:
    """In one piece, and character by character."""
    return [
        good(name, say(answer), end("stop"), D, **expected),
        good(f"{name}, in pieces", *map(say, answer), end("stop"), D, **expected),
    ]


CHANNELS = [
    *said("thought and answer", f"{THOUGHT}{ANSWER}Yes: a < b <|.<|return|>", reasoning="Hm.", text="Yes: a < b <|."),
    *said("a call", f"<|start|>assistant{THOUGHT}{NOTE}{ONE}<|call|>", reasoning="Hm.", calls=[("note", ONE)]),
    *said("a call, its stop token dropped", f"{THOUGHT}{NOTE}{ONE}", reasoning="Hm.", calls=[("note", ONE)]),
    *said(
        "a call addressed in the role",
        f"<|start|>assistant to=functions.note<|channel|>commentary json<|message|>{ONE}<|call|>",
        calls=[("note", ONE)],
    ),
    *said(
        "a call in the channel of thoughts",
        f"<|channel|>analysis to=functions.note code<|message|>{ONE}<|call|>",
        calls=[("note", ONE)],
    ),
    *said(
        "words before two calls",
        f"<|channel|>commentary<|message|>Let me see.<|end|>{NOTE}{ONE}<|call|>{NOTE}{TWO}<|call|>",
        text="Let me see.",
        calls=[("note", ONE), ("note", TWO)],
    ),
    *said(
        "a call without arguments",
        "<|channel|>commentary to=functions.clear<|message|><|call|>",
        calls=[("clear", "")],
    ),
    *said(
        "the answer of a tool, made up",
        f"{THOUGHT}<|start|>functions.note to=assistant<|channel|>commentary<|message|>{ONE}<|end|>{ANSWER}Yes.",
        reasoning=f"Hm.\n\n{ONE}",
        text="Yes.",
    ),
    *said(
        "an end forgotten",
        THOUGHT.removesuffix("<|end|>") + "<|channel|>final<|message|>Yes.",
        **BOTH,
    ),
    *said("<|start|> dropped", f"{THOUGHT}assistant<|channel|>final<|message|>Yes.", **BOTH),
    *said("no header behind a thought", f"{THOUGHT}assistants can.", reasoning="Hm.", text="assistants can."),
    *said("a message alone", "<|message|>Yes.<|return|>", text="Yes."),
    *said("an object to a schema", "<|channel|>final <|constrain|>json<|message|>{}<|return|>", text="{}"),
    *said(
        "tokens dropped",
        f"{THOUGHT_BARE}assistantfinalYes, assistant.",
        reasoning="We should.",
        text="Yes, assistant.",
    ),
    *said("tokens dropped, a call", f"{THOUGHT_BARE}{NOTE_BARE}{ONE}", reasoning="We should.", calls=[("note", ONE)]),
    *said("tokens dropped, a call first", f"commentary to=functions.note json{ONE}", calls=[("note", ONE)]),
    *said("an answer with such a word", "analysisResult = 1", reasoning="Result = 1", text="analysisResult = 1"),
    *said("what only begins so", "<|chan", text="<|chan"),
    *said("channels that are told of", f"It writes `{THOUGHT}`.", text=f"It writes `{THOUGHT}`."),
    *said("Gemma's", "<|channel>thought\nHm.<channel|>Yes.", **BOTH),
    good(
        "the thought parsed, the call left",
        delta(reasoning_content="Hm."),
        say(NOTE + ONE),
        end("stop"),
        D,
        reasoning="Hm.",
        calls=[("note", ONE)],
    ),
    good(
        "a call parsed, and left in the text",
        say(NOTE + ONE),
        piece(ONE, "note", index=0, id="a"),
        end("tool_calls"),
        D,
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
    good(
        "a call left in the text, once it was parsed",
        piece(ONE, "note", index=0, id="a"),
        say(NOTE + ONE),
        end("tool_calls"),
        D,
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
    good("a call cut off", say(NOTE + ONE[:5]), end("length"), calls=[("note", ONE[:5])], reason="length"),
]


def thought(name: str, thoughts: str, *more: Any, **expected: Any) -> list[Case]:
    """In the field of thoughts: in one piece, and character by character."""
    ends = [*more, end("stop"), D]
    pieces = [delta(reasoning_content=character) for character in thoughts]
    return [
        good(name, delta(reasoning_content=thoughts), *ends, **expected),
        good(f"{name}, in pieces", *pieces, *ends, **expected),
    ]


THOUGHTS = [
    *thought("channels in the field of thoughts", THOUGHT, say("Yes."), **BOTH),
    *thought("their opening is parsed away", f"Hm.<|end|>{ANSWER}", say("Yes."), **BOTH),
    *thought("an answer among thoughts", f"{THOUGHT}{ANSWER}Yes.<|return|>", **BOTH),
    *thought("an answer among thoughts, their opening parsed away", f"Hm.<|end|>{ANSWER}Yes.", **BOTH),
    *thought("an answer among thoughts, and again as one", f"{THOUGHT}{ANSWER}Yes.<|return|>", say("Yes."), **BOTH),
    *thought("a call among thoughts", f"Hm.<|end|>{NOTE}{ONE}<|call|>", reasoning="Hm.", calls=[("note", ONE)]),
    *thought(
        "a call among thoughts, and again as one",
        f"Hm.<|end|>{NOTE}{TWO}<|call|>",
        piece(ONE, "note", index=0, id="c"),
        reasoning="Hm.",
        calls=[("note", ONE)],
    ),
    *thought(
        "a token that is spoken of",
        "Is <|end|> a token? a < b",
        say("Yes."),
        reasoning="Is \n\na token? a < b",
        text="Yes.",
    ),
    *thought("tags in the field of thoughts", "<think>\nHm.</think>", say("Yes."), **BOTH),
    *thought("a tag that closes nothing", "Hm. <thi", say("Yes."), reasoning="Hm. <thi", text="Yes."),
    *thought("thoughts that are plain", "\n Hm. ", say("Yes."), reasoning="\n Hm. ", text="Yes."),
    good(
        "thoughts between texts",
        delta(reasoning="Hm."),
        say("Yes"),
        delta(reasoning=" Well."),
        say("."),
        end("stop"),
        D,
        reasoning="Hm. Well.",
        text="Yes.",
    ),
]


async def test_channels_that_nobody_parsed_are_thoughts_calls_and_text(model: ModelServer) -> None:
    assert not await misread(model, CHANNELS + THOUGHTS)
