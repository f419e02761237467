"""Turns of one session that wait for operations, make way, and are continued: messages, pauses, results, cancels and
those who carry on at once, on connections of two processes.

A crash is a follow-up that nobody does: `finish` plays the reconciler, which does what is left.
"""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule
from sluiceway.ids import new_operation_id
from sluiceway.store import Store
from sluiceway.store.operations.operation_end import OperationEnd, ReportedEnd
from sluiceway.store.operations.operations import NewOperation
from sluiceway.store.records import Task, task_of
from sluiceway.store.turns.accepting import NewTurn, Policy
from sluiceway.store.turns.ending import TurnEnd
from sluiceway.wire.message import Part
from sluiceway.wire.results import results_in

from harness.databases.database import Database
from tests.protocols.machine import Machine, play

LIVE = ("queued", "running", "waiting")
SAID = TurnEnd("completed", None, {"status": "completed"})
CANCELLED = TurnEnd("cancelled", None, {})

picks = st.integers(0, 9)
policies: st.SearchStrategy[Policy | None] = st.sampled_from((None, None, None, None, "enqueue", "steer", "interrupt"))
acts = st.sampled_from(
    ("say", "claim", "start", "pause", "complete", "complete", "carry on", "carry on", "end", "end", "look", "cancel")
)


@dataclass(frozen=True)
class Operation:
    id: str
    task_id: str
    call_id: str


