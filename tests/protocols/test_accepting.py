"""Turns of one session: accepted, claimed, ended and cancelled on several connections of two gateways at once."""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule
from sluiceway.errors import SessionBusy
from sluiceway.store import Store
from sluiceway.store.records import Task
from sluiceway.store.turns.accepting import AcceptedTurn, NewTurn, Policy, position_of
from sluiceway.store.turns.ending import TurnEnd

from harness.databases.database import Database
from tests.protocols.machine import Machine, play

LIVE = ("queued", "running", "waiting")

numbers = st.integers(0, 9)
policies = st.sampled_from(("enqueue", "enqueue", "steer", "steer", "latest", "interrupt", "reject"))
acts = st.sampled_from(("accept", "accept", "claim", "end", "give way", "cancel"))
# One of several things that happen at once: what, of which message or turn, by which policy.
Act = tuple[str, int, Policy]


@dataclass(frozen=True)
class Row:
    id: str
    status: str
    sequence: int
    attempt: int
    message_id: str
    asked_by: str
    done: bool
    cancel: bool
    steers: str | None
    entered: bool


class Accepting(Machine):
    def __init__(self, loop: asyncio.AbstractEventLoop, stores: tuple[Store, Store], database: Database) -> None:
        super().__init__(loop)
        self.stores = stores
        self.database = database
        self.session = f"ses_{uuid4().hex}"
        self.known: dict[str, str] = {}  # message → turn
        self.created: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        self.released: Counter[str] = Counter()
        self.looked_for: set[str] = set()
        self.held: list[Task] = []
        self.ended_as: dict[str, str] = {}

    @initialize(number=numbers)
    def begin(self, number: int) -> None:
        self.at_once([("accept", number, "enqueue")])

    @rule(chosen=st.lists(st.tuples(acts, numbers, policies), min_size=1, max_size=4))
    def at_once(self, chosen: list[Act]) -> None:
        self.run(self.gathered([self.act(place, *one) for place, one in enumerate(chosen)]))

    @rule(number=numbers, times=st.integers(2, 6), policy=policies)
    def the_same_message_is_sent_several_times(self, number: int, times: int, policy: Policy) -> None:
        self.at_once([("accept", number, policy)] * times)

    @rule()
    def the_active_turn_runs_and_ends(self) -> None:
        self.at_once([("claim", 0, "enqueue")])
        if self.held:
            self.at_once([("end", len(self.held) - 1, "enqueue")] * 2)

    @rule()
    def a_turn_is_taken_over_and_its_first_worker_wakes_up(self) -> None:
        self.at_once([("claim", 0, "enqueue")])
        self.at_once([("claim", 0, "enqueue")])
        if len(self.held) > 1:
            self.at_once([("end", len(self.held) - 2, "enqueue")])

    @rule(number=numbers)
    def a_message_comes_while_the_turn_ends(self, number: int) -> None:
        self.at_once([("claim", 0, "enqueue")])
        if self.held:
            self.at_once([("end", len(self.held) - 1, "enqueue"), ("accept", number, "enqueue")])

    @rule(number=numbers)
    def a_message_that_steers_comes_is_cancelled_and_given_way_to_at_once(self, number: int) -> None:
        self.at_once([("claim", 0, "enqueue")])
        self.at_once([("accept", number, "steer")])
        if self.held:
            held, known = len(self.held) - 1, list(self.known).index(self.message(number))
            self.at_once([("give way", held, "enqueue"), ("cancel", known, "enqueue"), ("accept", number + 1, "steer")])

    @rule(policy=policies, number=numbers)
    def one_alone_is_accepted_by_its_policy(self, policy: Policy, number: int) -> None:
        before = {row.id: row for row in self.rows() if row.status in LIVE}
        is_known = self.message(number) in self.known
        try:
            accepted = self.run(self.stores[0].turns.accept(self.turn(number, policy)))
        except SessionBusy:
            assert before, "an idle session was said to be busy"
            assert policy == "reject"
            assert not is_known
            return
        self.note_accepted(number, accepted)
        if is_known or not before:
            assert not accepted.cancelled
            assert accepted.interrupted is None
            return
        assert policy != "reject"
        queued = {row.id for row in before.values() if row.status == "queued"}
        running = {row.id for row in before.values()} - queued
        if policy == "interrupt":
            assert {task.id for task in accepted.cancelled} == queued
            assert {task.id for task in (accepted.interrupted,) if task is not None} == running
            assert accepted.position == len(running)
        elif policy == "latest":
            assert {task.id for task in accepted.cancelled} == queued
            assert accepted.interrupted is None
            assert accepted.position == len(running)
        else:
            last = max(before.values(), key=lambda row: row.sequence)
            assert accepted.task.steers == (last.id if policy == "steer" else None)
            assert accepted.position == len(before)

    # One act among others

    async def gathered(self, acts: list[Coroutine[Any, Any, None]]) -> None:
        await asyncio.gather(*acts)

    async def act(self, place: int, what: str, number: int, policy: Policy) -> None:
        store = self.stores[place % 2]
        if what == "accept":
            try:
                self.note_accepted(number, await store.turns.accept(self.turn(number, policy)))
            except SessionBusy:
                assert policy == "reject"
        elif what == "claim":
            active = await store.sessions.active_task(self.session)
            claimed = await store.turns.claim(active.id) if active is not None else None
            if claimed is not None and not claimed.ended:
                self.held.append(claimed)
        elif what == "end" and self.held:
            await self.end(store, self.held[number % len(self.held)])
        elif what == "give way" and self.held:
            await self.give_way(store, self.held[number % len(self.held)])
        elif what == "cancel" and self.known:
            await self.cancel(store, list(self.known.values())[number % len(self.known)])

    async def end(self, store: Store, task: Task) -> None:
        said: list[dict[str, Any]] = [{"type": "text", "text": f"attempt {task.attempt}"}]
        await self.write_end(store, task, TurnEnd("completed", said, {}))

    async def give_way(self, store: Store, task: Task) -> None:
        """As between two steps: it ends for a message that steers it, and for nothing else."""
        to = await store.turns.steering(task)
        if to is not None and await self.write_end(store, task, TurnEnd("completed", [], {}, gives_way=to)):
            assert to in self.released or to in self.looked_for, "it has ended for one that does not follow"

    async def write_end(self, store: Store, task: Task, end: TurnEnd) -> bool:
        ended = await store.turns.end(task, end, attempt=task.attempt)
        if ended is not None:
            self.ends[task.id] += 1
            assert task.attempt == max(one.attempt for one in self.held if one.id == task.id), "a zombie has ended it"
            if ended.following is not None:
                self.released[ended.following] += 1
        return ended is not None

    async def cancel(self, store: Store, task_id: str) -> None:
        """Who ends a queued turn looks for the one that follows."""
        _, ended_here = await store.turns.request_cancel(task_id, None)
        if ended_here:
            self.ends[task_id] += 1
            following = await store.sessions.active_task(self.session)
            if following is not None:
                self.looked_for.add(following.id)

    def note_accepted(self, number: int, accepted: AcceptedTurn) -> None:
        task = accepted.task
        assert self.known.setdefault(self.message(number), task.id) == task.id, "one message has two turns"
        self.created[task.id] += accepted.created
        if accepted.created and accepted.active:
            self.released[task.id] += 1
        for cancelled in accepted.cancelled:
            self.ends[cancelled.id] += 1

    def message(self, number: int) -> str:
        return f"{self.session}-{number}"

    def turn(self, number: int, policy: Policy) -> NewTurn:
        asked = {"message_id": self.message(number), "policy": policy, "create_session": True}
        return NewTurn(session_id=self.session, user_id=None, text=f"question {number}", **asked)  # type: ignore[arg-type]

    # What must hold

    def rows(self) -> list[Row]:
        found = self.run(
            self.database.fetch(
                "SELECT t.id, t.status, t.sequence, attempt, t.user_message_id AS message_id, q.id AS asked_by, a.done,"
                " cancel_requested_at IS NOT NULL AS cancel, t.steers, t.entered FROM tasks t"
                " JOIN messages a ON a.session_id = t.session_id AND a.id = t.message_id"
                " JOIN messages q ON q.session_id = t.session_id AND q.id = t.user_message_id"
                " WHERE t.session_id = $1 ORDER BY t.sequence",
                self.session,
            )
        )
        return [Row(**dict(row)) for row in found]

    @invariant()
    def the_oldest_live_turn_is_the_active_one_and_was_released_once(self) -> None:
        live = [row for row in self.rows() if row.status in LIVE]
        active = self.run(self.database.fetchval("SELECT active_task_id FROM sessions WHERE id = $1", self.session))
        assert active == (live[0].id if live else None)
        assert all(row.status == "queued" for row in live[1:]), "two turns of a session run"
        assert all(times == 1 for times in self.released.values()), "a turn was released twice"
        assert active is None or active in self.released or active in self.looked_for, "nobody lets the next turn run"
        assert all(row.id not in self.released for row in live[1:]), "a turn was released behind another"

    @invariant()
    def each_message_has_one_turn_and_each_turn_ends_once(self) -> None:
        rows = self.rows()
        assert sorted(row.id for row in rows) == sorted(self.known.values())
        assert len({row.sequence for row in rows}) == len({row.asked_by for row in rows}) == len(rows)
        assert all(self.created[row.id] == 1 for row in rows)
        assert {row.id for row in rows if row.status not in LIVE} == set(self.ends)
        assert all(times == 1 for times in self.ends.values()), "a turn ended twice"
        for row in rows:
            assert row.done == (row.status not in LIVE)
            if row.status not in LIVE:
                assert self.ended_as.setdefault(row.id, row.status) == row.status

    @invariant()
    def what_entered_a_turn_entered_the_one_that_it_steers_and_that_is_over(self) -> None:
        rows = {row.id: row for row in self.rows()}
        for row in rows.values():
            if row.entered:
                assert row.steers is not None
                assert rows[row.steers].status == "completed"
                assert rows[row.steers].sequence < row.sequence

    @invariant()
    def positions_are_the_places_in_the_queue(self) -> None:
        live = [row for row in self.rows() if row.status in LIVE]
        for place, row in enumerate(live):
            task = self.run(self.stores[1].turns.get(row.id))
            assert task is not None
            found = self.run(position_of(self.database, task))  # type: ignore[arg-type]  # no pool's, but a connection
            assert found == place

    def finish(self) -> None:
        """Workers come back, and every turn has its turn."""
        for _ in range(len(self.known)):
            self.the_active_turn_runs_and_ends()
        assert not [row for row in self.rows() if row.status in LIVE]
        self.each_message_has_one_turn_and_each_turn_ends_once()


@pytest.mark.requirement("CH-2")
@pytest.mark.requirement("CH-12")
def test_turns_of_a_session_are_made_run_and_ended_once_each(
    stores: tuple[Store, Store], rows: Database, loop: asyncio.AbstractEventLoop
) -> None:
    play(lambda: Accepting(loop, stores, rows), examples=25, steps=15)
