"""What a crash, a flush or an outage left undone of turns is done again, and what goes on is left alone."""

from uuid import uuid4

import pytest
from sluiceway import keys
from sluiceway.store.accepting import NewTurn
from sluiceway.store.ending import TurnEnd
from sluiceway.store.records import Task

from harness.database import Database, task_status
from harness.metrics import metric
from harness.services import Service, Services
from harness.waiting import wait_until
from tests.completion_consumer.scene import Scene

# The lease is 3 s: a holder that was silent for 6 s is gone.
OFTEN = {"RECONCILE_SECONDS": "0.1"}


async def _accepted(scene: Scene, session_id: str | None = None) -> Task:
    """A turn that Redis was not told of."""
    session_id = session_id or f"s-{uuid4().hex}"
    new = NewTurn(session_id=session_id, user_id=None, text="please", create_session=True)
    return (await scene.store.turns.accept(new)).task


async def _running(scene: Scene) -> Task:
    """A turn whose worker has begun it, and whose queue entry is gone."""
    task = await _accepted(scene)
    await scene.turns.dispatch.publish(task)
    claimed = await scene.next_step(task)
    await scene.streams.writer.begin(claimed.fields, claimed.attempt, "worker")
    return claimed


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
async def test_a_turn_whose_holder_and_entry_are_gone_is_queued_again_and_a_living_holders_is_not(
    services: Services, scene: Scene
) -> None:
    await services.completion_consumer(**OFTEN)
    dead, living = await _running(scene), await _running(scene)

    async def is_queued_again() -> int:
        assert await scene.streams.writer.heartbeat(living.id, living.attempt) == "ok"
        return await scene.next_steps(dead)

    await wait_until(is_queued_again, 30, "the dead one's turn is queued")
    assert await scene.next_steps(living) == 0


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
async def test_an_end_that_its_worker_did_not_see_through_is_shown_and_lets_the_next_turn_run(
    services: Services, scene: Scene, database: Database
) -> None:
    task = await _running(scene)
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
    dead, living = await _running(scene), await _running(scene)
    # The wish was stored, and Redis away.
    for task in (dead, living):
        await scene.store.turns.request_cancel(task.id, None)
    await services.completion_consumer(**OFTEN)

    async def is_told() -> bool:
        return await scene.streams.writer.heartbeat(living.id, living.attempt) == "cancelled"

    await wait_until(is_told, 5, "the living one is told")

    async def is_cancelled() -> bool:
        await scene.streams.writer.heartbeat(living.id, living.attempt)
        return await task_status(database, dead.id) == "cancelled"

    await wait_until(is_cancelled, 30, "the dead one's turn has ended")
    assert await task_status(database, living.id) == "running"


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
