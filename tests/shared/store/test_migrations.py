"""Migrations on a real Postgres."""

import asyncio
import re

import asyncpg
import pytest
from sluiceway.errors import StoreUnavailable
from sluiceway.store import Store
from sluiceway.store.database.index_files import indexes_of
from sluiceway.store.database.migrate import MigrationChanged, migrations

from harness.databases.database import Database
from harness.waiting import wait_until


@pytest.mark.requirement("OP-9")
async def test_many_processes_that_start_at_once_apply_each_migration_once(empty_database_url: str) -> None:
    async def start() -> list[str]:
        async with Store.open(empty_database_url, max_size=2, application_name="test") as store:
            return await store.migrate()

    applied = await asyncio.gather(*(start() for _ in range(8)))

    assert sorted(name for names in applied for name in names) == [name for name, _ in migrations()]
    async with Store.open(empty_database_url, max_size=1, application_name="test") as store:
        assert await store.is_current()
        assert await store.migrate() == []


@pytest.mark.requirement("OP-9")
async def test_an_older_version_is_content_with_the_schema_of_a_newer_one(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("INSERT INTO schema_migrations (name, checksum) VALUES ('9999_newer.sql', 'x')")
    await connection.close()

    async with Store.open(database_url, max_size=1, application_name="test") as store:
        assert await store.is_current()
        assert await store.migrate() == []


@pytest.mark.requirement("OP-9")
async def test_a_migration_that_was_changed_after_it_was_applied_is_refused(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE schema_migrations SET checksum = 'another'")
    await connection.close()

    async with Store.open(database_url, max_size=1, application_name="test") as store:
        with pytest.raises(MigrationChanged):
            await store.migrate()


async def test_a_database_without_a_schema_is_not_current(empty_database_url: str) -> None:
    async with Store.open(empty_database_url, max_size=1, application_name="test") as store:
        assert not await store.is_current()


# A file that only makes an index, and that index.
_FILE, _INDEX = "0015_branches_index.sql", "messages_branches"


async def _without_the_index(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """As a version before it left the database."""
    await connection.execute(f"DROP INDEX {_INDEX}")
    await connection.execute("DELETE FROM schema_migrations WHERE name = $1", _FILE)


async def _migrate(url: str, name: str = "migrating") -> list[str]:
    async with Store.open(url, max_size=1, application_name=name) as store:
        return await store.migrate()


async def _is_whole(database: Database) -> bool | None:
    """None: there is no such index."""
    whole: bool | None = await database.fetchval(
        "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)", _INDEX
    )
    return whole


@pytest.mark.requirement("OP-9")
async def test_an_index_is_made_while_others_read_and_write_and_while_a_second_process_starts(
    database_url: str, database: Database
) -> None:
    await _without_the_index(database)
    other = await asyncpg.connect(database_url)
    try:
        async with other.transaction(isolation="repeatable_read"):
            await other.execute("INSERT INTO sessions (id) VALUES ('before')")
            migrating = [asyncio.create_task(_migrate(database_url)) for _ in range(2)]
            await wait_until(lambda: _is_made(database), what="the index is begun, and waits for that transaction")
            await other.execute("INSERT INTO sessions (id) VALUES ('meanwhile')")
            await database.execute("INSERT INTO sessions (id) VALUES ('by another')")
            assert not any(one.done() for one in migrating)
        applied = await asyncio.gather(*migrating)
    finally:
        await other.close()
    assert sorted(applied) == [[], [_FILE]]
    assert await _is_whole(database)


async def _is_made(database: Database) -> bool:
    return await _is_whole(database) is False


@pytest.mark.requirement("OP-9")
async def test_an_index_that_a_crash_left_half_made_is_made_again(database_url: str, database: Database) -> None:
    await _without_the_index(database)
    other = await asyncpg.connect(database_url)
    try:
        async with other.transaction(isolation="repeatable_read"):
            await other.execute("INSERT INTO sessions (id) VALUES ('before')")
            migrating = asyncio.create_task(_migrate(database_url, "dies"))
            await wait_until(lambda: _is_made(database), what="the index is begun")
            await database.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'dies'"
            )
            with pytest.raises(StoreUnavailable):
                await migrating
    finally:
        await other.close()
    assert await _is_whole(database) is False

    assert await _migrate(database_url) == [_FILE]
    assert await _is_whole(database)


@pytest.mark.requirement("OP-9")
async def test_an_index_whose_note_was_lost_is_left_as_it_is(database_url: str, database: Database) -> None:
    await database.execute("DELETE FROM schema_migrations WHERE name = $1", _FILE)
    before = await database.fetchval("SELECT to_regclass($1)::oid", _INDEX)
    assert await _migrate(database_url) == [_FILE]
    assert await database.fetchval("SELECT to_regclass($1)::oid", _INDEX) == before


# From before indexes of tables that were there were made beside running statements.
_BEFORE = {
    "0002_operations.sql",
    "0004_callers.sql",
    "0007_data_life.sql",
    "0010_client_tools.sql",
    "0012_polls.sql",
}


@pytest.mark.requirement("OP-9")
def test_an_index_of_a_table_that_was_there_stands_in_a_file_of_its_own() -> None:
    """Else writers of that table wait for it, however long it takes."""
    for name, sql in migrations():
        text = re.sub(r"--[^\n]*", "", sql)
        made = set(re.findall(r"CREATE TABLE (\w+)", text))
        indexed = set(re.findall(r"CREATE (?:UNIQUE )?INDEX \w+ ON (\w+)", text))
        assert name in _BEFORE or indexes_of(sql) or indexed <= made, f"{name}: put them into a file with nothing else"
