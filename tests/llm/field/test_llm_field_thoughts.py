"""Thoughts and refusals as servers of the field tell them: each case is what one was seen to send, in its smallest
form."""

import pytest

from harness.model_server import ModelServer
from tests.llm.field.cases import ONE, D, delta, end, good, misread, piece, say

pytestmark = pytest.mark.requirement("CH-25")

THOUGHTS = [
    good(
        "reasoning after text",
        say("a"),
        delta(reasoning_content="Hm."),
        say("b"),
        end("stop"),
        D,
        text="ab",
        reasoning="Hm.",
    ),
    good(
        "reasoning parts list",
        delta(reasoning_content=[{"type": "text", "text": "Hm."}]),
        say("a"),
        end("stop"),
        D,
        text="a",
        reasoning="Hm.",
    ),
    good("reasoning obj", delta(reasoning={"content": "Hm."}), say("a"), end("stop"), D, text="a", reasoning="Hm."),
    good(
        "thinking obj",
        delta(thinking={"content": "Hm.", "signature": "x"}),
        say("a"),
        end("stop"),
        D,
        text="a",
        reasoning="Hm.",
    ),
    good(
        "thinking_blocks only",
        delta(thinking_blocks=[{"type": "thinking", "thinking": "Hm.", "signature": ""}]),
        say("a"),
        end("stop"),
        D,
        text="a",
        reasoning="Hm.",
    ),
    good(
        "thinking_blocks and reasoning_content",
        delta(reasoning_content="Hm.", thinking_blocks=[{"type": "thinking", "thinking": "Hm."}]),
        say("a"),
        end("stop"),
        D,
        text="a",
        reasoning="Hm.",
    ),
    good(
        "thought flag gemini extra_content",
        delta(content="<thought>Hm.</thought>", extra_content={"google": {"thought": True}}),
        say("a"),
        end("stop"),
        D,
        text="a",
        reasoning="Hm.",
    ),
    good(
        "thought flag gemini no tags",
        delta(content="Hm.", extra_content={"google": {"thought": True}}),
        say("a"),
        end("stop"),
        D,
        text="a",
        reasoning="Hm.",
    ),
    good(
        "reasoning null always",
        delta(content="a", reasoning=None, reasoning_content=None, reasoning_details=[]),
        end("stop"),
        D,
        text="a",
    ),
    good(
        "think tags after blank role",
        delta(role="assistant", content=""),
        say("<think>"),
        say("Hm."),
        say("</think>"),
        say("a"),
        end("stop"),
        D,
        text="a",
        reasoning="Hm.",
    ),
    good("Cohere's", say("<|START_THINKING|>Hm.<|END_THINKING|>a"), end("COMPLETE"), D, text="a", reasoning="Hm."),
    good(
        "OpenThinker's",
        *map(say, "<|begin_of_thought|>Hm.<|end_of_thought|>a"),
        end("stop"),
        D,
        text="a",
        reasoning="Hm.",
    ),
    good("Apertus's", say("<|inner_prefix|>Hm.<|inner_suffix|>a"), end("stop"), D, text="a", reasoning="Hm."),
    good("◁think▷ kimi", say("◁think▷Hm.◁/think▷a"), end("stop"), D, text="a", reasoning="Hm."),
    good("[THINK] magistral", say("[THINK]Hm.[/THINK]a"), end("stop"), D, text="a", reasoning="Hm."),
    good(
        "</think> first w/ reasoning_content",
        delta(reasoning_content="Hm."),
        say("</think>\n\na"),
        end("stop"),
        D,
        text="a",
        reasoning="Hm.",
    ),
    good(
        "think not closed then tool",
        say("<think>Hm."),
        piece(ONE, "note", index=0, id="a"),
        end("tool_calls"),
        D,
        reasoning="Hm.",
        calls=[("note", ONE)],
        reason="tool_calls",
    ),
    good(
        "reasoning in message",
        {"choices": [{"message": {"role": "assistant", "content": "a", "reasoning": "Hm."}, "finish_reason": "stop"}]},
        D,
        text="a",
        reasoning="Hm.",
    ),
    good("reasoning_text", delta(reasoning_text="Hm."), say("a"), end("stop"), D, text="a", reasoning="Hm."),
    good("thinking field", delta(thinking="Hm."), say("a"), end("stop"), D, text="a", reasoning="Hm."),
    good("refusal and content null", delta(content=None, refusal="No."), end("stop"), D, refusal="No."),
]


async def test_thoughts_are_told_apart_wherever_they_stand(model: ModelServer) -> None:
    assert not await misread(model, THOUGHTS)
