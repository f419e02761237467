"""A Postgres that refuses us, or is not what it has to be: told in one sentence, waited for, and healed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from hashlib import sha256
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import asyncpg
import pytest
from sluiceway.errors import StoreRefuses, StoreUnavailable
from sluiceway.store import Store
from sluiceway.store.database.migrate import migrations
from sluiceway.store.database.pool import TIMEOUT
from sluiceway.store.database.suitability import old, read_only
from structlog.testing import capture_logs

from harness.databases import pgbouncer
from harness.databases.pgbouncer import PgBouncer
from harness.databases.postgres import Postgres
from harness.waiting import wait_until

_ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.requirement("OP-12")
_ROLE = "limited_role"


@pytest.fixture
def role(postgres: Postgres, database_url: str) -> Iterator[str]:
    """A URL of that database for a role that may read and write its tables, and nothing else."""
    database = urlsplit(database_url).path.strip("/")
    postgres.execute(f"DROP ROLE IF EXISTS {_ROLE}; CREATE ROLE {_ROLE} LOGIN PASSWORD 'right'")
    postgres.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {_ROLE}", database)
    postgres.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC", database)
    yield f"postgresql://{_ROLE}@127.0.0.1:{postgres.port}/{database}"
    postgres.start()
    postgres.execute(f"DROP OWNED BY {_ROLE}", database)
    postgres.execute(f"DROP ROLE {_ROLE}")


@contextlib.asynccontextmanager
async def store_at(url: str, direct_url: str | None = None) -> AsyncIterator[Store]:
    async with Store.open(url, max_size=2, application_name="test", direct_url=direct_url) as store:
        yield store


async def test_a_server_that_is_as_it_has_to_be_is_suitable(database_url: str, empty_database_url: str) -> None:
    for url in (database_url, empty_database_url):
        async with store_at(url) as store:
            assert await store.unsuitable() is None


async def test_a_role_that_may_only_read_and_write_is_enough_once_the_schema_is_there(role: str) -> None:
    async with store_at(role) as store:
        assert await store.unsuitable() is None
        assert await store.migrate() == []
        assert await store.is_current()


async def test_a_role_that_may_not_create_is_told_who_has_to_migrate(
    role: str, database_url: str, postgres: Postgres
) -> None:
    database = urlsplit(database_url).path.strip("/")
    postgres.execute("DELETE FROM schema_migrations WHERE name LIKE '0004%'", database)
    async with store_at(role) as store:
        with pytest.raises(StoreRefuses, match=r"run `python -m sluiceway.migrate` as the owner of the tables"):
            await store.migrate()


async def test_a_missing_right_is_named_by_its_tables_and_is_no_fault_of_the_request(
    role: str, database_url: str, postgres: Postgres
) -> None:
    database = urlsplit(database_url).path.strip("/")
    postgres.execute(f"REVOKE UPDATE ON tasks FROM {_ROLE}; REVOKE ALL ON sessions FROM {_ROLE}", database)
    async with store_at(role) as store:
        told = await store.unsuitable()
        with pytest.raises(StoreRefuses, match="permission denied for table sessions"):
            await store.sessions.create("s", None, None)
    assert told == (
        "the role of DATABASE_URL lacks a right: GRANT SELECT, INSERT, UPDATE, DELETE ON sessions, tasks TO it"
    )


async def test_a_role_that_is_read_only_is_told(role: str, postgres: Postgres) -> None:
    postgres.execute(f"ALTER ROLE {_ROLE} SET default_transaction_read_only = on")
    async with store_at(role) as store:
        assert "read-only" in (await store.unsuitable() or "")


def test_an_old_server_and_a_standby_are_told() -> None:
    assert old({"major": 13}) == "DATABASE_URL leads to PostgreSQL 13: 14 or newer is needed"
    assert [old({"major": major}) for major in (14, 18)] == [None, None]
    standby = "DATABASE_URL leads to a standby, which takes no writes: name the primary"
    assert [read_only({"standby": True, "read_only": one}) for one in (False, True)] == [standby, standby]
    assert read_only({"standby": False, "read_only": False}) is None


async def test_a_wrong_password_is_one_line_and_heals_when_it_is_right_again(role: str, postgres: Postgres) -> None:
    postgres.ask_for_password(_ROLE)
    url = role.replace(f"{_ROLE}@", f"{_ROLE}:guessed@")
    with capture_logs() as lines:
        async with store_at(url) as store:
            for _ in range(3):
                with pytest.raises(StoreRefuses, match="password authentication failed"):
                    await store.now()
            with pytest.raises(StoreRefuses):
                await store.migrate()
            postgres.execute(f"ALTER ROLE {_ROLE} PASSWORD 'guessed'")
            assert await store.now()
    told = [(line["event"], line["log_level"]) for line in lines]
    assert told == [("postgres_refuses", "error"), ("postgres_accepts", "info")]
    assert "guessed" not in str(lines)


async def test_a_migration_that_waits_for_a_lock_lets_others_pass_meanwhile(
    empty_database_url: str, postgres: Postgres
) -> None:
    # A statement that runs for long holds what the next migration wants for itself.
    before, rest = migrations()[:3], migrations()[3:]
    database = urlsplit(empty_database_url).path.strip("/")
    for _, sql in before:
        postgres.execute(sql, database)
    holder = await asyncpg.connect(empty_database_url)
    other = await asyncpg.connect(empty_database_url)
    transaction = holder.transaction()
    await transaction.start()
    await holder.execute("LOCK TABLE tasks IN ROW EXCLUSIVE MODE")
    await other.execute(
        "CREATE TABLE schema_migrations"
        " (name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
    )
    for name, sql in before:
        await other.execute("INSERT INTO schema_migrations VALUES ($1, $2)", name, sha256(sql.encode()).hexdigest())
    with capture_logs() as lines:
        async with store_at(empty_database_url) as store:
            migrating = asyncio.create_task(store.migrate())
            await wait_until(lambda: any(line["event"] == "migration_waits" for line in lines))
            async with asyncio.timeout(5):  # behind a waiting CREATE INDEX it would wait as long as the holder does
                await other.execute("LOCK TABLE tasks IN ROW EXCLUSIVE MODE; SELECT 1")
            await transaction.rollback()
            applied = await migrating
    await holder.close()
    await other.close()
    assert applied == [name for name, _ in rest]


needs_pgbouncer = pytest.mark.skipif(
    pgbouncer.PROGRAM is None, reason="no pgbouncer here: NOTHING says that poolers work (apt-get install pgbouncer)"
)


@contextlib.contextmanager
def pooled(directory: Path, database_url: str, mode: str) -> Iterator[str]:
    """A URL of the database through a pooler of that mode."""
    parts = urlsplit(database_url)
    directory.chmod(0o755)
    pooler = PgBouncer(directory, parts.port or 0, mode)
    pooler.start()
    try:
        yield f"postgresql://postgres@127.0.0.1:{pooler.port}{parts.path}"
    finally:
        pooler.stop()


@needs_pgbouncer
async def test_a_pooler_in_session_mode_is_as_good_as_the_server(database_url: str, server_directory: Path) -> None:
    with pooled(server_directory, database_url, "session") as url:
        async with store_at(url) as store, store_at(url) as another:
            assert await store.unsuitable() is None
            assert await store.migrate() == []
            leader, other = store.leadership("x"), another.leadership("x")
            assert (await leader.stand(), await other.stand()) == (True, False)
            await leader.resign()
            await wait_until(other.stand, what="the other one leads")
            await other.resign()


def _as_in_kubernetes(directory: Path, database: SplitResult) -> str:
    directory.chmod(0o755)
    roles = directory / "userlist.txt"
    roles.write_text('"postgres" "the word"\n')
    roles.chmod(0o644)
    told = (_ROOT / "deploy" / "k8s" / "components" / "pooler" / "pgbouncer.ini").read_text()
    for written, here in (
        ("sluiceway = host=postgres port=5432", f"{database.path[1:]} = host=127.0.0.1 port={database.port}"),
        ("listen_addr = 0.0.0.0", "listen_addr = 127.0.0.1"),
        ("listen_port = 5432", "listen_port = {port}"),
        ("/run/pooler/userlist.txt", str(roles)),
    ):
        assert written in told
        told = told.replace(written, here)
    assert "\npool_mode = transaction\n" in told
    return told


@needs_pgbouncer
async def test_the_pooler_that_kubernetes_is_offered_serves_those_that_know_the_password(
    database_url: str, server_directory: Path
) -> None:
    """The component's configuration, but for addresses."""
    parts = urlsplit(database_url)
    told = _as_in_kubernetes(server_directory, parts)
    pooler = PgBouncer(server_directory, parts.port or 0, "component", told)
    pooler.start()
    try:
        address = f"127.0.0.1:{pooler.port}{parts.path}"
        async with store_at(f"postgresql://postgres:the word@{address}", database_url) as store:
            assert await store.unsuitable() is None
            assert await store.migrate() == []
            await store.sessions.create("s-1", None, None)
        async with store_at(f"postgresql://postgres:another@{address}", database_url) as store:
            with pytest.raises(StoreUnavailable):
                await store.sessions.create("s-2", None, None)
    finally:
        pooler.stop()


