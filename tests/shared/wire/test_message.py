"""From chunks to message parts and back."""

import pytest
from sluiceway.wire.events import (
    KNOWN_TYPES,
    Data,
    Event,
    FileEvent,
    Finish,
    FinishStep,
    MessageMetadata,
    ReasoningDelta,
    ReasoningEnd,
    ReasoningStart,
    ResetStep,
    SourceDocument,
    SourceUrl,
    Start,
    StartStep,
    TextDelta,
    TextEnd,
    TextStart,
    ToolApprovalRequest,
    ToolInputAvailable,
    ToolInputError,
    ToolInputStart,
    ToolOutputAvailable,
    ToolOutputDenied,
    ToolOutputError,
)
from sluiceway.wire.message import MessageFold, merged, replay_of, text_of

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


CITED: list[Event] = [
    Start(message_id="m"),
    StartStep(),
    SourceUrl(source_id="s1", url="https://example.org/a", title="A"),
    SourceUrl(source_id="s2", url="https://example.org/b"),
    SourceDocument(source_id="s3", media_type="application/pdf", title="The report"),
    FileEvent(url="https://example.org/plot.png", media_type="image/png"),
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


def test_sources_and_files_are_parts_and_are_replayed_when_a_stream_is_rebuilt() -> None:
    parts = folded(CITED).finished_parts()

    assert parts == [
        {"type": "step-start"},
        {"type": "source-url", "sourceId": "s1", "url": "https://example.org/a", "title": "A"},
        {"type": "source-url", "sourceId": "s2", "url": "https://example.org/b"},
        {"type": "source-document", "sourceId": "s3", "mediaType": "application/pdf", "title": "The report"},
        {"type": "file", "url": "https://example.org/plot.png", "mediaType": "image/png"},
    ]
    assert replay_of(parts) == CITED[1:]


def test_a_part_with_a_field_of_a_newer_version_is_told_without_it() -> None:
    assert replay_of([{"type": "source-url", "sourceId": "s", "url": "u", "newer": 1}]) == [
        SourceUrl(source_id="s", url="u")
    ]


SAID = [Start(message_id="m"), StartStep(), TextStart(id="0"), ReasoningStart(id="1")]
CALLED = [*SAID, ToolInputAvailable(tool_call_id="c", tool_name="t", input={})]
# Of every type of event an example, and what comes before it.
KEPT: list[tuple[list[Event], Event]] = [
    ([], Start(message_id="m")),
    ([], StartStep()),
    (SAID, FinishStep()),
    (CALLED, ResetStep()),
    ([], TextStart(id="0")),
    (SAID, TextDelta(id="0", delta="text")),
    (SAID, TextEnd(id="0")),
    ([], ReasoningStart(id="1")),
    (SAID, ReasoningDelta(id="1", delta="thought")),
    (SAID, ReasoningEnd(id="1")),
    ([], ToolInputStart(tool_call_id="c", tool_name="t")),
    ([], ToolInputAvailable(tool_call_id="c", tool_name="t", input={})),
    ([], ToolInputError(tool_call_id="c", tool_name="t", input={}, error_text="no")),
    (CALLED, ToolApprovalRequest(approval_id="a", tool_call_id="c")),
    (CALLED, ToolOutputAvailable(tool_call_id="c", output=1)),
    (CALLED, ToolOutputError(tool_call_id="c", error_text="no")),
    (CALLED, ToolOutputDenied(tool_call_id="c")),
    ([], SourceUrl(source_id="s", url="https://example.org")),
    ([], SourceDocument(source_id="s", media_type="application/pdf", title="t")),
    ([], FileEvent(url="https://example.org/f", media_type="image/png")),
    ([], Data(type="data-note", data=1)),
    ([], MessageMetadata(message_metadata={"a": 1})),
    ([], Finish(message_metadata={"a": 1})),
]
# The input of a call comes whole later; an abort and an error end the stream, and are told by the turn's status.
NOT_KEPT = {"tool-input-delta", "abort", "error"}


@pytest.mark.requirement("TS-8")
def test_there_is_an_example_of_every_event_that_a_message_keeps() -> None:
    assert {event.type for _, event in KEPT} | NOT_KEPT == KNOWN_TYPES | {"data-note"}


@pytest.mark.requirement("TS-8")
@pytest.mark.parametrize(("before", "event"), KEPT, ids=[event.type for _, event in KEPT])
def test_no_event_is_dropped_in_silence(before: list[Event], event: Event) -> None:
    """What the fold drops is gone when the page is loaded again."""

    def seen(fold: MessageFold) -> object:
        return fold.started, fold.closers(), fold.metadata, fold.parts, fold.finished_parts()

    assert seen(folded([*before, event])) != seen(folded(before))


def test_what_is_said_of_the_message_is_merged_object_by_object() -> None:
    fold = folded(
        [
            Start(message_id="m", message_metadata={"a": {"x": 1}, "list": [1, 2]}),
            MessageMetadata(message_metadata={"a": {"y": 2}, "list": [3]}),
            Finish(message_metadata={"b": None}),
        ]
    )

    assert fold.metadata == {"a": {"x": 1, "y": 2}, "list": [3], "b": None}
    assert merged({"a": 1}, {"a": {"x": 1}}) == {"a": {"x": 1}}


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


@pytest.mark.parametrize(
    ("end", "kept"),
    [
        (ToolOutputDenied(tool_call_id="c"), {"id": "a", "approved": False, "reason": "no"}),
        (ToolOutputAvailable(tool_call_id="c", output="done"), None),
    ],
)
def test_a_no_stays_beside_a_denial_and_goes_where_an_output_comes_all_the_same(
    end: Event, kept: dict[str, object] | None
) -> None:
    said = {"id": "a", "approved": False, "reason": "no"}
    part = {"type": "tool-x", "toolCallId": "c", "state": "approval-responded", "input": {}, "approval": said}
    fold = MessageFold([part])
    fold.add(end)
    assert fold.calls()["c"].get("approval") == kept
