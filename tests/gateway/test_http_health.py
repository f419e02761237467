"""Health: liveness asks nobody, readiness says whether a message would be answered, and if not, why."""

import httpx
import pytest
from redis.asyncio import Redis
from sluiceway import keys

from harness.postgres import Postgres
from harness.services import Services
from harness.valkey import Valkey
from harness.waiting import wait_until
from tests.gateway.conftest import client_of


async def _failing(http: httpx.AsyncClient) -> set[str]:
    response = await http.get("/readyz")
    checks = response.json()["checks"]
    failing = {name for name, check in checks.items() if not check["ok"]}
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
    assert await _failing(http) == {"redis", "chat_workers"}
    postgres.stop()
    assert await _failing(http) == {"redis", "chat_workers", "postgres"}
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
    assert response.json()["checks"]["redis"] == {"ok": False, "detail": "no answer within 0.3 s"}


@pytest.mark.requirement("GW-1", "OP-9")
async def test_a_gateway_starts_while_postgres_and_redis_are_away_and_is_ready_when_they_are_there(
    services: Services, valkey: Valkey, postgres: Postgres
) -> None:
    valkey.stop()
    postgres.stop()
    gateway = await services.gateway()
    async with client_of(gateway) as http:
        assert await _failing(http) == {"redis", "chat_workers", "postgres"}
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


@pytest.mark.requirement("GW-7")
async def test_the_configuration_says_the_limits_and_the_way_to_sign_in(services: Services) -> None:
    gateway = await services.gateway(MAX_MESSAGE_CHARS="99", MODEL="small", MODELS='["large"]', HEARTBEAT_SECONDS="3")
    async with client_of(gateway) as http:
        config = (await http.get("/config")).json()
    assert config["limits"]["max_message_chars"] == 99
    assert config["models"] == ["small", "large"]
    assert (config["auth"], config["auth_required"]) == ("none", False)
    assert config["heartbeat_seconds"] == 3


async def _is(http: httpx.AsyncClient, failing: set[str]) -> bool:
    return await _failing(http) == failing
