"""Migrations on a real Postgres."""

import asyncio

import asyncpg
import pytest
from sluiceway.store import Store
from sluiceway.store.database.migrate import MigrationChanged, migrations


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
