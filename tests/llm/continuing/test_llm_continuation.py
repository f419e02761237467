"""Answers that go on behind a beginning: how servers are asked, what they repeat, and what is handed on."""

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sluiceway_llm.asking.continuation import PrefixDialect, Seam
from sluiceway_llm.clean_text import CleanText
from sluiceway_llm.model_errors import ModelRejected, ModelUnavailable
from sluiceway_llm.model_events import Finished, ReasoningDelta, TextDelta

from harness.model_server import ModelServer, answer_to
from tests.llm.llm_client import adapter, events_of, finished, request, text_of

QUESTION = "what floats down the river? [[tokens=24 rate=0]]"
ANSWER = answer_to(QUESTION, 24)
PREFIX = answer_to(QUESTION, 8)

BEGINNING = {"role": "assistant", "content": PREFIX.rstrip()}
SHAPES: dict[PrefixDialect, dict[str, Any]] = {
    "llama.cpp": {"last": BEGINNING},
    "vllm": {"last": BEGINNING, "continue_final_message": True, "add_generation_prompt": False},
    "mistral": {"last": BEGINNING | {"prefix": True}},
}


@pytest.mark.requirement("TS-5")
@pytest.mark.parametrize("dialect", SHAPES)
async def test_each_server_is_asked_in_its_own_words_and_generates_only_what_is_missing(
    model: ModelServer, dialect: PrefixDialect
) -> None:
    async with adapter(model, continuation=dialect) as llm:
        events = await events_of(llm, request(QUESTION, prefix=PREFIX))

    assert PREFIX + text_of(events) == ANSWER
    (asked,) = await model.requests()
    assert asked.tokens_sent == 16
    usage = finished(events).usage
    assert usage is not None
    assert usage.output_tokens == 16
    shape = {"last": asked.body["messages"][-1]} | {
        name: asked.body.get(name) for name in SHAPES[dialect] if name != "last"
    }
    assert shape == SHAPES[dialect]
    assert ("continue_final_message" in asked.body) == (dialect == "vllm")


@pytest.mark.parametrize(
    ("dialect", "how"),
    [
        ("mistral", "echo"),
        ("mistral", "echo_words"),
        ("mistral", "echo_words merge=4"),
        ("mistral", "echo split=3"),
        ("vllm", "echo"),
        ("llama.cpp", "echo split=3"),
    ],
)
@pytest.mark.parametrize("prefix", [PREFIX, PREFIX.rstrip(), PREFIX[:-3], "\n" + PREFIX])
async def test_what_the_server_repeats_of_the_beginning_is_left_out(
    model: ModelServer, dialect: PrefixDialect, how: str, prefix: str
) -> None:
    question = f"what floats down the river? [[tokens=24 rate=0 prefix={how}]]"
    async with adapter(model, continuation=dialect) as llm:
        events = await events_of(llm, request(question, prefix=prefix))

    assert (prefix + text_of(events)).lstrip() == ANSWER


async def test_a_server_that_begins_anew_with_the_same_words_is_not_shown_to_do_so(model: ModelServer) -> None:
    async with adapter(model, continuation="mistral") as llm:
        events = await events_of(llm, request(f"{QUESTION} [[prefix=ignore]]", prefix=PREFIX))

    assert PREFIX + text_of(events) == ANSWER


@pytest.mark.parametrize(("how", "error"), [("refuse", ModelRejected), ("template_error", ModelUnavailable)])
async def test_a_server_that_takes_no_beginning_is_an_error_before_any_event(
    model: ModelServer, how: str, error: type[Exception]
) -> None:
    async with adapter(model, continuation="vllm") as llm:
        with pytest.raises(error):
            await events_of(llm, request(f"{QUESTION} [[prefix={how}]]", prefix=PREFIX))


async def test_the_end_of_an_answer_that_continues_is_told_as_any_other(model: ModelServer) -> None:
    question = "what floats down the river? [[tokens=24 rate=0 finish=length]]"
    async with adapter(model, continuation="vllm") as llm:
        events = await events_of(llm, request(question, prefix=PREFIX))

    assert finished(events).reason == "length"


async def test_a_server_of_which_nothing_is_known_is_never_asked_to_continue(model: ModelServer) -> None:
    async with adapter(model) as llm:
        assert not llm.continues
        with pytest.raises(ValueError, match="not known to continue"):
            await events_of(llm, request(QUESTION, prefix=PREFIX))
    assert await model.requests() == []


texts = st.text(alphabet="ab \n", max_size=12)
prefixes = texts.filter(lambda text: bool(text.strip()))


def cut(draw: st.DrawFn, text: str) -> list[str]:
    places = sorted(draw(st.sets(st.integers(1, max(len(text) - 1, 1)))))
    pieces = [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]
    return [piece for piece in pieces if piece]


def told_behind(dialect: PrefixDialect, prefix: str, pieces: list[str]) -> str:
    seam = Seam(dialect, prefix)
    told = [event for piece in pieces for event in seam.read([TextDelta(CleanText(piece))])]
    told += seam.read([Finished("stop", None, None)])
    assert all(event.text for event in told if isinstance(event, TextDelta))
    assert isinstance(told[-1], Finished)
    return text_of(told)


@given(st.data(), st.sampled_from(list(SHAPES)), prefixes, texts)
def test_however_it_is_cut_what_follows_the_beginning_is_told_once(
    data: st.DataObject, dialect: PrefixDialect, prefix: str, rest: str
) -> None:
    said = prefix[len(prefix.rstrip()) :] + rest
    assume(dialect != "mistral" or not said.lstrip().startswith(prefix.strip()))
    assert told_behind(dialect, prefix, data.draw(st.composite(cut)(said))) == rest


@given(st.data(), prefixes, texts)
def test_however_it_is_cut_what_mistral_repeats_is_left_out(data: st.DataObject, prefix: str, rest: str) -> None:
    said = prefix + rest
    assert told_behind("mistral", prefix, data.draw(st.composite(cut)(said))) == rest


@pytest.mark.parametrize("dialect", ["vllm", "llama.cpp"])
def test_a_model_that_says_the_same_words_once_more_is_not_taken_for_a_server_that_repeats_them(
    dialect: PrefixDialect,
) -> None:
    assert told_behind(dialect, "row, row, row, row your boat", ["row", ", row, row, row your boat"]) != ""
    assert told_behind(dialect, "ha", ["ha", " ha"]) == "ha ha"
    assert (
        told_behind(dialect, "row, row, row, row your boat", ["row, row, row, row your boat", ", gently"]) == ", gently"
    )


def test_text_that_was_held_comes_before_what_else_is_told() -> None:
    seam = Seam("mistral", "one two three")

    assert seam.read([TextDelta(CleanText("one tw"))]) == []
    assert seam.read([ReasoningDelta(CleanText("hm"))]) == [
        TextDelta(CleanText("one tw")),
        ReasoningDelta(CleanText("hm")),
    ]
    assert seam.read([TextDelta(CleanText("one two three"))]) == [TextDelta(CleanText("one two three"))]
