"""Postgres goes back a little, Redis does not: every turn of that time is answered, or told to be gone, by itself.

The scene is a worker. Each test brings turns to a phase, takes a backup, goes on, and puts the backup back.
"""

import asyncio
import time
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
from sluiceway import keys
from sluiceway.errors import Fenced, StoreUnavailable
from sluiceway.queue.work_queue import Producer, WorkQueue
from sluiceway.store.operations.operation_end import OperationEnd, ReportedEnd
from sluiceway.store.operations.webhooks import NewWebhook
from sluiceway.store.records import Task
from sluiceway.store.turns.accepting import NewTurn
from sluiceway.store.turns.ending import TurnEnd
from sluiceway.turn.dispatch import job_of
from sluiceway.wire.events import (
    Event,
    Finish,
    FinishStep,
    Start,
    StartStep,
    TextDelta,
    TextEnd,
    TextStart,
    ToolOutputAvailable,
)
from sluiceway.wire.message import text_of

from harness.databases.backup import Backup
from harness.metrics import counted, metric
from harness.processes.services import Service, Services
from harness.waiting import wait_until
from tests.completion_consumer.scene import Scene, Waiting

OFTEN = {"RECONCILE_SECONDS": "0.1"}
# What is promised of all of this.
HEALED_SECONDS = 60
ANSWER: list[Event] = [
    StartStep(),
    TextStart(id="0"),
    TextDelta(id="0", delta="It rains."),
    TextEnd(id="0"),
    FinishStep(),
]
PARTS = [{"type": "step-start"}, {"type": "text", "text": "It rains.", "state": "done"}]
METADATA = {"model": "m", "finishReason": "stop", "usage": {"inputTokens": 3}}


async def accepted(scene: Scene, session_id: str) -> Task:
    new = NewTurn(session_id=session_id, user_id=None, text="please", create_session=True)
    return (await scene.turns.intake.accept(new)).task


async def begun(scene: Scene, task: Task) -> Task:
    """Claimed by a worker, whose queue entry is gone, as after its acknowledgement."""
    claimed = await scene.next_step(task)
    await scene.streams.writer.begin(claimed.fields, claimed.attempt)
    return claimed


def worker(scene: Scene) -> WorkQueue:
    """With the services' lease."""
    return WorkQueue(scene.redis, scene.redis, keys.CHAT, "worker", lease=timedelta(seconds=3))


async def held(scene: Scene, task: Task) -> tuple[Task, str]:
    """The turn as a living worker has it, and the entry under whose lease it writes."""
    await worker(scene).ensure_group()
    entry_id = await Producer(scene.redis, keys.CHAT).add(job_of(task).encode())
    assert entry_id in [one.entry_id for one in await worker(scene).read(10, timedelta(seconds=1))]
    claimed = await scene.store.turns.claim(task.id)
    assert claimed is not None
    await scene.streams.writer.begin(claimed.fields, claimed.attempt, entry_id=entry_id)
    return claimed, entry_id


async def renew(scene: Scene, entry_ids: list[str]) -> None:
    """As the worker does that lives, also while another process starts."""
    while True:
        assert not await worker(scene).renew(entry_ids)
        await asyncio.sleep(0.3)


async def restore(scene: Scene, backup: Backup, database_url: str) -> None:
    """Put it back, and wait until the scene has noticed that its connections are gone."""
    await backup.restore(database_url)

    async def answers() -> bool:
        try:
            await asyncio.gather(*(scene.store.now() for _ in range(10)))
        except StoreUnavailable:
            return False
        return True

    await wait_until(answers, what="all connections are good ones")


async def say(scene: Scene, task: Task, *events: Event, batch: int = 1) -> None:
    assert await scene.streams.writer.append(task.id, task.attempt, batch, events) == "ok"


async def answer(scene: Scene, task: Task, *before: Event) -> None:
    """The worker shows the answer, and ends the turn."""
    await say(scene, task, *before, *ANSWER)
    fold, _ = await scene.turns.message.shown(task)
    end = TurnEnd("completed", fold.finished_parts(), {**METADATA, "status": "completed", "taskId": task.id})
    told = {**METADATA, "taskId": task.id}
    assert await scene.turns.ending.end(task, end, [Finish(finish_reason="stop", message_metadata=told)])


