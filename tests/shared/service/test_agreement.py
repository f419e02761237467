"""What processes hear of each other, on a real Valkey."""

import asyncio
import contextlib
import json

import pytest
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.process.settings import CommonSettings
from sluiceway.redis.client import server_time_ms
from sluiceway.service import agreement
from sluiceway.service.agreement import HEARD_SECONDS, Agreement

from harness.waiting import wait_until

SETTINGS = CommonSettings()


@pytest.mark.requirement("OP-10")
async def test_who_works_all_the_same_is_ready_whatever_it_tells_of_itself(redis: Redis) -> None:
    news, problem = {"store": "Postgres went back"}, {"postgres": "away"}
    await Agreement(redis, "completion-consumer one", SETTINGS, lambda: news, lambda: True).compare()
    await Agreement(redis, "completion-consumer two", SETTINGS, lambda: problem, lambda: False).compare()
    valid = await server_time_ms(redis) + 1000 * HEARD_SECONDS
    for name, lacks in (("old", ""), ("old-unready", "postgres: away")):
        await redis.hset(keys.SETTINGS, f"tool-runner {name}", f"{valid} {json.dumps({'(lacks)': lacks})}")

    gateway = Agreement(redis, "gateway g", SETTINGS)
    await gateway.compare()

    assert {one.name: (one.ready, one.lacks) for one in gateway.others or ()} == {
        "one": (True, "store: Postgres went back"),
        "two": (False, "postgres: away"),
        "old": (True, ""),
        "old-unready": (False, "postgres: away"),
    }


@pytest.mark.requirement("OP-10")
async def test_a_process_that_lacks_nothing_any_more_says_so_before_it_is_time(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It spoke as it had just begun: operators would be told of what is long there."""
    monkeypatch.setattr(agreement, "_PERIOD_SECONDS", 600.0)
    lacks = {"postgres": "not asked yet"}
    worker = asyncio.create_task(Agreement(redis, "chat-worker w", SETTINGS, lacks.copy, lambda: not lacks).run())
    gateway = Agreement(redis, "gateway g", SETTINGS)

    async def told(ready: bool) -> bool:
        await gateway.compare()
        return [one.ready for one in gateway.others or ()] == [ready]

    await wait_until(lambda: told(False), what="it is heard of")
    lacks.clear()
    await wait_until(lambda: told(True), what="it is known to be ready")
    worker.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await worker
    assert await told(True) is False  # it has said goodbye
