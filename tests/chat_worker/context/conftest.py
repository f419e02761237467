"""A session of conversation, with a model server that answers, and makes notes."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from sluiceway.store import Store
from sluiceway_llm.calling.model import Model

from harness.model_server import ModelServer
from tests.chat_worker.context.talk import NOTES, Talk


@pytest.fixture
async def talk(database_url: str, redis: Redis, model: ModelServer) -> AsyncIterator[Talk]:
    async with (
        Store.open(database_url, max_size=4, application_name="talk") as store,
        Model(model.base_url, "sk-of-the-test") as client,
    ):
        await model.script({"begin": True}, {"tokens": 4, "of": NOTES}, {"finish": "stop"}, match="<conv", times=10_000)
        await model.script({"begin": True}, {"tokens": 2, "of": "well"}, {"finish": "stop"}, times=100_000)
        talk = Talk(store, client, redis)
        yield talk
        for notes in talk.note_taking:
            await notes.stop()
