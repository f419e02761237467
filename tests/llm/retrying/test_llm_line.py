"""Models that may be asked only so often, by the clients of two processes on one Valkey."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from redis.asyncio import Redis
from sluiceway.redis.client import open_redis
from sluiceway.service.model_budget import ModelBudget
from sluiceway_llm.asking.server_options import ServerOptions
from sluiceway_llm.calling.line import InLine, tokens_asked_for
from sluiceway_llm.calling.model import Model
from sluiceway_llm.calling.retry import Patience, PutOff, Tried, stream_with_retries
from sluiceway_llm.model_errors import ModelError, ModelUnavailable
from sluiceway_llm.model_events import ModelEvent, ModelRequest
from sluiceway_llm.settings import ModelSettings

from harness.model_server import ModelServer, answer_to
from harness.waiting import wait_until
from tests.llm.llm_client import MODEL, adapter, finished, request, text_of

pytestmark = pytest.mark.requirement("CH-7")

WINDOW = 0.6


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine an answer of Redis may take longer than an answer of a model is held up for it."""
    monkeypatch.setattr("sluiceway.service.model_budget._PATIENCE_SECONDS", 20.0)


@asynccontextmanager
async def workers(
    server: ModelServer, url: str, *, requests: int = 0, tokens: int = 0, window: float = WINDOW, fallback: str = ""
) -> AsyncIterator[tuple[Model, Model]]:
    """The clients of two of them, each with a connection of its own. The limits are those of MODEL alone."""

    def limits(model: str) -> tuple[str, int, int]:
        return (server.base_url, requests, tokens) if model == MODEL else (server.base_url, 0, 0)

    async with open_redis(url, name="one") as one, open_redis(url, name="two") as two:
        budgets = [ModelBudget(redis, limits, window_seconds=window) for redis in (one, two)]
        async with (
            adapter(server, budget=budgets[0], fallback=fallback or None) as first,
            adapter(server, budget=budgets[1], fallback=fallback or None) as second,
        ):
            yield first, second


async def follow(
    llm: Model,
    asked: ModelRequest,
    *,
    patience: Patience | None = None,
    on_retry: Callable[[ModelError, int, float], None] | None = None,
    hold: float | None = None,
    tried: Tried | None = None,
) -> list[ModelEvent]:
    events: list[ModelEvent] = []
    stream = stream_with_retries(
        llm,
        asked,
        attempts=9,
        patience=patience or Patience(30),
        on_retry=on_retry,
        first_seconds=0.01,
        must_say=True,
        longest_wait_seconds=hold,
        tried=tried,
    )
    async with stream as batches:
        async for batch in batches:
            events += batch
    return events


async def test_the_calls_of_two_workers_share_a_budget_and_waiting_costs_neither_a_request_nor_patience(
    model: ModelServer, valkey_url: str
) -> None:
    told: list[tuple[str, int, float]] = []
    patience = [Patience(0.05) for _ in range(7)]
    async with workers(model, valkey_url, requests=3) as both:
        answers = await asyncio.gather(
            *(
                follow(
                    both[number % 2],
                    request(f"Question {number} [[tokens=2 rate=0]]"),
                    patience=patience[number],
                    on_retry=lambda error, failures, seconds: told.append((error.code, failures, seconds)),
                )
                for number in range(7)
            )
        )
    assert all(finished(events).reason == "stop" for events in answers)
    asked = [record.began_at for record in await model.requests()]
    assert len(asked) == 7
    assert {(code, failures) for code, failures, _ in told} == {("MODEL_IN_LINE", 0)}
    assert len(told) >= 4
    assert all(0 < seconds <= WINDOW * 2 for _, _, seconds in told)
    assert all(one.left_seconds == pytest.approx(0.05, abs=0.04) for one in patience)


async def test_a_429_to_one_worker_holds_off_the_other_and_the_refused_call_goes_first(
    model: ModelServer, valkey_url: str
) -> None:
    async with workers(model, valkey_url, requests=1) as (one, two):
        refused = asyncio.create_task(
            follow(one, request("first [[status=429 retry_after=1 times=1 tokens=1 rate=0]]"))
        )
        await model.wait_for(lambda record: record.finished_at)
        await wait_until(lambda: _paused(valkey_url), what="the 429 is known in Redis")
        await asyncio.gather(refused, follow(two, request("second [[tokens=1 rate=0]]")))
    words = [str(record.body["messages"][-1]["content"])[:6] for record in await model.requests()]
    assert words == ["first ", "first ", "second"]


