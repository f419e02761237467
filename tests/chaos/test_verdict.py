"""The checker of `make chaos` can fail: streams and rows that are wrong in one way are counted in that one column."""

import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from chaos.ledger import EntryId, Fault, Ledger, Seen, Turn, View
from chaos.questions import Call, Question, ask
from chaos.recovery import waits
from chaos.report import account, as_json, table
from chaos.running import Outcome, judge_all
from chaos.stored import Stored, StoredOperation, StoredTask
from chaos.verdict import Column, judge

QUESTION = ask("recorded", "tools", random.Random(7))
TALLY = next(call for call in QUESTION.calls if call.tool == "tally")
Chunk = dict[str, Any]
Corruption = Callable[[list[Seen]], list[Seen]]


def call_id(call: Call) -> str:
    return f"call-{QUESTION.calls.index(call)}"


def chunks_of_step(text: str, calls: tuple[Call, ...], part: str) -> list[Chunk]:
    deltas = [{"type": "text-delta", "id": part, "delta": f"{word} "} for word in text.split()]
    inputs = [
        {"type": "tool-input-available", "toolCallId": call_id(call), "toolName": call.tool, "input": call.arguments}
        for call in calls
    ]
    outputs = [{"type": "tool-output-available", "toolCallId": call_id(call), "output": call.output} for call in calls]
    text_chunks = [{"type": "text-start", "id": part}, *deltas, {"type": "text-end", "id": part}]
    return [{"type": "start-step"}, *text_chunks, *inputs, {"type": "finish-step"}, *outputs]


def recorded(question: Question = QUESTION) -> list[Seen]:
    """The whole stream of the question's answer, as one attempt writes it."""
    rounds = (*question.rounds, ())
    steps = [
        chunks_of_step(text, calls, str(n)) for n, (text, calls) in enumerate(zip(question.steps, rounds, strict=True))
    ]
    chunks = [{"type": "start", "messageId": "m"}, *(chunk for step in steps for chunk in step), {"type": "finish"}]
    return numbered(chunks)


def numbered(chunks: list[Chunk], attempt: int = 1, at: float = 10.0) -> list[Seen]:
    return [Seen((attempt, n), chunk, at + n / 100, 1) for n, chunk in enumerate(chunks)]


def turn_that_saw(events: list[Seen], *, done: bool = True, protocol: int = 7) -> Turn:
    turn = Turn(QUESTION, "event-source", "message", "session")
    turn.accept("task")
    turn.views.append(View(protocol, events, done=done))
    return turn


def stored(**changes: Any) -> Stored:
    """What Postgres has of the question's turn when all went well."""
    parts: list[Chunk] = []
    for text, calls in zip(QUESTION.steps, (*QUESTION.rounds, ()), strict=True):
        parts += [{"type": "step-start"}, {"type": "text", "text": text, "state": "done"}]
        parts += [
            {
                "type": f"tool-{call.tool}",
                "toolCallId": call_id(call),
                "state": "output-available",
                "output": call.output,
            }
            for call in calls
        ]
    operations = [StoredOperation("succeeded", call.tool, call.arguments) for call in QUESTION.calls]
    whole = Stored(
        tasks={("session", "message"): [StoredTask("task", "completed", None)]},
        answers={("session", "message"): [parts]},
        operations={"task": operations},
        tally=Counter([str(TALLY.effect)]),
    )
    return replace(whole, **changes)


def columns(turn: Turn, rows: Stored | None = None, replays: tuple[View, ...] = ()) -> set[Column]:
    return judge(turn, rows or stored(), replays).columns


def place_of(events: list[Seen], kind: str) -> int:
    return next(place for place, seen in enumerate(events) if seen.type == kind)


def without_a_delta(events: list[Seen]) -> list[Seen]:
    place = place_of(events, "text-delta") + 3
    assert events[place].type == "text-delta"
    return events[:place] + events[place + 1 :]


def with_a_delta_again(events: list[Seen]) -> list[Seen]:
    """The same frame twice, id and all."""
    place = place_of(events, "text-delta") + 3
    return events[: place + 1] + events[place:]


def with_text_again(events: list[Seen]) -> list[Seen]:
    """Under ids that look right: only the text tells."""
    again = with_a_delta_again(events)
    return [replace(seen, entry_id=(1, n)) for n, seen in enumerate(again)]


def with_an_early_finish(events: list[Seen]) -> list[Seen]:
    """The last words are not there, and all that closes a message is."""
    last = max(place for place, seen in enumerate(events) if seen.type == "text-delta")
    return [*events[: last - 1], *events[last + 1 :]]


