"""The catalogue as workers see it, also when Redis forgets it."""

import pytest
from redis.asyncio import Redis
from sluiceway.operation import catalogue
from sluiceway.operation.catalogue import Catalogue, announce, read_catalogue, withdraw
from sluiceway.wire.tools import ToolSpec

ECHO = ToolSpec(name="echo", description="Says it again.", parameters={"type": "object"})


@pytest.mark.requirement("CH-8", "OP-7")
async def test_tools_that_redis_forgot_are_offered_until_their_runner_could_have_said_so_again(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Catalogue(redis)
    await announce(redis, "runner", [ECHO])
    await seen.refresh()

    await redis.flushall()
    await seen.refresh()
    assert list(seen.tools) == ["echo"]

    monkeypatch.setattr(catalogue, "VALID_MS", 0)
    await seen.refresh()
    assert list(seen.tools) == []


@pytest.mark.requirement("CH-8")
async def test_tools_of_a_runner_that_goes_are_offered_no_longer(redis: Redis) -> None:
    seen = Catalogue(redis)
    await announce(redis, "runner", [ECHO])
    await announce(redis, "other", [ECHO.model_copy(update={"name": "other"})])
    await seen.refresh()

    await withdraw(redis, "runner")
    await seen.refresh()
    assert list(seen.tools) == ["other"]

    await withdraw(redis, "other")
    await seen.refresh()
    assert list(seen.tools) == []
    assert await read_catalogue(redis) == {}
