"""Completions in Postgres: an operation ends once, and one completion is the last of its step."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from sluiceway.store import Store
from sluiceway.store.operations.operation_end import EndOutcome, OperationEnd, ReportedEnd
from sluiceway.store.operations.webhooks import NewWebhook
from sluiceway.store.records import Operation

from harness.databases.database import Database
from tests.completion_consumer.scene import PENDING, Scene

OVERDUE = OperationEnd("expired", error={"type": "DEADLINE_EXCEEDED", "message": "Too late."})


@pytest.fixture
async def other(database_url: str) -> AsyncIterator[Store]:
    """Another consumer's store."""
    async with Store.open(database_url, max_size=10, application_name="other") as opened:
        yield opened


def done(operation: Operation, result: Any = "done", *, receipt: int | None = None) -> ReportedEnd:
    return ReportedEnd(operation.id, operation.task_id, OperationEnd("succeeded", result, result), "digest", receipt)


def by_task(operation: Operation, result: Any = "done", name: str | None = None) -> ReportedEnd:
    return ReportedEnd(name, operation.task_id, OperationEnd("succeeded", result, result), f"digest of {name} {result}")


@pytest.mark.requirement("CC-6", "CH-9")
async def test_the_last_of_parallel_completions_learns_that_it_was_the_last_however_they_race(
    scene: Scene, other: Store
) -> None:
    for _ in range(40):
        waiting = await scene.waiting(*[PENDING] * 5)
        stores = [scene.store, other] * 5
        told = [done(operation, operation.id) for operation in waiting.operations * 2]

        outcomes = await asyncio.gather(
            *(store.completions.complete(completion) for store, completion in zip(stores, told, strict=True))
        )

        assert [outcome.kind for outcome in outcomes].count("applied") == 5
        assert [outcome.kind for outcome in outcomes].count("repeat") == 5
        assert sum(outcome.resumes for outcome in outcomes) == 1
        for operation in waiting.operations:
            assert (await scene.part(operation))["output"] == operation.id
        task = await scene.store.turns.get(waiting.task.id)
        assert task is not None
        assert task.open_operations == 0


@pytest.mark.requirement("CC-6")
async def test_the_first_completion_counts_and_others_change_nothing(scene: Scene, database: Database) -> None:
    operation = (await scene.waiting("pending", "pending")).operations[0]
    first = await scene.store.completions.complete(done(operation, {"first": True}))
    failed = OperationEnd("failed", error={"type": "FAILED", "message": "no"})
    second = await scene.store.completions.complete(ReportedEnd(operation.id, None, failed, "other"))

    assert (first.kind, second.kind) == ("applied", "repeat")
    assert second.part == await scene.part(operation)
    assert second.part["output"] == {"first": True}
    assert await scene.state(operation) == "succeeded"
    assert await database.fetchval("SELECT open_operations FROM tasks") == 1


@pytest.mark.requirement("CC-5")
async def test_a_completion_without_an_operation_ends_the_only_one_its_task_waits_for_and_never_a_later_one(
    scene: Scene,
) -> None:
    for name in (None, "an-id-of-the-sender"):
        waiting = await scene.waiting()
        completion = by_task(waiting.operation, name=name)
        assert (await scene.store.completions.complete(completion)).kind == "applied"
        later = await scene.step(await scene.next_step(waiting.task))
        repeated = await scene.store.completions.complete(completion)
        assert repeated.kind == "repeat"
        assert await scene.state(later.operation) == "pending"
        assert (await scene.store.completions.complete(by_task(later.operation, "new", name=name))).kind == "applied"


@pytest.mark.requirement("CC-5")
async def test_what_cannot_be_told_apart_is_ended_by_nobody(scene: Scene) -> None:
    two = await scene.waiting("pending", "pending")
    stranger = await scene.waiting()
    asks = await scene.asking()
    complete = scene.store.completions.complete

    assert _late(await complete(by_task(two.operations[0]))) == "it names no operation, and its task waits for several"
    wrong = ReportedEnd(two.operations[0].id, stranger.task.id, OperationEnd("succeeded", 1, 1), "d")
    assert _late(await complete(wrong)) == "the operation is another task's"
    assert _late(await complete(done(asks.operation))) == "nobody was asked to work on the operation yet"
    assert (await complete(by_task(two.operations[0], name="unknown"))).kind == "unknown"
    assert (await complete(ReportedEnd("unknown", None, OperationEnd("succeeded", 1, 1), "d"))).kind == "unknown"
    assert await scene.state(two.operations[0]) == await scene.state(stranger.operation) == "pending"


@pytest.mark.requirement("CC-5")
async def test_a_completion_after_the_end_of_its_turn_is_late(scene: Scene, database: Database) -> None:
    waiting = await scene.waiting()
    await scene.turns.intake.cancel(waiting.task.id, None)
    outcome = await scene.store.completions.complete(done(waiting.operation))
    assert _late(outcome) == "the operation is cancelled"
    assert _late(await scene.store.completions.complete(by_task(waiting.operation))).startswith("its task has ended")

    left = await scene.waiting()
    await database.execute("UPDATE tasks SET status = 'failed' WHERE id = $1", left.task.id)
    assert _late(await scene.store.completions.complete(done(left.operation))) == "the operation's turn has ended"


