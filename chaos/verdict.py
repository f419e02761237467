"""Is what clients saw, and what Postgres has, what was asked for? Every character is known, so every fault has a name.

A turn counts once in each column that it belongs to:
- lost: it was accepted, and Postgres has no whole answer, or its client never came to the end;
- doubled: more than one turn, answer, operation or effect of one message;
- gap: a piece is missing in the middle of what a client saw; repeat: a piece came again;
- false finish: what a client saw looks complete, and is not.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

from chaos.ledger import Turn, View
from chaos.questions import Call, Question
from chaos.shown import Shown, shown_by
from chaos.stored import Stored

Column = Literal["lost", "doubled", "gap", "repeat", "false finish"]
Finding = tuple[Column, str]
COLUMNS: tuple[Column, ...] = ("lost", "doubled", "gap", "repeat", "false finish")

_AROUND = 60
_AGAIN = ("twice", "came after", "where the message")


@dataclass(slots=True)
class Judgement:
    turn: Turn
    findings: list[Finding] = field(default_factory=list)
    # The model was not offered its tools, and answered without: as promised where Redis was lost.
    without_tools: bool = False

    @property
    def columns(self) -> set[Column]:
        return {column for column, _ in self.findings}

    @property
    def answered(self) -> bool:
        return self.turn.accepted and not self.findings


def judge(turn: Turn, stored: Stored, replays: Sequence[View]) -> Judgement:
    """`replays`: the turn's stream as it was read from the beginning when all was over."""
    judgement = Judgement(turn)
    judgement.findings += [("lost", problem) for problem in turn.problems]
    if turn.accepted:
        calls = _calls_made(turn, stored)
        judgement.without_tools = len(calls) < len(turn.question.calls)
        judgement.findings += _of_client(turn, calls)
        judgement.findings += _of_store(turn, stored, calls)
        for view in replays:
            judgement.findings += [(column, f"replay: {why}") for column, why in _of_view(view, turn.question, calls)]
    return judgement


def _calls_made(turn: Turn, stored: Stored) -> list[Call]:
    """Those of the rounds up to the last of which Postgres has an operation."""
    tasks = stored.tasks_of(turn.session_id, turn.message_id)
    inputs = [one.input for task in tasks for one in stored.operations_of(task.id)]
    rounds = turn.question.rounds
    made = [n for n, calls in enumerate(rounds, 1) if any(call.arguments in inputs for call in calls)]
    return [call for calls in rounds[: max(made, default=0)] for call in calls]


def _of_client(turn: Turn, made: Sequence[Call]) -> Iterator[Finding]:
    if len(turn.named) > 1:
        yield "doubled", f"one message, several turns: {sorted(turn.named)}"
    for view in turn.views:
        yield from _of_view(view, turn.question, made)
    if turn.history is not None:
        yield from _of_text(turn.history, turn.question.answer, complete=True, where="the history")
    elif not turn.problems and not any(view.done for view in turn.views[-1:]):
        yield "lost", "its client never saw the end"


def _of_view(view: View, question: Question, made: Sequence[Call]) -> Iterator[Finding]:
    if not view.events:
        return
    ids = [seen.entry_id for seen in view.events if seen.entry_id is not None]
    again = [(a, b) for a, b in pairwise(ids) if b <= a]
    if again:
        yield "repeat", f"ids did not grow: {again[:3]}"
    shown = shown_by(view)
    if shown.broken is not None:
        column: Column = "repeat" if any(sign in shown.broken for sign in _AGAIN) else "gap"
        yield column, f"a strict client throws: {shown.broken}"
    if shown.failed is not None:
        yield "lost", f"the turn failed: {shown.failed}"
        return
    complete = shown.finished or view.done
    if complete and not shown.finished:
        yield "false finish", "the response ended as if it were complete, without finish"
    yield from _of_text(shown.text, question.answer, complete, f"a client of version {view.protocol}")
    if complete and shown.broken is None:
        yield from _of_tools(shown, made)


