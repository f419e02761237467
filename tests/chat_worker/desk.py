"""A turn that is claimed, and what a worker has to answer it, without the worker's process."""

from dataclasses import dataclass
from typing import Any

from chat_worker.account import Account
from chat_worker.attempt import Attempt
from chat_worker.flusher import StreamWriter
from chat_worker.metrics import Metrics
from chat_worker.step.ending import Exits
from chat_worker.step.offer import Offer, Tries
from chat_worker.step.step import Step
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from sluiceway.store import Store
from sluiceway.store.records import Message, Task
from sluiceway.wire.events import Event
from sluiceway.wire.message import MessageFold
from sluiceway.wire.tools import ToolSpec
from sluiceway_llm.calling.model import Model
from sluiceway_llm.calling.retry import Patience
from sluiceway_llm.model_events import ModelRequest

from harness.clients.turns import Streams, Turns

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
