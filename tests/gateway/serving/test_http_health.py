"""Health: liveness asks nobody, readiness says whether a message would be answered, and if not, why."""

from typing import Any

import httpx
import pytest
from redis.asyncio import Redis
from sluiceway import keys

from harness.databases.database import Database
from harness.databases.postgres import Postgres
from harness.databases.valkey import Valkey
from harness.processes.ports import free_port
from harness.processes.services import Service, Services
from harness.waiting import wait_until
from tests.gateway.conftest import client_of

TOLD_ONLY = {"settings", "completion_consumers", "tool_runners", "model", "files"}


async def _failing(http: httpx.AsyncClient) -> set[str]:
    response = await http.get("/readyz")
    checks = response.json()["checks"]
    failing = {name for name, check in checks.items() if not check["ok"]} - TOLD_ONLY
    assert (response.status_code, response.json()["status"]) == ((503, "not_ready") if failing else (200, "ready"))
    assert all(check["detail"] for check in checks.values())
    return failing


async def _announce_a_worker(valkey: Valkey) -> None:
    """As a chat worker does, until the year 2255. On a connection of its own: Valkey may have been away."""
    async with Redis.from_url(valkey.url) as redis:
        await redis.zadd(keys.live_workers("chat"), {"stand-in": 9_000_000_000_000})


@pytest.mark.requirement("GW-1")
async def test_a_gateway_is_ready_when_a_message_would_be_answered(
    http: httpx.AsyncClient, valkey: Valkey, redis: Redis
) -> None:
    await wait_until(lambda: _is(http, {"chat_workers"}), what="only a worker is missing")
    await _announce_a_worker(valkey)
    assert await _failing(http) == set()
    await redis.zadd(keys.live_workers("chat"), {"stand-in": 1})
    assert await _failing(http) == {"chat_workers"}


@pytest.mark.requirement("GW-1")
async def test_readiness_names_what_is_away_and_recovers_and_liveness_is_not_touched(
    http: httpx.AsyncClient, valkey: Valkey, postgres: Postgres
) -> None:
    await _announce_a_worker(valkey)
    await wait_until(lambda: _is(http, set()), what="the gateway is ready")
    valkey.stop()
    assert await _failing(http) == {"redis", "streams", "chat_workers"}
    postgres.stop()
    assert await _failing(http) == {"redis", "streams", "chat_workers", "postgres"}
    assert (await http.get("/healthz")).status_code == 200
    assert (await http.get("/readyz?scope=gateway")).status_code == 200
    valkey.start()
    postgres.start()
    await _announce_a_worker(valkey)
    await wait_until(lambda: _is(http, set()), what="the gateway is ready again")


@pytest.mark.requirement("GW-1")
async def test_a_part_that_accepts_connections_and_says_nothing_counts_as_away(
    services: Services, valkey: Valkey
) -> None:
    gateway = await services.gateway(CHECK_TIMEOUT_SECONDS="0.3")
    async with client_of(gateway) as http:
        valkey.freeze()
        response = await http.get("/readyz")
        valkey.thaw()
    assert response.status_code == 503
    redis = response.json()["checks"]["redis"]
    assert redis["ok"] is False
    assert redis["detail"].startswith("no answer within 0.3 s: REDIS_URL leads to ")
    assert "NetworkPolicy" in redis["detail"]


@pytest.mark.requirement("GW-1", "OP-9")
async def test_a_gateway_starts_while_postgres_and_redis_are_away_and_is_ready_when_they_are_there(
    services: Services, valkey: Valkey, postgres: Postgres
) -> None:
    valkey.stop()
    postgres.stop()
    gateway = await services.gateway()
    async with client_of(gateway) as http:
        assert await _failing(http) == {"redis", "streams", "chat_workers", "postgres"}
        valkey.start()
        postgres.start()
        await _announce_a_worker(valkey)
        await wait_until(lambda: _is(http, set()), what="the gateway is ready")
        assert (await http.post("/api/chat/sessions", json={})).status_code == 201