@pytest.mark.requirement("CC-5", "WH-4")
async def test_the_journal_knows_what_came_of_a_webhook(scene: Scene, database: Database) -> None:
    waiting = await scene.waiting("pending", "pending")
    operation = waiting.operations[0]
    receipts = []
    for number in range(2):
        new = NewWebhook(operation.id, "complete", f"w{number}", "signature", {"success": True, "result": number})
        receipts.append((await scene.store.webhooks.receive(new)).id)

    for receipt in [receipts[0], receipts[0], receipts[1]]:
        await scene.store.completions.complete(done(operation, receipt=receipt))

    rows = await database.fetch("SELECT outcome, applied_at FROM webhook_journal ORDER BY id")
    assert [row["outcome"] for row in rows] == ["applied", "late"]
    assert all(row["applied_at"] is not None for row in rows)


@pytest.mark.requirement("CH-10", "CC-7")
async def test_an_operation_past_its_deadline_fails_and_a_completion_after_it_is_late(scene: Scene) -> None:
    waiting = await scene.waiting("pending", deadline_seconds=-1)
    in_time = await scene.waiting()

    (outcome,) = await _expire(scene.store)

    assert outcome.resumes
    assert await scene.part(waiting.operation) | {"input": 0} == {
        "type": "tool-look_up",
        "toolCallId": waiting.operation.tool_call_id,
        "input": 0,
        "state": "output-error",
        "errorText": "DEADLINE_EXCEEDED: Too late.",
    }
    assert _late(await scene.store.completions.complete(done(waiting.operation))) == "the operation is expired"
    assert await scene.state(in_time.operation) == "pending"
    assert await _expire(scene.store) == []


async def _expire(store: Store) -> list[EndOutcome]:
    overdue = await store.deadlines.overdue(10)
    outcomes = [await store.deadlines.expire(operation, OVERDUE) for operation in overdue]
    return [outcome for outcome in outcomes if outcome is not None]


@pytest.mark.requirement("CC-6", "CH-10")
async def test_a_deadline_and_a_completion_that_race_end_the_operation_once(scene: Scene, other: Store) -> None:
    for _ in range(20):
        waiting = await scene.waiting("pending", "pending", deadline_seconds=-1)
        expiring = asyncio.ensure_future(_expire(other))
        completed = await asyncio.gather(
            *(scene.store.completions.complete(done(operation)) for operation in waiting.operations)
        )
        expired = await expiring
        ended = [outcome for outcome in [*expired, *completed] if outcome.kind == "applied"]
        assert len(ended) == 2
        assert sum(outcome.resumes for outcome in ended) == 1


@pytest.mark.requirement("CH-16")
async def test_an_approval_that_nobody_answers_expires_and_only_that(scene: Scene, database: Database) -> None:
    asks = await scene.asking(deadline_seconds=-1)
    patient = await scene.asking()

    deadlines = scene.store.deadlines
    assert await deadlines.unanswered(10) == [asks.task.session_id]
    (expired,) = await deadlines.expire_approvals(asks.task.session_id, OVERDUE)

    assert expired.operation.id == asks.operation.id
    assert expired.operation.status == "expired"
    part = await scene.part(asks.operation)
    assert (part["state"], part["errorText"]) == ("output-error", "DEADLINE_EXCEEDED: Too late.")
    assert await scene.state(patient.operation) == "approval"
    asked = "SELECT approval_task_id FROM sessions WHERE id = $1"
    assert await database.fetchval(asked, asks.task.session_id) is None
    assert await database.fetchval(asked, patient.task.session_id) == patient.task.id
    assert await deadlines.unanswered(10) == []
    for session_id in (asks.task.session_id, patient.task.session_id):
        assert await deadlines.expire_approvals(session_id, OVERDUE) == []


@pytest.mark.requirement("CC-5")
async def test_what_was_parked_is_found_when_its_operation_is_known_and_given_up_when_it_never_comes(
    scene: Scene,
) -> None:
    parked = scene.store.parked
    waiting = await scene.waiting()
    for _ in range(3):
        await parked.add(waiting.operation.id, None, {"operation_id": waiting.operation.id})
        await parked.add("nowhere", None, {"operation_id": "nowhere"})
        await parked.add(None, waiting.task.id, {"task_id": waiting.task.id})

    page = await parked.page(0, timedelta(hours=1), 10)
    assert [(one.body, one.fits, one.outdated) for one in page] == [
        ({"operation_id": waiting.operation.id}, True, False),
        ({"operation_id": "nowhere"}, False, False),
        ({"task_id": waiting.task.id}, True, False),
    ]
    assert await parked.page(page[1].id, timedelta(hours=1), 10) == page[2:]
    for known in (page[0], page[2]):
        await parked.remove(known.id)
    (outdated,) = await parked.page(0, timedelta(0), 10)
    assert outdated.outdated
    await parked.give_up(outdated.id, "the queue", "never came")
    assert await scene.dead_letters() == [(b'{"operation_id": "nowhere"}', "never came")]
    assert await parked.page(0, timedelta(0), 10) == []


def _late(outcome: EndOutcome) -> str:
    assert outcome.kind == "late"
    return outcome.reason


@pytest.mark.requirement("CC-5")
async def test_a_conversation_may_be_deleted_while_its_operations_end(scene: Scene, other: Store) -> None:
    for _ in range(40):
        waiting = await scene.waiting(*[PENDING] * 4)
        deleting = asyncio.ensure_future(other.sessions.delete(waiting.task.session_id, None))
        outcomes = await asyncio.gather(
            *(scene.store.completions.complete(done(operation)) for operation in waiting.operations)
        )
        await deleting
        assert {outcome.kind for outcome in outcomes} <= {"applied", "unknown", "late"}
        assert (await scene.store.completions.complete(done(waiting.operations[0]))).kind == "unknown"
