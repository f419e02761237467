"""How an attempt goes on where its predecessors stopped: seen by clients of version 6 and 7, and by later replays."""

import pytest
from chat_worker.turn.takeover import Continuable, Takeover
from chat_worker.turn.takeover import take_over as plan_on
from sluiceway.stream.entry import Entry
from sluiceway.stream.retracted import parse_retracted
from sluiceway.turn.shown import Durable, as_shown
from sluiceway.wire.entry_id import EntryId
from sluiceway.wire.events import (
    Data,
    Event,
    FinishStep,
    ProtocolVersion,
    ReasoningDelta,
    ReasoningEnd,
    ReasoningStart,
    Start,
    StartStep,
    TextDelta,
    TextEnd,
    TextStart,
    ToolInputAvailable,
    ToolInputStart,
    ToolOutputAvailable,
    ToolOutputDenied,
    ToolOutputError,
)
from sluiceway.wire.message import MessageFold, Part, text_of

Stream = list[Entry]


def stored(attempt: int, events: list[tuple[Event, ProtocolVersion | None]]) -> Stream:
    return [Entry((attempt, n), event, protocol) for n, (event, protocol) in enumerate(events)]


def begun(attempt: int, text: str) -> list[tuple[Event, ProtocolVersion | None]]:
    return [(TextStart(id="0"), None), (TextDelta(id="0", delta=text), None)]


def take_over(
    entries: Stream, message_id: str, attempt: int, retracted: str, durable: Durable | None = None
) -> Takeover:
    return plan_on(entries, durable or Durable(), message_id, attempt, retracted)


FIRST = stored(1, [(Start(message_id="m"), None), (StartStep(), None), *begun(1, "abandoned")])
END: list[tuple[Event, ProtocolVersion | None]] = [(TextEnd(id="0"), None), (FinishStep(), None)]


def seen_by(stream: Stream, protocol: ProtocolVersion, after: EntryId = (0, 0), retracted: str = "") -> list[Event]:
    """What a client of that version is sent, as the gateway does it."""
    hidden = [(kept, resumed) for kept, resumed in parse_retracted(retracted) if after <= kept]
    return [
        entry.event
        for entry in stream
        if isinstance(entry.event, Event)
        and entry.entry_id > after
        and entry.protocol in (None, protocol)
        and not any(kept < entry.entry_id < resumed for kept, resumed in hidden)
    ]


def open_parts_are_never_reopened(events: list[Event]) -> bool:
    open_text = open_step = False
    for event in events:
        match event:
            case TextStart():
                if open_text or not open_step:
                    return False
                open_text = True
            case TextEnd():
                if not open_text:
                    return False
                open_text = False
            case StartStep():
                if open_step:
                    return False
                open_step = True
            case FinishStep():
                if not open_step or open_text:
                    return False
                open_step = False
    return not open_text and not open_step


@pytest.mark.requirement("TS-5")
def test_on_an_empty_stream_it_begins_from_the_start() -> None:
    plan = take_over([], "m", 1, "")

    assert plan.opening == [(Start(message_id="m"), None)]
    assert plan.retracted is None


@pytest.mark.requirement("TS-3")
def test_a_retried_step_is_whole_for_both_versions_and_left_out_of_replays() -> None:
    plan = take_over(FIRST, "m", 2, "")
    stream = FIRST + stored(2, [*plan.opening, *begun(2, "right"), *END])
    assert plan.retracted is not None

    live6 = seen_by(stream, 6)
    assert open_parts_are_never_reopened(live6)
    live7 = seen_by(stream, 7)
    fold = MessageFold()
    for event in live7:
        fold.add(event)
    assert text_of(fold.finished_parts()) == "right"
    for protocol in (6, 7):
        replay = seen_by(stream, protocol, retracted=plan.retracted)
        assert [event.delta for event in replay if isinstance(event, TextDelta)] == ["right"]
        assert open_parts_are_never_reopened(replay)


@pytest.mark.requirement("TS-3")
@pytest.mark.parametrize("seen", range(len(FIRST) + 1))
def test_wherever_a_follower_was_cut_off_what_it_gets_fits_what_it_had(seen: int) -> None:
    plan = take_over(FIRST, "m", 2, "")
    assert plan.retracted is not None
    stream = FIRST + stored(2, [*plan.opening, *begun(2, "right"), *END])
    after = FIRST[seen - 1].entry_id if seen else (0, 0)
    before = [entry.event for entry in FIRST[:seen] if isinstance(entry.event, Event)]

    whole = before + seen_by(stream, 6, after, plan.retracted)

    assert open_parts_are_never_reopened(whole)


