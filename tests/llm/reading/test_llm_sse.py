"""The decoder of event streams gives the same events for every split of the same bytes."""

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sluiceway_llm.reading import sse_lines
from sluiceway_llm.reading.sse_lines import EventTooLarge, SseDecoder

pytestmark = pytest.mark.requirement("CH-5")

LINES = [
    "data: größer 👩‍🚀",
    "",
    ": a comment",
    "",
    "",
    "event: message",
    "id: 7",
    "data:first",
    "data:  second",
    "data",
    "retry: 10",
    "",
    "data: [DONE]",
    "",
]
EVENTS = ["größer 👩‍🚀".encode(), b"first\n second\n", b"[DONE]"]


def decode(pieces: list[bytes]) -> list[bytes]:
    decoder = SseDecoder()
    return [event for piece in pieces for event in decoder.feed(piece)]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@given(cuts=st.sets(st.integers(0, 140)))
def test_any_split_of_the_bytes_gives_the_same_events(newline: str, cuts: set[int]) -> None:
    stream = "".join(line + newline for line in LINES).encode()
    bounds = [0, *sorted(cut for cut in cuts if 0 < cut < len(stream)), len(stream)]
    assert decode([stream[start:end] for start, end in pairwise(bounds)]) == EVENTS


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_byte_by_byte_is_a_split_too(newline: str) -> None:
    stream = "".join(line + newline for line in LINES).encode()
    assert decode([bytes([byte]) for byte in stream]) == EVENTS


def test_an_event_is_given_as_soon_as_its_blank_line_is_there() -> None:
    assert SseDecoder().feed(b"data: a\r\r") == [b"a"]
    assert SseDecoder().feed(b"data: a\r\n\r\n") == [b"a"]
    assert SseDecoder().feed(b"data: a\n\n") == [b"a"]


def test_a_byte_order_mark_at_the_start_is_no_part_of_the_first_line() -> None:
    assert decode([b"\xef", b"\xbb\xbfdata: a\n\n"]) == [b"a"]


def test_an_event_without_its_blank_line_never_comes_out() -> None:
    assert decode([b"data: whole\n\ndata: torn\n"]) == [b"whole"]


def test_an_event_without_end_is_refused_before_it_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse_lines, "MAX_EVENT_BYTES", 1000)
    with pytest.raises(EventTooLarge):
        decode([b"data: " + b"x" * 100 + b"\n"] * 11)
    with pytest.raises(EventTooLarge):
        SseDecoder().feed(b"x" * 1001)


def test_a_long_line_in_small_pieces_is_looked_at_once() -> None:
    """4 MB, which took a decoder 15 s that began at the line's beginning again with each piece."""
    decoder, began = SseDecoder(), time.process_time()
    assert not any(decoder.feed(b"data: x" + b"x" * 1000) for _ in range(4000))
    assert len(decoder.feed(b"\n\n")[0]) > 4_000_000
    assert time.process_time() - began < 2
