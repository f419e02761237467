"""What a crash, a flush or an outage left undone of turns is done again, and what goes on is left alone."""

import asyncio
import time
from datetime import timedelta
from uuid import uuid4

import pytest
from sluiceway import keys
from sluiceway.queue.work_queue import WorkQueue
from sluiceway.store.operations.operation_end import OperationEnd, ReportedEnd
from sluiceway.store.records import Task
from sluiceway.store.turns.accepting import NewTurn
from sluiceway.store.turns.ending import TurnEnd
from sluiceway.wire.events import Finish

from harness.databases.database import Database, task_status
from harness.metrics import counted, metric
from harness.processes.services import Service, Services
from harness.waiting import wait_until
from tests.completion_consumer.scene import Scene

OFTEN = {"RECONCILE_SECONDS": "0.1"}
# The services' lease.
LEASE = timedelta(seconds=3)


async def _accepted(scene: Scene, session_id: str | None = None, user_id: str | None = None) -> Task:
    """A turn that Redis was not told of."""
    session_id = session_id or f"s-{uuid4().hex}"
    new = NewTurn(session_id=session_id, user_id=user_id, text="please", create_session=True)
    return (await scene.store.turns.accept(new)).task


def _worker(scene: Scene) -> WorkQueue:
    return WorkQueue(scene.redis, scene.redis, keys.CHAT, "worker", lease=LEASE)


async def _running(scene: Scene) -> tuple[Task, str]:
    """A turn that a worker has begun, and the queue entry that it has in flight."""
    task = await _accepted(scene)
    await scene.turns.dispatch.publish(task)
    await _worker(scene).ensure_group()
    (delivery,) = await _worker(scene).read(1, timedelta(seconds=1))
    claimed = await scene.store.turns.claim(task.id)
    assert claimed is not None
    await scene.streams.writer.begin(claimed.fields, claimed.attempt, entry_id=delivery.entry_id)
    return claimed, delivery.entry_id


async def _renew(scene: Scene, entry_id: str) -> None:
    """As the worker does that lives."""
    while True:
        assert not await _worker(scene).renew([entry_id])
        await asyncio.sleep(LEASE.total_seconds() / 10)


async def _repaired(consumer: Service, kind: str) -> bool:
    return await metric(consumer, "sluiceway_reconciler_repaired_total", kind) > 0


@pytest.mark.requirement("OP-7")
async def test_a_turn_that_was_accepted_without_redis_is_queued_and_one_behind_another_is_not(
    services: Services, scene: Scene
) -> None:
    task = await _accepted(scene)
    behind = await _accepted(scene, task.session_id)
    consumer = await services.completion_consumer(**OFTEN)
    await wait_until(lambda: scene.next_steps(task), what="the turn is queued")
    assert await _repaired(consumer, "turn_requeued")
    assert await scene.next_steps(behind) == 0
    assert await scene.streams.registry.active(task.session_id) == task.id


@pytest.mark.requirement("CH-9", "OP-7")
async def test_a_turn_whose_entry_is_gone_is_queued_again_and_one_that_is_held_or_waits_is_not(
    services: Services, scene: Scene
) -> None:
    lost, lost_entry = await _running(scene)
    living, entry = await _running(scene)
    stale, _ = await _running(scene)
    await _worker(scene).ack(lost_entry)
    consumer = await services.completion_consumer(**OFTEN)
    await wait_until(lambda: scene.next_steps(lost), what="the lost one is queued")

    until = time.monotonic() + 2 * LEASE.total_seconds()
    while time.monotonic() < until:
        assert not await _worker(scene).renew([entry])
        await asyncio.sleep(LEASE.total_seconds() / 3)
    # Who sweeps next takes over the one whose lease has run out.
    assert [await scene.next_steps(task) for task in (lost, living, stale)] == [1, 1, 1]
    await counted(consumer, "sluiceway_reconciler_repaired_total", "turn_requeued", 1)


