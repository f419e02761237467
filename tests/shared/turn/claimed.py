"""A turn that is claimed, and whose first step was shown."""

from sluiceway.store.records import Task
from sluiceway.store.turns.accepting import NewTurn
from sluiceway.wire.events import Event, FileEvent, FinishStep, MessageMetadata, SourceUrl, Start, StartStep

from tests.completion_consumer.scene import Scene

SOURCE: Event = SourceUrl(source_id="s1", url="https://example.org/a", title="A")
FILE: Event = FileEvent(url="https://example.org/plot.png", media_type="image/png")
METADATA: Event = MessageMetadata(message_metadata={"topic": {"name": "rain"}})
STEP = [StartStep(), SOURCE, FILE, METADATA, FinishStep()]


async def claimed(scene: Scene) -> Task:
    """A turn whose first step was shown, and is not durable yet."""
    new = NewTurn(session_id="s", user_id=None, text="please", create_session=True)
    accepted = await scene.turns.intake.accept(new)
    task = await scene.store.turns.claim(accepted.task.id)
    assert task is not None
    await scene.streams.writer.begin(task.fields, task.attempt)
    await scene.streams.writer.append(task.id, task.attempt, 1, [Start(message_id=task.message_id), *STEP])
    return task


async def shown(scene: Scene, task: Task) -> list[Event]:
    entries = await scene.streams.reader.read(task.id)
    return [entry.event for entry in entries if isinstance(entry.event, Event)]
