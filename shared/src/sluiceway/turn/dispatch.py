"""Queueing a turn for a chat worker: its metadata in Redis, an entry in the chat queue, or in its user's lane, and word
of it to its user's devices.

Not guaranteed: that a turn is queued once. A second entry is harmless: claiming is a compare-and-set, and a worker
drops an entry whose turn is held. Methods raise RedisUnavailable; calling them again then is right.
"""

import asyncio

from sluiceway.feeds.person_events import PersonEvents
from sluiceway.queue.work_queue import Producer
from sluiceway.store import Store
from sluiceway.store.records import Task
from sluiceway.stream.registry import TaskRegistry
from sluiceway.tracing.spans import within
from sluiceway.turn.before import fields_of
from sluiceway.wire.jobs import ChatJob
from sluiceway.wire.person_event import PersonEvent, TurnStarted


class TurnDispatch:
    def __init__(self, store: Store, registry: TaskRegistry, queue: Producer, people: PersonEvents) -> None:
        self._store = store
        self._registry = registry
        self._queue = queue
        self._people = people

    async def publish(self, task: Task) -> None:
        """Queue a turn that may be queued already; a second entry is avoided where the first is found."""
        if not await self._register(task):
            meta = await self._registry.meta(task.id)
            if meta is not None and await self._queue.holds_any(meta.entries):
                return
        # Before the entry: where this breaks off in between, it is done again.
        await self._people.tell(task.user_id, _started(task))
        await self._registry.set_queue_entry(task.id, await self._enqueue(task))

    async def publish_new(self, task: Task, *before: PersonEvent) -> None:
        """Queue a turn that was never queued, in fewer round trips: the first token waits for them. `before`: what its
        user's devices are told before that."""
        told = self._people.tell(task.user_id, *before, _started(task))
        # Told last: the worker that takes the entry does not wait for it.
        entry_id, _, _ = await asyncio.gather(self._enqueue(task), self._register(task), told)
        await self._registry.set_queue_entry(task.id, entry_id)

    async def _register(self, task: Task) -> bool:
        """False: Redis knew the turn, perhaps from the worker that began it at once."""
        fields = await fields_of(self._store, task)
        created = await self._registry.create(fields)
        if not created and task.parts_before and fields.before is not None:
            await self._registry.set_before(task.id, fields.before)
        return created

    async def _enqueue(self, task: Task) -> str:
        return await self._queue.add(job_of(task).encode(), user_id=task.user_id, begun=task.attempt > 0)


def _started(task: Task) -> TurnStarted:
    return TurnStarted(
        session_id=task.session_id,
        task_id=task.id,
        message_id=task.message_id,
        continues=True if task.parts_before or task.continues is not None else None,
    )


def job_of(task: Task) -> ChatJob:
    return ChatJob(task_id=task.id, traceparent=within(task.traceparent))