@pytest.mark.requirement("OP-9")
async def test_a_gateway_is_not_ready_on_a_schema_that_is_older_than_itself(
    services: Services, empty_database_url: str
) -> None:
    gateway = await services.gateway(DATABASE_URL=empty_database_url, MIGRATE_ON_START="false")
    async with client_of(gateway) as http:
        check = (await http.get("/readyz")).json()["checks"]["postgres"]
        assert check["ok"] is False
        assert "migrations" in check["detail"]
        too_early = await http.post("/api/chat/sessions", json={})
        assert (too_early.status_code, too_early.json()["code"]) == (503, "STORE_UNAVAILABLE")
        migrating = await services.gateway(DATABASE_URL=empty_database_url)
        async with client_of(migrating) as other:
            await wait_until(lambda: _is(other, {"chat_workers"}), what="the schema is current")
        assert await _failing(http) == {"chat_workers"}


@pytest.mark.requirement("OP-10", "OP-12")
async def test_a_gateway_that_cannot_stream_is_not_ready_though_redis_answers(
    services: Services, valkey: Valkey
) -> None:
    await _announce_a_worker(valkey)
    valkey.ask("ACL", "SETUSER", "narrow", "on", ">narrow", "~*", "+@all", "-client|tracking")
    url = valkey.url.replace("redis://", "redis://narrow:narrow@")
    gateway = await services.gateway(REDIS_URL=url)
    async with client_of(gateway) as http:
        await wait_until(lambda: _is(http, {"redis", "streams"}), what="the right that streams need is missing")
        for scope in ("system", "gateway"):
            response = await http.get(f"/readyz?scope={scope}")
            assert response.status_code == 503
            assert "every stream would be refused" in response.json()["checks"]["streams"]["detail"]
    valkey.ask("ACL", "DELUSER", "narrow")


@pytest.mark.requirement("OP-10")
async def test_a_redis_that_takes_no_writes_is_told_in_words(
    http: httpx.AsyncClient, valkey: Valkey, redis: Redis
) -> None:
    await _announce_a_worker(valkey)
    await wait_until(lambda: _is(http, set()), what="the gateway is ready")
    await redis.config_set("maxmemory", "1")
    try:
        assert await _failing(http) == {"redis"}
        check = (await http.get("/readyz")).json()["checks"]["redis"]
    finally:
        await redis.config_set("maxmemory", "0")
    assert check["detail"] == "takes no writes: it is full (maxmemory)"
    await wait_until(lambda: _is(http, set()), what="the gateway is ready again")


@pytest.mark.requirement("OP-10")
async def test_a_lock_that_a_message_would_wait_for_is_told_with_who_holds_it(
    http: httpx.AsyncClient, valkey: Valkey, database: Database
) -> None:
    await _announce_a_worker(valkey)
    await wait_until(lambda: _is(http, set()), what="the gateway is ready")
    async with database.transaction():
        # Readers do not wait for it: a SELECT would say that all is well.
        await database.execute("LOCK TABLE tasks IN EXCLUSIVE MODE")
        assert await _failing(http) == {"postgres"}
        check = (await http.get("/readyz")).json()["checks"]["postgres"]
        own = await database.fetchval("SELECT pg_backend_pid()")
    assert f"writes wait for a lock: on tasks, held by process {own}" in check["detail"]
    assert await _failing(http) == set()


