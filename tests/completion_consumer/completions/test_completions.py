"""Completions through the real consumer: stored, shown and acted on, once."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sluiceway import keys
from sluiceway.store.operations.webhooks import NewWebhook
from sluiceway.store.records import Operation
from sluiceway.store.turns.ending import TurnEnd
from sluiceway.turn.background import Answer
from sluiceway.wire.jobs import CompletionJob, OperationError, ProgressJob
from sluiceway.wire.json_values import TOO_DEEP

from harness.databases.database import Database
from harness.processes.services import Services
from harness.waiting import wait_until
from tests.completion_consumer.scene import PENDING, Scene, Waiting, only


async def _continues(scene: Scene, waiting: Waiting) -> None:
    await wait_until(lambda: scene.next_steps(waiting.task), what="the next step is queued")


@pytest.mark.requirement("CC-6", "CC-9", "CC-2")
async def test_a_result_is_stored_shown_and_acted_on_once_however_often_it_is_delivered(
    services: Services, scene: Scene
) -> None:
    await services.completion_consumer()
    waiting = await scene.waiting()
    for _ in range(10):
        await scene.succeed(waiting.operation, {"found": ["it", None, "Größe 🙂"]})
    await scene.wait_until_all_done()

    part = await scene.part(waiting.operation)
    assert (part["state"], part["output"]) == ("output-available", {"found": ["it", None, "Größe 🙂"]})
    assert await scene.state(waiting.operation) == "succeeded"
    chunk = only(await scene.chunks(waiting.operation))
    assert chunk == {
        "type": "tool-output-available",
        "toolCallId": waiting.operation.tool_call_id,
        "output": {"found": ["it", None, "Größe 🙂"]},
    }
    assert await scene.next_steps(waiting.task) == 1
    later = await scene.step(await scene.next_step(waiting.task))
    await scene.succeed(waiting.operation, "the first call again")
    await scene.wait_until_all_done()
    assert await scene.next_steps(waiting.task) == 0
    assert await scene.chunks(later.operation) == []


@pytest.mark.requirement("CC-7", "CC-9")
@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (OperationError(type="TIMEOUT", message="It took too long."), "TIMEOUT: It took too long."),
        ("It is broken.", "FAILED: It is broken."),
        (None, "FAILED: It failed, and did not say why."),
    ],
)
async def test_a_failure_is_a_typed_error_that_the_model_gets_to_explain(
    services: Services, scene: Scene, error: OperationError | str | None, shown: str
) -> None:
    await services.completion_consumer()
    waiting = await scene.waiting()
    await scene.completions.publish_operation_complete(waiting.operation.id, waiting.task.id, False, error=error)
    await _continues(scene, waiting)
    part = await scene.part(waiting.operation)
    assert (part["state"], part["errorText"]) == ("output-error", shown)
    assert only(await scene.chunks(waiting.operation))["errorText"] == shown
    assert await scene.state(waiting.operation) == "failed"


@pytest.mark.requirement("CC-6", "CH-9")
async def test_parallel_operations_lead_to_one_next_step_whichever_consumer_ends_the_last_one(
    services: Services, scene: Scene
) -> None:
    await asyncio.gather(services.completion_consumer(), services.completion_consumer())
    waitings = [await scene.waiting(*[PENDING] * 4) for _ in range(50)]
    told = [(number % 3 > 0, operation) for waiting in waitings for number, operation in enumerate(waiting.operations)]

    await asyncio.gather(
        *(
            scene.completions.publish_operation_complete(operation.id, operation.task_id, success, operation.id, "no")
            for success, operation in told * 2
        )
    )
    await scene.wait_until_all_done()

    asked_for = await scene.queued("chat")
    assert sorted(asked_for) == sorted(waiting.task.id for waiting in waitings)
    for success, operation in told:
        assert only(await scene.chunks(operation))["type"] == f"tool-output-{'available' if success else 'error'}"
        assert (await scene.part(operation))["state"] == f"output-{'available' if success else 'error'}"


@pytest.mark.requirement("CC-6", "CH-8")
async def test_of_a_large_result_the_conversation_carries_the_beginning_and_postgres_keeps_all(
    services: Services, scene: Scene
) -> None:
    await services.completion_consumer(MAX_RESULT_CHARS="1000")
    waiting = await scene.waiting()
    await scene.succeed(waiting.operation, {"text": "x" * 300_000})
    await _continues(scene, waiting)
    part = await scene.part(waiting.operation)
    assert part["output"].startswith('{"text": "xxx')
    assert part["output"].endswith("of 300012 characters are shown. The whole result is kept.]")
    assert len(part["output"]) <= 1000
    assert only(await scene.chunks(waiting.operation))["output"] == part["output"]
    assert await scene.store.operations.output(waiting.operation.id) == {"text": "x" * 300_000}


@pytest.mark.requirement("CC-6")
@pytest.mark.parametrize(
    ("result", "shown"),
    [
        (None, "No result."),
        ({"__proto__": {"a": 1}, "b": "x\x00y"}, {"b": "x\ufffdy"}),
        ({"constructor": {"prototype": {}}, "ok": [float("nan")]}, {"ok": [None]}),
        (["\ud800", 10**400], ["\ufffd", None]),
        ("", ""),
        (0, 0),
        (False, False),
    ],
)
async def test_a_result_that_clients_or_postgres_refuse_is_cleaned(
    services: Services, scene: Scene, result: Any, shown: Any
) -> None:
    await services.completion_consumer()
    waiting = await scene.waiting()
    await scene.succeed(waiting.operation, result)
    await _continues(scene, waiting)
    assert (await scene.part(waiting.operation))["output"] == shown
    assert only(await scene.chunks(waiting.operation))["output"] == shown


@pytest.mark.requirement("CC-6")
async def test_what_others_put_into_the_queue_uncleaned_is_cleaned_too(services: Services, scene: Scene) -> None:
    await services.completion_consumer()
    waiting = await scene.waiting()
    deep: Any = "bottom"
    for _ in range(150):
        deep = [deep]
    job = CompletionJob(operation_id=waiting.operation.id, success=True, result={"\x00": deep, "__proto__": 1})
    await scene.queue.add(job.encode())
    await _continues(scene, waiting)
    output = (await scene.part(waiting.operation))["output"]
    assert list(output) == ["\ufffd"]
    assert TOO_DEEP in str(output)


@pytest.mark.requirement("CC-6", "CH-9")
async def test_progress_is_shown_while_it_is_news_and_never_after_the_end(services: Services, scene: Scene) -> None:
    await services.completion_consumer(WORKER_SLOTS="1")  # one after the other
    waiting = await scene.waiting("pending", "pending")
    operation = waiting.operations[0]
    say = ProgressJob(operation_id=operation.id, percent=40, message="half\x00way", data={"__proto__": 1}, number=7)
    news = [say, say, say.model_copy(update={"number": 6}), say.model_copy(update={"number": 8, "percent": None})]
    for job in news:
        await scene.completions.publish(job)
    await scene.succeed(operation)
    await scene.completions.publish(say.model_copy(update={"number": 9}))
    await scene.completions.publish(ProgressJob(operation_id="unknown", percent=1))
    await scene.wait_until_all_done()

    shown = await scene.chunks(operation)
    assert [chunk.get("preliminary") for chunk in shown] == [True, True, None]
    assert shown[0]["output"] == {"status": "running", "percent": 40, "message": "half\ufffdway", "data": {}}
    assert shown[1]["output"] == {"status": "running", "message": "half\ufffdway", "data": {}}
    assert (await scene.part(operation))["output"] == "done"


@pytest.mark.requirement("WH-4")
async def test_the_journal_says_what_came_of_each_progress_report(services: Services, scene: Scene) -> None:
    await services.completion_consumer(WORKER_SLOTS="1")
    waiting = await scene.waiting("pending", "pending")
    operation = waiting.operations[0]
    reports = []
    for number in range(3):
        new = NewWebhook(operation.id, "progress", f"w{number}", "api-key", {"percent": number})
        reports.append(await scene.store.webhooks.receive(new))
    for report in (reports[1], reports[0]):
        await scene.completions.publish(report.job)
    await scene.succeed(operation)
    await scene.completions.publish(reports[2].job)
    await scene.wait_until_all_done()
    rows = await scene.store.webhooks.page(operation.id, None, None, 10)
    assert [row.outcome for row in reversed(rows)] == ["superseded", "applied", "late"]


@pytest.mark.requirement("CH-19", "WH-4")
async def test_progress_that_comes_while_its_turn_talks_is_shown_when_that_waits_and_outlives_redis(
    services: Services, scene: Scene, database: Database
) -> None:
    """Of an outside service whose operation does not block the turn; the last that it said."""
    await services.completion_consumer(WORKER_SLOTS="1", RECONCILE_SECONDS="0.2")
    async with scene.entry_in_flight() as entry_id:
        started = await scene.waiting(background=True, entry_id=entry_id)
        turn, operation = started.task, started.operation
        for percent in (30, 60):
            await _report(scene, operation, percent)
        await database.execute("UPDATE webhook_journal SET received_at = now() - interval '1 hour'")
        assert await scene.store.webhooks.unapplied(timedelta(), 10) == [], "nobody is to send it again meanwhile"
        assert await scene.chunks(operation) == []
        message = await scene.store.turns.message(turn)
        assert message is not None
        answer = TurnEnd("completed", message.parts, {})
        assert await scene.turns.pause.step_back(turn, answer, Answer([], frozenset()), written=1) == "waiting"
    await _shows(scene, operation, [60])
    await _report(scene, operation, 70)

    await database.execute("UPDATE webhook_journal SET received_at = now() - interval '1 hour'")
    await scene.redis.delete(keys.task_meta(turn.id), keys.task_events(turn.id))

    await _shows(scene, operation, [70])
    outcomes = [row.outcome for row in await scene.store.webhooks.page(operation.id, None, None, 10)]
    assert outcomes == ["applied", "applied", "superseded"]


async def _report(scene: Scene, operation: Operation, percent: int) -> None:
    """As a gateway does; until it was dealt with."""
    new = NewWebhook(operation.id, "progress", f"w{percent}", "api-key", {"percent": percent})
    await scene.completions.publish((await scene.store.webhooks.receive(new)).job)
    await scene.wait_until_all_done()


async def _shows(scene: Scene, operation: Operation, percents: list[int]) -> None:
    """The end of the stream, and that the journal knows of it."""

    async def shown() -> bool:
        told = [chunk["output"].get("percent") for chunk in await scene.chunks(operation) if chunk["preliminary"]]
        rows = await scene.store.webhooks.page(operation.id, None, None, 1)
        return (told, rows[0].outcome) == (percents, "applied")

    await wait_until(shown, 15, f"the stream shows {percents}")
