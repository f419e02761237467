"""Thoughts that end in the text and begin nowhere: `thoughts</think>answer`."""

import itertools
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sluiceway_llm.calling.model import Model
from sluiceway_llm.reading.think_tags import Said
from sluiceway_llm.reading.unopened_thoughts import UnopenedThoughts, WatchedText

from harness.model_server import ModelServer
from tests.llm.llm_client import adapter, events_of, reasoning_of, request, text_of

pytestmark = pytest.mark.requirement("CH-25")

_pieces = st.sampled_from(["<think>", "</think>", "\n", " ", "a", "<", "</", "b < c", ">", "thinking>"])


def joined(said: Said) -> tuple[str, str]:
    text, thought = ("".join(text for kind, text in said if kind == which) for which in ("text", "reasoning"))
    return text, thought


def split(splitter: WatchedText | UnopenedThoughts, pieces: list[str]) -> tuple[str, str]:
    return joined([*itertools.chain(*map(splitter.feed, pieces)), *splitter.rest(answered=True)])


@settings(deadline=None)
@given(pieces=st.lists(_pieces, max_size=8), cuts=st.sets(st.integers(0, 40)))
@example(pieces=["</think>", "\n"], cuts={8})
def test_a_text_is_split_in_the_same_way_however_it_is_torn(pieces: list[str], cuts: set[int]) -> None:
    text = "".join(pieces)
    bounds = [0, *sorted(cut for cut in cuts if 0 < cut < len(text)), len(text)]
    torn = [text[start:end] for start, end in itertools.pairwise(bounds)]
    assert split(WatchedText(), torn) == split(WatchedText(), [text])
    assert split(UnopenedThoughts(), torn) == split(UnopenedThoughts(), [text])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Hm.\n</think>\n\nYes.", "Hm.\n\n\nYes."),
        ("</think>\n\nYes.", "Yes."),
        ("the tag </think> ends thoughts", "the tag </think> ends thoughts"),
        ("```\n<think>\nHm.\n</think>\n```", "```\n<think>\nHm.\n</think>\n```"),
        ("one\n</think>\ntwo\n</think>\n", "one\n\ntwo\n</think>\n"),
        ("a\n <", "a\n <"),
    ],
)
def test_only_a_tag_alone_at_the_beginning_of_a_line_that_nothing_opened_is_left_out(text: str, shown: str) -> None:
    assert split(WatchedText(), [text]) == (shown, "")


def test_nothing_is_held_back_that_cannot_be_a_tag() -> None:
    for splitter, kind in ((WatchedText(), "text"), (UnopenedThoughts(), "reasoning")):
        for piece in ("So", " it is.\n", "Next", " <b> "):
            assert splitter.feed(piece) == [(kind, piece)]


async def answer(llm: Model, model: ModelServer, *texts: str, end: str = "stop") -> tuple[str, str]:
    deltas: list[dict[str, Any]] = [{"delta": {"content": text}} for text in texts]
    await model.script(*deltas, {"finish": end})
    events = await events_of(llm, request("go"))
    return text_of(events), reasoning_of(events)


async def test_a_model_that_thinks_first_is_known_from_its_second_answer_on(model: ModelServer) -> None:
    async with adapter(model) as llm:
        assert await answer(llm, model, "Hm.\n", "</think>", "\n\n", "Yes.") == ("Hm.\n\n\nYes.", "")
        assert await answer(llm, model, "Hm", ".\n</th", "ink>\n", "\n", "Yes", ".") == ("Yes.", "Hm.\n")
        # An answer without thoughts is an answer; and it may be that there are none any more.
        assert await answer(llm, model, "Just ", "this.") == ("Just this.", "Just this.")
        assert await answer(llm, model, "And ", "that.") == ("And that.", "")


async def test_a_model_that_opens_its_thoughts_is_read_as_before(model: ModelServer) -> None:
    async with adapter(model) as llm:
        await answer(llm, model, "Hm.\n</think>\nYes.")
        assert await answer(llm, model, "<think>Hm.</think>", "Yes.\n</think>\n") == ("Yes.\n</think>\n", "Hm.")


async def test_thoughts_that_reached_the_limit_are_no_answer(model: ModelServer) -> None:
    async with adapter(model) as llm:
        await answer(llm, model, "Hm.\n</think>\nYes.")
        assert await answer(llm, model, "Hm, ", "and", end="length") == ("", "Hm, and")
        assert await answer(llm, model, "Hm.\n</think>\nYes.") == ("Yes.", "Hm.\n")
