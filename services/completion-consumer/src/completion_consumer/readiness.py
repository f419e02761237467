"""Whether this process does its work: it reads the queue, and its last round of the reconciler came to its end."""

from sluiceway.process.lifecycle import Stopping
from sluiceway.queue.worker import Worker

from completion_consumer.reconciler.reconciler import Reconciler


class Readiness:
    def __init__(self, worker: Worker, reconciler: Reconciler, stopping: Stopping) -> None:
        self._worker = worker
        self._reconciler = reconciler
        self._stopping = stopping

    async def problems(self) -> dict[str, str]:
        """What keeps it from its work, by part; nothing: ready."""
        if self._stopping:
            return {"worker": "draining"}
        problems = dict(await self._reconciler.problems())
        if not self._worker.reading:
            problems["queue"] = "not reading yet"
        return problems
