"""What processes hear of each other, on a real Valkey."""

import json

import pytest
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.process.settings import CommonSettings
from sluiceway.redis.client import server_time_ms
from sluiceway.service.agreement import HEARD_SECONDS, Agreement

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
