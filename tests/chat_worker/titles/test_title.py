"""Titles out of whatever a model or a person says."""

import time

import pytest
from chat_worker.titles.title import MAX_CHARS, MAX_WORDS, title_of, words_of
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.requirement("CH-3")
@pytest.mark.parametrize(
    ("said", "title"),
    [
        ("Rivers of the Alps", "Rivers of the Alps"),
        ('"Rivers of the Alps."', "Rivers of the Alps"),
        ("Title: **Rivers of the Alps**\n\nI hope that helps!", "Rivers of the Alps"),
        ("\n\n# Rivers\tof   the Alps", "Rivers of the Alps"),
        ('{"title": "Rivers of the Alps"}', "Rivers of the Alps"),
        ('```json\n{\n  "title" : "Rivers of the Alps"\n}\n```', "Rivers of the Alps"),
        ("Wie heißt der Fluss?", "Wie heißt der Fluss?"),
        ("one two three four five six seven eight", "one two three four five six"),
        (
            "Donaudampfschifffahrt Donaudampfschifffahrt Donaudampfschifffahrt",
            "Donaudampfschifffahrt Donaudampfschifffahrt",
        ),
        ("x" * 90, "x" * 50),
        ("<script>alert(1)</script> Rivers", "alert(1) Rivers"),
        ("[Rivers](javascript:alert(1)) of <b>Alps</b>", "Rivers of Alps"),
        ("Riv\x00ers\u202e of\ud800 Alps", "Riv ers of Alps"),
        ("阿尔卑斯山的河流", "阿尔卑斯山的河流"),
        ("", None),
        ('***\n---\n""', None),
    ],
)
def test_a_title_is_one_line_of_plain_words(said: str, title: str | None) -> None:
    assert title_of(said) == title


@pytest.mark.requirement("CH-3", "CH-24")
@given(st.text(max_size=400))
def test_nothing_that_is_said_makes_a_title_that_is_long_marked_up_or_not_storable(said: str) -> None:
    for title in (title_of(said), words_of(said)):
        if title is not None:
            assert 0 < len(title) <= MAX_CHARS
            assert len(title.split()) <= MAX_WORDS
            assert not set("<>\x00\n\r\u202e\u2028") & set(title)
            title.encode()


@pytest.mark.requirement("CH-3")
def test_a_message_gives_its_first_words() -> None:
    assert words_of("Tell me\nabout the rivers of the Alps, please") == "Tell me about the rivers of"
    assert words_of("🎉🎉") is None


REPEATED = ["[" * 300_000, "<" * 300_000, "[a](" + "(a)" * 100_000, "*\n" * 1_000_000, "*" * 300_000]


@pytest.mark.parametrize("said", REPEATED, ids=["brackets", "angles", "links", "lines", "stars"])
def test_a_model_that_repeats_itself_instead_of_a_title_holds_up_nobody(said: str) -> None:
    began = time.thread_time()
    title_of(said)
    assert time.thread_time() - began < 1, "brackets took from minutes to hours, in the worker's loop"