async def end_operation(scene: Scene, waiting: Waiting, result: str) -> None:
    """The completion consumer applies a result, and shows it."""
    end = OperationEnd("succeeded", result, result)
    outcome = await scene.store.completions.complete(ReportedEnd(waiting.operation.id, waiting.task.id, end, ""))
    assert outcome.kind == "applied"
    shown = ToolOutputAvailable(tool_call_id=waiting.operation.tool_call_id, output=result)
    assert await scene.streams.output.show(waiting.task.id, waiting.operation.id, [shown], final=True) == "ok"


async def has(consumer: Service, kind: str, number: int = 1) -> None:
    async def counted() -> bool:
        return await metric(consumer, "sluiceway_reconciler_repaired_total", kind) >= number

    await wait_until(counted, HEALED_SECONDS, f"{number} {kind}")


def told_as_errors(consumer: Service, event: str) -> set[str]:
    return {line["task_id"] for line in consumer.log_lines if line["event"] == event and line["level"] == "error"}


@pytest.mark.requirement("OP-11")
async def test_an_answer_that_redis_has_whole_is_adopted_from_its_stream_and_the_next_turn_runs(
    services: Services, scene: Scene, database_url: str
) -> None:
    queued, running = await accepted(scene, "queued"), await begun(scene, await accepted(scene, "running"))
    following = await accepted(scene, "running")
    waiting = await scene.waiting(session_id="waiting")
    backup = await Backup.take(database_url)
    of_queued = await begun(scene, queued)
    await end_operation(scene, waiting, "the result")
    after_tool = await begun(scene, waiting.task)
    for task, before in ((of_queued, True), (running, True), (after_tool, False)):
        await answer(scene, task, *([Start(message_id=task.message_id)] if before else []))
    await scene.redis.delete(keys.work_queue(keys.CHAT))
    await restore(scene, backup, database_url)
    assert await _status(scene, running) == "running"

    consumer = await services.completion_consumer(**OFTEN)

    await has(consumer, "turn_end_adopted", 3)
    for task in (of_queued, running, after_tool):
        assert await _status(scene, task) == "completed"
        message = await scene.store.turns.message(task)
        assert message is not None
        assert text_of(message.parts) == "It rains."
        assert message.metadata == {**METADATA, "status": "completed", "taskId": task.id}
    assert await scene.state(waiting.operation) == "succeeded"
    assert (await scene.part(waiting.operation))["output"] == "the result"
    await wait_until(lambda: scene.next_steps(following), what="the next turn is queued")
    await wait_until(lambda: told_as_errors(consumer, "turn_was_ahead") >= {of_queued.id, running.id, after_tool.id})
    assert await scene.next_steps(running) == 0


@pytest.mark.requirement("OP-11")
async def test_what_cannot_be_adopted_restarts_under_an_attempt_that_nobody_has_seen(
    services: Services, scene: Scene, database_url: str
) -> None:
    """A step whose operation Postgres forgot; an attempt that it forgot; an answer that waits for a person."""
    paused, asking = [await scene.next_step(await accepted(scene, name)) for name in ("p", "q")]
    attempted = await begun(scene, await accepted(scene, "a"))
    backup = await Backup.take(database_url)
    await scene.step(paused)
    for _ in range(7):  # a worker after the other died
        attempted = await begun(scene, attempted)
    await say(scene, attempted, Start(message_id=attempted.message_id), *ANSWER[:3])
    asked = await scene.step(asking, "approval")
    message = await scene.store.turns.message(asking)
    assert message is not None
    end = TurnEnd("completed", message.parts, {}, awaits=True)
    assert await scene.turns.ending.end(asked.task, end, [Finish()])
    await scene.redis.delete(keys.work_queue(keys.CHAT))
    await restore(scene, backup, database_url)

    consumer = await services.completion_consumer(**OFTEN)

    await has(consumer, "turn_restarted", 3)
    for task in (paused, attempted, asking):
        await wait_until(lambda: scene.next_steps(task), what="it is queued")  # noqa: B023
        claimed = await scene.store.turns.claim(task.id)
        assert claimed is not None
        assert claimed.attempt > task.attempt
        beginning = await scene.streams.writer.begin(claimed.fields, claimed.attempt)
        assert beginning.last_id is None
        await answer(scene, claimed, Start(message_id=claimed.message_id))
        message = await scene.store.turns.message(claimed)
        assert message is not None
        assert message.parts == PARTS
    assert await metric(consumer, "sluiceway_reconciler_repaired_total", "turn_restarted") == 3


