"""A whole system in surroundings that are wrong: told once, answered 503, and at work as soon as they are right."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from redis.asyncio import Redis
from sluiceway.service.redis_suitability import COMMANDS, CONTAINERS, PATTERNS

from harness.clients.chat import Chat
from harness.databases.database import Database
from harness.databases.postgres import Postgres
from harness.databases.valkey import Valkey
from harness.model_server import ModelServer
from harness.processes.services import Service, Services
from harness.waiting import wait_until
from tests.gateway.callers import add_key

pytestmark = pytest.mark.requirement("OP-12")
# redis-py asks for these where it connects, and goes on without them.
_DONE_WITHOUT = {"client|setinfo", "client|maint_notifications"}
PAGE = (Path(__file__).parents[2] / "docs" / "surroundings.md").read_text()


def granted() -> list[str]:
    """The rules of the user that the page names."""
    (line,) = re.findall(r"^ACL SETUSER sluiceway on >PASSWORD (.+)$", PAGE, re.MULTILINE)
    return str(line).split()


async def told(service: Service, event: str) -> list[str]:
    """The reasons in its lines of that event, once there is one."""
    await wait_until(lambda: lines(service, event), what=f"{service.name} says {event}")
    return lines(service, event)


def lines(service: Service, event: str) -> list[str]:
    return [line.get("reason", "") for line in service.log_lines if line.get("event") == event]


async def refusal(gateway: Service) -> tuple[int, str]:
    async with httpx.AsyncClient(base_url=gateway.url, trust_env=False) as client:
        response = await client.post("/api/chat/sessions", json={})
        return response.status_code, str(response.json().get("code"))


async def a_turn_ends_well(services: Services, gateway: Service, worker: Service) -> None:
    await wait_until(lambda: worker.answers("/readyz"), what="the worker is ready")
    await wait_until(lambda: gateway.answers("/readyz"), what="the gateway is ready")
    async with Chat(gateway.url) as chat:
        turn = await chat.send(await chat.open_session(), "hello")
        assert "finish" in [event.type for event in await chat.replay(turn)]


def _text(word: object) -> str:
    return word.decode() if isinstance(word, bytes) else str(word)


def test_the_page_grants_what_is_asked_for_and_no_more() -> None:
    asked = {"|".join(one[:2]) if one[0] in CONTAINERS else one[0] for one in COMMANDS}
    rules = granted()
    assert {rule for rule in rules if rule.startswith("~")} == {f"~{pattern}" for pattern in PATTERNS}
    assert {rule[1:] for rule in rules if rule.startswith("+")} == {
        *(name.lower() for name in asked),
        "select",
        "multi",
        "discard",
    }


async def test_a_user_with_the_rights_of_the_page_is_enough_and_without_one_of_them_it_is_named(
    services: Services, redis: Redis, valkey: Valkey, model: ModelServer
) -> None:
    await redis.execute_command("ACL", "SETUSER", "sluiceway", "on", ">pw", *granted(), "-info")  # type: ignore[no-untyped-call]
    url = f"redis://sluiceway:pw@127.0.0.1:{valkey.port}/0"
    gateway = await services.gateway(REDIS_URL=url)
    worker = await services.chat_worker(REDIS_URL=url, ready_path="/healthz")
    for service in (gateway, worker):
        assert await told(service, "surroundings_unsuitable") == [
            "the user of REDIS_URL lacks rights: ACL SETUSER … +info"
        ]
    assert await refusal(gateway) == (503, "SURROUNDINGS_UNSUITABLE")
    async with httpx.AsyncClient(trust_env=False) as client:
        assert "+info" in (await client.get(f"{gateway.url}/readyz")).json()["checks"]["redis"]["detail"]
        assert "+info" in (await client.get(f"{worker.url}/readyz")).json()["problems"]["surroundings"]
    await redis.execute_command("ACL", "SETUSER", "sluiceway", "+info")  # type: ignore[no-untyped-call]
    await wait_until(lambda: gateway.answers("/readyz"), what="the gateway is ready")
    await redis.execute_command("ACL", "LOG", "RESET")  # type: ignore[no-untyped-call]
    await a_turn_ends_well(services, gateway, worker)
    assert len(lines(worker, "surroundings_unsuitable")) == 1
    refused = {_text(entry["object"]) for entry in await redis.acl_log()}
    assert refused <= _DONE_WITHOUT
    services.stop()
    await redis.execute_command("ACL", "DELUSER", "sluiceway")  # type: ignore[no-untyped-call]


async def test_a_wrong_password_of_postgres_is_503_and_one_line_and_heals(
    services: Services, postgres: Postgres, database_url: str, model: ModelServer
) -> None:
    database = urlsplit(database_url).path.strip("/")
    postgres.execute("DROP ROLE IF EXISTS service_role; CREATE ROLE service_role LOGIN PASSWORD 'old'")
    postgres.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO service_role", database)
    postgres.ask_for_password("service_role")
    url = f"postgresql://service_role:new@127.0.0.1:{postgres.port}/{database}"
    gateway = await services.gateway(DATABASE_URL=url)
    worker = await services.chat_worker(DATABASE_URL=url, ready_path="/healthz")
    for _ in range(3):
        assert await refusal(gateway) == (503, "STORE_UNAVAILABLE")
    for service in (gateway, worker):
        (line,) = await told(service, "postgres_refuses")
        assert "password authentication failed" in line
    postgres.execute("ALTER ROLE service_role PASSWORD 'new'")
    await a_turn_ends_well(services, gateway, worker)
    for service in (gateway, worker):
        assert len(lines(service, "postgres_refuses")) == 1
        assert "new@" not in service.output
    services.stop()
    postgres.execute("DROP OWNED BY service_role", database)
    postgres.execute("DROP ROLE service_role")


async def test_an_evicting_redis_is_answered_503_until_it_evicts_nothing(
    services: Services, redis: Redis, database: Database, model: ModelServer
) -> None:
    key = await add_key(database, "night-shift", ["ops:look"])
    await redis.config_set("maxmemory-policy", "volatile-lru")
    try:
        gateway = await services.gateway()
        worker = await services.chat_worker(ready_path="/healthz")
        for service in (gateway, worker):
            (line,) = await told(service, "surroundings_unsuitable")
            assert "volatile-lru" in line
        assert await refusal(gateway) == (503, "SURROUNDINGS_UNSUITABLE")
        # Operators look at it all the same, and are told the cause.
        async with httpx.AsyncClient(base_url=gateway.url, headers=key, trust_env=False) as client:
            load = (await client.get("/api/ops/load")).json()
            assert "All turns are held up. Redis: " in load["sentence"]
            assert "volatile-lru" in load["sentence"]
            assert (await client.get("/api/ops/turns")).json() == {"turns": []}
    finally:
        await redis.config_set("maxmemory-policy", "noeviction")
    await a_turn_ends_well(services, gateway, worker)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("REDIS_URL", "redis://:hidden/word@host:1", "percent-encoded"),
        ("REDIS_URL", "http://hidden@host", "is no redis://"),
        ("DATABASE_URL", "mysql://u:hidden@host/db", "is no postgresql:// URL"),
    ],
)
async def test_an_address_that_can_never_be_right_fails_the_start_by_name(
    services: Services, name: str, value: str, sentence: str
) -> None:
    worker = services._background("completion-consumer", {name: value})
    worker._child.start(environment=worker.environment)
    assert await worker.exited() == 1
    [_, *faults] = worker.output.splitlines()
    assert len(faults) == 1, "and nothing that follows from it"
    assert faults[0].startswith(f"{name}: ")
    assert sentence in faults[0]
    assert "hidden" not in worker.output
