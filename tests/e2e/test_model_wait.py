"""A model that is away for a while, with every process real: its turns wait, and the worker is free."""

import pytest
from redis.asyncio import Redis

from harness.clients.chat import Chat
from harness.clients.folding import fold
from harness.clients.sse import follow
from harness.model_server import ModelServer, answer_to
from harness.processes.services import Services
from harness.waiting import wait_until


@pytest.mark.requirement("CH-7", "TS-5", "OP-7")
async def test_turns_that_wait_for_their_model_hold_no_worker_and_outlive_it_and_redis(
    services: Services, model: ModelServer, redis: Redis
) -> None:
    system = await services.whole(WORKER_SLOTS="1", MODEL_HOLD_SECONDS="0")
    question = "go [[status=429 retry_after=8 times=1 tokens=3 rate=0]]"
    async with Chat(system.url) as chat:
        turn = await chat.ask(question)
        await wait_until(lambda: _waits(chat, turn.task_id), what="the turn is let go")
        # The only slot of the only worker is free.
        other = await chat.ask("meanwhile [[tokens=2 rate=0]]")
        assert fold(await chat.answer(other)).text == answer_to("meanwhile", 2)
        assert await _waits(chat, turn.task_id)

        async with follow(chat.stream_url(turn)) as stream:
            await stream.read_until("data-status")
            assert stream.chunks[-1]["data"]["code"] == "MODEL_RATE_LIMITED"
        system.worker.kill9()
        await redis.flushall()
        await system.worker.start()

        message = fold(await chat.answer(turn, timeout=30))
        assert message.text == answer_to(question, 3)
        assert [told["data"]["state"] for told in message.data] == ["waiting", "running"]
        assert await chat.status(turn.task_id) == "completed"
    assert len(await model.requests(question)) == 2


async def _waits(chat: Chat, task_id: str) -> bool:
    return await chat.status(task_id) == "waiting"