@pytest.mark.requirement("TS-3")
def test_a_step_that_is_retried_twice_is_left_out_twice() -> None:
    second = take_over(FIRST, "m", 2, "")
    stream = FIRST + stored(2, [*second.opening, *begun(2, "abandoned too")])
    assert second.retracted is not None
    third = take_over(stream, "m", 3, second.retracted)
    stream += stored(3, [*third.opening, *begun(3, "right"), *END])
    assert third.retracted is not None

    replay = seen_by(stream, 7, retracted=third.retracted)
    assert [event.delta for event in replay if isinstance(event, TextDelta)] == ["right"]
    assert open_parts_are_never_reopened(seen_by(stream, 6))


CALL = ToolInputAvailable(tool_call_id="c", tool_name="t", input={})
ASKED: Part = {"type": "tool-t", "toolCallId": "c", "state": "input-available", "input": {}}
DONE = ASKED | {"state": "output-available", "output": "12"}
SHOWN_CALL = stored(1, [(Start(message_id="m"), None), (StartStep(), None), (CALL, None), (FinishStep(), None)])
OUTPUT = ToolOutputAvailable(tool_call_id="c", output="12")


def durable(*parts: Part, before: int = 0) -> Durable:
    return Durable([{"type": "step-start"}, *parts], before, {"c"})


def shown(plan: Takeover, stream: Stream, protocol: ProtocolVersion = 7) -> MessageFold:
    """What a follower of the stream and its continuation has."""
    fold = MessageFold()
    for event in seen_by(stream + stored(9, plan.opening), protocol):
        fold.add(event)
    return fold


def test_a_step_that_postgres_does_not_have_is_done_again_also_when_it_was_shown_to_its_end() -> None:
    stream = FIRST + [Entry((1, 4 + n), event, None) for n, (event, _) in enumerate(END)]

    plan = take_over(stream, "m", 2, "")

    assert plan.fold.step_open
    assert text_of(plan.fold.finished_parts()) == ""
    assert plan.retracted is not None


@pytest.mark.requirement("CH-9")
def test_after_a_durable_step_nothing_is_abandoned_and_the_answer_is_told_once() -> None:
    plan = take_over(SHOWN_CALL, "m", 2, "", durable(DONE))

    assert plan.opening == [(OUTPUT, None)]
    assert plan.retracted is None
    again = take_over(SHOWN_CALL + stored(2, plan.opening), "m", 3, "", durable(DONE))
    assert again.opening == []


@pytest.mark.requirement("CH-9")
@pytest.mark.parametrize("kept", range(len(SHOWN_CALL) + 1))
def test_a_stream_that_lost_its_end_is_told_all_that_postgres_has(kept: int) -> None:
    plan = take_over(SHOWN_CALL[:kept], "m", 2, "", durable(DONE))

    fold = shown(plan, SHOWN_CALL[:kept])
    assert fold.finished_parts() == [{"type": "step-start"}, DONE]
    assert not fold.step_open
    assert plan.fold.finished_parts() == fold.finished_parts()


@pytest.mark.requirement("CH-9")
def test_the_unfinished_step_after_the_tools_is_replaced_and_the_one_before_stays() -> None:
    stream = SHOWN_CALL + stored(2, [(OUTPUT, None), (StartStep(), None), *begun(2, "abandoned")])

    plan = take_over(stream, "m", 3, "", durable(DONE))

    assert [part["type"] for part in plan.fold.parts] == ["step-start", "tool-t", "step-start"]
    assert plan.fold.step_open


@pytest.mark.requirement("CH-16")
def test_a_turn_that_continues_a_message_tells_only_what_is_new() -> None:
    before = ({"type": "step-start"}, ASKED | {"state": "output-denied", "approval": {"id": "a", "approved": False}})

    plan = take_over([], "m", 1, "", Durable(before, 2, {"c"}))

    assert plan.opening == [(Start(message_id="m"), None), (ToolOutputDenied(tool_call_id="c"), None)]
    assert plan.fold.parts == list(before)


@pytest.mark.requirement("CH-13")
def test_what_was_shown_of_an_unfinished_step_is_kept_where_nobody_continues() -> None:
    stream = SHOWN_CALL + stored(2, [(StartStep(), None), *begun(2, "so far")])

    fold, lacking = as_shown(stream, durable(DONE))

    assert lacking == [OUTPUT]
    assert text_of(fold.finished_parts()) == "so far"
    unanswered, _ = as_shown(SHOWN_CALL, durable(ASKED))
    assert unanswered.abandoned_calls("stopped") == [ToolOutputError(tool_call_id="c", error_text="stopped")]


