"""Turns on a real Postgres: accepted once, ordered within a session, ended by one."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sluiceway.errors import (
    AccessDenied,
    MessageConflict,
    SessionBusy,
    SessionNotFound,
    TooManySessions,
    TooManyTasks,
)
from sluiceway.store import Store
from sluiceway.store.records import Task
from sluiceway.store.turns.accepting import AcceptedTurn, NewTurn
from sluiceway.store.turns.ending import TurnEnd

from harness.databases.database import Database


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with Store.open(database_url, max_size=12, application_name="test") as opened:
        yield opened


@pytest.fixture
async def other(database_url: str) -> AsyncIterator[Store]:
    """A second gateway's store."""
    async with Store.open(database_url, max_size=12, application_name="test-other") as opened:
        yield opened


def turn(text: str = "hello", **more: object) -> NewTurn:
    return NewTurn(**{"session_id": "s", "user_id": None, "text": text, "create_session": True, **more})  # type: ignore[arg-type]


def answer(text: str) -> TurnEnd:
    return TurnEnd(status="completed", parts=[{"type": "text", "text": text}], metadata={"status": "completed"})


async def run_to_end(store: Store, accepted: AcceptedTurn, text: str) -> None:
    claimed = await store.turns.claim(accepted.task.id)
    assert claimed is not None
    assert await store.turns.end(claimed, answer(text), attempt=claimed.attempt)


@pytest.mark.requirement("CH-2")
async def test_a_message_that_races_on_two_gateways_is_stored_once_and_starts_one_task(
    store: Store, other: Store, database: Database
) -> None:
    stores = [store, other] * 10

    accepted = await asyncio.gather(*(each.turns.accept(turn(message_id="m1")) for each in stores))

    assert len({each.task.id for each in accepted}) == 1
    assert sum(each.created for each in accepted) == 1
    assert await database.fetchval("SELECT count(*) FROM tasks") == 1
    assert await database.fetchval("SELECT count(*) FROM messages WHERE role = 'user'") == 1


@pytest.mark.requirement("CH-2")
async def test_the_same_question_under_another_id_is_another_message(store: Store) -> None:
    first = await store.turns.accept(turn("again?", message_id="m1"))
    second = await store.turns.accept(turn("again?", message_id="m2"))

    assert first.task.id != second.task.id
    with pytest.raises(MessageConflict):
        await store.turns.accept(turn("something else", message_id="m1"))


@pytest.mark.requirement("SE-3")
async def test_an_owner_begins_as_many_sessions_as_he_may_in_whatever_ways_at_once(
    store: Store, other: Store, database: Database
) -> None:
    most = 6
    limits: dict[str, Any] = {"user_id": "ada", "max_sessions_per_hour": most, "max_live": 20}
    await run_to_end(store, await store.turns.accept(turn(**limits)), "hi")

    outcomes = await asyncio.gather(
        *(store.sessions.create(f"made-{number}", "ada", None, most) for number in range(6)),
        *(other.turns.accept(turn(session_id=f"told-{number}", **limits)) for number in range(6)),
        *(other.branches.fork("s", "ada", None, f"forked-{number}", most) for number in range(6)),
        # A page makes the session of a message that is on its way already; and says something in the other.
        *(store.sessions.create(f"told-{number}", "ada", None, most) for number in range(6)),
        *(store.turns.accept(turn(f"{number}", **limits)) for number in range(4)),
        return_exceptions=True,
    )

    assert {type(one) for one in outcomes if isinstance(one, BaseException)} == {TooManySessions}
    assert await database.fetchval("SELECT count(*) FROM sessions") == most
    assert (await store.sessions.create("s", "ada", None, most))[1] is False, "one that is there is none too many"


