"""Operations of one turn after the other: begun, completed, expired, approved, parked and cancelled at once.

Whoever ends the last operation of a step is told to queue the next one; the machine counts who was told. Deadlines pass
where a rule sets them back in the row. A cancellation does what `TurnEnding.end_unheld` does in Postgres.
"""

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule
from sluiceway.errors import ApprovalConflict, ApprovalGone
from sluiceway.ids import new_approval_id, new_operation_id
from sluiceway.store import Store
from sluiceway.store.operations.operation_end import EndOutcome, OperationEnd, ReportedEnd
from sluiceway.store.operations.operations import NewOperation
from sluiceway.store.records import OperationStatus, Task
from sluiceway.store.turns.accepting import NewTurn
from sluiceway.store.turns.approving import Decision
from sluiceway.store.turns.ending import TurnEnd
from sluiceway.wire.message import Part, answer_call, calls_in, is_answered

from harness.databases.database import Database
from tests.protocols.machine import Machine, play

OPEN = ("pending", "running", "accepted")
EXPIRED = OperationEnd("expired", error={"type": "TIMEOUT", "message": "It took too long."})
GONE = "CANCELLED: the turn was stopped"

picks = st.integers(0, 20)
calls = st.sampled_from(("pending", "pending", "pending", "approval", "failed"))
acts = st.sampled_from(
    ("succeed", "succeed", "succeed", "fail", "by_task", "start", "start", "accepted", "expire", "restore", "cancel")
)


@dataclass(frozen=True)
class Row:
    """An operation, and its part of the message."""

    id: str
    task_id: str
    status: str
    attempt: int
    output: Any
    error: Any
    part: Part


@dataclass(frozen=True)
class Turn:
    id: str
    status: str
    attempt: int
    open_operations: int


