"""From chunks to message parts and back."""

import pytest
from sluiceway.events import (
    Data,
    Event,
    FinishStep,
    ReasoningDelta,
    ReasoningEnd,
    ReasoningStart,
    ResetStep,
    Start,
    StartStep,
    TextDelta,
    TextEnd,
    TextStart,
)
from sluiceway.message import MessageFold, replay_of, text_of

WHOLE: list[Event] = [
    Start(message_id="m"),
    StartStep(),
    ReasoningStart(id="0"),
    ReasoningDelta(id="0", delta="let me "),
    ReasoningDelta(id="0", delta="think"),
    ReasoningEnd(id="0"),
    TextStart(id="1"),
    TextDelta(id="1", delta="Größe "),
    TextDelta(id="1", delta="🙂"),
    TextEnd(id="1"),
    Data(type="data-note", data={"a": 1}, id="n"),
    Data(type="data-status", data="gone", transient=True),
    FinishStep(),
]


def folded(events: list[Event]) -> MessageFold:
    fold = MessageFold()
    for event in events:
        fold.add(event)
    return fold


def test_a_whole_message_folds_into_its_parts() -> None:
    parts = folded(WHOLE).finished_parts()

    assert parts == [
        {"type": "step-start"},
        {"type": "reasoning", "text": "let me think", "state": "done"},
        {"type": "text", "text": "Größe 🙂", "state": "done"},
        {"type": "data-note", "data": {"a": 1}, "id": "n"},
    ]
    assert text_of(parts) == "Größe 🙂"


def test_the_chunks_made_from_parts_fold_into_the_same_parts() -> None:
    parts = folded(WHOLE).finished_parts()

    assert folded(replay_of(parts)).finished_parts() == parts


@pytest.mark.requirement("CH-13")
@pytest.mark.parametrize("cut", range(1, len(WHOLE)))
def test_a_message_cut_anywhere_closes_what_is_open_and_keeps_what_was_shown(cut: int) -> None:
    fold = folded(WHOLE[:cut])
    closers = fold.closers()
    for event in closers:
        fold.add(event)

    assert fold.closers() == []
    shown = "".join(event.delta for event in WHOLE[:cut] if isinstance(event, TextDelta))
    assert text_of(fold.finished_parts()) == shown


def test_a_reset_step_drops_what_the_step_had_shown() -> None:
    retried: list[Event] = [ResetStep(), TextStart(id="0"), TextDelta(id="0", delta="again"), TextEnd(id="0")]

    assert folded([*WHOLE[:8], *retried]).finished_parts() == [
        {"type": "step-start"},
        {"type": "text", "text": "again", "state": "done"},
    ]


def test_a_message_of_which_nothing_was_shown_has_no_parts() -> None:
    assert folded([Start(message_id="m"), StartStep(), TextStart(id="0")]).finished_parts() == []
