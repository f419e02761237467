"""What a stream showed of a message survives a reload, also when Redis forgot the stream and it is rebuilt."""

from collections.abc import AsyncIterator

import pytest
from sluiceway import keys
from sluiceway.store.turns.ending import TurnEnd
from sluiceway.wire.events import FinishStep, MessageMetadata, Start, StartStep

from tests.completion_consumer.scene import Scene
from tests.shared.store.new_call import call
from tests.shared.turn.claimed import FILE, METADATA, SOURCE, claimed, shown


@pytest.fixture
async def scene(valkey_url: str, database_url: str) -> AsyncIterator[Scene]:
    async with Scene.open(valkey_url, database_url) as opened:
        yield opened


@pytest.mark.requirement("TS-8")
async def test_sources_files_and_metadata_are_in_the_rebuilt_stream_of_a_turn_that_waits(scene: Scene) -> None:
    task = await claimed(scene)
    fold, _ = await scene.turns.message.shown(task)
    parts = fold.finished_parts()
    assert await scene.turns.pause.pause(task, parts, [call("one")], None, metadata=fold.metadata) == "waiting"
    await scene.redis.delete(keys.task_meta(task.id), keys.task_events(task.id))

    await scene.turns.rebuild.waiting(task)

    assert await shown(scene, task) == [
        Start(message_id=task.message_id),
        METADATA,
        StartStep(),
        SOURCE,
        FILE,
        FinishStep(),
    ]


@pytest.mark.requirement("TS-8")
async def test_sources_files_and_metadata_are_kept_by_the_end_of_a_turn_that_nobody_holds(scene: Scene) -> None:
    task = await claimed(scene)

    assert await scene.turns.ending.end_unheld(task, "cancelled")

    message = await scene.store.turns.message(task)
    assert message is not None
    assert [part["type"] for part in message.parts] == ["step-start", "source-url", "file"]
    assert message.metadata == {"topic": {"name": "rain"}, "status": "cancelled", "taskId": task.id}


@pytest.mark.requirement("TS-8")
async def test_the_metadata_of_an_ended_turn_are_in_its_rebuilt_stream(scene: Scene) -> None:
    task = await claimed(scene)
    metadata = {"topic": {"name": "rain"}, "status": "completed", "finishReason": "length"}
    parts = (await scene.turns.message.shown(task))[0].finished_parts()
    assert await scene.store.turns.end(task, TurnEnd("completed", parts, metadata), attempt=task.attempt)
    await scene.redis.delete(keys.task_meta(task.id), keys.task_events(task.id))
    ended = await scene.store.turns.get(task.id)
    assert ended is not None

    await scene.turns.ending.finalize(ended)

    told = [event for event in await shown(scene, task) if isinstance(event, MessageMetadata)]
    assert told == [MessageMetadata(message_metadata={"topic": {"name": "rain"}, "finishReason": "length"})]
