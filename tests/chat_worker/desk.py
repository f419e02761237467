"""A turn that is claimed, and what a worker has to answer it, without the worker's process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from chat_worker.account import Account
from chat_worker.attempt import Attempt
from chat_worker.flusher import Flusher, StreamWriter
from chat_worker.metrics import Metrics
from chat_worker.step.ending import Exits
from chat_worker.step.offer import Offer, Tries
from chat_worker.step.step import Step
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from sluiceway.scripts import Scripts
from sluiceway.store import Store
from sluiceway.store.records import Message, Task
from sluiceway.store.turns.accepting import NewTurn
from sluiceway.wire.events import Event
from sluiceway.wire.message import MessageFold
from sluiceway.wire.tools import ToolSpec
from sluiceway_llm.calling.model import Model
from sluiceway_llm.calling.retry import Patience
from sluiceway_llm.model_events import ModelRequest

from harness.clients.turns import Streams, Turns
from harness.model_server import ModelServer

TOOLS = {
    name: ToolSpec(name=name, description=name, parameters={"type": "object"}, queue="default")
    for name in ("weather", "time")
}
NO_TOOLS = Offer({}, max_calls=0)
METRICS = Metrics(CollectorRegistry())


@dataclass(frozen=True)
class Desk:
    """A turn that is claimed, and what a worker has to answer it."""

    task: Task
    store: Store
    redis: Redis
    streams: Streams
    turns: Turns
    writer: StreamWriter
    fold: MessageFold
    model: Model

    def step(self, account: Account | None = None) -> Step:
        attempt = Attempt(self.task, self.writer, METRICS.claimed(self.task), account or Account())
        return Step(attempt, self.fold, Exits(self.turns.pause, self.turns.ending))

    async def ask(self, text: str, offer: Offer = NO_TOOLS, attempts: int = 1, **fields: Any) -> str:
        request = ModelRequest(model="m", messages=[{"role": "user", "content": text}], **fields)
        return await self.step().run(self.model, request, Tries(attempts, Patience()), offer)

    async def events(self) -> list[Event]:
        entries = await self.streams.reader.read(self.task.id)
        return [entry.event for entry in entries if isinstance(entry.event, Event)]

    async def types(self) -> list[str]:
        return [event.type for event in await self.events()]

    async def stored(self) -> tuple[Task, Message]:
        task = await self.store.turns.get(self.task.id)
        message = await self.store.turns.message(self.task)
        assert task is not None
        assert message is not None
        return task, message


@pytest.fixture
async def desk(redis: Redis, database_url: str, model: ModelServer) -> AsyncIterator[Desk]:
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(Store.open(database_url, max_size=4, application_name="desk"))
        client = await stack.enter_async_context(Model(model.base_url, "sk-of-the-test", continuation="vllm"))
        streams = Streams(redis)
        turns = Turns(store, redis, streams)
        flusher = Flusher(Scripts(redis), live_ttl_ms=60_000)
        running = asyncio.create_task(flusher.run())
        accepted = await turns.intake.accept(NewTurn(session_id="s", user_id=None, text="please", create_session=True))
        task = await store.turns.claim(accepted.task.id)
        assert task is not None
        await streams.writer.begin(task.fields, task.attempt, entry_id="5-1")
        yield Desk(task, store, redis, streams, turns, flusher.open(task.id, task.attempt), MessageFold(), client)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
