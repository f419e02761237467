"""What may be asked of a model in a window of time, by several processes together, on a real Valkey."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from redis.asyncio import Redis
from sluiceway.redis.client import open_redis
from sluiceway.service.model_budget import ModelBudget

from harness.databases.valkey import Valkey

pytestmark = pytest.mark.requirement("CH-7")

MODEL = "some-model"
WINDOW = 0.6


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine an answer of Redis may take longer than an answer of a model is held up for it."""
    monkeypatch.setattr("sluiceway.service.model_budget._PATIENCE_SECONDS", 20.0)


@asynccontextmanager
async def processes(
    url: str, *, requests: int = 0, tokens: int = 0, window: float = WINDOW
) -> AsyncIterator[tuple[ModelBudget, ModelBudget]]:
    """Two of them, each with a client of its own."""

    def limits(model: str) -> tuple[str, int, int]:
        return "http://server", requests, tokens

    async with open_redis(url, name="one") as one, open_redis(url, name="two") as two:
        yield ModelBudget(one, limits, window_seconds=window), ModelBudget(two, limits, window_seconds=window)


@dataclass(frozen=True)
class Begun:
    """When, in slices of Redis's clock, a sixtieth of the window each."""

    slice: int
    arrived: int
    waited: float


async def begun(budget: ModelBudget, ticket: str, tokens: int = 1, arrived: int = 0) -> Begun:
    """A call that comes again whenever it was told to, until it may begin."""
    waited = 0.0
    while True:
        taken = await budget.take(MODEL, ticket, arrived, tokens)
        assert taken is not None
        seconds, arrived, slice_ = taken
        if seconds == 0:
            return Begun(slice_, arrived, waited)
        waited += seconds
        await asyncio.sleep(seconds)


async def waits(budget: ModelBudget, ticket: str, tokens: int = 1, arrived: int = 0) -> float:
    taken = await budget.take(MODEL, ticket, arrived, tokens)
    assert taken is not None
    return taken[0]


async def test_two_processes_begin_no_more_calls_in_any_window_than_allowed_in_order_of_arrival(
    valkey_url: str,
) -> None:
    async with processes(valkey_url, requests=5) as both:
        calls = []
        for number in range(16):
            calls.append(asyncio.create_task(begun(both[number % 2], f"call {number}")))
            await asyncio.sleep(0.005)
        done = await asyncio.gather(*calls)
    inorder = sorted(done, key=lambda one: one.arrived)
    assert not any(one.waited for one in inorder[:5])
    slices = [one.slice for one in inorder]
    for place, now in enumerate(slices):
        begun_lately = sum(now - 60 <= each <= now for each in slices)
        waiting_before = sum(each > now for each in slices[:place])
        assert begun_lately + waiting_before <= 5, "a later one begins only where there is room for all before it"
    # No longer than is needed, which is three windows and a bit.
    assert max(slices) - slices[0] < 10 * 61


async def test_tokens_count_by_the_estimate_and_then_by_what_was_used(valkey_url: str) -> None:
    async with processes(valkey_url, tokens=100, window=60) as (one, two):
        slice_ = (await begun(one, "a", 80)).slice
        assert await waits(two, "b", 30) > 50
        await one.correct(MODEL, slice_, 20 - 80)
        assert await waits(two, "b", 30) == 0
        assert await waits(one, "c", 51) > 0, "50 are left"
        await one.correct(MODEL, slice_, 1000)
        assert await waits(one, "c", 1) > 0, "what was more than thought counts, too"


async def test_what_is_larger_than_the_limit_goes_when_nothing_else_counts(valkey_url: str) -> None:
    async with processes(valkey_url, tokens=100, window=0.3) as (one, two):
        await begun(one, "small", 10)
        assert await waits(two, "large", 500) > 0
        assert await waits(one, "later", 10) > 0, "who came first goes first, however large"
        await begun(two, "large", 500)
        await begun(one, "later", 10)


async def test_a_429_holds_off_all_processes_and_then_they_go_one_by_one_behind_the_refused(valkey_url: str) -> None:
    async with processes(valkey_url, requests=6) as (one, two):
        refused = await begun(one, "refused")
        await one.hold_off(MODEL, "refused", refused.arrived, 1, refused.slice, 0.2, again=True)
        calls = [begun(one, "refused", arrived=refused.arrived)]
        calls += [begun((one, two)[number % 2], f"call {number}") for number in range(3)]
        again, *others = await asyncio.gather(*calls)
    slices = sorted(one.slice for one in others)
    # 0.2 s are 20 slices; and at the pace of six in a window each takes ten.
    bounds = [refused.slice + 19 + 10 * place for place in range(4)]
    assert all(slice_ >= bound for slice_, bound in zip([again.slice, *slices], bounds, strict=True))
    assert max(slices) - refused.slice < 300


async def test_a_call_in_line_that_is_given_up_or_dies_holds_up_nobody(
    valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sluiceway.service.model_budget._GRACE_SECONDS", 0.2)
    async with processes(valkey_url, requests=2, window=0.3) as (one, two):
        await begun(one, "a")
        await begun(one, "b")
        for ticket in ("given up", "died"):
            assert await waits(one, ticket) > 0
        await one.leave(MODEL, "given up")
        # The dead one's place is kept for as long as it was told to wait, and the grace.
        async with asyncio.timeout(5):
            await asyncio.gather(begun(two, "c"), begun(two, "d"))


async def test_a_call_that_comes_too_late_has_its_place_all_the_same(
    valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with processes(valkey_url, requests=1, window=0.3) as (one, two):
        await begun(one, "a")
        with monkeypatch.context() as patched:
            patched.setattr("sluiceway.service.model_budget._GRACE_SECONDS", 0.0)
            taken = await one.take(MODEL, "slow", 0, 1)
        assert taken is not None
        await asyncio.sleep(taken[0] + 0.05)
        await begun(two, "quick")  # nobody waits for the slow one any more
        later = asyncio.create_task(begun(two, "later"))
        slow = await begun(one, "slow", arrived=taken[1])
        assert slow.slice < (await later).slice


async def test_without_a_limit_nothing_is_asked(valkey: Valkey, redis: Redis) -> None:
    await redis.config_resetstat()
    async with processes(valkey.url) as (one, _):
        assert await one.take(MODEL, "a", 0, 1) is None
    assert not any(name.startswith("cmdstat_eval") for name in await redis.info("commandstats"))


async def test_while_redis_is_away_there_is_no_limit_and_one_line_says_so(
    valkey: Valkey, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sluiceway.service.model_budget._PATIENCE_SECONDS", 0.5)
    async with processes(valkey.url, requests=1) as (one, _):
        valkey.stop()
        assert [await one.take(MODEL, f"b{number}", 0, 1) for number in range(5)] == [None] * 5
    valkey.start()
    assert capsys.readouterr().out.count("model_budget_away") == 1


async def test_all_of_it_expires(valkey_url: str, redis: Redis) -> None:
    async with processes(valkey_url, requests=1, window=60) as (one, two):
        counted = await begun(one, "a")
        assert await waits(two, "b") > 0
        await one.hold_off(MODEL, "a", counted.arrived, 1, counted.slice, 300, again=True)
        lives = [await redis.pttl(key) for key in await redis.keys("*")]
    assert len(lives) == 3
    assert all(300_000 < ms <= 430_000 for ms in lives), lives