@pytest.mark.requirement("CH-9", "OP-7")
async def test_a_begun_turn_whose_entry_was_released_or_lost_with_its_group_is_queued_once(
    services: Services, scene: Scene
) -> None:
    released, entry = await _running(scene)
    assert await _worker(scene).requeue([entry]) == 1
    consumer = await services.completion_consumer(**OFTEN)

    async def is_noted() -> bool:
        meta = await scene.streams.registry.meta(released.id)
        return meta is not None and meta.queue_entry != entry

    await wait_until(is_noted, what="its new entry is noted")
    assert await scene.next_steps(released) == 1
    assert not await _repaired(consumer, "turn_requeued")
    # Redis lost the queue, and not the task: its metadata name an entry of before.
    await scene.redis.delete(keys.work_queue(keys.CHAT))
    await wait_until(lambda: scene.next_steps(released), what="it is queued")
    await asyncio.sleep(0.5)
    assert await scene.next_steps(released) == 1


@pytest.mark.requirement("GW-11", "OP-7")
async def test_turns_in_a_lane_are_left_there_follow_one_another_and_come_back_after_a_flush(
    services: Services, scene: Scene
) -> None:
    tasks = [await _accepted(scene, user_id="ada") for _ in range(3)]
    for task in tasks:
        await scene.turns.dispatch.publish(task)
    consumer = await services.completion_consumer(**OFTEN)

    async def places() -> list[int]:
        """In the queue, and in lanes."""
        return [len(await scene.queued(keys.CHAT)), await scene.redis.xlen(keys.lane_entries(keys.CHAT))]

    async def noted(task: Task) -> bool:
        meta = await scene.streams.registry.meta(task.id)
        return meta is not None and not str(meta.queue_entry).startswith("lane:")

    assert await places() == [1, 2]
    await _worker(scene).ensure_group()
    # As a worker reads that knows of no lanes.
    read = ("XREADGROUP", "GROUP", keys.GROUP, "old", "COUNT", 1, "STREAMS", keys.work_queue(keys.CHAT), ">")
    await scene.redis.execute_command(*read)  # type: ignore[no-untyped-call]
    await wait_until(lambda: noted(tasks[1]), what="the next one is in the queue, and noted")
    assert await places() == [2, 1]
    assert not await _repaired(consumer, "turn_requeued")
    await scene.redis.flushall()

    async def back() -> bool:
        return await places() == [1, 2]

    await wait_until(back, what="all of them are where they were")
    await counted(consumer, "sluiceway_reconciler_repaired_total", "turn_requeued", 3)
    assert await places() == [1, 2]


@pytest.mark.requirement("CH-12")
async def test_a_session_that_lost_its_active_turn_gets_its_next_one(
    services: Services, scene: Scene, database: Database
) -> None:
    task = await _accepted(scene)
    following = await _accepted(scene, task.session_id)
    # As a restored backup may have it.
    await database.execute("DELETE FROM tasks WHERE id = $1", task.id)
    consumer = await services.completion_consumer(**OFTEN)
    await wait_until(lambda: scene.next_steps(following), what="the next turn is queued")
    assert await _repaired(consumer, "turn_released")
    active = "SELECT active_task_id FROM sessions WHERE id = $1"
    assert await database.fetchval(active, task.session_id) == following.id


@pytest.mark.requirement("TS-5", "CH-12")
async def test_an_end_that_its_worker_did_not_finalize_is_shown_and_lets_the_next_turn_run(
    services: Services, scene: Scene, database: Database
) -> None:
    task, _ = await _running(scene)
    following = await _accepted(scene, task.session_id)
    end = TurnEnd(status="completed", parts=[{"type": "text", "text": "done"}], metadata={})
    assert await scene.store.turns.end(task, end, attempt=task.attempt)
    await services.completion_consumer(**OFTEN, SETTLE_AFTER_SECONDS="0")
    await wait_until(lambda: _is_finalized(database, task), what="the end is seen through")
    meta = await scene.streams.registry.meta(task.id)
    assert meta is not None
    assert meta.status == "completed"
    assert meta.terminal is not None
    await wait_until(lambda: scene.next_steps(following), what="the next turn is queued")


async def _is_finalized(database: Database, task: Task) -> bool:
    return bool(await database.fetchval("SELECT settled_at IS NOT NULL FROM tasks WHERE id = $1", task.id))