@pytest.mark.requirement("GW-1", "OP-6")
async def test_a_postgres_that_takes_no_writes_is_not_ready_and_the_log_says_of_a_refusal_why(
    http: httpx.AsyncClient, gateway: Service, postgres: Postgres, database: Database
) -> None:
    """As after a full disk, or while somebody moves it: reads are answered, and locks given."""
    name = await database.fetchval("SELECT current_database()")
    postgres.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    await database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()", name
    )
    await wait_until(lambda: _is(http, {"chat_workers", "postgres"}), what="it is told")
    told = (await http.get("/readyz")).json()["checks"]["postgres"]["detail"]
    assert told.endswith("is read-only: take default_transaction_read_only away from it")

    assert (await http.post("/api/chat/sessions", json={})).status_code == 503

    def refused() -> list[dict[str, Any]]:
        told = [line for line in gateway.log_lines if line["event"] == "http_request"]
        return [line for line in told if line["route"] == "/api/chat/sessions"]

    await wait_until(refused, what="it is logged")
    (line,) = refused()
    assert (line["status"], line["level"], line["code"]) == (503, "warning", "STORE_UNAVAILABLE")
    assert "read-only" in line["reason"]


@pytest.mark.requirement("OP-10")
async def test_consumers_and_runners_are_told_with_what_they_lack_and_do_not_count(
    services: Services, valkey: Valkey, empty_database_url: str
) -> None:
    gateway = await services.gateway()
    await _announce_a_worker(valkey)
    async with client_of(gateway) as http:
        await wait_until(lambda: _is(http, set()), what="the gateway is ready")
        assert "none is running, or none was heard for 7 s: results of tools wait" in await _told(
            http, "completion_consumers"
        )
        assert "none is running" in await _told(http, "tool_runners")
        behind = {"DATABASE_URL": empty_database_url, "MIGRATE_ON_START": "false", "ready_path": "/healthz"}
        await services.completion_consumer(**behind)
        lacks = "postgres: the schema is older"
        await wait_until(lambda: _tells(http, "completion_consumers", lacks), what="it is told what it lacks")
        assert (await _told(http, "completion_consumers")).startswith("0 of 1 ready: ")
        await services.completion_consumer()
        await wait_until(lambda: _tells(http, "completion_consumers", "1 of 2 ready"), what="the other one is heard of")


@pytest.mark.requirement("OP-10")
async def test_a_model_that_is_away_is_told_and_takes_no_worker_out_of_service(services: Services) -> None:
    system = await services.whole(OPENAI_BASE_URL=f"http://127.0.0.1:{free_port()}/v1")
    async with client_of(system.worker) as worker, client_of(system.gateway) as http:
        await wait_until(lambda: _warns(worker, "model"), what="the worker tells of the model")
        assert (await worker.get("/readyz")).status_code == 200
        await wait_until(lambda: _tells(http, "model", "1 of 1 chat workers: model: "), what="the gateway tells")
        assert (await http.get("/readyz")).status_code == 200


@pytest.mark.requirement("GW-7")
async def test_the_configuration_says_the_limits_and_the_way_to_sign_in(services: Services) -> None:
    gateway = await services.gateway(
        MAX_MESSAGE_CHARS="99",
        MODEL="small",
        MODELS='["large"]',
        HEARTBEAT_SECONDS="3",
        SUGGESTIONS='[" What is a sluice? "]',
    )
    async with client_of(gateway) as http:
        config = (await http.get("/config")).json()
    assert config["limits"]["max_message_chars"] == 99
    assert config["models"] == ["small", "large"]
    assert config["default_model"] == "small"
    assert (config["auth"], config["auth_required"]) == ("none", False)
    assert config["heartbeat_seconds"] == 3
    assert config["suggestions"] == ["What is a sluice?"]


async def _is(http: httpx.AsyncClient, failing: set[str]) -> bool:
    return await _failing(http) == failing


async def _told(http: httpx.AsyncClient, check: str) -> str:
    return str((await http.get("/readyz")).json()["checks"][check]["detail"])


async def _tells(http: httpx.AsyncClient, check: str, words: str) -> bool:
    return words in await _told(http, check)


async def _warns(worker: httpx.AsyncClient, part: str) -> bool:
    return part in (await worker.get("/readyz")).json().get("warnings", {})