@needs_pgbouncer
async def test_a_pooler_in_transaction_mode_is_told(database_url: str, server_directory: Path) -> None:
    with pooled(server_directory, database_url, "transaction") as url:
        async with store_at(url) as store:
            told = await store.unsuitable()
            assert told is not None
            assert "set its pool_mode to session, or DATABASE_DIRECT_URL" in told


@needs_pgbouncer
async def test_with_a_direct_address_a_pooler_in_transaction_mode_serves_many_at_once(
    database_url: str, server_directory: Path
) -> None:
    with pooled(server_directory, database_url, "transaction") as url:
        async with store_at(url, database_url) as store, store_at(url, database_url) as another:
            assert await store.unsuitable() is None
            assert await store.migrate() == []
            leader, other = store.leadership("x"), another.leadership("x")
            assert (await leader.stand(), await other.stand()) == (True, False)
            # On sessions that are nobody's: no statement of one is met by another.
            for at_once in range(20):
                await asyncio.gather(
                    *(one.sessions.create(f"s-{at_once}-{n}", None, None) for n, one in enumerate((store, another)))
                )
            assert (await leader.stand(), await other.stand()) == (True, False)
            async with store._pool.transaction() as connection:
                for limit in ("statement_timeout", "idle_in_transaction_session_timeout"):
                    assert await connection.fetchval(f"SHOW {limit}") == f"{TIMEOUT.seconds}s"
            with pytest.raises(StoreUnavailable, match="statement timeout"):
                async with store._pool.transaction() as connection:
                    await connection.execute("SET LOCAL statement_timeout = 1; SELECT pg_sleep(1)")
            await leader.resign()
            await other.resign()
