"""The operations that this process holds, and looks after while their tools run.

Guarantees
- A tool whose turn has ended, or whose queue entry is another runner's now, is cancelled within LOOK_SECONDS and a
  round trip. One round trip looks after all.
Not guaranteed: that a frozen runner stops. It is told when it wakes up, and Postgres decides whose word counts.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.errors import RedisUnavailable
from sluiceway.process.logs import get_logger
from sluiceway.queue.work_queue import EntryState, Producer, states_of
from sluiceway.scripts import Call, Scripts
from sluiceway.store.records import Operation
from sluiceway.wire.task import ENDED

from tool_runner.runner.running import Run

LOOK_SECONDS = 0.5


@dataclass(slots=True)
class Held:
    """One held operation, under an entry of its queue. `lost`: another runner has it now. `done`: its end was told."""

    operation_id: str
    task_id: str
    queue: str
    entry_id: str
    run: Run | None = None
    lost: bool = False
    done: bool = False

    def cancel(self) -> None:
        if self.run is not None:
            self.run.cancel()


class HeldOperations:
    """`run` is its one task."""

    def __init__(self, redis: Redis, runner: str, lease: timedelta) -> None:
        self._redis = redis
        self._scripts = Scripts(redis)
        self._runner = runner
        self._lease = lease
        self._held: dict[str, Held] = {}

    def __len__(self) -> int:
        return len(self._held)

    @contextmanager
    def hold(self, operation: Operation, queue: str, entry_id: str) -> Iterator[Held]:
        """Look after an operation that was begun under that entry."""
        held = self._held[operation.id] = Held(operation.id, operation.task_id, queue, entry_id)
        try:
            yield held
        finally:
            if self._held.get(held.operation_id) is held:
                del self._held[held.operation_id]

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(min(LOOK_SECONDS, self._lease.total_seconds() / 3))
            try:
                await self._look()
            except RedisUnavailable as error:
                get_logger().warning("operations_not_looked_after", in_flight=len(self), reason=str(error))

    async def _look(self) -> None:
        watched = list(self._held.values())
        if not watched:
            return
        asked = [call for queue in {held.queue for held in watched} for call in self._asking(queue, watched)]
        statuses = [Call("stream/status", [keys.task_meta(held.task_id)], []) for held in watched]
        answers = await self._scripts.run_many([*asked, *statuses])
        states: dict[str, EntryState] = {}
        for call, answer in zip(asked, answers, strict=False):
            states |= states_of(call, answer)
        for held, status in zip(watched, answers[len(asked) :], strict=True):
            self._judge(held, states.get(held.entry_id), status)

    def _asking(self, queue: str, watched: Sequence[Held]) -> list[Call]:
        entries = [held.entry_id for held in watched if held.queue == queue]
        return Producer(self._redis, queue).asking(entries, self._lease)

    def _judge(self, held: Held, state: EntryState | None, status: Any) -> None:
        """An entry that is gone is nobody's: whoever gets another one for the operation knows that this one was."""
        if state is not None and state.consumer not in (None, self._runner) and not held.done:
            get_logger().warning("operation_lost", operation_id=held.operation_id)
            held.lost = True
            held.cancel()
        if isinstance(status, bytes) and status.decode() in ENDED:
            held.cancel()
