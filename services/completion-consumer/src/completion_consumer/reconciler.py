"""The reconciler: makes true that everything in Redis can be rebuilt from Postgres.

One leader among all processes, by an advisory lock. A round looks at every live turn and does again, idempotently,
what a crash, a flush or an outage left undone:
- a turn that is its session's active one and is in no queue is queued (the row is the outbox of `accept`);
- a turn whose holder is gone, and whose queue entry is gone too, is queued again;
- a turn that was cancelled, and whose holder is gone, is ended, also when there is no worker to do it;
- what a live turn has in Redis is kept from expiring while nobody holds it;
- an ended turn whose stream was not closed, or whose successor was not released, is seen through.
Not promised: how fast. A round begins `reconcile_seconds` after the last one ended.
"""

import time
from datetime import UTC, datetime, timedelta

from sluiceway.logs import get_logger
from sluiceway.store import Store
from sluiceway.store.records import Task
from sluiceway.task_stream import TaskMeta, TaskStreams
from sluiceway.turns import Turns
from sluiceway.work_queue import Producer

_PAGE = 500
# Younger turns are still on their way through the gateway that accepted them.
_PUBLISHING = timedelta(seconds=2)


class Reconciler:
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

    async def round(self) -> None:
        """Look at everything once, if this process leads. Raises StoreUnavailable, RedisUnavailable."""
        async with self._store.leadership("reconciler").try_lead() as leads:
            if leads:
                await self._see_ends_through()
                await self._release_stranded()
                await self._look_at_live_turns()

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
            return
        if meta is not None and not meta.ended:
            if task.cancel_requested_at is not None and not meta.cancel:
                await self._streams.request_cancel(task.id)
            if self._is_held(meta) or await self._is_queued(meta):
                await self._streams.refresh(task.id)
                return
        await self._turns.publish(task)
        reason = "unknown to Redis" if meta is None else "in no queue"
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
