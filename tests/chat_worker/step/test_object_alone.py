"""What is told of an answer that is to be one JSON object: that, however it is wrapped, and however it comes."""

from itertools import pairwise

import pytest
from chat_worker.step.object_alone import ObjectAlone
from hypothesis import given
from hypothesis import strategies as st

OBJECT = '{"a": {"b": "}{`\\""}, "c": []}'
ALONE = [
    OBJECT,
    f"```json\n{OBJECT}\n```",
    f"Here it is [as JSON]:\n{OBJECT}\n\nAnything else?",
    f"<answer>{OBJECT}</answer>",
    f"\ufeff{OBJECT}\n",
]
AS_SAID = [
    "There is none.",
    f"[{OBJECT}]",
    f"```json\n[\n{OBJECT}, {OBJECT}\n]```",
    f"{OBJECT}\n{OBJECT}",
    f"Use {{city}} as in {OBJECT}",
    "{'a': " + OBJECT + "}",
    "{" + " " * 600 + OBJECT + "}",
    '{"a": 1',
    "{",
    "",
]


def told(text: str, cuts: list[int], shown: str = "") -> str:
    alone, places = ObjectAlone(shown), sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    pieces = [text[begin:end] for begin, end in pairwise(places)]
    return "".join([alone.feed(piece) for piece in pieces]) + alone.rest()


@pytest.mark.requirement("CH-21")
@given(st.lists(st.integers(0, 700), max_size=40))
def test_the_object_is_told_without_what_is_around_it_however_it_is_split(cuts: list[int]) -> None:
    assert [told(text, cuts) for text in ALONE] == [OBJECT] * len(ALONE)
    assert [told(text, cuts) for text in AS_SAID] == AS_SAID
    # A successor continues with what was shown before.
    cut = sum(cuts) % len(OBJECT)
    assert OBJECT[:cut] + told(OBJECT[cut:] + "\n```", cuts, OBJECT[:cut]) == OBJECT
    assert told("more", cuts, "Köln ") == "more"


def test_the_object_is_told_as_it_comes() -> None:
    alone = ObjectAlone()
    pieces = ["Sure:\n```", 'json\n{"a"', ": 1", "}\n```"]
    assert [alone.feed(piece) for piece in pieces] == ["", '{"a"', ": 1", "}"]
