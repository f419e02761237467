"""API keys as an operator makes them: shown once, hashed, scoped, expiring, revocable. What each scope opens is in
test_access_table.py."""

import asyncio
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from gateway.callers.api_keys import CACHE_SECONDS

from harness.databases.database import Database
from harness.databases.postgres import Postgres
from harness.processes.services import Services
from harness.waiting import wait_until
from tests.gateway.callers import SECRET, bearer
from tests.gateway.conftest import client_of

pytestmark = pytest.mark.requirement("SE-2", "GW-6")


class Operator:
    """Runs `sluicewayctl keys`."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url

    async def keys(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("sluicewayctl")), "keys", *arguments]
        environment = {"DATABASE_URL": self._database_url, "DATABASE_TIMEOUT_SECONDS": "5"}
        return await asyncio.to_thread(
            subprocess.run, command, env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    async def create(self, *arguments: str) -> str:
        made = await self.keys("create", *arguments)
        assert made.returncode == 0, made.stderr
        [key] = made.stdout.splitlines()
        return key


@pytest.fixture
def operator(database_url: str) -> Operator:
    return Operator(database_url)


async def test_a_key_is_shown_once_and_kept_as_a_digest_that_opens_nothing(
    operator: Operator, database: Database
) -> None:
    key = await operator.create("billing", "--scope", "read", "--scope", "turns", "--days", "30")
    assert len(key) == 47
    row = await database.fetchrow("SELECT * FROM api_keys")
    assert row is not None
    assert key not in str(row)
    assert (row["name"], row["scopes"], row["revoked_at"]) == ("billing", ["read", "turns"], None)
    listed = (await operator.keys("list")).stdout
    assert "billing\tread,turns\texpires" in listed
    assert key not in listed
    await operator.create("crm", "--scope", "read", "--org", "acme gmbh")
    assert "org acme gmbh" in (await operator.keys("list")).stdout
    again = await operator.keys("create", "billing", "--scope", "read")
    assert (again.returncode, again.stdout) == (1, "")
    assert "billing" in again.stderr


async def test_what_cannot_be_is_refused_by_name(operator: Operator) -> None:
    for arguments in (
        ("create", "Größe", "--scope", "read"),
        ("create", "settings", "--scope", "read"),
        ("create", "x", "--scope", "everything"),
        ("create", "x"),
        ("create", "x", "--scope", "read", "--days", "0"),
        ("create", "x", "--scope", "read", "--org", ""),
        ("create", "x", "--scope", "read", "--org", "a\nb"),
        ("revoke", "nobody"),
    ):
        refused = await operator.keys(*arguments)
        assert refused.returncode != 0, arguments
        assert refused.stderr
        assert "Traceback" not in refused.stderr


async def test_a_service_has_turns_of_its_own_and_is_refused_when_its_key_is_revoked_or_unknown(
    services: Services, operator: Operator, postgres: Postgres, database: Database
) -> None:
    key = {"x-api-key": await operator.create("billing", "--scope", "turns")}
    gateway = await services.gateway(JWT_SECRET=SECRET)
    async with client_of(gateway) as http:
        assert (await http.post("/api/chat/sessions", json={"id": "s"}, headers=key)).status_code == 201
        assert (await http.get("/api/chat/sessions/s", headers=key)).status_code == 200
        assert await database.fetchval("SELECT user_id FROM sessions") == "service:billing"
        for stranger in (bearer("alice"), bearer("billing")):
            assert (await http.get("/api/chat/sessions/s", headers=stranger)).status_code == 403
        assert (await operator.keys("revoke", "billing")).returncode == 0
        assert "revoked" in (await operator.keys("list")).stdout

        async def refused() -> bool:
            response = await http.get("/api/chat/sessions/s", headers=key)
            return response.status_code == 401 and response.json()["code"] == "INVALID_API_KEY"

        await wait_until(refused, CACHE_SECONDS + 10, "the key is refused")


async def test_while_postgres_is_away_a_key_is_neither_believed_nor_called_wrong_that_was_not_seen_before(
    services: Services, operator: Operator, postgres: Postgres
) -> None:
    seen, unseen = [await operator.create(name, "--scope", "read") for name in ("seen", "unseen")]
    gateway = await services.gateway(DATABASE_TIMEOUT_SECONDS="1")
    async with client_of(gateway) as http:
        assert await _tools(http, seen) == 200
        postgres.stop()
        assert await _tools(http, seen) == 200
        assert await _tools(http, unseen) == 503
        assert await _tools(http, "no key at all, as one sees") == 401


async def _tools(http: httpx.AsyncClient, key: str) -> int:
    return (await http.get("/api/chat/tools", headers={"x-api-key": key})).status_code