@pytest.mark.requirement("OP-11")
async def test_a_holder_that_lives_ends_its_turn_though_postgres_forgot_its_attempt(
    services: Services, scene: Scene, database_url: str
) -> None:
    first, waiting = await accepted(scene, "first"), await scene.waiting(session_id="waiting")
    backup = await Backup.take(database_url)
    of_first, first_entry = await held(scene, first)
    await end_operation(scene, waiting, "the result")
    of_second, second_entry = await held(scene, waiting.task)
    both = [of_first, of_second]
    await say(scene, of_first, Start(message_id=first.message_id))
    await restore(scene, backup, database_url)
    renewing = asyncio.create_task(renew(scene, [first_entry, second_entry]))
    consumer = await services.completion_consumer(**OFTEN)
    await has(consumer, "turn_adopted", 2)
    for number, task in enumerate(both):
        await say(scene, task, *ANSWER, batch=2 - number)
        fold, _ = await scene.turns.message.shown(task)
        end = TurnEnd("completed", fold.finished_parts(), {"status": "completed"})
        assert await scene.turns.ending.end(task, end, [Finish()]) == "completed"
    assert [await _status(scene, task) for task in both] == ["completed", "completed"]
    assert await scene.state(waiting.operation) == "succeeded"
    renewing.cancel()


@pytest.mark.requirement("OP-11")
async def test_a_result_that_postgres_forgot_is_taken_from_the_stream_and_no_tool_runs_again(
    services: Services, scene: Scene, database_url: str
) -> None:
    """The step behind it is queued once; a call beside it that has not ended is waited for."""
    alone, beside = await scene.waiting(), await scene.waiting("pending", "pending")
    ended, still_open = beside.operations
    backup = await Backup.take(database_url)
    await end_operation(scene, alone, "one")
    await end_operation(scene, Waiting(beside.task, [ended]), "two")
    await scene.redis.delete(keys.work_queue(keys.CHAT), keys.work_queue(keys.tool_queue("default")))
    await restore(scene, backup, database_url)

    consumer = await services.completion_consumer(**OFTEN)

    await has(consumer, "operation_end_adopted", 2)
    assert [await scene.state(one) for one in (alone.operation, ended, still_open)] == ["succeeded"] * 2 + ["pending"]
    assert (await scene.part(ended))["output"] == "two"
    await wait_until(lambda: scene.next_steps(alone.task), what="the next step is queued")
    await wait_until(lambda: scene.queued("tools.default", "operation_id"), what="the other call is queued again")
    assert await scene.queued("tools.default", "operation_id") == [still_open.id]
    assert await scene.next_steps(beside.task) == 0


@pytest.mark.requirement("CH-19", "OP-11")
async def test_a_turn_that_was_continued_in_the_lost_time_is_not_taken_for_answered(
    services: Services, scene: Scene, database_url: str
) -> None:
    """Postgres goes back to before its last operation had ended, and of another one to before it made way."""
    away, before = await scene.waiting(session_id="away"), await scene.waiting(session_id="before")
    meanwhile = NewTurn("away", None, "and meanwhile?")
    await scene.turns.intake.accept(meanwhile)
    backup = await Backup.take(database_url)
    await scene.turns.intake.accept(replace(meanwhile, session_id="before"))
    for waiting in (away, before):
        await end_operation(scene, waiting, "the result")
        assert await scene.turns.background.carry_on(waiting.task)
    await scene.redis.delete(keys.work_queue(keys.CHAT))
    await restore(scene, backup, database_url)

    consumer = await services.completion_consumer(**OFTEN)

    async def continued() -> str | None:
        return await scene.store.background.continued_by(away.task.id)

    assert await wait_until(continued, HEALED_SECONDS, "another turn continues it")
    await wait_until(lambda: scene.next_steps(before.task), HEALED_SECONDS, "the other one goes on itself")
    for waiting in (away, before):
        assert (await scene.part(waiting.operation))["output"] == "the result"
    assert [await _status(scene, one.task) for one in (away, before)] == ["completed", "waiting"]
    assert await metric(consumer, "sluiceway_reconciler_repaired_total", "turn_end_adopted") == 0


