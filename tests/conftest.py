"""Fixtures on real parts: Valkey, Postgres, the model as a fake HTTP server, and the services as processes.

Every pytest process (alone, or one of pytest-xdist's) has servers of its own, started when the first test wants
them, so a test may stop, freeze or flush its Valkey or Postgres without others noticing. Each test finds them running
and empty.
"""

import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Generator, Iterator
from fnmatch import fnmatch
from pathlib import Path

import asyncpg
import pytest
from hypothesis import settings
from redis.asyncio import ConnectionPool, Redis
from sluiceway import keys
from sluiceway.redis.connections import PlainConnection

from harness.databases.database import Database
from harness.databases.postgres import Postgres
from harness.databases.valkey import Valkey
from harness.hanging import HangWatch
from harness.model_server.client import ModelServer
from harness.processes.fork_server import ForkServer
from harness.processes.model_process import ModelProcess
from harness.processes.services import Services, clean_environment

# How long an example takes says how busy the machine is; what must be fast says so itself.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")
_services = pytest.StashKey[Services]()
_SHOWN_LOG = 20_000
_MEMORY, _ROOM_BYTES = Path("/dev/shm"), 6 * 2**30


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(HangWatch(config))


@pytest.fixture(scope="session")
def server_directory() -> Iterator[Path]:
    """A directory that `nobody` can reach too: as root, Postgres runs as that user.

    In memory where there is room: what a test writes by the gigabyte would hold up the disk of those beside it, whose
    Postgres waits for it, and some of these say how long a stop may take.
    """
    in_memory = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM_BYTES
    directory = Path(tempfile.mkdtemp(prefix="sluiceway-tests-", dir=_MEMORY if in_memory else None))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def _valkey_server(server_directory: Path) -> Iterator[Valkey]:
    server = Valkey(server_directory)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def _postgres_server(server_directory: Path) -> Iterator[Postgres]:
    server = Postgres(server_directory)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def _model_process(server_directory: Path) -> Iterator[ModelProcess]:
    process = ModelProcess(server_directory)
    process.start()
    yield process
    process.stop()


@pytest.fixture
def valkey(_valkey_server: Valkey) -> Iterator[Valkey]:
    """The Valkey server itself, for tests that stop or flush it. It is running and empty."""
    _valkey_server.start()
    _valkey_server.flush()
    yield _valkey_server
    if _valkey_server.running:
        _valkey_server.thaw()
        no_key_is_eternal(_valkey_server)


def no_key_is_eternal(server: Valkey) -> None:
    """Fails when a key without a TTL was left behind that `keys.py` does not name."""
    eternal = [key for key in server.keys_without_ttl() if not _may_be_eternal(key)]
    assert not eternal, f"keys without a TTL were left behind: {eternal}"


@pytest.fixture
def valkey_url(valkey: Valkey) -> str:
    """redis://… of an empty Valkey. A key that is left without a TTL, and is no queue, fails the test."""
    return valkey.url


@pytest.fixture
async def redis(valkey_url: str) -> AsyncIterator[Redis]:
    """A client of that Valkey that answers bytes."""
    pool = ConnectionPool.from_url(valkey_url, socket_timeout=60, connection_class=PlainConnection)
    async with Redis.from_pool(pool) as client:
        yield client


@pytest.fixture
def postgres(_postgres_server: Postgres) -> Postgres:
    """The Postgres server itself, for tests that stop it. It is running."""
    _postgres_server.start()
    return _postgres_server


@pytest.fixture
def database_url(postgres: Postgres) -> Iterator[str]:
    """postgresql://… of a database of this test, with the schema of today and no rows."""
    with _database(postgres, migrated=True) as url:
        yield url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A connection to it, to look at what is durable."""
    connection = await asyncpg.connect(database_url, command_timeout=120)
    yield connection
    await connection.close()


@pytest.fixture
def empty_database_url(postgres: Postgres) -> Iterator[str]:
    """postgresql://… of a database of this test, without any schema."""
    with _database(postgres, migrated=False) as url:
        yield url


@pytest.fixture
async def model(_model_process: ModelProcess) -> AsyncIterator[ModelServer]:
    """The fake model server, with no script and no recorded request."""
    async with ModelServer(_model_process.url) as server:
        await server.reset()
        yield server
        # The next test that starts services may not ask for it.
        await server.reset()


@pytest.fixture(scope="session")
def fork_server(server_directory: Path) -> Iterator[ForkServer]:
    """Starts services that have done their imports."""
    server = ForkServer(clean_environment(), server_directory / "fork-server.log")
    yield server
    server.close()


@pytest.fixture
def services(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    valkey_url: str,
    database_url: str,
    _model_process: ModelProcess,
    fork_server: ForkServer,
) -> Iterator[Services]:
    """Starts service processes on this test's Valkey, database and fake model, and ends them with the test."""
    started = Services(tmp_path, settings_for(valkey_url, database_url, _model_process), fork_server)
    attach_logs(request.node, started)
    yield started
    complaints = started.stop()
    assert not complaints, "\n".join(complaints)


def settings_for(redis_url: str, database_url: str, model_process: ModelProcess) -> dict[str, str]:
    """The environment of services that stand on these parts."""
    return clean_environment(
        REDIS_URL=redis_url,
        DATABASE_URL=database_url,
        OPENAI_BASE_URL=f"{model_process.url}/v1",
        OPENAI_API_KEY="not-a-secret",
        MODEL="fake",
        LEASE_SECONDS="3",
        DRAIN_SECONDS="2",
    )


def attach_logs(item: pytest.Item, services: Services) -> None:
    """Show what these processes logged, when the test fails."""
    item.stash[_services] = services


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the service processes logged beside the failure of a test."""
    report = yield
    if report.failed and _services in item.stash:
        shown = ((service.name, service.output[-_SHOWN_LOG:]) for service in item.stash[_services].all)
        report.sections += [(f"log of {name}", output) for name, output in shown]
    return report


@contextlib.contextmanager
def _database(server: Postgres, migrated: bool) -> Iterator[str]:
    name = server.create_database(migrated)
    yield server.url(name)
    server.start()
    server.drop_database(name)


def _may_be_eternal(key: str) -> bool:
    return any(fnmatch(key, pattern) for pattern in keys.PERSISTENT)