def _of_text(text: str, answer: str, complete: bool, where: str) -> Iterator[Finding]:
    if text == answer or (not complete and answer.startswith(text)):
        return
    seen, expected = text.split(), answer.split()
    place = next(
        (n for n, (a, b) in enumerate(zip(seen, expected, strict=False)) if a != b), min(map(len, (seen, expected)))
    )
    if place == len(seen):
        yield ("false finish" if complete else "gap"), f"{where} saw {place} of {len(expected)} words"
        return
    column: Column = "repeat" if seen[place] in expected[:place] else "gap"
    at = len(" ".join(expected[:place]))
    yield (
        column,
        (
            f"{where} saw from word {place} on …{text[max(0, at - _AROUND) : at + _AROUND]!r}…"
            f" instead of …{answer[max(0, at - _AROUND) : at + _AROUND]!r}…"
        ),
    )


def _of_tools(shown: Shown, made: Sequence[Call]) -> Iterator[Finding]:
    left = list(shown.tools)
    for call in made:
        found = [tool for tool in left if (tool["name"], tool.get("input")) == (call.tool, call.arguments)]
        for tool in found:
            left.remove(tool)
        if not found:
            yield "gap", f"the call {call} is missing"
        elif len(found) > 1:
            yield "repeat", f"the call {call} is there {len(found)} times"
        elif not _ended_well(call, found[0]["state"], found[0].get("output"), found[0].get("error")):
            yield "gap", f"the call {call} shows {found[0]}"
    if left:
        yield "repeat", f"calls that nobody meant: {left}"


def _ended_well(call: Call, state: str, output: Any, error: Any) -> bool:
    if call.fails is not None:
        ended = state in ("output-available", "output-error") if not call.fails else state == "output-error"
        return ended and str(error or "").startswith(call.fails)
    if state == "output-available":
        return bool(output == call.output)
    return state == "output-error" and not call.repeatable and str(error).startswith("INTERRUPTED")


def _of_store(turn: Turn, stored: Stored, made: Sequence[Call]) -> Iterator[Finding]:
    tasks = stored.tasks_of(turn.session_id, turn.message_id)
    if not tasks:
        yield "lost", "Postgres has no turn"
        return
    if len(tasks) > 1:
        yield "doubled", f"Postgres has {len(tasks)} turns of this message: {[task.id for task in tasks]}"
    task = tasks[0]
    if task.status != "completed":
        yield "lost", f"the turn is {task.status}: {task.error}"
        return
    answers = stored.answers_of(turn.session_id, turn.message_id)
    if len(answers) != 1:
        yield ("doubled" if answers else "lost"), f"Postgres has {len(answers)} answers"
        return
    yield from _of_answer(turn, answers[0], made)
    yield from _of_operations(made, stored, task.id)


def _of_answer(turn: Turn, parts: Sequence[dict[str, Any]], made: Sequence[Call]) -> Iterator[Finding]:
    text = "".join(part["text"] for part in parts if part["type"] == "text")
    if text != turn.question.answer:
        longer = len(text) > len(turn.question.answer)
        yield ("doubled" if longer else "lost"), f"Postgres has the text {text!r} for {turn.question.answer!r}"
    calls = [part for part in parts if "toolCallId" in part]
    if len(calls) != len(made):
        column: Column = "doubled" if len(calls) > len(made) else "lost"
        yield column, f"the answer in Postgres has {len(calls)} calls: {json.dumps(calls, ensure_ascii=False)}"
        return
    for call, part in zip(made, calls, strict=True):
        if not _ended_well(call, part["state"], part.get("output"), part.get("errorText")):
            yield "lost", f"Postgres has {part} for {call}"


def _of_operations(made: Sequence[Call], stored: Stored, task_id: str) -> Iterator[Finding]:
    operations = stored.operations_of(task_id)
    if len(operations) > len(made):
        yield "doubled", f"{len(operations)} operations for {len(made)} calls"
    for call in made:
        if call.effect is None:
            continue
        times = stored.tally[call.effect]
        if times > 1:
            yield "doubled", f"{call.tool} ran {times} times: {call.effect}"
        done = any(one.status == "succeeded" and one.input == call.arguments for one in operations)
        if done and not times:
            yield "lost", f"{call.tool} is said to have run, and did not: {call.effect}"