@pytest.mark.requirement("CH-12")
async def test_messages_sent_at_once_get_distinct_places_and_one_of_them_runs(store: Store, other: Store) -> None:
    accepted = await asyncio.gather(
        *((store, other)[n % 2].turns.accept(turn(f"question {n}", message_id=f"m{n}")) for n in range(12))
    )

    assert sorted(each.position for each in accepted) == list(range(12))
    assert sum(each.active for each in accepted) == 1
    assert len({each.task.sequence for each in accepted}) == 12


@pytest.mark.requirement("CH-12")
async def test_the_end_of_a_turn_makes_the_next_one_active_also_when_both_race(store: Store, other: Store) -> None:
    for n in range(20):
        session = f"race-{n}"
        first = await store.turns.accept(turn("one", session_id=session, message_id="m1"))
        claimed = await store.turns.claim(first.task.id)
        assert claimed is not None

        ended, second = await asyncio.gather(
            store.turns.end(claimed, answer("done"), attempt=1),
            other.turns.accept(turn("two", session_id=session, message_id="m2")),
        )

        assert ended
        active = await store.sessions.active_task(session)
        assert active is not None
        assert active.id == second.task.id


@pytest.mark.requirement("CH-12")
async def test_reject_refuses_while_a_turn_runs_and_interrupt_asks_the_running_one_to_end(store: Store) -> None:
    running = await store.turns.accept(turn("one", message_id="m1"))
    await store.turns.claim(running.task.id)
    queued = await store.turns.accept(turn("two", message_id="m2"))
    with pytest.raises(SessionBusy):
        await store.turns.accept(turn("three", message_id="m3", policy="reject"))

    interrupting = await store.turns.accept(turn("four", message_id="m4", policy="interrupt"))

    assert [task.id for task in interrupting.cancelled] == [queued.task.id]
    assert interrupting.interrupted is not None
    assert interrupting.interrupted.id == running.task.id
    asked = await store.turns.get(running.task.id)
    assert asked is not None
    assert asked.cancel_requested_at is not None
    await store.turns.end(asked, answer("part"), attempt=1)
    active = await store.sessions.active_task("s")
    assert active is not None
    assert active.id == interrupting.task.id


@pytest.mark.requirement("CH-12")
async def test_the_latest_message_takes_the_place_of_those_that_wait_and_of_nothing_that_runs(store: Store) -> None:
    first = await store.turns.accept(turn("one", message_id="m1"))
    second = await store.turns.accept(turn("two", message_id="m2", policy="latest"))
    assert [task.id for task in second.cancelled] == [first.task.id], "nobody had begun it"
    assert (second.active, second.position, second.interrupted) == (True, 0, None)
    await store.turns.claim(second.task.id)
    waiting = [await store.turns.accept(turn("x", message_id=f"m{n}")) for n in (3, 4)]
    latest = await store.turns.accept(turn("five", message_id="m5", policy="latest"))
    assert [task.id for task in latest.cancelled] == [one.task.id for one in waiting]
    assert (latest.active, latest.position, latest.interrupted) == (False, 1, None)
    running = await store.turns.get(second.task.id)
    assert running is not None
    assert running.cancel_requested_at is None
    ended = await store.turns.end(running, answer("done"), attempt=1)
    assert ended is not None
    assert ended.following == latest.task.id
    again = await store.turns.accept(turn("five", message_id="m5", policy="latest"))
    assert (again.created, again.task.id, again.cancelled) == (False, latest.task.id, [])


