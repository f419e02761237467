"""Resuming a turn when the last of its operations has ended: the end is shown, and the next step queued."""

from collections.abc import Sequence

from sluiceway.queue.work_queue import Producer
from sluiceway.store.records import Operation, Task
from sluiceway.stream.operation_output import OperationOutput
from sluiceway.stream.registry import TaskRegistry
from sluiceway.turn.dispatch import job_of
from sluiceway.wire.events import Event


class TurnResume:
    def __init__(self, registry: TaskRegistry, output: OperationOutput, queue: Producer) -> None:
        self._registry = registry
        self._output = output
        self._queue = queue

    async def resume(self, task: Task, ended: Operation, output: Sequence[Event]) -> None:
        """Show how the operation has ended, and queue the turn's next step behind that, in one round trip.

        Raises RedisUnavailable; calling it again then is right, a second queue entry is harmless.
        """
        queued = self._queue.adding(job_of(task).encode(), user_id=task.user_id, begun=True)
        (answer,) = await self._output.end_then(task.id, ended.id, output, [queued])
        await self._registry.set_queue_entry(task.id, self._queue.entry_id(answer))
