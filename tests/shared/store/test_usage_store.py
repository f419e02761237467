"""What model calls have used, on a real Postgres: counted once, by turn, session, user, model and day."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
from sluiceway.errors import BudgetReached
from sluiceway.ids import new_call_id
from sluiceway.store import Store
from sluiceway.store.people.usage import Budget, ModelCall, UsageSum
from sluiceway.store.records import Task
from sluiceway.store.turns.accepting import NewTurn
from sluiceway.store.turns.ending import TurnEnd

from harness.databases.database import Database


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with Store.open(database_url, max_size=12, application_name="test") as opened:
        yield opened


def turn(session_id: str = "s", user_id: str | None = "ada", budget: Budget | None = None) -> NewTurn:
    return NewTurn(session_id=session_id, user_id=user_id, text="hello", create_session=True, budget=budget or Budget())


async def begun(store: Store, session_id: str = "s", user_id: str | None = "ada") -> Task:
    accepted = await store.turns.accept(turn(session_id, user_id))
    claimed = await store.turns.claim(accepted.task.id)
    assert claimed is not None
    return claimed


def call(tokens: int = 10, model: str = "m", cost: float | None = 0.5) -> ModelCall:
    return ModelCall(new_call_id(), 1, "answer", model, "answered", tokens, tokens * 2, cost=cost)


def end_with(*calls: ModelCall) -> TurnEnd:
    return TurnEnd(status="completed", parts=[], metadata={}, calls=calls)


async def today(store: Store, user_id: str | None = "ada") -> list[UsageSum]:
    day = (await store.now()).date()
    # At midnight the day of the rows may be the one before.
    return await store.usage.of_user(user_id, day - timedelta(days=1), day)


@pytest.mark.requirement("CH-20")
async def test_calls_are_durable_with_the_end_of_their_turn_and_summed_by_model_and_day(store: Store) -> None:
    task = await begun(store)

    await store.turns.end(task, end_with(call(10), call(20), call(5, "other", None)), attempt=task.attempt)

    found = {
        one.model: (one.calls, one.input_tokens, one.output_tokens, one.cost, one.unpriced)
        for one in await today(store)
    }
    assert found == {"m": (2, 30, 60, 1.0, 0), "other": (1, 5, 10, 0.0, 1)}
    assert sorted(one.input_tokens for one in await store.usage.of_task(task.id)) == [5, 10, 20]
    by_session = {(one.model, one.key): one.calls for one in await store.usage.of_session("s")}
    assert by_session == {("m", "answer"): 2, ("other", "answer"): 1}


@pytest.mark.requirement("CH-20")
async def test_a_call_that_is_written_again_counts_once(store: Store) -> None:
    task, calls = await begun(store), [call(), call()]

    paused = await store.turns.pause(task, [], [], None, calls=calls)
    again = await store.turns.end(task, end_with(*calls), attempt=task.attempt)
    await asyncio.gather(*(store.usage.charge(task, calls) for _ in range(4)))

    assert (paused.paused, again is not None) == ("running", True)
    assert [(one.calls, one.input_tokens) for one in await today(store)] == [(2, 20)]


@pytest.mark.requirement("CH-20")
async def test_an_end_that_is_refused_counts_nothing(store: Store) -> None:
    task = await begun(store)

    assert await store.turns.end(task, end_with(call()), attempt=task.attempt + 1) is None

    assert await today(store) == []


@pytest.mark.requirement("CH-20")
async def test_turns_of_one_user_that_end_at_once_are_all_counted(store: Store) -> None:
    tasks = [await begun(store, f"s{number}") for number in range(24)]

    await asyncio.gather(
        *(store.turns.end(task, end_with(call(1, "a"), call(1, "b")), attempt=task.attempt) for task in tasks)
    )

    assert [(one.model, one.calls, one.input_tokens) for one in await today(store)] == [("a", 24, 24), ("b", 24, 24)]


@pytest.mark.requirement("CH-20")
async def test_sums_outlive_a_deleted_session_also_for_what_is_told_later(store: Store, database: Database) -> None:
    task = await begun(store)
    await store.usage.charge(task, [call(7)])

    await store.sessions.delete("s", "ada")
    await store.usage.charge(task, [call(8), call(9)])

    assert [(one.calls, one.input_tokens) for one in await today(store)] == [(3, 24)]
    assert await database.fetchval("SELECT count(*) FROM model_calls") == 0


@pytest.mark.requirement("CH-20")
async def test_a_budget_refuses_new_messages_until_the_day_ends_and_no_repeat(store: Store, database: Database) -> None:
    budget = Budget(tokens=30)
    first = await store.turns.accept(replace(turn(budget=budget), message_id="m1"))
    claimed = await store.turns.claim(first.task.id)
    assert claimed is not None
    await store.turns.end(claimed, end_with(call(10)), attempt=claimed.attempt)

    with pytest.raises(BudgetReached) as refused:
        await store.turns.accept(replace(turn(budget=budget), message_id="m2"))
    repeated = await store.turns.accept(replace(turn(budget=budget), message_id="m1"))
    other = await store.turns.accept(turn("t", "grace", budget))

    assert 0 < int(refused.value.extra["retry_after_seconds"]) <= 86_400
    assert refused.value.extra["used_tokens"] == 30
    assert (repeated.created, other.created) == (False, True)
    with pytest.raises(BudgetReached) as too_dear:
        await store.turns.accept(replace(turn(budget=Budget(cost=0.5)), message_id="m3"))
    assert too_dear.value.extra["daily_cost"] == "0.5000"
    assert (await store.turns.accept(replace(turn(budget=Budget(tokens=31, cost=0.6)), message_id="m4"))).created

    # As on the day after.
    await database.execute("UPDATE usage_days SET day = day - 1")
    assert (await store.turns.accept(replace(turn(budget=budget), message_id="m5"))).created


@pytest.mark.requirement("CH-20")
async def test_who_is_nobody_in_particular_has_a_budget_too(store: Store) -> None:
    task = await begun(store, user_id=None)
    await store.usage.charge(task, [call(10)])

    with pytest.raises(BudgetReached):
        await store.turns.accept(turn(user_id=None, budget=Budget(tokens=30)))
    everybody = await store.usage.of_all((await store.now()).date() - timedelta(days=1), (await store.now()).date(), 10)
    assert [(one.key, one.calls) for one in everybody] == [("", 1)]
