"""A session, and what a worker has to prepare its turns: the code of the worker, on real parts."""

import asyncio
import json
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from chat_worker.context.context import Context, Held, Prepared
from chat_worker.context.notes import NoteTaking
from chat_worker.context.summary import Summariser
from chat_worker.context.windows import Windows
from chat_worker.settings import Settings
from redis.asyncio import Redis
from sluiceway.store import Store
from sluiceway.store.records import Task
from sluiceway.store.turns.accepting import NewTurn
from sluiceway.store.turns.ending import TurnEnd
from sluiceway.wire.message import Part
from sluiceway_llm.calling.model import Model
from sluiceway_llm.model_errors import ModelContextExceeded
from sluiceway_llm.model_events import ModelRequest, TextDelta

from harness.model_server import ModelServer

SYSTEM = [{"role": "system", "content": "Be brief."}]
STRICT = ("begins", "alternate", "pairs", "filled", "names")
WORDS = "the river had risen in the night and by morning the meadow was a lake "
STEP: Part = {"type": "step-start"}
NOTES = "The user counts upwards and likes rivers."


def said(text: str) -> Part:
    return {"type": "text", "text": text, "state": "done"}


def called(call_id: str, result: str) -> Part:
    state = {"state": "output-available", "input": {"query": "größe"}, "output": result}
    return {"type": "tool-search", "toolCallId": call_id, **state}


@dataclass
class Talk:
    """A session, and what a worker has to prepare its turns. `model` answers, and refuses."""

    store: Store
    client: Model
    redis: Redis
    settings: dict[str, Any] = field(default_factory=dict)
    session: str = "s"
    note_taking: list[NoteTaking] = field(default_factory=list)

    def context(self, **settings: Any) -> Context:
        told = Settings(**{"model": "fake", "summary_seconds": 20, **self.settings, **settings})
        self.windows = Windows(self.client, (told.model, *told.models), self.redis, told.max_context_tokens)
        notes = NoteTaking(self.store, self.redis, Summariser(self.client), told.summary_seconds)
        self.note_taking.append(notes)
        return Context(told, self.store, self.windows, notes)

    async def ask(self, text: str, **more: Any) -> Task:
        turn = NewTurn(session_id=self.session, user_id=None, text=text, create_session=True, **more)
        task = await self.store.turns.claim((await self.store.turns.accept(turn)).task.id)
        assert task is not None
        return task

    async def end(self, task: Task, *parts: Part) -> None:
        end = TurnEnd("completed", [STEP, *parts], {"status": "completed"})
        assert await self.store.turns.end(task, end, attempt=task.attempt)

    async def exchange(self, text: str, *parts: Part) -> None:
        await self.end(await self.ask(text), *(parts or [said(f"answer to {text}")]))

    async def prepare(
        self, context: Context, task: Task, own: Sequence[dict[str, Any]] = (), model: str = "fake"
    ) -> Prepared:
        prepared, _ = await self.answered(context, task, own, model, send=False)
        return prepared

    async def answered(
        self, context: Context, task: Task, own: Sequence[dict[str, Any]] = (), model: str = "fake", send: bool = True
    ) -> tuple[Prepared, int]:
        """What was sent in the end, and how often the server refused it for its length."""
        held, refusals = Held(await context.load(task)), 0
        while True:
            prepared = await context.prepare(task, held, model, SYSTEM, [], list(own), uninterrupted)
            assert prepared is not None
            if not send:
                return prepared, refusals
            try:
                await self.send(model, prepared)
            except ModelContextExceeded as error:
                refusals += 1
                if not context.refused(held, model, error, prepared):
                    raise
            else:
                return prepared, refusals

    async def held(self, context: Context, task: Task) -> Held:
        return Held(await context.load(task))

    async def notes_are_made(self) -> None:
        for notes in self.note_taking:
            await asyncio.gather(*notes.making)

    async def send(self, model: str, prepared: Prepared) -> None:
        async with self.client.stream(ModelRequest(model=model, messages=prepared.messages)) as batches:
            assert any([isinstance(event, TextDelta) async for batch in batches for event in batch])


async def uninterrupted(compacting: Coroutine[None, None, bool]) -> bool | None:
    return await compacting


def with_window(talk: Talk, context: Context, tokens: int) -> Context:
    """As if the server had said so."""
    assert talk.windows.learn("fake", tokens)
    return context


async def summaries(model: ModelServer) -> list[dict[str, Any]]:
    return [one.body for one in await model.requests() if "<conversation>" in str(one.body)]


def texts(prepared: Prepared) -> str:
    return json.dumps(prepared.messages, ensure_ascii=False)
