"""Letting a turn wait, without a worker: for its operations, or until its model is to be asked again.

The step is durable first, then Redis learns of it, then the operations are queued. Then the turn makes way for a
message that came meanwhile, and need not wait for operations. The reconciler queues a turn whose model is to be asked
again. A turn with an answer, and with calls in the background, goes there itself. What outside services said of these
while it ran is shown when it waits.

Methods raise StoreUnavailable and RedisUnavailable; calling them again then is right.
"""

import contextlib
from collections.abc import Sequence
from typing import Any

from sluiceway.errors import Fenced
from sluiceway.operation.completions import Completions
from sluiceway.operation.publishing import Operations
from sluiceway.store import Store
from sluiceway.store.operations.operations import NewOperation
from sluiceway.store.people.usage import ModelCall
from sluiceway.store.records import BACKGROUND, Operation, Task
from sluiceway.store.turns.background import MadeWay
from sluiceway.store.turns.ending import TurnEnd
from sluiceway.store.turns.turns import LetGo, Paused
from sluiceway.stream.writer import TaskWriter
from sluiceway.turn.background import Answer, TurnBackground
from sluiceway.turn.rebuild import TurnRebuild
from sluiceway.wire.message import Part


class TurnPause:
    def __init__(
        self,
        store: Store,
        writer: TaskWriter,
        operations: Operations,
        rebuild: TurnRebuild,
        background: TurnBackground,
        completions: Completions,
    ) -> None:
        self._store = store
        self._writer = writer
        self._operations = operations
        self._rebuild = rebuild
        self._background = background
        self._completions = completions

    async def pause(
        self,
        task: Task,
        parts: list[Part],
        operations: Sequence[NewOperation],
        usage: dict[str, Any] | None,
        *,
        metadata: dict[str, Any] | None = None,
        calls: Sequence[ModelCall] = (),
        prompt: dict[str, Any] | None = None,
        written: int | None = None,
    ) -> Paused:
        """End a step with tool calls; see `TurnStore.pause`. `written`: the last batch of the writer, by which Redis
        tells whether it has all that was written."""
        paused = await self._store.turns.pause(task, parts, operations, usage, metadata, calls, prompt)
        left = await self._let_run(task, paused, written)
        if left == "waiting" and BACKGROUND in (metadata or {}):
            await self._show_put_off(task)
        return left

    async def wait_for_model(
        self, task: Task, wait: dict[str, Any], delay_seconds: float, *, written: int | None = None
    ) -> Paused:
        """Let a turn go until its model is to be asked again; see `TurnStore.wait_for_model`."""
        return await self._let_run(task, await self._store.turns.wait_for_model(task, wait, delay_seconds), written)

    async def begin_approved(self, task: Task, *, written: int | None = None) -> Paused:
        """Let the calls that a person has approved be run."""
        return await self._let_run(task, await self._store.turns.begin_approved(task), written)

    async def step_back(self, task: Task, end: TurnEnd, answer: Answer, *, written: int | None = None) -> Paused:
        """Put a turn that runs into the background, with its answer; see `SteppingBackStore.step_back`. Raises
        NotStorable."""
        made = await self._store.stepping_back.step_back(task, end)
        if made is None:
            standing = await self._store.turns.get(task.id)
            if standing is None or standing.attempt != task.attempt:
                return "fenced"
            if standing.status != "waiting" or standing.background_at is None:
                return "cancelled" if standing.cancel_requested_at is not None else "running"
            # By an earlier call of this, whose answer was lost.
            active = await self._store.sessions.active_task(task.session_id)
            made = MadeWay(standing, active.id if active is not None else None)
        await self._told_to_wait(task, [], written)
        await self._background.stepped_back(made, answer)
        await self._show_put_off(task)
        return "waiting"

    async def block(self, task: Task, *, written: int | None = None) -> Paused:
        """Let a turn wait for its calls in the background as for any other."""
        status = await self._store.stepping_back.block(task)
        if status is None:
            paused = (await self._store.turns.standing(task)).paused
        else:
            paused = "waiting" if status == "waiting" else "running"
        left = await self._let_run(task, LetGo(paused), written)
        if left == "waiting":
            await self._show_put_off(task)
        return left

    async def _let_run(self, task: Task, let_go: LetGo, written: int | None) -> Paused:
        """Redis learns that the turn waits before anybody can run, and end, one of its operations."""
        if let_go.paused == "waiting":
            await self._told_to_wait(task, let_go.operations, written)
            if let_go.operations:
                # Not before: it is a look in Postgres, and the tools are what is waited for.
                await self._background.make_way(task)
        elif let_go.operations:
            await self._operations.publish(let_go.operations)  # none of them blocks the turn
        return let_go.paused

    async def _show_put_off(self, task: Task) -> None:
        """Have the consumers show how far its calls in the background are, which outside services said while it ran.
        What breaks off here the reconciler does."""
        for report in await self._store.webhooks.put_off(task.id):
            await self._completions.publish(report.job)

    async def _told_to_wait(self, task: Task, operations: Sequence[Operation], written: int | None) -> None:
        queued = self._operations.adding(operations)
        result, answers = await self._writer.wait_then(task.id, task.attempt, {}, queued, written=written)
        if result == "lost":
            with contextlib.suppress(Fenced):  # then another process has rebuilt it
                await self._rebuild.waiting(task)
        await self._operations.note(operations, answers)