@pytest.mark.requirement("CH-13")
async def test_a_cancelled_turn_whose_worker_is_gone_ends_and_a_living_worker_is_told(
    services: Services, scene: Scene, database: Database
) -> None:
    dead, _ = await _running(scene)
    living, entry = await _running(scene)
    # The wish was stored, and Redis away.
    for task in (dead, living):
        await scene.store.turns.request_cancel(task.id, None)
    renewing = asyncio.create_task(_renew(scene, entry))
    await services.completion_consumer(**OFTEN)

    async def is_told() -> bool:
        return await scene.streams.writer.heartbeat(living.id, living.attempt) == "cancelled"

    await wait_until(is_told, 5, "the living one is told")

    async def is_cancelled() -> bool:
        return await task_status(database, dead.id) == "cancelled"

    await wait_until(is_cancelled, 30, "the dead one's turn has ended")
    assert await task_status(database, living.id) == "running"
    renewing.cancel()


@pytest.mark.requirement("TS-2")
async def test_what_redis_has_of_a_turn_that_nobody_holds_is_kept_and_left_alone_until_half_its_time_is_over(
    services: Services, scene: Scene
) -> None:
    old, young = await scene.waiting(), await scene.waiting()
    await scene.redis.expire(keys.task_meta(old.task.id), 5000)
    for key in (keys.task_meta(young.task.id), keys.task_events(young.task.id)):
        await scene.redis.expire(key, 80_000)
    await services.completion_consumer(**OFTEN)

    async def is_kept() -> bool:
        return await scene.redis.ttl(keys.task_meta(old.task.id)) > 86_000

    await wait_until(is_kept, what="its time begins anew")
    assert await scene.redis.ttl(keys.task_events(old.task.id)) > 86_000
    for key in (keys.task_meta(young.task.id), keys.task_events(young.task.id)):
        assert await scene.redis.ttl(key) <= 80_000


@pytest.mark.requirement("CH-19", "OP-7")
async def test_what_crashes_left_of_chatting_on_is_done_once_each(services: Services, scene: Scene) -> None:
    """The worker died between its pause and its look for a message, the consumer before what follows from a result."""
    running = await scene.store.turns.claim((await _accepted(scene)).id)
    assert running is not None
    message = (await scene.store.turns.accept(NewTurn(running.session_id, None, "and meanwhile?"))).task
    scene.turns.background.make_way = _nothing  # type: ignore[method-assign]
    waiting = await scene.step(running)
    assert (await scene.store.sessions.active_task(running.session_id)) == await scene.store.turns.get(running.id)

    consumer = await services.completion_consumer(**OFTEN)

    await wait_until(lambda: scene.next_steps(message), what="the message is queued")
    await wait_until(lambda: _tells(scene, running, "data-background"), what="followers are told")
    ending = OperationEnd("succeeded", "result", "result")
    outcome = await scene.store.completions.complete(ReportedEnd(waiting.operation.id, running.id, ending, "d"))
    assert outcome.resumes
    assert outcome.task is not None
    assert outcome.task.background_at is not None

    async def continued() -> str | None:
        return await scene.store.background.continued_by(running.id)

    by = await wait_until(continued, 20, "a turn continues it")
    assert by is not None
    await wait_until(lambda: _tells(scene, running, "finish"), what="its stream ends")
    assert await scene.next_steps(running) == 0, "no worker is to take it"
    claimed = await scene.next_step(message)
    assert await scene.turns.ending.end(claimed, TurnEnd("completed", [], {}), [Finish()])

    async def queued() -> int:
        # The message's own entry, which the scene took away, may have been put back before its turn ended.
        return (await scene.queued("chat")).count(by)

    assert await wait_until(queued, what="the continuing turn is queued behind it") == 1
    assert await _repaired(consumer, "turn_made_way")


async def _nothing(task: Task) -> bool:
    return False


async def _tells(scene: Scene, task: Task, kind: str) -> bool:
    entries = await scene.streams.reader.read(task.id)
    return [entry.event.type for entry in entries].count(kind) == 1
