"""What is told of a Redis and a Postgres that are away, on real ones."""

import pytest
from sluiceway.redis.client import open_redis
from sluiceway.service.surroundings import Surroundings
from sluiceway.store import Store
from structlog.testing import capture_logs

from harness.databases.postgres import Postgres
from harness.databases.valkey import Valkey


@pytest.mark.requirement("OP-12")
async def test_each_part_that_is_away_is_one_line_and_another_when_it_is_back_though_nobody_asks_for_it(
    valkey: Valkey, postgres: Postgres, database_url: str
) -> None:
    valkey.stop()
    postgres.stop()
    async with (
        open_redis(valkey.url, name="x") as client,
        Store.open(database_url, max_size=1, application_name="x") as store,
    ):
        surroundings = Surroundings(client, store)
        with capture_logs() as lines:
            for _ in range(3):
                await surroundings.look()
            valkey.start()
            postgres.start()
            for _ in range(3):
                await surroundings.look()
    told = sorted((line["event"], line["part"], bool(line.get("reason"))) for line in lines)
    assert told == [
        ("surroundings_away", "postgres", True),
        ("surroundings_away", "redis", True),
        ("surroundings_back", "postgres", False),
        ("surroundings_back", "redis", False),
    ]
    assert surroundings.problem() is None


@pytest.mark.requirement("OP-12")
async def test_a_redis_that_refuses_us_is_unsuitable_and_not_away(valkey: Valkey, database_url: str) -> None:
    async with (
        open_redis(valkey.url.replace("redis://", "redis://nobody:wrong@"), name="x") as client,
        Store.open(database_url, max_size=1, application_name="x") as store,
    ):
        surroundings = Surroundings(client, store)
        with capture_logs() as lines:
            for _ in range(2):
                await surroundings.look()
    assert [(line["event"], line["part"]) for line in lines] == [("surroundings_unsuitable", "redis")]
    assert "Redis refuses the user, the password" in (surroundings.problem() or "")
