"""From chunks to message parts and back."""

import pytest
from sluiceway.wire.events import (
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
    ToolInputAvailable,
    ToolInputError,
    ToolOutputAvailable,
)
from sluiceway.wire.message import MessageFold, replay_of, text_of

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


CALL = ToolInputAvailable(tool_call_id="c", tool_name="run_agents", input={"n": 1}, title="Agent team")
RESULT = ToolOutputAvailable(tool_call_id="c", output={"done": True})


def test_a_call_keeps_what_its_tool_calls_itself_also_in_the_chunks_made_from_it() -> None:
    parts = folded([Start(message_id="m"), StartStep(), CALL, FinishStep(), RESULT]).finished_parts()

    assert parts[1]["title"] == "Agent team"
    assert CALL in replay_of(parts)
    assert folded(replay_of(parts)).finished_parts() == parts


def test_progress_that_comes_after_a_calls_end_changes_nothing() -> None:
    late = ToolOutputAvailable(tool_call_id="c", output={"status": "running"}, preliminary=True)

    fold = folded([Start(message_id="m"), StartStep(), CALL, FinishStep(), RESULT, late])

    assert fold.calls()["c"]["output"] == {"done": True}


def test_a_call_of_a_step_that_is_done_again_may_come_again() -> None:
    running = ToolOutputAvailable(tool_call_id="c", output={"status": "running"}, preliminary=True)
    refused = ToolInputError(tool_call_id="c", tool_name="run_agents", input={}, error_text="no")

    fold = folded([Start(message_id="m"), StartStep(), refused, ResetStep(), CALL, running])

    assert fold.calls()["c"]["output"] == {"status": "running"}
    assert "c" not in fold.told