@pytest.mark.requirement("OP-11")
async def test_a_turn_that_postgres_does_not_have_any_more_ends_for_those_who_follow_it(
    services: Services, scene: Scene, database_url: str
) -> None:
    consumer = await services.completion_consumer(**OFTEN)
    await wait_until(lambda: scene.redis.exists(keys.STORE_MARK), what="the mark is told")
    # What nobody has written there ends no round: it is told anew.
    await scene.redis.set(keys.STORE_MARK, "nonsense")

    async def is_told_anew() -> bool:
        return (await scene.redis.get(keys.STORE_MARK) or b"nonsense").split()[0].isdigit()

    await wait_until(is_told_anew, what="the mark is told anew")
    backup = await Backup.take(database_url)
    waiting, queued = await scene.waiting(), await accepted(scene, "queued")
    took = len(await scene.streams.reader.read(waiting.task.id))
    reached = int((await scene.redis.get(keys.STORE_MARK) or b"0").split()[0])

    async def is_ahead() -> bool:
        told = await scene.redis.get(keys.STORE_MARK)
        return told is not None and int(told.split()[0]) > reached + 2

    await wait_until(is_ahead, what="rounds have passed since the backup")
    await restore(scene, backup, database_url)
    began = time.monotonic()

    await has(consumer, "turn_lost", 2)
    assert time.monotonic() - began < HEALED_SECONDS
    await counted(consumer, "sluiceway_reconciler_repaired_total", "store_went_back", 1)
    for task in (waiting.task, queued):
        entries = await scene.streams.reader.read(task.id)
        assert [entry.event.type for entry in entries[-2:]] == ["abort", "finish"]
        with pytest.raises(Fenced):
            await scene.streams.writer.begin(task.fields, 9)
        assert await scene.streams.registry.active(task.session_id) is None
    assert len(entries) >= 2 <= took
    assert told_as_errors(consumer, "turn_lost") == {waiting.task.id, queued.id}
    await wait_until(lambda: _tells(consumer, "2 turns were lost"), what="operators are told, too")


@pytest.mark.requirement("OP-11")
async def test_no_webhook_is_taken_for_another_that_had_its_number_before_the_restore(
    services: Services, scene: Scene, database_url: str
) -> None:
    """The queue still has the completion of a webhook whose row, and number, are another operation's by now."""
    first, second = await scene.waiting(), await scene.waiting()
    backup = await Backup.take(database_url)
    lost = await scene.store.webhooks.receive(_webhook(first.operation.id))
    await restore(scene, backup, database_url)
    new = await scene.store.webhooks.receive(_webhook(second.operation.id))
    assert new.id == lost.id
    await scene.completions.publish(lost.job)

    await services.completion_consumer(**OFTEN, PARK_HOURS="1")

    async def both_ended() -> bool:
        return [await scene.state(one.operation) for one in (first, second)] == ["succeeded", "succeeded"]

    await wait_until(both_ended, HEALED_SECONDS, "the one that is queued, and the one that only the journal has")


def _webhook(operation_id: str) -> NewWebhook:
    return NewWebhook(operation_id, "complete", "w", "signature", {"success": True, "result": "done"})


async def _status(scene: Scene, task: Task) -> str:
    found = await scene.store.turns.get(task.id)
    assert found is not None
    return found.status


async def _tells(consumer: Service, words: str) -> bool:
    """Whether its readiness warns with these words."""
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = (await http.get(f"{consumer.url}/readyz")).json()
    return words in str(answer.get("warnings", {}).get("store", ""))