@pytest.mark.requirement("CH-12")
async def test_a_turn_ends_between_two_steps_for_a_message_that_steers_it_or_is_left_alone(store: Store) -> None:
    first = await store.turns.accept(turn("one", message_id="m1", policy="steer"))
    assert first.task.steers is None, "there was nothing to be steered"
    running = await store.turns.claim(first.task.id)
    assert running is not None
    assert await store.turns.steering(running) is None
    taken_back = await store.turns.accept(turn("two", message_id="m2", policy="steer"))
    assert await store.turns.steering(running) == taken_back.task.id
    await store.turns.request_cancel(taken_back.task.id, None)
    gone = TurnEnd("completed", [], {}, gives_way=taken_back.task.id)
    assert await store.turns.end(running, gone, attempt=1) is None, "what it was to end for waits no more"
    assert (await standing(store, first)).status == "running"

    steering = await store.turns.accept(turn("three", message_id="m3", policy="steer"))
    other = await store.turns.accept(turn("four", message_id="m4"))
    assert steering.task.steers == running.id
    assert await store.turns.steering_messages(running.session_id) == ["m3"], "those that wait to enter, and no other"
    end = TurnEnd("completed", [], {}, gives_way=steering.task.id)
    ended = await store.turns.end(running, end, attempt=1)
    assert ended is not None
    assert ended.following == steering.task.id
    assert await store.turns.end(running, end, attempt=1) is None, "the answer of the commit was lost: it has ended"
    assert await store.turns.steering_messages(running.session_id) == [], "it has entered"
    found = [await standing(store, one) for one in (first, taken_back, steering, other)]
    assert [one.status for one in found] == ["completed", "cancelled", "queued", "queued"]
    assert [one.entered for one in found] == [False, False, True, False]
    assert (other.task.steers, other.position) == (None, 2)


async def standing(store: Store, accepted: AcceptedTurn) -> Task:
    found = await store.turns.get(accepted.task.id)
    assert found is not None
    return found


async def test_a_session_takes_only_so_many_waiting_turns(store: Store) -> None:
    for n in range(3):
        await store.turns.accept(turn("x", message_id=f"m{n}", max_queued=2))
    with pytest.raises(TooManyTasks):
        await store.turns.accept(turn("x", message_id="m3", max_queued=2))


@pytest.mark.requirement("TS-5")
async def test_a_turn_is_ended_once_and_only_by_the_attempt_that_holds_it(store: Store) -> None:
    accepted = await store.turns.accept(turn())
    first = await store.turns.claim(accepted.task.id)
    second = await store.turns.claim(accepted.task.id)
    assert first is not None
    assert second is not None
    assert (first.attempt, second.attempt) == (1, 2)

    assert not await store.turns.end(first, answer("stale"), attempt=first.attempt)
    ends = await asyncio.gather(*(store.turns.end(second, answer("right"), attempt=2) for _ in range(5)))

    assert sum(end is not None for end in ends) == 1
    messages = (await store.sessions.messages("s", None, 10)).messages
    assert [message.parts for message in messages] == [
        [{"type": "text", "text": "hello"}],
        [{"type": "text", "text": "right"}],
    ]


@pytest.mark.requirement("CH-13")
async def test_a_queued_turn_is_cancelled_at_once_and_a_running_one_is_asked(store: Store) -> None:
    running = await store.turns.accept(turn("one", message_id="m1"))
    await store.turns.claim(running.task.id)
    queued = await store.turns.accept(turn("two", message_id="m2"))

    task, ended_here = await store.turns.request_cancel(queued.task.id, None)
    assert (task.status, ended_here) == ("cancelled", True)
    task, ended_here = await store.turns.request_cancel(running.task.id, None)
    assert (task.status, ended_here) == ("running", False)
    assert task.cancel_requested_at is not None
    for task_id in (queued.task.id, running.task.id):
        seen = await store.ops.turn(task_id)
        assert seen is not None
        assert seen.end_facts == {"by": "owner"}