def with_a_lost_start(events: list[Seen]) -> list[Seen]:
    place = place_of(events, "text-start")
    return events[:place] + events[place + 1 :]


def without_an_output(events: list[Seen]) -> list[Seen]:
    place = place_of(events, "tool-output-available")
    return events[:place] + events[place + 1 :]


def with_an_output_twice(events: list[Seen]) -> list[Seen]:
    place = place_of(events, "tool-output-available")
    return events[: place + 1] + [replace(seen, entry_id=(2, n)) for n, seen in enumerate(events[place:])]


def with_a_second_answer(events: list[Seen]) -> list[Seen]:
    """A second attempt says the last step again, and does not take back what was shown."""
    begun = max(place for place, seen in enumerate(events) if seen.type == "start-step")
    again = numbered([seen.chunk for seen in events[begun:]], attempt=1, at=50)
    return events[:-1] + [replace(seen, entry_id=(1, 1000 + n)) for n, seen in enumerate(again)]


def test_a_whole_answer_is_in_no_column() -> None:
    turn = turn_that_saw(recorded())
    judgement = judge(turn, stored(), [View(6, recorded(), done=True)])
    assert judgement.findings == []
    assert judgement.answered
    assert not judgement.without_tools


@pytest.mark.parametrize(
    ("corruption", "column"),
    [
        (without_a_delta, "gap"),
        (with_a_lost_start, "gap"),
        (without_an_output, "gap"),
        (with_a_delta_again, "repeat"),
        (with_text_again, "repeat"),
        (with_an_output_twice, "repeat"),
        (with_a_second_answer, "repeat"),
        (with_an_early_finish, "false finish"),
    ],
)
@pytest.mark.parametrize("protocol", [6, 7])
def test_a_corrupted_stream_is_counted_in_its_column(corruption: Corruption, column: Column, protocol: int) -> None:
    assert columns(turn_that_saw(corruption(recorded()), protocol=protocol)) == {column}
    assert columns(turn_that_saw(recorded()), replays=(View(protocol, corruption(recorded()), done=True),)) == {column}


def test_a_response_that_ends_in_order_without_finish_is_a_false_finish() -> None:
    assert columns(turn_that_saw(recorded()[:-1])) == {"false finish"}


def test_half_an_answer_on_a_connection_that_broke_is_no_fault_of_the_stream_but_the_turn_is_lost_to_its_client() -> (
    None
):
    half = recorded()[:20]
    assert columns(turn_that_saw(half, done=False)) == {"lost"}
    turn = turn_that_saw(half, done=False)
    turn.views.append(View(7, recorded(), done=True))
    assert columns(turn) == set()


def test_a_gap_in_what_was_seen_before_a_break_counts_although_the_next_view_is_whole() -> None:
    turn = turn_that_saw(without_a_delta(recorded())[:20], done=False)
    turn.views.append(View(7, recorded(), done=True))
    assert columns(turn) == {"gap"}


@pytest.mark.parametrize("protocol", [6, 7])
def test_a_retried_step_is_no_repeat(protocol: int) -> None:
    """The last step was shown in part, its worker died, and the next attempt says it again."""
    events = recorded()
    begun = max(place for place, seen in enumerate(events) if seen.type == "start-step")
    part = events[begun + 1].chunk["id"]
    shown = events[: begun + 5]
    taken_back: list[Chunk] = [{"type": "reset-step"}]
    if protocol == 6:
        taken_back = [{"type": "text-end", "id": part}, {"type": "finish-step"}, {"type": "start-step"}]
    again = [seen.chunk for seen in events[begun + 1 :]]
    assert columns(turn_that_saw(shown + numbered(taken_back + again, attempt=2, at=60), protocol=protocol)) == set()


def test_a_history_is_as_good_as_a_stream_when_it_is_whole() -> None:
    turn = turn_that_saw(recorded()[:20], done=False)
    turn.history = QUESTION.answer
    assert columns(turn) == set()
    turn.history = "".join(QUESTION.steps[:2])
    assert columns(turn) == {"false finish"}


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ({"tasks": {}}, "lost"),
        ({"tasks": {("session", "message"): [StoredTask("task", "failed", "{}")]}}, "lost"),
        ({"tasks": {("session", "message"): [StoredTask(name, "completed", None) for name in "ab"]}}, "doubled"),
        ({"answers": {}}, "lost"),
        ({"answers": {("session", "message"): stored().answers["session", "message"] * 2}}, "doubled"),
        ({"tally": Counter({TALLY.effect: 2})}, "doubled"),
        ({"tally": Counter()}, "lost"),
        ({"operations": {"task": stored().operations["task"] * 2}}, "doubled"),
    ],
    ids=["no turn", "failed", "two turns", "no answer", "two answers", "ran twice", "never ran", "two operations"],
)
def test_what_postgres_lacks_or_has_twice_is_counted(changes: dict[str, Any], column: Column) -> None:
    assert column in columns(turn_that_saw(recorded()), stored(**changes))


