"""What a continued message had before is in Redis with the turn that continues it, whoever queues that turn."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sluiceway import keys
from sluiceway.store.records import Task
from sluiceway.store.turns.approving import Decision
from sluiceway.turn import before
from sluiceway.turn.before import parts_before

from tests.completion_consumer.scene import Scene, Waiting


@pytest.fixture
async def scene(valkey_url: str, database_url: str) -> AsyncIterator[Scene]:
    async with Scene.open(valkey_url, database_url) as opened:
        yield opened


async def answered(scene: Scene, asks: Waiting) -> Task:
    """The turn that continues the message of the one that asked."""
    said = {asks.operation.tool_call_id: Decision(approved=True)}
    outcome = await scene.turns.intake.answer(asks.task.id, None, said)
    assert outcome.task is not None
    return outcome.task


async def kept(scene: Scene, task: Task) -> list[dict[str, Any]] | None:
    return parts_before(await scene.streams.registry.meta(task.id))


@pytest.mark.requirement("GW-2", "CH-16")
async def test_redis_has_what_postgres_says_of_a_continued_message_and_that_others_had_nothing(scene: Scene) -> None:
    asks = await scene.asking()
    task = await answered(scene, asks)
    stored = await scene.store.turns.continued(task.id)
    assert stored is not None
    _, parts = stored
    assert [part["type"] for part in parts] == ["step-start", "tool-look_up"]
    assert await kept(scene, task) == parts
    assert await kept(scene, asks.task) == []

    # What Redis forgot is there again when the turn is queued again, and with a stream that is rebuilt.
    await scene.streams.registry.drop(task.id)
    await scene.turns.dispatch.publish(task)
    assert await kept(scene, task) == parts
    claimed = await scene.next_step(task)
    waiting = await scene.step(claimed, "pending")
    await scene.streams.registry.drop(task.id)
    await scene.turns.rebuild.waiting(waiting.task)
    assert await kept(scene, task) == parts


@pytest.mark.requirement("GW-2")
async def test_a_worker_that_begins_before_redis_was_told_hides_nothing_of_it(scene: Scene) -> None:
    asks = await scene.asking()
    task = await answered(scene, asks)
    parts = await kept(scene, task)
    await scene.streams.registry.drop(task.id)
    claimed = await scene.next_step(task)
    await scene.streams.writer.begin(claimed.fields, claimed.attempt)
    assert await kept(scene, task) is None

    await scene.turns.dispatch.publish(task)

    assert await kept(scene, task) == parts != []


@pytest.mark.requirement("GW-2")
async def test_what_is_too_large_for_redis_is_left_to_postgres_and_goes_when_the_session_is_deleted(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks = await scene.asking()
    task = await answered(scene, asks)
    assert await kept(scene, task)
    await scene.streams.registry.drop(task.id)
    with monkeypatch.context() as small:
        small.setattr(before, "MOST_BYTES", 20)
        await scene.turns.dispatch.publish(task)
    assert await kept(scene, task) is None
    await scene.turns.dispatch.publish(task)
    assert await kept(scene, task)

    await scene.turns.intake.delete_session(task.session_id, None)

    assert b"before" not in await scene.redis.hgetall(keys.task_meta(task.id))
