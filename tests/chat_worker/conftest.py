"""What the tests of the chat worker share: a desk on the test's own Redis, Postgres and model server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from chat_worker.flusher import Flusher
from redis.asyncio import Redis
from sluiceway.scripts import Scripts
from sluiceway.store import Store
from sluiceway.store.turns.accepting import NewTurn
from sluiceway.wire.message import MessageFold
from sluiceway_llm.calling.model import Model

from harness.clients.turns import Streams, Turns
from harness.model_server import ModelServer
from tests.chat_worker.desk import Desk


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