def test_an_answer_in_postgres_that_is_not_the_one_that_was_shown_is_lost() -> None:
    parts = json.loads(json.dumps(stored().answers["session", "message"][0]))
    parts[1]["text"] = parts[1]["text"][5:]
    assert columns(turn_that_saw(recorded()), stored(answers={("session", "message"): [parts]})) == {"lost"}


def test_one_message_that_two_gateways_call_by_two_turns_is_doubled() -> None:
    turn = turn_that_saw(recorded())
    turn.accept("another-task")
    assert "doubled" in columns(turn)


def test_an_interrupted_tool_is_right_only_where_it_may_not_be_repeated() -> None:
    def interrupted(call: Call) -> list[Seen]:
        return [
            replace(
                seen, chunk={"type": "tool-output-error", "toolCallId": call_id(call), "errorText": "INTERRUPTED: …"}
            )
            if seen.type == "tool-output-available" and seen.chunk["toolCallId"] == call_id(call)
            else seen
            for seen in recorded()
        ]

    other = next(call for call in QUESTION.calls if call.repeatable)
    assert columns(turn_that_saw(interrupted(TALLY))) == set()
    assert columns(turn_that_saw(interrupted(other))) == {"gap"}


def test_a_row_of_the_table_has_the_counts_and_the_account_says_where_it_went_wrong() -> None:
    good, bad = turn_that_saw(recorded()), turn_that_saw(without_a_delta(recorded()))
    outcome = Outcome("recorded")
    judge_all(outcome, [good, bad], stored(), [[], []])
    row = table([outcome]).splitlines()[-1].split()
    assert row[:8] == ["recorded", "2", "1", "0", "0", "1", "0", "0"]
    assert not outcome.clean
    missing = QUESTION.answer.split()[3]
    told = account(outcome)
    assert "task (event-source" in told
    assert missing in told.partition("instead of")[2]
    assert missing not in told.partition("instead of")[0]
    assert as_json(outcome)["gap"] == 1


def test_a_run_in_which_nothing_was_accepted_is_not_clean() -> None:
    assert not Outcome("empty").clean


def wait_for(
    sign: Any, events: list[Seen], opened: tuple[float, ...] = (9.0,), question: Question = QUESTION
) -> list[float]:
    turn = turn_that_saw(events)
    turn.question = question
    turn.opened = [(at, 0) for at in opened]
    found = waits(Ledger([turn], [Fault("a fault", 20.0, sign, frozenset({"task"}), promised_seconds=2.0)]))
    assert all(wait.too_long == (wait.seconds > 2) for wait in found)
    return [wait.seconds for wait in found]


def seen_at(at: float, attempt: int, connection: int = 1) -> Seen:
    entry_id: EntryId = (attempt, int(at * 10))
    return Seen(entry_id, {"type": "text-delta", "id": "0", "delta": "word "}, at, connection)


def test_recovery_is_counted_from_the_fault_to_the_next_text_of_a_later_attempt() -> None:
    assert wait_for("attempt", [seen_at(19, 1), seen_at(20.1, 1), seen_at(23, 2), seen_at(23.1, 2)]) == [3.0]
    assert wait_for("attempt", [seen_at(19, 1), seen_at(20.1, 1)]) == []


def test_recovery_of_a_broken_connection_is_counted_to_the_next_text_over_another_one() -> None:
    events = [seen_at(19, 1), seen_at(20.1, 1), seen_at(21.5, 1, connection=2)]
    assert wait_for("connection", events, opened=(9.0, 21.0)) == [1.5]


def test_a_release_is_counted_from_the_last_text_of_the_attempt_before() -> None:
    assert wait_for("release", [seen_at(19, 1), seen_at(29, 1), seen_at(30.5, 2)]) == [1.5]


def test_where_everything_is_touched_recovery_is_the_longest_silence_of_an_answer_that_should_flow() -> None:
    events = [seen_at(at, 1) for at in (19, 19.9, 20.1, 23.1, 23.2)]
    assert wait_for("silence", events) == []
    assert wait_for("silence", events, question=ask("flows", "plain", random.Random(1))) == [3.0]
