"""The parts that the tests stand on are real ones, and each test has its own."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE

import asyncpg
import psutil
import pytest
from redis.asyncio import Redis

from harness.databases.database import Database
from harness.databases.postgres import Postgres
from harness.databases.valkey import Valkey
from harness.processes.services import Services


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


_TAKES_PORTS = (
    "from harness.processes.ports import free_port; print(*[free_port() for _ in range(250)], flush=True); input()"
)


@pytest.mark.requirement("OP-2")
async def test_runs_at_once_are_never_given_the_same_port() -> None:
    command = (sys.executable, "-c", _TAKES_PORTS)
    runs = [await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE) for _ in range(3)]
    given = [(await run.stdout.readline()).split() for run in runs if run.stdout]
    for run in runs:
        await run.communicate(b"\n")
    assert len({port for ports in given for port in ports}) == 3 * 250


@pytest.mark.requirement("OP-2")
async def test_a_forked_service_is_a_process_like_any_other(services: Services) -> None:
    """Its environment, its log, its exit codes; and a setting of the interpreter gets it a new one."""
    with pytest.raises(AssertionError, match=r"ended with 1:\n.*settings are not valid"):
        await services.chat_worker(WORKER_SLOTS="none")
    assert await services.all.pop().exited() == 1
    forked = await services.chat_worker()
    executed = await services.chat_worker(PYTHONOPTIMIZE="")
    parents = [psutil.Process(one.pid).parent() for one in (forked, executed)]
    assert [parent and parent.pid == os.getpid() for parent in parents] == [False, True]
    assert [one.log_lines[-1]["component"] for one in (forked, executed)] == ["chat-worker"] * 2
    forked.freeze()
    forked.thaw()
    assert await forked.terminate() == 0
    await forked.start()
    forked.kill9()
    assert forked.exit_code == -signal.SIGKILL