async def _paused(url: str) -> bool:
    async with Redis.from_url(url) as redis:
        return any([await redis.hexists(key, "paused") for key in await redis.keys("sw:model:*:budget")])


async def test_tokens_are_estimated_and_trued_up_with_what_usage_says(model: ModelServer, redis: Redis) -> None:
    url = _url_of(redis)
    async with workers(model, url, tokens=1000, window=60) as (one, two):
        asked = request("Tell me [[tokens=2 rate=0]]", max_tokens=800)
        assert tokens_asked_for(asked) == 800
        events = await follow(one, asked)
        usage = finished(events).usage
        assert usage is not None
        assert await _counted(redis) == usage.total_tokens
        # What a refusal cost is nothing; what broke off stays with the estimate.
        with pytest.raises(ModelUnavailable):
            await follow(two, request("No [[status=503]]", max_tokens=300), patience=Patience(0))
        assert await _counted(redis) == usage.total_tokens
        with suppress(ModelError):
            await follow(two, request("Half [[tokens=9 cut=3 rate=0]]", max_tokens=300), patience=Patience(0))
        assert await _counted(redis) == (usage.total_tokens or 0) + 300


async def _counted(redis: Redis) -> int:
    [key] = await redis.keys("sw:model:*:budget")
    slices: dict[Any, Any] = await redis.hgetall(key)
    return sum(int(value) for name, value in slices.items() if name.startswith(b"k"))


def _url_of(redis: Redis) -> str:
    options = redis.connection_pool.connection_kwargs
    return f"redis://{options['host']}:{options['port']}/{options['db']}"


async def test_a_call_that_is_put_off_keeps_its_place_for_another_worker(model: ModelServer, valkey_url: str) -> None:
    async with workers(model, valkey_url, requests=1) as (one, two):
        await follow(one, request("fills [[tokens=1 rate=0]]"))
        with pytest.raises(PutOff) as put_off:
            await follow(one, request("parked [[tokens=1 rate=0]]"), hold=0.0)
        assert isinstance(put_off.value.error, InLine)
        assert (put_off.value.tried.failures, put_off.value.tried.kinds) == (0, {})
        later = asyncio.create_task(follow(one, request("later [[tokens=1 rate=0]]")))
        await asyncio.sleep(put_off.value.delay_seconds)
        await follow(two, request("parked [[tokens=1 rate=0]]"), tried=put_off.value.tried)
        await later
    words = [str(record.body["messages"][-1]["content"]).split()[0] for record in await model.requests()]
    assert words == ["fills", "parked", "later"]


async def test_a_call_that_is_cancelled_in_line_leaves_it(model: ModelServer, redis: Redis) -> None:
    async with workers(model, _url_of(redis), requests=1, window=60) as (one, two):
        await follow(one, request("fills [[tokens=1 rate=0]]"))
        waiting = asyncio.create_task(follow(two, request("waits [[tokens=1 rate=0]]")))

        async def in_line() -> int:
            keys = await redis.keys("sw:model:*:line")
            return int(await redis.zcard(keys[0])) if keys else 0

        await wait_until(in_line, what="it is in line")
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
        assert await in_line() == 0
    assert len(await model.requests()) == 1


async def test_with_a_fallback_nobody_waits_in_line(model: ModelServer, redis: Redis) -> None:
    question = "now [[tokens=2 rate=0]]"
    async with workers(model, _url_of(redis), requests=1, window=60, fallback="spare") as (one, two):
        await follow(one, request("fills [[tokens=1 rate=0]]"))
        assert text_of(await follow(two, request(question))) == answer_to(question, 2)
    assert [record.body["model"] for record in await model.requests()] == [MODEL, "spare"]
    assert await redis.keys("sw:model:*:line") == []


def test_settings_say_how_often_each_model_may_be_asked() -> None:
    assert not ModelSettings().limits_models
    own = {"slow": ServerOptions(requests_per_minute=3), "any": ServerOptions(requests_per_minute=0)}
    settings = ModelSettings(model_requests_per_minute=60, model_tokens_per_minute=9, model_options=own)
    assert settings.limits_models
    assert settings.limits_of("slow")[1:] == (3, 9)
    assert settings.limits_of("any")[1:] == (0, 9)
    assert settings.limits_of("other")[1:] == (60, 9)
    assert ModelSettings(model_options=own).limits_models
