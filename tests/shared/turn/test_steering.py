"""A message that steers is lost by nothing: its turn follows, whatever dies behind the commit that lets it enter."""

from collections.abc import AsyncIterator

import pytest
from sluiceway import keys
from sluiceway.store.turns.accepting import NewTurn
from sluiceway.store.turns.ending import TurnEnd
from sluiceway.wire.events import Data
from sluiceway.wire.message import Part

from tests.completion_consumer.scene import Scene
from tests.shared.turn.claimed import claimed, shown

pytestmark = pytest.mark.requirement("CH-12", "CH-11")


@pytest.fixture
async def scene(valkey_url: str, database_url: str) -> AsyncIterator[Scene]:
    async with Scene.open(valkey_url, database_url) as opened:
        yield opened


@pytest.mark.parametrize("flushed", [False, True])
async def test_a_worker_that_dies_behind_its_commit_and_a_flush_leave_a_turn_that_follows_once(
    scene: Scene, flushed: bool
) -> None:
    running = await claimed(scene)
    new = NewTurn(running.session_id, None, "this way", policy="steer", message_id="m-steer")
    steering = (await scene.turns.intake.accept(new)).task
    assert await scene.queued(keys.CHAT) == [running.id], "it waits behind the one that it steers"
    told = {"state": "accepted", "taskId": steering.id}
    parts: list[Part] = [
        {"type": "text", "text": "so far", "state": "done"},
        {"type": "data-steer", "id": "steer", "data": told},
    ]
    end = TurnEnd("completed", parts, {"status": "completed"}, gives_way=steering.id)
    assert await scene.store.turns.end(running, end, attempt=running.attempt)
    if flushed:
        await scene.redis.flushall()
    else:
        await scene.redis.delete(keys.work_queue(keys.CHAT))

    ended = await scene.store.turns.get(running.id)
    assert ended is not None
    for _ in range(2):  # as the reconciler does, and does again
        await scene.turns.ending.finalize(ended)

    assert await scene.queued(keys.CHAT) == [steering.id]
    events = await shown(scene, running)
    assert events[-1].type == "finish"
    if flushed:
        assert [event.data for event in events if isinstance(event, Data)] == [told]
    entered = await scene.store.turns.claim(steering.id)
    assert entered is not None
    assert (entered.steers, entered.entered) == (running.id, True)
    history = await scene.store.turns.history(entered, 10)
    assert [message.role for message in history] == ["user", "assistant", "user"]
    again = await scene.turns.intake.accept(new)
    assert (again.created, again.task.id) == (False, steering.id)
