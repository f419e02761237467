"""A whole system that the tests of this directory share: two gateways, a chat worker, a completion consumer, and a
tool runner with tools of ours.

It has a Valkey and a Postgres of its own, so a test of another directory that stops those of its process does not
disturb it. Tests that kill, reconfigure or read logs start services of their own with the fixture `services`.
"""

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from harness.clients.calling import TOOLS_DIR, offered
from harness.clients.chat import Chat
from harness.databases.database import Database
from harness.databases.postgres import Postgres
from harness.databases.valkey import Valkey
from harness.model_server import ModelServer
from harness.processes.model_process import ModelProcess
from harness.processes.services import Services, System
from tests.conftest import attach_logs, no_key_is_eternal, settings_for


@dataclass(frozen=True)
class Shared:
    services: Services
    system: System
    redis_url: str
    database_url: str


@contextlib.contextmanager
def _own_servers(directory: Path) -> Iterator[tuple[str, str]]:
    """URLs of a Valkey and of a migrated database that nobody else uses."""
    directory.mkdir()
    valkey, postgres = Valkey(directory), Postgres(directory)
    try:
        valkey.start()
        postgres.start()
        yield valkey.url, postgres.url(postgres.create_database(migrated=True))
        no_key_is_eternal(valkey)
    finally:
        valkey.stop()
        postgres.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _shared(
    server_directory: Path, tmp_path_factory: pytest.TempPathFactory, _model_process: ModelProcess
) -> AsyncIterator[Shared]:
    with _own_servers(server_directory / "shared") as (redis_url, database_url):
        services = Services(tmp_path_factory.mktemp("shared"), settings_for(redis_url, database_url, _model_process))
        try:
            system = await services.whole(gateways=2, tool_runners=1, TOOLS_DIR=str(TOOLS_DIR))
            await offered(system.url, "echo")
            yield Shared(services, system, redis_url, database_url)
        finally:
            complaints = services.stop()
        assert not complaints, "\n".join(complaints)


@pytest.fixture
def shared(request: pytest.FixtureRequest, _shared: Shared) -> Iterator[Shared]:
    """The shared system; what it complains about while a test runs fails that test."""
    attach_logs(request.node, _shared.services)
    before = _shared.services.complaints()
    yield _shared
    complaints = [complaint for complaint in _shared.services.complaints() if complaint not in before]
    assert not complaints, "\n".join(complaints)


@pytest.fixture
async def chat(shared: Shared, model: ModelServer) -> AsyncIterator[Chat]:
    """A client of the shared system's first gateway."""
    async with Chat(shared.system.gateways[0].url) as client:
        yield client


@pytest.fixture
async def other_chat(shared: Shared, model: ModelServer) -> AsyncIterator[Chat]:
    """A client of its second gateway."""
    async with Chat(shared.system.gateways[1].url) as client:
        yield client


@pytest.fixture
async def shared_redis(shared: Shared) -> AsyncIterator[Redis]:
    async with Redis.from_url(shared.redis_url) as client:
        yield client


@pytest.fixture
async def shared_database(shared: Shared) -> AsyncIterator[Database]:
    connection = await asyncpg.connect(shared.database_url)
    yield connection
    await connection.close()
