"""Writing the whole stream of a turn again, from what Postgres has: Redis forgot it, or perhaps some of it.

Guarantees: it is written under an attempt that no follower has seen, so no entry id stands for two entries; done twice,
it says the same. Methods raise StoreUnavailable and RedisUnavailable; calling them again then is right.
"""

from sluiceway.errors import Fenced
from sluiceway.process.logs import get_logger
from sluiceway.store import Store
from sluiceway.store.records import Task
from sluiceway.stream.registry import TaskRegistry
from sluiceway.stream.writer import TaskWriter
from sluiceway.turn.before import fields_of
from sluiceway.turn.ended import end_status, ending_of
from sluiceway.turn.shown import TOLD_BACKGROUND, UNREADABLE, Durable, TurnMessage, told, went_into_background
from sluiceway.wire.events import Data, Event, Start
from sluiceway.wire.message import replay_of


class TurnRebuild:
    def __init__(self, store: Store, registry: TaskRegistry, writer: TaskWriter, message: TurnMessage) -> None:
        self._store = store
        self._registry = registry
        self._writer = writer
        self._message = message
        self._log = get_logger()

    async def waiting(self, task: Task) -> None:
        """Rebuild the stream of a turn that waits, for its operations or for its model.

        Raises Fenced when it does not wait any more, or another process rebuilds it.
        """
        # A new attempt: followers may have seen entries that were lost, under ids that must not come again.
        raised = await self._store.turns.raise_attempt(task)
        if raised is None:
            raise Fenced(f"task {task.id}: it waits no more, or another process rebuilds it")
        operations = await self._store.operations.of_task(task.id)
        durable = await self._message.durable(raised)
        await self._registry.create(await fields_of(self._store, raised))
        await self._writer.begin(raised.fields, raised.attempt, rebuild=True)
        events = [Start(message_id=task.message_id), *told(durable.told_metadata), *self._replay(raised, durable)]
        if raised.retry_at is not None and raised.model_wait is not None:
            events.append(Data(type="data-status", data=raised.model_wait.get("status"), transient=True))
        # A completion that is delivered again is not shown again.
        shown = {f"op:{one.id}": "end" for one in operations if not one.open}
        if raised.background_at is not None:
            events.append(went_into_background(raised))
            shown[f"op:{TOLD_BACKGROUND}"] = "end"
        await self._writer.append(task.id, raised.attempt, 1, events)
        await self._writer.wait(task.id, raised.attempt, shown, written=1)
        if raised.background_at is not None:
            await self._registry.inactive(raised.session_id, raised.id)

    async def ended(self, task: Task) -> None:
        """Rebuild the stream of a turn that has ended, with its end."""
        durable = await self._message.durable(task)
        await self._registry.create(await fields_of(self._store, task))
        metadata = durable.finish_metadata if task.status == "completed" else durable.told_metadata
        events = [*told(metadata), *self._replay(task, durable), *ending_of(task)]
        await self._writer.close(task.fields, task.attempt + 1, end_status(task), events, proof="rebuild")
        self._log.warning("stream_rebuilt", task_id=task.id, session_id=task.session_id, status=task.status)

    def _replay(self, task: Task, durable: Durable) -> list[Event]:
        """The chunks of its parts; none where one of these fits no model of ours: the stream ends all the same."""
        try:
            return replay_of(durable.own)
        except UNREADABLE:
            self._log.exception("turn_unreadable", task_id=task.id, session_id=task.session_id)
            return []
