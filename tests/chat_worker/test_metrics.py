"""What a model call tells of the server's speed, on a real store and a real model server."""

import time

import pytest
from chat_worker.metrics import tokens_after
from chat_worker.step.offer import Offer
from sluiceway_llm.clean_text import CleanText
from sluiceway_llm.model_events import ModelEvent, ReasoningDelta, TextDelta, ToolCallDelta, Usage

from tests.chat_worker.desk import METRICS, TOOLS, Desk

TEXT = TextDelta(CleanText("a"))
THOUGHT = ReasoningDelta(CleanText("a"))
CALL = ToolCallDelta(0, None, None, CleanText("{}"))


def of_tokens() -> tuple[float, float]:
    """How many answers were measured, and their seconds a token, added up."""
    samples = {sample.name: sample.value for family in METRICS.token_seconds.collect() for sample in family.samples}
    name = "sluiceway_model_token_seconds"
    return samples.get(f"{name}_count", 0.0), samples.get(f"{name}_sum", 0.0)


@pytest.mark.requirement("OP-5")
async def test_the_time_from_token_to_token_is_measured_once_an_answer_without_the_wait_for_the_first(
    desk: Desk,
) -> None:
    before, seconds_before = of_tokens()
    began = time.monotonic()

    assert await desk.ask("count [[tokens=11 rate=50 stall=1]]") == "completed"

    count, seconds = of_tokens()
    assert count == before + 1
    assert 0 < seconds - seconds_before <= (time.monotonic() - began - 1) / 10


@pytest.mark.requirement("OP-5")
async def test_an_answer_of_calls_alone_says_nothing_of_the_time_from_token_to_token(desk: Desk) -> None:
    before = of_tokens()
    assert await desk.ask("look [[tokens=0 tools=weather]]", Offer(TOOLS, max_calls=8)) == "waiting"
    assert of_tokens() == before


@pytest.mark.requirement("OP-5")
@pytest.mark.parametrize(
    ("first", "usage", "tokens"),
    [
        (TEXT, Usage(output_tokens=10), 9),
        (TEXT, Usage(output_tokens=10, reasoning_tokens=6), 3),
        (THOUGHT, Usage(output_tokens=10, reasoning_tokens=6), 9),
        (CALL, Usage(output_tokens=10), 0),
        (TEXT, Usage(output_tokens=None), 0),
        (TEXT, None, 0),
    ],
)
def test_thoughts_that_are_not_told_were_made_before_the_first_piece(
    first: ModelEvent, usage: Usage | None, tokens: int
) -> None:
    assert tokens_after(first, usage) == tokens