@pytest.mark.requirement("OP-6")
@pytest.mark.parametrize(("policy", "running"), [("interrupt", "interrupt"), ("latest", None)])
async def test_a_turn_that_makes_room_keeps_for_operators_which_one_it_was_for(
    store: Store, policy: Any, running: str | None
) -> None:
    first = await store.turns.accept(turn("one", message_id="m1"))
    await store.turns.claim(first.task.id)
    second = await store.turns.accept(turn("two", message_id="m2"))
    third = await store.turns.accept(turn("three", message_id="m3", policy=policy))
    of_first, of_second = await store.ops.turn(first.task.id), await store.ops.turn(second.task.id)
    assert of_first is not None
    assert of_second is not None
    assert of_first.end_facts == ({"by": running, "for": third.task.id} if running else None)
    assert of_second.end_facts == {"by": policy, "for": third.task.id}
    # What is noted later does not take its place; what failed does.
    await store.turns.request_cancel(first.task.id, None)
    await store.turns.end(first.task, TurnEnd("failed", [], {}, {"code": "X"}, facts={"step": 1}), attempt=None)
    of_first = await store.ops.turn(first.task.id)
    assert of_first is not None
    assert of_first.end_facts == {"step": 1}


@pytest.mark.requirement("CH-1")
async def test_only_the_owner_reaches_a_session_and_an_anonymous_one_can_be_claimed_once(store: Store) -> None:
    await store.sessions.create("adas", "ada", None)
    for attempt in (
        store.sessions.get("adas", "bob"),
        store.sessions.get("adas", None),
        store.sessions.change("adas", "bob", title="mine"),
        store.sessions.delete("adas", "bob"),
        store.sessions.claim("adas", "bob", None),
        store.turns.accept(turn(session_id="adas", user_id="bob")),
    ):
        with pytest.raises(AccessDenied):
            await attempt
    with pytest.raises(SessionNotFound):
        await store.sessions.get("nobodys", None)

    await store.sessions.create("free", None, None)
    assert (await store.sessions.claim("free", "ada", None)).user_id == "ada"
    assert (await store.sessions.claim("free", "ada", None)).user_id == "ada"
    with pytest.raises(AccessDenied):
        await store.sessions.claim("free", "bob", None)


@pytest.mark.requirement("CH-1")
async def test_pages_of_messages_are_in_order_without_gap_or_repeat(store: Store) -> None:
    for n in range(7):
        await run_to_end(store, await store.turns.accept(turn(f"q{n}", message_id=f"m{n}")), f"a{n}")
    await store.turns.accept(turn("unanswered", message_id="m7"))

    pages: list[str] = []
    before: int | None = None
    while page := (await store.sessions.messages("s", before, 4)).messages:
        pages = [message.parts[0]["text"] for message in page] + pages
        before = page[0].sequence

    assert pages == [text for n in range(7) for text in (f"q{n}", f"a{n}")] + ["unanswered"]


@pytest.mark.requirement("GW-2")
async def test_regenerating_supersedes_the_answer_and_a_repeat_of_the_request_answers_the_same_task(
    store: Store,
) -> None:
    first = await store.turns.accept(turn("q", message_id="m1"))
    await run_to_end(store, first, "bad answer")
    asked = turn("", regenerate=True, replaces=first.task.message_id, policy="interrupt")

    again = await store.turns.accept(asked)
    repeated = await store.turns.accept(asked)

    assert again.created
    assert not repeated.created
    assert again.task.id == repeated.task.id != first.task.id
    assert again.task.user_message_id == "m1"
    await run_to_end(store, again, "better answer")
    texts = [message.parts[0]["text"] for message in (await store.sessions.messages("s", None, 10)).messages]
    assert texts == ["q", "better answer"]


@pytest.mark.requirement("GW-2")
async def test_an_edited_message_keeps_its_place_and_supersedes_what_followed(store: Store) -> None:
    await run_to_end(store, await store.turns.accept(turn("q1", message_id="m1")), "a1")
    await run_to_end(store, await store.turns.accept(turn("q2", message_id="m2")), "a2")

    edited = await store.turns.accept(turn("q1, better", message_id="m1", edit=True, policy="interrupt"))

    assert edited.created
    history = await store.turns.history(edited.task, 10)
    assert [message.parts[0]["text"] for message in history] == ["q1, better"]
