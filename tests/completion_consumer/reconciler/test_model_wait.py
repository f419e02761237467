"""Turns that wait for their model without a worker: brought on when their time has come, and ended where they must."""

import json
from typing import Any
from uuid import uuid4

import pytest
from sluiceway import keys
from sluiceway.store.records import Task
from sluiceway.store.turns.accepting import NewTurn

from harness.databases.database import Database, task_status
from harness.metrics import metric
from harness.processes.services import Service, Services
from harness.waiting import wait_until
from tests.completion_consumer.scene import Scene

pytestmark = pytest.mark.requirement("CH-7")

OFTEN = {"RECONCILE_SECONDS": "0.1"}
STATUS = {"state": "waiting", "waitsFor": "model"}
LONG = 600.0


async def _waiting(scene: Scene, delay_seconds: float = LONG) -> Task:
    """A turn that its worker has let go until its model is to be asked again."""
    new = NewTurn(session_id=f"s-{uuid4().hex}", user_id=None, text="please", create_session=True)
    accepted = (await scene.store.turns.accept(new)).task
    await scene.turns.dispatch.publish(accepted)
    task = await scene.next_step(accepted)
    await scene.step(task, "failed")
    assert await scene.turns.pause.wait_for_model(task, {"status": STATUS}, delay_seconds, written=1) == "waiting"
    return task


async def _chunks(scene: Scene, task: Task) -> list[dict[str, Any]]:
    entries: Any = await scene.redis.xrange(keys.task_events(task.id))
    return [json.loads(fields[b"d"]) for _, fields in entries]


async def test_a_turn_is_queued_when_its_model_is_to_be_asked_again_and_not_before(
    services: Services, scene: Scene, database: Database
) -> None:
    due, later = await _waiting(scene, 0.3), await _waiting(scene)
    consumer = await services.completion_consumer(**OFTEN)
    await wait_until(lambda: scene.next_steps(due), what="the turn is queued")
    await wait_until(lambda: _counted(consumer), what="it is counted")
    assert await scene.next_steps(later) == 0
    assert await task_status(database, due.id) == "waiting"
    claimed = await scene.store.turns.claim(due.id)
    assert claimed is not None
    assert (claimed.status, claimed.attempt, claimed.retry_at) == ("running", 2, None)
    assert claimed.model_wait == {"status": STATUS}


async def test_a_turn_that_redis_forgot_waits_on_visibly_and_is_queued_in_its_time(
    services: Services, scene: Scene, database: Database
) -> None:
    task = await _waiting(scene)
    await scene.redis.flushall()
    await services.completion_consumer(**OFTEN)

    async def rebuilt() -> bool:
        meta = await scene.streams.registry.meta(task.id)
        return meta is not None and meta.status == "waiting"

    await wait_until(rebuilt, what="its stream is rebuilt")
    chunks = await _chunks(scene, task)
    assert [chunks[0]["type"], chunks[-1]["type"]] == ["start", "data-status"]
    assert chunks[-1]["data"] == STATUS
    await database.execute("UPDATE tasks SET retry_at = now() WHERE id = $1", task.id)
    await wait_until(lambda: scene.next_steps(task), what="the turn is queued")


@pytest.mark.requirement("CH-13")
async def test_a_turn_that_waits_for_its_model_is_cancelled_without_a_worker(scene: Scene, database: Database) -> None:
    task = await _waiting(scene)
    await scene.turns.intake.cancel(task.id, None)
    assert await task_status(database, task.id) == "cancelled"
    assert [chunk["type"] for chunk in await _chunks(scene, task)][-2:] == ["abort", "finish"]


@pytest.mark.requirement("TS-5")
async def test_a_turn_that_waits_for_its_model_fails_at_its_deadline_and_one_that_waits_for_a_tool_does_not(
    services: Services, scene: Scene, database: Database
) -> None:
    task, with_tool = await _waiting(scene), (await scene.waiting()).task
    await database.execute("UPDATE tasks SET created_at = created_at - interval '2 hours'")
    await database.execute("UPDATE operations SET ended_at = ended_at - interval '2 hours'")
    await services.completion_consumer(**OFTEN)
    await wait_until(lambda: _has_ended(scene, task), what="the turn's stream ends")
    told = next(chunk for chunk in await _chunks(scene, task) if chunk["type"] == "data-error")
    assert told["data"]["code"] == "TURN_DEADLINE_EXCEEDED"
    assert await task_status(database, task.id) == "failed"
    assert await task_status(database, with_tool.id) == "waiting"


async def test_an_attempt_that_lost_its_turn_cannot_let_it_go(scene: Scene, database: Database) -> None:
    task = await _waiting(scene, 0)
    claimed = await scene.store.turns.claim(task.id)
    assert claimed is not None
    assert await scene.turns.pause.wait_for_model(task, {}, 0) == "fenced"
    await database.execute("UPDATE tasks SET cancel_requested_at = now() WHERE id = $1", task.id)
    assert await scene.turns.pause.wait_for_model(claimed, {}, 0) == "cancelled"


async def _has_ended(scene: Scene, task: Task) -> bool:
    return bool((await _chunks(scene, task))[-1]["type"] == "error")


async def _counted(consumer: Service) -> bool:
    return await metric(consumer, "sluiceway_reconciler_repaired_total", "turn_continued") == 1
