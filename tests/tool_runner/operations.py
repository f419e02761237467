"""Operations as a chat worker leaves them, for a tool runner, and what the runner told of them."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import uuid4

from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.feeds.job_events import read_job_events
from sluiceway.ids import new_operation_id, new_tool_call_id
from sluiceway.operation.catalogue import read_catalogue
from sluiceway.operation.publishing import Operations
from sluiceway.redis.client import open_redis
from sluiceway.store import Store
from sluiceway.store.operations.operations import NewOperation
from sluiceway.store.records import Operation
from sluiceway.store.turns.accepting import NewTurn
from sluiceway.wire.events import Data, ToolOutputAvailable
from sluiceway.wire.jobs import CompletionJob
from sluiceway.wire.tools import ToolSpec

from harness.clients.turns import Streams, Turns
from harness.waiting import wait_until


class Caller:
    """Stands for chat worker and completion consumer: nobody else takes what the runner tells."""

    def __init__(self, redis: Redis, store: Store) -> None:
        self.redis = redis
        self.store = store
        self.streams = Streams(redis)
        self.operations = Operations(redis, self.streams.entries)
        self.turns = Turns(store, redis, self.streams)

    @staticmethod
    @asynccontextmanager
    async def open(redis_url: str, database_url: str) -> AsyncIterator["Caller"]:
        async with AsyncExitStack() as stack:
            redis = await stack.enter_async_context(open_redis(redis_url, name="caller"))
            opened = Store.open(database_url, max_size=4, application_name="caller")
            yield Caller(redis, await stack.enter_async_context(opened))

    async def call(
        self,
        tool: str,
        *,
        deadline_seconds: float = 3600,
        operation_id: str | None = None,
        **given: Any,
    ) -> Operation:
        """A turn that waits for one call of this tool, with these arguments; its operation is queued.

        The queue is the catalogue's, as for a chat worker; unless nobody offers the tool.
        """
        spec = (await self.offered()).get(tool)
        queue = spec.queue if spec is not None else "default"
        new = NewTurn(session_id=f"s-{uuid4().hex}", user_id="ada", text="please", create_session=True)
        accepted = await self.store.turns.accept(new)
        await self.streams.registry.create(accepted.task.fields)
        task = await self.store.turns.claim(accepted.task.id)
        assert task is not None
        await self.streams.writer.begin(task.fields, task.attempt)
        operation = NewOperation(
            id=operation_id or new_operation_id(),
            step=1,
            tool_call_id=new_tool_call_id(),
            tool_name=tool,
            input=given,
            queue=queue,
            status="pending",
            deadline_seconds=deadline_seconds,
        )
        assert await self.turns.pause.pause(task, [{"type": "step-start"}], [operation], None)
        (stored,) = await self.store.operations.of_task(task.id)
        return stored

    async def told(self, operation: Operation) -> list[CompletionJob]:
        """Every completion of the operation that was queued, in order."""
        entries: Any = await self.redis.xrange(keys.work_queue(keys.COMPLETIONS))
        jobs = [CompletionJob.model_validate_json(fields[b"d"]) for _, fields in entries]
        return [job for job in jobs if job.operation_id == operation.id]

    async def end(self, operation: Operation, timeout: float = 20) -> CompletionJob:
        """Wait for the end of the operation; there must be only one."""
        what = f"{operation.tool_name} ends"
        told: list[CompletionJob] = await wait_until(lambda: self.told(operation), timeout, what)
        assert len(told) == 1
        return told[0]

    async def failure(self, operation: Operation, timeout: float = 20) -> str:
        """Wait until it has failed; the type of the error."""
        job = await self.end(operation, timeout)
        assert not job.success
        assert job.error is not None
        return job.error.type

    async def ask(self, tool: str, **given: Any) -> Any:
        """Call, and wait for the result."""
        job = await self.end(await self.call(tool, **given))
        assert job.success, job.error
        return job.result

    async def status(self, operation: Operation) -> str:
        found = await self.store.operations.get(operation.id)
        assert found is not None
        return found.status

    async def runs(self, operation: Operation) -> int:
        found = await self.store.operations.get(operation.id)
        assert found is not None
        return found.attempt

    async def nothing_queued(self, queue: str = "default") -> bool:
        return await self.redis.xlen(keys.work_queue(keys.tool_queue(queue))) == 0

    async def all_acknowledged(self, queue: str = "default") -> None:
        await wait_until(lambda: self.nothing_queued(queue), what="every entry is acknowledged")

    async def shown(self, operation: Operation) -> list[dict[str, Any]]:
        """The preliminary outputs in the stream."""
        entries = await self.streams.reader.read(operation.task_id)
        return [entry.event.output for entry in entries if isinstance(entry.event, ToolOutputAvailable)]

    async def parts(self, operation: Operation) -> list[Data]:
        entries = await self.streams.reader.read(operation.task_id)
        return [entry.event for entry in entries if isinstance(entry.event, Data)]

    async def job_events(self, operation: Operation) -> list[dict[str, Any]]:
        found = await read_job_events(self.redis, operation.id, limit=1000) or []
        return [json.loads(event.data) for event in found]

    async def cancel(self, operation: Operation) -> None:
        """End the turn, as a gateway does."""
        task = await self.store.turns.get(operation.task_id)
        assert task is not None
        assert await self.turns.ending.end_unheld(task, "cancelled")

    async def offered(self) -> dict[str, ToolSpec]:
        return await read_catalogue(self.redis)

    async def open_gate(self, name: str) -> None:
        await self.redis.set(f"test:{{{name}}}", "open", ex=600)

    async def marks(self, name: str) -> list[str]:
        """What tools left at a place, in order."""
        found: Any = await self.redis.lrange(f"test:{{{name}}}", 0, -1)
        return [mark.decode() for mark in found]