def continuing(
    stream: Stream, attempt: int, retracted: str = "", durable: Durable | None = None, able: Continuable = "text"
) -> Takeover:
    return plan_on(stream, durable or Durable(), "m", attempt, retracted, able=able)


@pytest.mark.requirement("TS-3", "TS-5")
def test_a_text_that_was_begun_continues_in_its_part_and_nobody_sees_a_seam() -> None:
    plan = continuing(FIRST, 2)
    more: list[tuple[Event, ProtocolVersion | None]] = [(TextDelta(id="0", delta=" and gone on"), None), *END]
    stream = FIRST + stored(2, [*plan.opening, *more])

    assert (plan.opening, plan.retracted, plan.continues) == ([], None, True)
    assert (plan.fold.open_part, plan.fold.open_text) == (("text", "0"), "abandoned")
    for protocol in (6, 7):
        seen = seen_by(stream, protocol)
        assert open_parts_are_never_reopened(seen)
        assert [type(event) for event in seen].count(StartStep) == 1


@pytest.mark.requirement("TS-5")
@pytest.mark.parametrize(
    "shown",
    [
        [TextStart(id="0")],
        [TextStart(id="0"), TextDelta(id="0", delta=" \n")],
        [TextStart(id="0"), TextDelta(id="0", delta="said"), TextEnd(id="0")],
        [TextStart(id="0"), TextDelta(id="0", delta="said"), TextEnd(id="0"), FinishStep()],
        [ReasoningStart(id="0"), ReasoningDelta(id="0", delta="hm")],
        [ReasoningStart(id="0"), ReasoningEnd(id="0"), TextStart(id="1"), TextDelta(id="1", delta="said")],
        [TextStart(id="0"), TextDelta(id="0", delta="said"), ToolInputStart(tool_call_id="c", tool_name="t")],
    ],
)
def test_what_is_no_mere_beginning_of_a_text_is_done_again(shown: list[Event]) -> None:
    stream = stored(1, [(Start(message_id="m"), None), (StartStep(), None), *((event, None) for event in shown)])

    plan = continuing(stream, 2)

    assert not plan.continues
    assert plan.retracted is not None
    assert plan.fold.step_open
    assert plan.fold.finished_parts() == []


@pytest.mark.requirement("CH-7")
@pytest.mark.parametrize("able", ["nothing", "text", "answer"])
def test_a_step_of_which_nothing_was_shown_is_continued_and_nothing_is_replaced(able: Continuable) -> None:
    away = Data(type="data-status", data={"state": "waiting"}, transient=True)
    stream = stored(1, [(Start(message_id="m"), None), (StartStep(), None), (away, None)])

    plan = continuing(stream, 2, able=able)

    assert (plan.opening, plan.retracted, plan.continues) == ([], None, True)
    assert plan.fold.step_open


@pytest.mark.requirement("CH-9", "TS-5")
def test_a_text_after_the_tools_continues_only_where_postgres_has_the_steps_before_it() -> None:
    stream = SHOWN_CALL + stored(2, [(OUTPUT, None), (StartStep(), None), *begun(2, "so far")])

    plan = continuing(stream, 3, durable=durable(DONE))
    assert (plan.opening, plan.continues) == ([], True)
    assert plan.fold.finished_steps() == [{"type": "step-start"}, DONE]

    lost = continuing(stream, 3)
    assert not lost.continues
    assert lost.retracted is not None


@pytest.mark.requirement("TS-3")
def test_an_attempt_that_could_not_continue_after_all_leaves_out_what_it_and_the_others_had_shown() -> None:
    """The attempt has written something already: where it takes up again is counted from there."""
    written: list[tuple[Event, ProtocolVersion | None]] = [(TextDelta(id="0", delta="!"), None)]
    stream = FIRST + stored(2, written)
    plan = take_over(stream, "m", 2, "")
    assert plan.retracted is not None
    stream = FIRST + stored(2, [*written, *plan.opening, *begun(2, "right"), *END])

    for protocol in (6, 7):
        assert open_parts_are_never_reopened(seen_by(stream, protocol, retracted=plan.retracted))
        replay = seen_by(stream, protocol, retracted=plan.retracted)
        assert replay == [Start(message_id="m"), StartStep(), *(event for event, _ in [*begun(2, "right"), *END])]