class ChattingOn(Machine):
    def __init__(self, loop: asyncio.AbstractEventLoop, stores: tuple[Store, Store], database: Database) -> None:
        super().__init__(loop)
        self.stores = stores
        self.database = database
        self.session = f"ses_{uuid4().hex}"
        self.said = 0
        self.held: dict[str, Task] = {}  # of workers
        self.busy: set[str] = set()
        self.reading = asyncio.Lock()  # it is one connection
        self.parts: dict[str, list[Part]] = {}  # as their workers have them, which hear of no result
        self.started: dict[str, list[str]] = {}  # calls that block nothing
        self.operations: list[Operation] = []
        self.results: dict[str, str] = {}  # the first that was applied, by call
        self.continued: Counter[str] = Counter()
        self.went_there: Counter[str] = Counter()

    @initialize(count=st.integers(1, 2))
    def begin(self, count: int) -> None:
        self.a_turn_waits(count)

    @rule(count=st.integers(1, 2))
    def a_turn_waits(self, count: int) -> None:
        self.at_once([("say", 0, None)])
        self.at_once([("claim", 0, None)])
        self.at_once([("pause", count, None)])

    @rule(chosen=st.lists(st.tuples(acts, picks, policies), min_size=1, max_size=5))
    def at_once(self, chosen: list[tuple[str, int, Policy | None]]) -> None:
        acting = [self.act(self.stores[place % 2], *one) for place, one in enumerate(chosen)]
        self.run(self.gathered(acting))

    @rule(pick=picks)
    def a_message_comes_while_the_last_result_does(self, pick: int) -> None:
        self.at_once([("say", 0, None), ("complete", pick, None), ("complete", pick + 1, None), ("say", 0, None)])

    @rule(pick=picks)
    def a_message_comes_while_the_turn_begins_to_wait(self, pick: int) -> None:
        self.at_once([("claim", 0, None)])
        self.at_once([("pause", pick, None), ("say", 0, None)])

    @rule(pick=picks)
    def a_turn_steps_back_while_what_it_started_ends(self, pick: int) -> None:
        self.at_once([("claim", 0, None)])
        self.at_once([("start", pick, None), ("say", 0, None)])
        self.at_once([("end", pick, None), ("complete", -1, None), ("complete", -2, None), ("say", 0, None)])

    @rule(pick=picks)
    def everybody_carries_on(self, pick: int) -> None:
        self.at_once([("carry on", pick, None)] * 4 + [("say", 0, None)])

    async def gathered(self, acting: list[Coroutine[Any, Any, None]]) -> None:
        await asyncio.gather(*acting)

    async def act(self, store: Store, what: str, pick: int, policy: Policy | None) -> None:
        match what:
            case "say":
                await self.say(store, policy)
            case "claim":
                active = await store.sessions.active_task(self.session)
                claimed = await store.turns.claim(active.id) if active is not None else None
                if claimed is not None and claimed.status == "running":
                    self.held[claimed.id] = claimed
            case "pause" | "start" | "end":
                await self.step(store, what, pick)
            case "complete" if self.operations:
                await self.complete(store, self.operations[pick % len(self.operations)], f"result {pick}")
            case "carry on":
                for task in await store.background.of_session(self.session):
                    await self.carry_on(store, task)
            case "look":
                for task in await self.live():
                    self.note_way(await store.background.make_way(task) if task.status == "waiting" else None)
            case "cancel" if self.held:
                await store.turns.request_cancel(list(self.held)[pick % len(self.held)], None)

    async def say(self, store: Store, policy: Policy | None) -> None:
        self.said += 1
        turn = NewTurn(self.session, None, f"message {self.said}", policy=policy, create_session=True, max_queued=1000)
        accepted = await store.turns.accept(turn)
        if accepted.made_way is not None:
            self.went_there[accepted.made_way.background.id] += 1
            assert accepted.active or accepted.made_way.following is not None, "it made way for nobody"
        if accepted.active:
            assert accepted.position == 0

    async def step(self, store: Store, what: str, pick: int) -> None:
        """What a worker does with a turn; it does one thing at a time."""
        free = [task for task in self.held.values() if task.id not in self.busy]
        if not free:
            return
        task = free[pick % len(free)]
        self.busy.add(task.id)
        if what == "end":
            await self.end(store, task)
        else:
            await self.pause(store, task, 1 + pick % 2, started=what == "start")
        self.busy.discard(task.id)

    async def pause(self, store: Store, task: Task, count: int, *, started: bool = False) -> None:
        calls = [_call(started) for _ in range(count)]
        parts = [*self.parts.get(task.id, []), {"type": "step-start"}, *(_part(call) for call in calls)]
        in_background = self.started.get(task.id, []) + [call.tool_call_id for call in calls if started]
        told = {"background": in_background} if in_background else None
        paused = (await store.turns.pause(task, parts, calls, None, told)).paused
        if paused not in ("waiting", "running"):
            return
        self.operations += [Operation(call.id, task.id, call.tool_call_id) for call in calls]
        self.parts[task.id], self.started[task.id] = parts, in_background
        if paused == "waiting":
            self.held.pop(task.id, None)

    async def complete(self, store: Store, operation: Operation, result: str) -> None:
        end = OperationEnd("succeeded", result, result)
        outcome = await store.completions.complete(ReportedEnd(operation.id, operation.task_id, end, "d"))
        if outcome.kind == "applied":
            assert operation.call_id not in self.results, "it ended twice"
            self.results[operation.call_id] = result

    async def carry_on(self, store: Store, task: Task) -> None:
        continued = await store.background.carry_on(task)
        if continued is not None:
            self.continued[task.id] += 1
            self.note_way(continued.made_way)

    def note_way(self, made: Any) -> None:
        if made is not None:
            self.went_there[made.background.id] += 1

    async def end(self, store: Store, task: Task) -> None:
        unwanted = (await store.turns.get(task.id) or task).cancel_requested_at is not None
        if unwanted or not self.started.get(task.id):
            await store.turns.end(task, CANCELLED if unwanted else SAID, attempt=task.attempt)
        else:
            answer = replace(SAID, parts=[*self.parts[task.id], {"type": "text", "text": "I began."}], metadata={})
            made = await store.stepping_back.step_back(task, answer)
            if made is None and not await self.is_unwanted(store, task):
                return
            self.note_way(made)
        self.held.pop(task.id, None)

    async def is_unwanted(self, store: Store, task: Task) -> bool:
        """Somebody wanted it to end meanwhile: its worker ends it so."""
        if (await store.turns.get(task.id) or task).cancel_requested_at is None:
            return False
        await store.turns.end(task, CANCELLED, attempt=task.attempt)
        return True

    # What must hold

    async def tasks(self) -> list[Task]:
        query = "SELECT * FROM tasks WHERE session_id = $1 ORDER BY sequence"
        async with self.reading:
            rows = await self.database.fetch(query, self.session)
        return [task_of(row) for row in rows]

    async def live(self) -> list[Task]:
        return [task for task in await self.tasks() if not task.ended]

    @invariant()
    def one_turn_is_active_and_it_is_in_no_background(self) -> None:
        line = [task for task in self.run(self.live()) if task.background_at is None]
        active = self.run(self.database.fetchval("SELECT active_task_id FROM sessions WHERE id = $1", self.session))
        assert active == (line[0].id if line else None), "the oldest of those that are not in the background"
        assert all(task.status == "queued" for task in line[1:]), "two turns of a session run"
        assert all(times == 1 for times in self.went_there.values())

    @invariant()
    def a_turn_is_continued_once_and_by_what_its_operations_said_first(self) -> None:
        tasks = self.run(self.tasks())
        assert all(times == 1 for times in self.continued.values()), "two carried on"
        by = {task.continues: task for task in tasks if task.continues is not None}
        ended = {task.id: task for task in tasks if task.background_at is not None and task.status == "completed"}
        assert by.keys() == ended.keys()
        for task_id, continuing in by.items():
            assert continuing.sequence > ended[task_id].sequence
            mine = [one.call_id for one in self.operations if one.task_id == task_id]
            told = {one["toolCallId"]: one.get("output") for one in self.run(self.told(continuing))}
            assert told, "it brings nothing"
            assert set(self.started.get(task_id, [])) <= told.keys(), "nobody answers with what it started"
            assert told == {call_id: self.results[call_id] for call_id in mine if call_id in told}

    async def told(self, task: Task) -> list[Any]:
        history = await self.stores[1].turns.history(task, 100)
        return results_in(history[-1].parts)

    @invariant()
    def what_waits_for_nothing_has_no_open_operation(self) -> None:
        wrong = self.run(
            self.database.fetch(
                "SELECT t.id FROM tasks t LEFT JOIN operations o ON o.task_id = t.id"
                " AND o.status IN ('pending', 'running', 'accepted')"
                " AND (t.background_at IS NOT NULL OR NOT o.background) WHERE t.session_id = $1"
                " GROUP BY t.id HAVING t.open_operations <> count(o.id)",
                self.session,
            )
        )
        assert not wrong

    def finish(self) -> None:
        """Everything ends in the end, and what was in the background and not cancelled was continued."""
        for _ in range(60):
            self.at_once([("look", 0, None)])
            for operation in self.operations:
                self.run(self.complete(self.stores[0], operation, "at last"))
            self.at_once([("carry on", 0, None)])
            self.run(self.cancelled())
            self.at_once([("claim", 0, None)])
            if self.held:
                self.at_once([("end", 0, None)])
            if not self.run(self.live()):
                break
        assert not self.run(self.live()), "a turn waits for ever"
        self.a_turn_is_continued_once_and_by_what_its_operations_said_first()
        self.run(self.stores[0].sessions.delete(self.session, None))

    async def cancelled(self) -> None:
        """As the reconciler ends what nobody holds, and somebody wants to end."""
        for task in await self.live():
            if task.cancel_requested_at is not None and task.id not in self.held:
                claimed = await self.stores[0].turns.claim(task.id, waiting_too=True)
                assert claimed is not None
                await self.stores[0].turns.end(claimed, TurnEnd("cancelled", None, {}), attempt=claimed.attempt)


def _call(background: bool) -> NewOperation:
    operation_id = new_operation_id()
    call_id = f"call_{operation_id}"
    return NewOperation(operation_id, 1, call_id, "look_up", {}, "default", "pending", 3600, background=background)


def _part(call: NewOperation) -> dict[str, Any]:
    return {"type": "tool-look_up", "toolCallId": call.tool_call_id, "input": {}, "state": "input-available"}


@pytest.mark.requirement("CH-19")
def test_a_turn_that_made_way_is_continued_once_in_its_place_whatever_comes_at_once(
    stores: tuple[Store, Store], rows: Database, loop: asyncio.AbstractEventLoop
) -> None:
    play(lambda: ChattingOn(loop, stores, rows), examples=15, steps=12)
