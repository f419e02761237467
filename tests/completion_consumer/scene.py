"""Turns that wait for tool calls, made by the same functions as the chat worker's, and what became of them."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.ids import new_approval_id, new_operation_id, new_tool_call_id
from sluiceway.operation.completions import Completions
from sluiceway.operation.publishing import Operations
from sluiceway.queue.work_queue import Producer, WorkQueue
from sluiceway.queue.worker import persistently
from sluiceway.redis.client import open_redis
from sluiceway.store import Store
from sluiceway.store.operations.operation_end import OperationEnd, ReportedEnd
from sluiceway.store.operations.operations import NewOperation
from sluiceway.store.records import Operation, OperationStatus, Task
from sluiceway.store.turns.accepting import NewTurn
from sluiceway.store.turns.ending import TurnEnd
from sluiceway.wire.events import FinishStep, Start, StartStep, ToolInputAvailable

from harness.clients.turns import Streams, Turns
from harness.waiting import wait_until

PENDING: OperationStatus = "pending"


@dataclass(frozen=True)
class Waiting:
    """A turn whose first step has made these calls."""

    task: Task
    operations: list[Operation]

    @property
    def operation(self) -> Operation:
        (only,) = self.operations
        return only


class Scene:
    def __init__(self, redis: Redis, store: Store) -> None:
        self.redis = redis
        self.store = store
        self.streams = Streams(redis)
        self.operations = Operations(redis, self.streams.entries)
        self.turns = Turns(store, redis, self.streams)
        self.completions = Completions(redis)
        self.queue = Producer(redis, keys.COMPLETIONS)

    @staticmethod
    @asynccontextmanager
    async def open(redis_url: str, database_url: str) -> AsyncIterator["Scene"]:
        async with AsyncExitStack() as stack:
            redis = await stack.enter_async_context(open_redis(redis_url, name="scene"))
            opened = Store.open(database_url, max_size=10, application_name="scene")
            yield Scene(redis, await stack.enter_async_context(opened))

    async def waiting(
        self,
        *statuses: OperationStatus,
        deadline_seconds: float = 3600,
        session_id: str | None = None,
        entry_id: str | None = None,
        background: bool = False,
    ) -> Waiting:
        """A turn that waits, with a call for each status; by default one that is pending. `entry_id`, `background`: as
        of `step`; then it runs."""
        session_id = session_id or f"s-{uuid4().hex}"
        new = NewTurn(session_id=session_id, user_id=None, text="please", create_session=True)
        accepted = await self.store.turns.accept(new)
        await self.turns.dispatch.publish(accepted.task)
        task = await self.store.turns.claim(accepted.task.id)
        assert task is not None
        waiting = await self.step(
            task, *statuses, deadline_seconds=deadline_seconds, entry_id=entry_id, background=background
        )
        meta = await self.streams.registry.meta(task.id)
        assert meta is not None
        assert meta.queue_entry is not None
        await self.redis.xdel(keys.work_queue("chat"), meta.queue_entry)
        return waiting

    async def step(
        self,
        task: Task,
        *statuses: OperationStatus,
        deadline_seconds: float = 3600,
        entry_id: str | None = None,
        background: bool = False,
    ) -> Waiting:
        """A step, of a claimed turn, that ends with calls. `entry_id`: the entry under whose lease it is made, where
        the turn is held for longer. `background`: none of them blocks it."""
        calls = [self._call(status, deadline_seconds, background) for status in statuses or ("pending",)]
        events = [Start(message_id=task.message_id), StartStep()]
        events += [ToolInputAvailable(tool_call_id=c.tool_call_id, tool_name=c.tool_name, input=c.input) for c in calls]
        async with AsyncExitStack() as stack:
            entry_id = entry_id or await stack.enter_async_context(self.entry_in_flight())
            await self.streams.writer.begin(task.fields, task.attempt, entry_id=entry_id)
            await self.streams.writer.append(task.id, task.attempt, 1, [*events, FinishStep()])
            message = await self.store.turns.message(task)
            parts = [*(message.parts if message else []), {"type": "step-start"}, *map(_part, calls)]
            told = {"background": [one.tool_call_id for one in calls]} if background else None
            paused = await self.turns.pause.pause(task, parts, calls, None, metadata=told)
        assert paused == ("waiting" if any(call.blocks for call in calls) else "running")
        operations = await self.store.operations.of_task(task.id)
        ids = {call.id for call in calls}
        return Waiting(task, [operation for operation in operations if operation.id in ids])

    @asynccontextmanager
    async def entry_in_flight(self) -> AsyncIterator[str]:
        """Under its lease a step is made: a reconciler that looks meanwhile finds that somebody holds the turn."""
        key = keys.work_queue(keys.CHAT)
        await WorkQueue(self.redis, self.redis, keys.CHAT, "scene", lease=timedelta(minutes=1)).ensure_group()
        entry_id = await Producer(self.redis, keys.CHAT).add(b"{}")
        await self.redis.xclaim(key, keys.GROUP, "scene", 0, [entry_id], force=True, justid=True)
        yield entry_id
        await self.redis.xack(key, keys.GROUP, entry_id)
        await self.redis.xdel(key, entry_id)

    async def left_behind(self) -> Waiting:
        """A turn whose consumer died after the result was durable: only the reconciler queues its next step."""
        waiting = await self.waiting()
        ending = OperationEnd("succeeded", "result", "result")
        outcome = await self.store.completions.complete(ReportedEnd(waiting.operation.id, None, ending, "d"))
        assert outcome.resumes
        return waiting

    async def asking(self, deadline_seconds: float = 3600) -> Waiting:
        """A turn that has ended, and whose call waits for a person."""
        async with self.entry_in_flight() as entry_id:
            waiting = await self.waiting("approval", deadline_seconds=deadline_seconds, entry_id=entry_id)
            message = await self.store.turns.message(waiting.task)
            assert message is not None
            end = TurnEnd(status="completed", parts=message.parts, metadata={}, awaits=True)
            assert await self.store.turns.end(waiting.task, end, attempt=waiting.task.attempt)
        return waiting

    async def next_step(self, task: Task) -> Task:
        """Claim the turn as a chat worker does, and take its entry off the queue."""
        await self.redis.delete(keys.work_queue("chat"))
        claimed = await self.store.turns.claim(task.id)
        assert claimed is not None
        assert claimed.status == "running"
        return claimed

    async def succeed(self, operation: Operation, result: Any = "done") -> str:
        """Say so, as a runner does: until Redis has it."""
        tell = self.completions.publish_operation_complete
        return await persistently(lambda: tell(operation.id, operation.task_id, True, result))

    async def state(self, operation: Operation) -> str:
        found = await self.store.operations.get(operation.id)
        assert found is not None
        return found.status

    async def part(self, operation: Operation) -> dict[str, Any]:
        """The call's part of the message."""
        task = await self.store.turns.get(operation.task_id)
        assert task is not None
        message = await self.store.turns.message(task)
        assert message is not None
        return next(part for part in message.parts if part.get("toolCallId") == operation.tool_call_id)

    async def chunks(self, operation: Operation) -> list[dict[str, Any]]:
        """What the task's stream says of the call after it was made."""
        entries: Any = await self.redis.xrange(keys.task_events(operation.task_id))
        chunks = [json.loads(fields[b"d"]) for _, fields in entries]
        said = [chunk for chunk in chunks if chunk.get("toolCallId") == operation.tool_call_id]
        return [chunk for chunk in said if chunk["type"] != "tool-input-available"]

    async def next_steps(self, task: Task) -> int:
        """How many entries of the chat queue ask for a step of this task."""
        return (await self.queued("chat")).count(task.id)

    async def queued(self, kind: str, field: str = "task_id") -> list[str]:
        entries: Any = await self.redis.xrange(keys.work_queue(kind))
        return [str(json.loads(fields[b"d"]).get(field)) for _, fields in entries]

    async def all_done(self) -> bool:
        """No completion waits or is in anybody's hand."""
        return await self.redis.xlen(keys.work_queue(keys.COMPLETIONS)) == 0

    async def wait_until_all_done(self, timeout: float = 30) -> None:
        await wait_until(self.all_done, timeout, "every completion is acknowledged")

    async def dead_letters(self) -> list[tuple[bytes, str]]:
        return [(letter.body, letter.reason) for letter in await self.store.dead_letters.newest(100)]

    def _call(self, status: OperationStatus, deadline_seconds: float, background: bool = False) -> NewOperation:
        return NewOperation(
            id=new_operation_id(),
            step=1,
            tool_call_id=new_tool_call_id(),
            tool_name="look_up",
            input={"what": "it"},
            queue="default",
            status=status,
            deadline_seconds=deadline_seconds,
            approval_id=new_approval_id() if status == "approval" else None,
            background=background,
            error={"type": "UNKNOWN_TOOL", "message": "No such tool."} if status == "failed" else None,
        )


def _part(call: NewOperation) -> dict[str, Any]:
    part = {"type": f"tool-{call.tool_name}", "toolCallId": call.tool_call_id, "input": call.input}
    if call.status == "approval":
        return {**part, "state": "approval-requested", "approval": {"id": call.approval_id}}
    return {**part, "state": "input-available"}


def only(chunks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    (chunk,) = chunks
    return chunk