class Completing(Machine):
    def __init__(self, loop: asyncio.AbstractEventLoop, stores: tuple[Store, Store], rows: Database) -> None:
        super().__init__(loop)
        self.stores = stores
        self.database = rows
        self.session = f"ses_{uuid4().hex}"
        self.numbers = itertools.count(1)
        self.task: Task | None = None  # held by a worker
        self.current = ""
        # How often somebody was told to queue the next step, since the turn was last let go.
        self.told = 0
        self.let_go = False
        self.results: dict[str, OperationEnd] = {}
        self.beginnings: Counter[tuple[str, int]] = Counter()
        self.ended: dict[str, tuple[str, Any]] = {}
        self.early: set[str] = set()
        self.next_id = new_operation_id()

    @initialize(statuses=st.lists(calls, min_size=1, max_size=3))
    def begin(self, statuses: list[OperationStatus]) -> None:
        self.a_message_comes()
        self.a_step_ends_with_calls(statuses)

    # The turn

    @rule()
    def a_message_comes(self) -> None:
        """A turn, where none is live. What waited for a person does so no more."""
        if not self.current or self.turn().status not in ("queued", "running", "waiting"):
            asked = NewTurn(session_id=self.session, user_id=None, text="please", create_session=True)
            self.claim(self.run(self.stores[0].turns.accept(asked)).task.id)

    def claim(self, task_id: str) -> None:
        self.current = task_id
        self.task = self.run(self.stores[0].turns.claim(task_id))
        assert self.task is not None
        assert self.task.status == "running"
        self.told, self.let_go = 0, False

    @rule(statuses=st.lists(calls, min_size=1, max_size=3), cancel_too=st.booleans())
    def a_step_ends_with_calls(self, statuses: list[OperationStatus], cancel_too: bool = False) -> None:
        """What came early for one of them is applied as soon as it is known."""
        if self.task is None:
            return
        new = [self.call(status) for status in statuses]
        acts = [self.pause(self.task, new), self.act(0, "cancel", 0)]
        self.run(self.gathered(acts if cancel_too else acts[:1]))
        if not cancel_too:
            acts[1].close()
        self.apply_parked()

    async def pause(self, task: Task, new: list[NewOperation]) -> None:
        parts = [*await self.parts(task), {"type": "step-start"}, *map(_part, new)]
        let_go = await self.stores[0].turns.pause(task, parts, new, None)
        again = await self.stores[1].turns.pause(task, parts, new, None)
        if let_go.paused == "waiting":
            assert again.paused in ("waiting", "fenced"), "sent again, it did something else"
            assert {one.id for one in let_go.operations} == {one.id for one in new if one.status == "pending"}
            self.task, self.let_go = None, True
        elif let_go.paused == "fenced":
            self.task = None

    @rule()
    def the_next_step_is_claimed(self) -> None:
        """By whoever got the entry of those who were told."""
        if self.told and self.turn().status == "waiting":
            self.claim(self.current)

    @rule(really=st.booleans())
    def the_turn_ends(self, really: bool) -> None:
        """With calls that wait for a person it ends, too, and goes on with the answers."""
        if self.task is None or not really:
            return
        asking = [row for row in self.rows() if row.task_id == self.current and row.status == "approval"]
        if asking and any(row.part["state"] == "approval-responded" for row in asking):
            return  # the worker looks for what is approved first
        end = TurnEnd("completed", self.run(self.parts(self.task)), {}, awaits=bool(asking))
        if self.run(self.stores[0].turns.end(self.task, end, attempt=self.task.attempt)) is not None:
            self.task = None

    # People

    @rule(yes=st.lists(st.booleans(), min_size=1, max_size=3), pick=picks)
    def a_person_answers(self, yes: list[bool], pick: int) -> None:
        """Several times at once. Of those who say the same all are told so; one turn goes on."""
        asking = [row for row in self.rows() if row.status == "approval"]
        if asking:
            row = asking[pick % len(asking)]
            self.run(self.gathered([self.answer(place, row, one) for place, one in enumerate(yes)]))
            self.continue_with_answers()

    async def answer(self, place: int, row: Row, approved: bool) -> None:
        try:
            call = {row.part["toolCallId"]: Decision(approved)}
            answered = await self.stores[place % 2].turns.answer(row.task_id, None, call)
        except (ApprovalConflict, ApprovalGone):
            return
        if answered.created and answered.task is not None:
            assert self.task is None, "a turn goes on while another runs"
            self.current = answered.task.id

    def continue_with_answers(self) -> None:
        """As a worker does that gets the turn which goes on, or still has the one that asked."""
        if self.task is None and self.turn().status == "queued":
            self.claim(self.current)
        if self.task is None:
            return
        approved = [row for row in self.rows() if row.status == "approval" and row.task_id == self.current]
        if any(row.part["state"] == "approval-requested" for row in approved):
            return
        let_go = self.run(self.stores[0].turns.begin_approved(self.task))
        assert let_go.paused in ("waiting", "running", "cancelled")
        assert {one.id for one in let_go.operations} == {row.id for row in approved} or let_go.paused == "cancelled"
        if let_go.paused == "waiting":
            self.task, self.let_go, self.told = None, True, 0

    @rule(really=st.booleans())
    def nobody_answers_in_time(self, really: bool) -> None:
        if really:
            self.set_deadlines_back()
            ending = [self.expire_approvals(store) for store in self.stores]
            self.run(self.gathered(ending))
            self.continue_with_answers()

    async def expire_approvals(self, store: Store) -> None:
        await store.deadlines.expire_approvals(self.session, EXPIRED)

    # Operations

    @rule(chosen=st.lists(st.tuples(acts, picks), min_size=1, max_size=5))
    def at_once(self, chosen: list[tuple[str, int]]) -> None:
        self.run(self.gathered([self.act(place, *one) for place, one in enumerate(chosen)]))

    @rule(pick=picks, times=st.integers(2, 5))
    def different_results_race(self, pick: int, times: int) -> None:
        self.at_once([("succeed", pick), ("fail", pick), ("expire", pick)] + [("succeed", pick)] * times)

    @rule(pick=picks)
    def several_runners_begin_and_one_hands_it_on(self, pick: int) -> None:
        self.at_once([("start", pick)] * 3)
        self.at_once([("accepted", pick)] * 2)

    @rule(pick=picks, again=st.booleans())
    def the_turn_is_cancelled_while_somebody_works(self, pick: int, again: bool) -> None:
        self.several_runners_begin_and_one_hands_it_on(pick)
        self.at_once([("cancel", 0)] * (2 if again else 1))

    @rule()
    def all_operations_end_at_once(self) -> None:
        self.at_once([("succeed", place) for place in range(3)])

    @rule()
    def deadlines_pass(self) -> None:
        self.set_deadlines_back()

    @rule()
    def a_result_comes_before_its_operation_is_known(self) -> None:
        """Twice, as everything may."""
        if self.next_id not in self.early:
            self.early.add(self.next_id)
            for store in self.stores:
                outcome = self.run(store.completions.complete(self.completion(self.next_id, "early")))
                assert outcome.kind == "unknown"
                body = {"operation_id": self.next_id, "result": "early"}
                self.run(store.parked.add(self.next_id, None, body))

    def apply_parked(self) -> None:
        for parked in self.run(self.stores[0].parked.page(0, timedelta(days=1), 100)):
            operation_id = parked.body["operation_id"]
            known = operation_id in {row.id for row in self.rows()}
            assert parked.fits == known or operation_id not in self.early
            if known:
                self.run(self.complete(self.stores[1], operation_id, "early"))
                self.run(self.stores[0].parked.remove(parked.id))

    async def gathered(self, acts: list[Coroutine[Any, Any, None]]) -> None:
        await asyncio.gather(*acts)

    async def act(self, place: int, what: str, pick: int) -> None:
        store = self.stores[place % 2]
        if what == "cancel":
            await self.cancel(store)
            return
        operations = await store.operations.of_task(self.current)
        if not operations:
            return
        operation = operations[pick % len(operations)]
        if what in ("succeed", "fail", "by_task"):
            await self.complete(store, operation.id, what)
        elif what == "start":
            # Of several that know the last attempt to be over, one begins the next.
            runner, over = f"runner {next(self.numbers)}", operation.attempt
            started = await store.operations.start(operation.id, runner, f"{over}-0", over=over)
            if started is not None:
                self.beginnings[operation.id, started.operation.attempt] += 1
        elif what == "accepted":
            await store.operations.accepted(operation.id, operation.attempt)
        elif what == "expire":
            for overdue in await store.deadlines.overdue(1000):
                self.note(await store.deadlines.expire(overdue, EXPIRED), EXPIRED)
        elif what == "restore" and (task := await store.turns.get(self.current)) is not None:
            await store.turns.raise_attempt(task)

    async def complete(self, store: Store, operation_id: str, how: str) -> None:
        completion = self.completion(operation_id, how)
        outcome = await store.completions.complete(completion)
        if outcome.kind == "repeat":
            assert outcome.operation is not None
            assert outcome.operation.status in ("succeeded", "failed")
        else:
            self.note(outcome, completion.end)

    def completion(self, operation_id: str, how: str) -> ReportedEnd:
        number = next(self.numbers)
        if how == "fail":
            ending = OperationEnd("failed", error={"type": "FAILED", "message": f"It failed: {number}."})
        else:
            ending = OperationEnd("succeeded", output=number, shown=number)
        if how == "by_task":
            return ReportedEnd(None, self.current, ending, digest=f"digest {number}")
        return ReportedEnd(operation_id, None, ending, digest=f"digest {number}")

    def note(self, outcome: EndOutcome | None, ending: OperationEnd) -> None:
        if outcome is None or outcome.kind != "applied":
            return
        assert outcome.operation is not None
        assert outcome.operation.id not in self.results, "an operation ended twice"
        self.results[outcome.operation.id] = ending
        self.told += outcome.resumes

    async def cancel(self, store: Store) -> None:
        task, _ = await store.turns.request_cancel(self.current, None)
        if task.status != "waiting":
            return
        claimed = await store.turns.claim(task.id, waiting_too=True)
        if claimed is None or claimed.ended:
            return
        parts = await self.parts(claimed)
        for part in calls_in(parts).values():
            if not is_answered(part):
                answer_call(part, state="output-error", errorText=GONE)
        await store.turns.end(claimed, TurnEnd("cancelled", parts, {}), attempt=claimed.attempt)

    def teardown(self) -> None:
        """What is overdue here would be found by the next example, too."""
        super().teardown()
        self.run(self.stores[0].sessions.delete(self.session, None))

    def set_deadlines_back(self) -> None:
        passed = "UPDATE operations SET deadline_at = now() - interval '1 second' WHERE session_id = $1"
        self.run(self.database.execute(passed, self.session))

    def call(self, status: OperationStatus) -> NewOperation:
        operation_id, self.next_id = self.next_id, new_operation_id()
        return NewOperation(
            id=operation_id,
            step=1,
            tool_call_id=f"call_{operation_id}",
            tool_name="look_up",
            input={},
            queue="default",
            status=status,
            deadline_seconds=3600,
            approval_id=new_approval_id() if status == "approval" else None,
            error={"type": "UNKNOWN_TOOL", "message": "No such tool."} if status == "failed" else None,
        )

    async def parts(self, task: Task) -> list[Part]:
        message = await self.stores[0].turns.message(task)
        return message.parts if message is not None else []

    # What must hold

    def turn(self) -> Turn:
        columns = "id, status, attempt, open_operations"
        row = self.run(self.database.fetchrow(f"SELECT {columns} FROM tasks WHERE id = $1", self.current))
        assert row is not None
        return Turn(**dict(row))

    def rows(self) -> list[Row]:
        found = self.run(
            self.database.fetch(
                "SELECT o.id, o.task_id, o.status, o.attempt, o.output::text, o.error::text, part::text"
                " FROM operations o JOIN messages m ON m.session_id = o.session_id AND m.id = o.message_id"
                " JOIN jsonb_array_elements(m.parts) AS part ON part->>'toolCallId' = o.tool_call_id"
                " WHERE o.session_id = $1 ORDER BY o.place",
                self.session,
            )
        )
        return [Row(**{name: _json(name, value) for name, value in dict(row).items()}) for row in found]

    @invariant()
    def the_count_of_open_operations_is_their_number(self) -> None:
        wrong = self.run(
            self.database.fetch(
                "SELECT t.id, t.status, t.open_operations, count(o.id) FROM tasks t LEFT JOIN operations o"
                " ON o.task_id = t.id AND o.status IN ('pending', 'running', 'accepted') WHERE t.session_id = $1"
                " GROUP BY t.id HAVING t.open_operations <> count(o.id)"
                " OR (t.status = 'waiting') < (t.open_operations > 0)",
                self.session,
            )
        )
        assert not wrong
        live = "SELECT count(*) FROM tasks WHERE session_id = $1 AND status IN ('queued', 'running', 'waiting')"
        assert self.run(self.database.fetchval(live, self.session)) <= 1

    @invariant()
    def who_ended_the_last_operation_of_a_step_was_told_and_nobody_else(self) -> None:
        if not self.current:
            return
        turn = self.turn()
        assert self.told <= 1, "two were told to queue the next step"
        if turn.status == "waiting":
            assert self.told == (turn.open_operations == 0)

    @invariant()
    def the_first_result_stands_in_row_and_message(self) -> None:
        for row in self.rows():
            ending = self.results.get(row.id)
            state = row.part["state"]
            if ending is not None:
                assert row.status == ending.status
                assert row.output == ending.output
                assert {name: row.part.get(name) for name in ending.part_fields} == ending.part_fields
            elif row.status in OPEN:
                assert state in ("input-available", "approval-responded")
            else:
                assert state in _STATES[row.status], f"{row.status}, and the message says {state}"
                assert row.output is None

    @invariant()
    def what_has_ended_stays_as_it_is(self) -> None:
        for row in self.rows():
            if row.status not in (*OPEN, "approval"):
                assert self.ended.setdefault(row.id, (row.status, row.output)) == (row.status, row.output)
        found = self.run(self.database.fetch("SELECT id, status FROM tasks WHERE session_id = $1", self.session))
        for task in found:
            if task["status"] not in ("queued", "running", "waiting"):
                assert self.ended.setdefault(task["id"], (task["status"], None)) == (task["status"], None)

    @invariant()
    def no_beginning_has_another_s_number(self) -> None:
        assert all(times == 1 for times in self.beginnings.values())


_STATES: dict[str, tuple[str, ...]] = {
    "approval": ("approval-requested", "approval-responded"),
    "failed": ("output-error",),
    "expired": ("output-error",),
    "denied": ("output-denied",),
    "cancelled": ("output-error",),
}


def _json(name: str, value: Any) -> Any:
    return json.loads(value) if name in ("output", "error", "part") and value is not None else value


def _part(call: NewOperation) -> Part:
    part: Part = {"type": "tool-look_up", "toolCallId": call.tool_call_id, "input": call.input}
    if call.status == "approval":
        return {**part, "state": "approval-requested", "approval": {"id": call.approval_id}}
    if call.status == "failed":
        return {**part, "state": "output-error", "errorText": "UNKNOWN_TOOL: No such tool."}
    return {**part, "state": "input-available"}


@pytest.mark.requirement("CC-5")
@pytest.mark.requirement("CC-6")
@pytest.mark.requirement("CH-9")
@pytest.mark.requirement("CH-16")
def test_operations_end_once_and_one_continues_whatever_comes_at_once(
    stores: tuple[Store, Store], rows: Database, loop: asyncio.AbstractEventLoop
) -> None:
    play(lambda: Completing(loop, stores, rows), examples=50, steps=15)
