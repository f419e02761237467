"""A model that is away for a while, with every process real: its turns wait, and the worker is free."""

import json
from datetime import datetime
from typing import Any

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


@pytest.mark.requirement("CH-7")
async def test_a_budget_is_one_for_all_workers_and_who_waits_in_line_is_told(
    services: Services, model: ModelServer, redis: Redis
) -> None:
    """By requests, by tokens, and where the server itself says 429."""
    limits = {
        "counted": {"requests_per_minute": 2},
        "small": {"tokens_per_minute": 100},
        "tired": {"requests_per_minute": 1000},
    }
    system = await services.whole(
        workers=2, WORKER_SLOTS="1", MODELS=json.dumps([*limits]), MODEL_OPTIONS=json.dumps(limits)
    )
    async with Chat(system.url) as chat:
        # Each holds one of two slots: both workers have asked.
        both = [await chat.ask(f"number {number} [[tokens=2 rate=0 gate=both]]", model="counted") for number in (1, 2)]
        await wait_until(lambda: _asked(model, "number", 2), what="each worker has asked once")
        await model.open_gate("both")
        for turn in both:
            assert fold(await chat.answer(turn)).text.startswith("number ")
        await _is_told_to_wait(chat, model, "number 3", "counted", asked=2)

        # The first is as long as all that may be asked in a minute.
        first = await chat.ask("large [[tokens=150 rate=0]]", model="small")
        assert fold(await chat.answer(first)).text
        await wait_until(lambda: _used(redis, 150), what="what the answer used is counted")
        await _is_told_to_wait(chat, model, "large, too", "small", asked=1)

        refused = await chat.ask("tired 1 [[status=429 retry_after=3 times=1 tokens=1 rate=0]]", model="tired")
        await wait_until(lambda: _waits(chat, refused.task_id), what="the first is told to come again")
        behind = await chat.ask("tired 2 [[tokens=1 rate=0]]", model="tired")
        for turn in (refused, behind):
            assert fold(await chat.answer(turn)).text.startswith("tired ")
    # While the server wants no more, neither worker asks.
    refusal, *later = await model.requests("tired ")
    assert [record.began_at - refusal.began_at > 2.9 for record in later] == [True, True]


async def _is_told_to_wait(chat: Chat, model: ModelServer, text: str, name: str, *, asked: int) -> None:
    """Nothing is asked; the person knows when it will be, and may stop it at once."""
    turn = await chat.ask(f"{text} [[tokens=1 rate=0]]", model=name)
    async with follow(chat.stream_url(turn)) as stream:
        await stream.read_until("data-status")
        told: dict[str, Any] = stream.chunks[-1]["data"]
        assert (told["state"], told["code"]) == ("waiting", "MODEL_IN_LINE")
        assert told["nextTryAt"] > told["since"]
    assert len(await model.requests(text.split()[0].rstrip(","))) == asked
    await chat.cancel(turn.task_id)
    assert fold(await chat.answer(turn, timeout=10)).aborted


async def _used(redis: Redis, tokens: int) -> bool:
    budgets: list[dict[Any, Any]] = [await redis.hgetall(key) for key in await redis.keys("sw:model:*:budget")]
    return any(sum(int(n) for name, n in one.items() if name.startswith(b"k")) >= tokens for one in budgets)


async def _asked(model: ModelServer, text: str, times: int) -> bool:
    return len(await model.requests(text)) >= times


@pytest.mark.requirement("CH-7")
async def test_of_a_silent_model_somebody_is_told_after_one_timeout(services: Services, model: ModelServer) -> None:
    system = await services.whole(MODEL_FIRST_CHUNK_SECONDS="2")
    async with Chat(system.url) as chat:
        turn = await chat.ask("silent [[stall_headers=ever]]")
        async with follow(chat.stream_url(turn)) as stream:
            await stream.read_until("data-status")
            told = stream.chunks[-1]["data"]
        assert (told["state"], told["code"]) == ("waiting", "MODEL_TIMEOUT")
        retries = await wait_until(
            lambda: [line for line in system.worker.log_lines if line["event"] == "model_retry"], what="it is logged"
        )
        assert retries is not None
        assert (retries[0]["code"], retries[0]["attempts"]) == ("MODEL_TIMEOUT", 1)
        # What is told first is of the first that failed.
        logged = datetime.fromisoformat(retries[0]["timestamp"])
        assert abs((logged - datetime.fromisoformat(told["since"])).total_seconds()) < 1
        await chat.cancel(turn.task_id)
        assert fold(await chat.answer(turn, timeout=10)).aborted
