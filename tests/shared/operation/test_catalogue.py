"""The catalogue as workers see it, also when Redis forgets it."""

import asyncio
import contextlib

import pytest
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.operation import catalogue
from sluiceway.operation.catalogue import Catalogue, announce, read_catalogue, withdraw
from sluiceway.wire.tools import ToolSpec
from structlog.testing import capture_logs

from harness.waiting import wait_until

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


@pytest.mark.parametrize("junk", ["", "no number {}", "99999999999999 {no json", "99999999999999"])
@pytest.mark.requirement("CH-8", "OP-7")
async def test_an_entry_that_nobody_has_written_ends_no_process_and_hides_no_tool(redis: Redis, junk: str) -> None:
    await redis.hset(keys.CATALOGUE, "junk", junk)
    await announce(redis, "runner", [ECHO])
    await redis.hset(keys.CATALOGUE, "junk", junk)
    seen = Catalogue(redis)
    await seen.refresh()
    assert list(seen.tools) == ["echo"]


@pytest.mark.requirement("CH-8", "OP-7")
async def test_a_key_of_another_type_ends_no_process_and_counts_no_longer_than_it_is_there(redis: Redis) -> None:
    await redis.set(keys.CATALOGUE, "no hash")
    seen = Catalogue(redis)
    looking = asyncio.create_task(seen.run())
    with capture_logs() as lines:
        await wait_until(lambda: [line for line in lines if line["event"] == "catalogue_delayed"], what="it is refused")
    await redis.delete(keys.CATALOGUE)
    await announce(redis, "runner", [ECHO])
    await wait_until(lambda: list(seen.tools) == ["echo"], what="the tool is seen")
    looking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await looking
