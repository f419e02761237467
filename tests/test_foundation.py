"""The parts that the tests stand on are real ones, and each test has its own."""

import asyncio
import sys
from asyncio.subprocess import PIPE

import asyncpg
import pytest
from redis.asyncio import Redis

from harness.database import Database
from harness.postgres import Postgres
from harness.valkey import Valkey


@pytest.mark.requirement("OP-2")
async def test_tests_run_on_a_real_valkey_and_a_real_postgres(redis: Redis, database: Database) -> None:
    assert (await redis.info("server"))["server_name"] == "valkey"
    assert "PostgreSQL" in await database.fetchval("SELECT version()")


@pytest.mark.requirement("OP-2")
@pytest.mark.parametrize("run", [1, 2])
async def test_a_test_finds_nothing_of_the_one_before(redis: Redis, database: Database, run: int) -> None:
    assert await redis.dbsize() == 0
    assert await database.fetchval("SELECT count(*) FROM sessions") == 0
    await redis.set("left behind", run, ex=60)
    await database.execute("INSERT INTO sessions (id) VALUES ('left behind')")


@pytest.mark.requirement("OP-2")
async def test_servers_come_back_at_the_same_place_with_what_they_promise_to_keep(
    valkey: Valkey, postgres: Postgres, database_url: str
) -> None:
    async with Redis.from_url(valkey.url) as redis:
        await redis.set("a", 1, ex=60)
    valkey.restart()
    async with Redis.from_url(valkey.url) as redis:
        assert await redis.get("a") is None
    postgres.execute("INSERT INTO sessions (id) VALUES ('kept')", database_url.rpartition("/")[2])
    postgres.stop()
    postgres.start()
    connection = await asyncpg.connect(database_url)
    assert await connection.fetchval("SELECT id FROM sessions") == "kept"
    await connection.close()


_TAKES_PORTS = "from harness.ports import free_port; print(*[free_port() for _ in range(250)], flush=True); input()"


@pytest.mark.requirement("OP-2")
async def test_runs_at_once_are_never_given_the_same_port() -> None:
    command = (sys.executable, "-c", _TAKES_PORTS)
    runs = [await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE) for _ in range(3)]
    given = [(await run.stdout.readline()).split() for run in runs if run.stdout]
    for run in runs:
        await run.communicate(b"\n")
    assert len({port for ports in given for port in ports}) == 3 * 250
