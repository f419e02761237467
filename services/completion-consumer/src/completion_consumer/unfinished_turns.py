"""The reconciler's look at turns: what a crash, a flush or an outage left undone is done again, idempotently.

- A turn that is its session's active one and is in no queue is queued (the row is the outbox of `accept`).
- A turn whose holder is gone, and whose queue entry is gone too, is queued again; one that waits for operations is not.
- A turn whose operations have all ended, and whose next step was not queued, is queued.
- A turn that waits for operations, and that Redis has forgotten, gets its stream back.
- A turn that was cancelled, and whose holder is gone, is ended, also when there is no worker to do it.
- What a live turn has in Redis is kept from expiring while nobody holds it.
- An ended turn whose stream was not closed, or whose successor was not released, is seen through.
"""

import time
from datetime import UTC, datetime, timedelta

from sluiceway.errors import Fenced
from sluiceway.logs import get_logger
from sluiceway.store import Store
from sluiceway.store.records import Task
from sluiceway.task_stream import TaskMeta, TaskStreams
from sluiceway.turns import Turns
from sluiceway.work_queue import Producer

_PAGE = 500
# Younger turns are still on their way through the gateway that accepted them.
_PUBLISHING = timedelta(seconds=2)


class UnfinishedTurns:
    def __init__(
        self,
        store: Store,
        streams: TaskStreams,
        turns: Turns,
        queue: Producer,
        *,
        lease: timedelta,
        settle_after: timedelta,
    ) -> None:
        self._store = store
        self._streams = streams
        self._turns = turns
        self._queue = queue
        self._silent_ms = lease.total_seconds() * 2000
        self._settle_after = settle_after
        self._log = get_logger()

    async def look(self) -> None:
        """Raises StoreUnavailable, RedisUnavailable."""
        await self._see_ends_through()
        await self._release_stranded()
        await self._look_at_live_turns()
        await self._go_on()

    async def _see_ends_through(self) -> None:
        for task in await self._store.turns.unsettled(self._settle_after, _PAGE):
            await self._turns.settle(task)
            self._log.info("turn_settled", task_id=task.id, session_id=task.session_id, status=task.status)

    async def _release_stranded(self) -> None:
        for task in await self._store.turns.activate_stranded():
            self._log.warning("turn_released", task_id=task.id, session_id=task.session_id)

    async def _look_at_live_turns(self) -> None:
        after = ""
        while page := await self._store.turns.live(after, _PAGE):
            for task, active in page:
                if active and not self._is_young(task):
                    await self._look_at(task)
            after = page[-1][0].id

    async def _look_at(self, task: Task) -> None:
        meta = await self._streams.meta(task.id)
        if task.cancel_requested_at is not None and (meta is None or not self._is_held(meta)):
            if await self._turns.end_unheld(task, "cancelled"):
                self._log.info("turn_cancelled", task_id=task.id, session_id=task.session_id)
        elif task.status == "waiting":
            await self._keep_waiting(task, meta)
        elif meta is None or meta.ended or not await self._is_going_on(task, meta):
            await self._queue_again(task, "unknown to Redis" if meta is None else "in no queue")

    async def _keep_waiting(self, task: Task, meta: TaskMeta | None) -> None:
        """Nobody holds it, and it is in no queue: its operations are what goes on."""
        if meta is None or meta.status == "queued":
            await self._restore(task)
        elif meta.status == "running" and not self._is_held(meta):
            # Its worker died after the step was durable, and before Redis had learned that the turn waits.
            await self._streams.wait(task.id, task.attempt, {})
        else:
            await self._streams.refresh(task.id)

    async def _restore(self, task: Task) -> None:
        try:
            await self._turns.restore(task)
        except Fenced:
            return  # its operations have ended meanwhile, and a worker has it
        self._log.warning("turn_restored", task_id=task.id, session_id=task.session_id)

    async def _is_going_on(self, task: Task, meta: TaskMeta) -> bool:
        if task.cancel_requested_at is not None and not meta.cancel:
            await self._streams.request_cancel(task.id)
        if self._is_held(meta) or await self._is_queued(meta):
            await self._streams.refresh(task.id)
            return True
        return False

    async def _go_on(self) -> None:
        after = ""
        while page := await self._store.completions.stranded(after, _PAGE):
            for task in page:
                meta = await self._streams.meta(task.id)
                if meta is None or not await self._is_queued(meta):
                    await self._queue_again(task, "its operations have ended")
            after = page[-1].id

    async def _queue_again(self, task: Task, reason: str) -> None:
        now = await self._store.turns.get(task.id)
        if now is None or (now.status, now.attempt) != (task.status, task.attempt):
            return  # it has moved on since the page was read, and what Redis says is about that
        await self._turns.publish(task)
        self._log.warning("turn_requeued", task_id=task.id, session_id=task.session_id, reason=reason)

    def _is_held(self, meta: TaskMeta) -> bool:
        """Its holder gave a sign of life lately."""
        return meta.beat_ms is not None and time.time() * 1000 - meta.beat_ms < self._silent_ms

    async def _is_queued(self, meta: TaskMeta) -> bool:
        """Its entry waits, or is pending: then a sweep of the workers takes it up, not we."""
        return meta.queue_entry is not None and await self._queue.holds(meta.queue_entry)

    @staticmethod
    def _is_young(task: Task) -> bool:
        return task.status == "queued" and datetime.now(UTC) - task.created_at < _PUBLISHING
