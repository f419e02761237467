"""A turn that nobody finishes ends where its user sees it, and lets the next one of its session run."""

import json
from typing import Any
from uuid import uuid4

import pytest
from sluiceway import keys
from sluiceway.store.records import Task
from sluiceway.store.turns.accepting import NewTurn
from sluiceway.wire.events import Start, StartStep, TextDelta, TextStart

from harness.databases.database import Database, stored_answer, task_status
from harness.processes.services import Services
from harness.waiting import wait_until
from tests.completion_consumer.scene import Scene

OFTEN = {"RECONCILE_SECONDS": "0.1"}


async def _accepted(scene: Scene, session_id: str | None = None) -> Task:
    session_id = session_id or f"s-{uuid4().hex}"
    new = NewTurn(session_id=session_id, user_id=None, text="please", create_session=True)
    accepted = await scene.store.turns.accept(new)
    if accepted.active:
        await scene.turns.dispatch.publish(accepted.task)
    return accepted.task


async def _chunks(scene: Scene, task: Task) -> list[dict[str, Any]]:
    entries: Any = await scene.redis.xrange(keys.task_events(task.id))
    return [json.loads(fields[b"d"]) for _, fields in entries]


async def _as_if_old(database: Database, *tasks: Task) -> None:
    """Accepted two hours ago; the default deadline is one."""
    await database.execute(
        "UPDATE tasks SET created_at = created_at - interval '2 hours' WHERE id = ANY($1::text[])",
        [task.id for task in tasks],
    )


@pytest.mark.requirement("TS-5", "CH-11")
async def test_a_turn_that_nobody_takes_fails_at_its_deadline_and_the_next_one_of_its_session_is_queued(
    services: Services, scene: Scene, database: Database
) -> None:
    task = await _accepted(scene)
    following = await _accepted(scene, task.session_id)
    await _as_if_old(database, task, following)
    await services.completion_consumer(**OFTEN)

    await wait_until(lambda: scene.next_steps(following), what="the next turn is queued")
    assert await task_status(database, task.id) == "failed"
    error = json.loads(await database.fetchval("SELECT error::text FROM tasks WHERE id = $1", task.id))
    assert error["code"] == "TURN_DEADLINE_EXCEEDED"
    chunks = await _chunks(scene, task)
    assert [chunk["type"] for chunk in chunks] == ["start", "data-error", "error"]
    assert chunks[1]["data"] == error
    assert chunks[2]["errorText"] == error["message"]
    # As old, but it could not run before: its hour begins with the end of the other.
    assert await task_status(database, following.id) == "queued"


@pytest.mark.requirement("TS-11", "CH-11")
async def test_a_turn_that_is_still_written_at_its_deadline_is_kept_as_it_was_shown(
    services: Services, scene: Scene, database: Database
) -> None:
    accepted = await _accepted(scene)
    task = await scene.store.turns.claim(accepted.id)
    assert task is not None
    await scene.streams.writer.begin(task.fields, task.attempt)
    await scene.streams.writer.append(
        task.id, 1, 1, [Start(message_id=task.message_id), StartStep(), TextStart(id="t")]
    )
    await services.completion_consumer(**OFTEN)
    await _as_if_old(database, task)
    batch = 1
    while (
        await scene.streams.writer.append(task.id, 1, batch := batch + 1, [TextDelta(id="t", delta=f"{batch} ")])
        == "ok"
    ):
        await scene.streams.writer.heartbeat(task.id, 1)
    await wait_until(lambda: _is_finalized(database, task), what="the end is seen through")

    chunks = await _chunks(scene, task)
    shown = "".join(chunk["delta"] for chunk in chunks if chunk["type"] == "text-delta")
    assert shown == "".join(f"{number} " for number in range(2, batch))
    assert await stored_answer(database, task.message_id) == shown
    assert [chunk["type"] for chunk in chunks[-4:]] == ["text-end", "finish-step", "data-error", "error"]


async def _is_finalized(database: Database, task: Task) -> bool:
    return bool(await database.fetchval("SELECT settled_at IS NOT NULL FROM tasks WHERE id = $1", task.id))


@pytest.mark.requirement("CH-9", "CH-10")
async def test_a_turn_that_waits_or_waited_for_its_tools_until_lately_has_no_deadline_yet(
    services: Services, scene: Scene, database: Database
) -> None:
    waits, resumed = await scene.waiting(), await scene.waiting()
    overdue = await _accepted(scene)
    await services.completion_consumer(**OFTEN)
    await scene.succeed(resumed.operation)
    await wait_until(lambda: scene.next_steps(resumed.task), what="the next step is queued")
    await scene.next_step(resumed.task)
    await _as_if_old(database, waits.task, resumed.task, overdue)
    await wait_until(lambda: _is_finalized(database, overdue), what="the overdue one has ended")
    assert await task_status(database, waits.task.id) == "waiting"
    assert await task_status(database, resumed.task.id) == "running"
