"""The doctor finds unfit what processes wait for, by the same rules: no system is called fit that takes nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from gateway.ops.doctor import Clock, Doctor, Finding, _pools, of_clocks, of_postgres, of_redis
from redis.asyncio import Redis
from sluiceway.process.settings import CommonSettings
from sluiceway.redis.client import open_redis
from sluiceway.service import redis_suitability
from sluiceway.service.agreement import Agreement
from sluiceway.store import Store
from sluiceway.store.database import suitability

from harness.databases.postgres import Postgres
from harness.databases.valkey import Valkey
from harness.waiting import wait_until

pytestmark = pytest.mark.requirement("OP-6")
_FIT = {"redis_version": "7.2.4", "role": "master", "maxmemory_policy": "noeviction", "cluster_enabled": "0"}
_FIT |= {"maxmemory": "0", "rdb_last_bgsave_status": "ok"}
_BROKEN = {
    "version": {"redis_version": "6.2.14"},
    # Without a limit of memory, too.
    "eviction": {"maxmemory_policy": "allkeys-lru"},
    "cluster": {"cluster_enabled": "1"},
    "role": {"role": "slave"},
}


@asynccontextmanager
async def doctor_of(redis_url: str, database_url: str) -> AsyncIterator[tuple[Doctor, Redis, Store]]:
    async with (
        open_redis(redis_url, name="test") as redis,
        Store.open(database_url, max_size=2, application_name="test") as store,
    ):
        yield Doctor(redis, store, Agreement(redis, "gateway one", CommonSettings()), "1"), redis, store


def unfit(findings: list[Finding]) -> dict[str, str]:
    return {one.name: one.detail for one in findings if not one.ok}


@pytest.mark.parametrize("rule", list(redis_suitability.RULES))
def test_each_rule_of_redis_is_a_finding_with_the_sentence_that_processes_tell(rule: str) -> None:
    told = _FIT | _BROKEN[rule]
    assert list(unfit(list(of_redis(told))).values()) == [redis_suitability.judge(told)]
    assert redis_suitability.judge(_FIT) is None
    assert unfit(list(of_redis(_FIT))) == {}


@pytest.mark.parametrize("rule", list(suitability.RULES))
def test_each_rule_of_postgres_is_a_finding_with_the_sentence_that_processes_tell(rule: str) -> None:
    facts: dict[str, Any] = {
        "version": "17.2",
        "schema": "0001",
        "missing": [],
        "fsync": "on",
        "synchronous_commit": "on",
    }
    facts |= {"connections": 1, "most_connections": 100, "idle_seconds": None}
    assert unfit(list(of_postgres(facts, {}))) == {}
    assert unfit(list(of_postgres(facts, {rule: "a sentence"}))) == {f"postgres {rule}": "a sentence"}


async def test_what_the_processes_of_a_system_wait_for_is_unfit(
    valkey: Valkey, database_url: str, postgres: Postgres
) -> None:
    database = urlsplit(database_url).path.strip("/")
    async with doctor_of(valkey.url, database_url) as (doctor, redis, store):
        fit = await doctor.examine()
        # The Postgres of the tests does not wait for its disk.
        assert unfit(fit).keys() == {"postgres durability"}
        await redis.config_set("maxmemory-policy", "allkeys-lru")
        evicting = await redis_suitability.unsuitable(redis)
        found = unfit(await doctor.examine())
        await redis.config_set("maxmemory-policy", "noeviction")
        assert found["redis eviction"] == evicting
        await redis.execute_command("ACL", "SETUSER", "default", "-zcount")  # type: ignore[no-untyped-call]
        lacking = await redis_suitability.unsuitable(redis)
        found = unfit(await doctor.examine())
        await redis.execute_command("ACL", "SETUSER", "default", "+zcount")  # type: ignore[no-untyped-call]
        assert (found["redis rights"], "+zcount" in found["redis rights"]) == (lacking, True)
    postgres.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on", "postgres")
    async with doctor_of(valkey.url, database_url) as (doctor, _, store):
        assert unfit(await doctor.examine())["postgres writes"] == await store.unsuitable()


def test_a_clock_is_skewed_only_where_the_answer_did_not_come_late() -> None:
    late = Clock.read(asked=100, told=101, answered=120)
    skewed = Clock.read(asked=100, told=90, answered=101)
    far = Clock.read(asked=100, told=130, answered=120)
    assert unfit(list(of_clocks({"redis": late}))) == {}
    assert unfit(list(of_clocks({"redis": skewed, "postgres": far}))) == {
        "clock of redis": "10.5 s behind this gateway's, give or take 0.5 s",
        "clock of postgres": "20.0 s ahead of this gateway's, give or take 10.0 s",
    }


async def test_a_transaction_that_does_nothing_is_found_with_its_process_and_one_that_works_is_none(
    database_url: str,
) -> None:
    holder = await asyncpg.connect(database_url, server_settings={"application_name": "a forgotten psql"})
    try:
        await holder.execute("BEGIN")
        pid = await holder.fetchval("SELECT pg_backend_pid()")
        async with Store.open(database_url, max_size=2, application_name="test") as store:
            facts = await store.ops.server()
            assert 0 <= facts["idle_seconds"] < 60
            assert "postgres transactions" not in unfit(list(of_postgres(facts, {})))
            told = unfit(list(of_postgres({**facts, "idle_seconds": 61.0}, {})))["postgres transactions"]
            assert told.startswith(f"that of process {pid} (a forgotten psql) is idle for 61 s")
            # As a dump does, whose transaction is as old.
            working = asyncio.ensure_future(holder.execute("SELECT pg_sleep(30)"))
            await wait_until(lambda: _none_is_idle(store), what="it works")
            working.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await working
    finally:
        holder.terminate()


async def test_a_server_whose_connections_are_used_up_is_found_with_who_has_most_of_them(database_url: str) -> None:
    async with Store.open(database_url, max_size=2, application_name="test") as store:
        facts = await store.ops.server()
    assert facts["connections_most"] >= 1
    assert "postgres connections" not in unfit(list(of_postgres({**facts, "connections": 1}, {})))
    full = {"connections": facts["most_connections"], "connections_most": 60, "connections_name": "a report"}
    told = unfit(list(of_postgres({**facts, **full}, {})))["postgres connections"]
    assert "in use, most of them, 60, by a report: end those that nobody needs" in told


async def _none_is_idle(store: Store) -> bool:
    return (await store.ops.server())["idle_seconds"] is None


def test_pools_that_ask_for_more_than_postgres_has_are_found() -> None:
    facts = {"most_connections": 100}
    assert _pools(facts, [8] * 12, pooled=False).ok
    full = _pools(facts, [8] * 13, pooled=False)
    assert (full.ok, "13 processes may have 104 connections together" in full.detail) == (False, True)
    assert _pools(facts, [8] * 13, pooled=True).ok
