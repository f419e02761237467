"""A chat worker under a test's hand: it answers when and what the test says, through the real store and streams."""

import contextlib
from datetime import timedelta

from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.errors import Fenced
from sluiceway.queue.work_queue import WorkQueue
from sluiceway.store import Store
from sluiceway.store.records import Task
from sluiceway.store.turns.ending import TurnEnd
from sluiceway.wire.events import (
    Event,
    Finish,
    FinishStep,
    ProtocolVersion,
    Start,
    StartStep,
    TextDelta,
    TextEnd,
    TextStart,
)
from sluiceway.wire.jobs import ChatJob

from harness.clients.turns import Streams, Turns


class StandIn:
    """Runs one turn at a time. `begin`, then `say` as often as is wanted, then `finish`."""

    def __init__(self, redis: Redis, store: Store) -> None:
        self.streams = Streams(redis)
        self.store = store
        self._redis = redis
        self._turns = Turns(store, redis, self.streams)
        self._batches = 0
        self._said: dict[str, str] = {}

    async def begin(self, task_id: str) -> Task:
        """Claim the turn, and open its text."""
        task = await self.store.turns.claim(task_id)
        assert task is not None
        await self.streams.writer.begin(task.fields, task.attempt)
        self._batches = 0
        await self.append(task, Start(message_id=task.message_id), StartStep(), TextStart(id="t1"))
        self._said[task.id] = ""
        return task

    async def say(self, task: Task, *words: str) -> None:
        """One delta a word."""
        self._said[task.id] += "".join(words)
        await self.append(task, *(TextDelta(id="t1", delta=word) for word in words))

    async def append(self, task: Task, *events: Event) -> None:
        self._batches += 1
        verdict = await self.streams.writer.append(task.id, task.attempt, self._batches, events)
        assert verdict == "ok", verdict

    async def append_for(self, task: Task, protocol: ProtocolVersion, event: Event) -> None:
        """An entry that only clients of that protocol version see, written as the flusher writes it."""
        fields: dict[str, str | bytes] = {"t": event.type, "d": event.encode(), "v": str(protocol)}
        await self._redis.xadd(keys.task_events(task.id), fields, id=f"{task.attempt}-*")  # type: ignore[arg-type]

    async def finish(self, task: Task) -> None:
        """Write the answer, then end the stream."""
        parts = [{"type": "step-start"}, {"type": "text", "text": self._said[task.id], "state": "done"}]
        end = TurnEnd(status="completed", parts=parts, metadata={})
        closing = [TextEnd(id="t1"), FinishStep(), Finish(finish_reason="stop")]
        assert await self._turns.ending.end(task, end, closing)

    async def answer(self, task_id: str, *words: str) -> Task:
        """A whole turn."""
        task = await self.begin(task_id)
        await self.say(task, *words)
        await self.finish(task)
        return task

    async def answer_everything(self) -> None:
        """Be a worker that is there: take turns from the queue and answer each with a word, until cancelled."""
        await self._redis.zadd(keys.live_workers("chat"), {"stand-in": 9_000_000_000_000})
        queue = WorkQueue(self._redis, self._redis, keys.CHAT, "stand-in", lease=timedelta(minutes=1))
        await queue.ensure_group()
        while True:
            for delivery in await queue.read(10, timedelta(seconds=1)):
                await self._answer_if_live(ChatJob.model_validate_json(delivery.body).task_id)
                await queue.ack(delivery.entry_id)

    async def _answer_if_live(self, task_id: str) -> None:
        task = await self.store.turns.claim(task_id)
        if task is None or task.ended:
            return
        with contextlib.suppress(Fenced):
            await self.streams.writer.begin(task.fields, task.attempt)
        parts = [{"type": "step-start"}, {"type": "text", "text": "yes", "state": "done"}]
        said = [StartStep(), TextStart(id="t1"), TextDelta(id="t1", delta="yes"), TextEnd(id="t1"), FinishStep()]
        end = TurnEnd(status="completed", parts=parts, metadata={})
        await self._turns.ending.end(task, end, [*said, Finish(finish_reason="stop")])
