"""The schema: migrated once by however many start at once, forward only, and usable by neighbours of other versions."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator

import asyncpg
import pytest
from sluiceway.store.database.migrate import migrations

from harness.clients.chat import Chat
from harness.clients.folding import fold
from harness.databases.database import Database
from harness.model_server import answer_to
from harness.processes.services import Services


async def _migrate(database_url: str) -> tuple[int, str]:
    """Exit code and output of one migrator process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "sluiceway.migrate",
        env={**os.environ, "DATABASE_URL": database_url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


@pytest.fixture
async def empty_database(empty_database_url: str) -> AsyncIterator[Database]:
    connection = await asyncpg.connect(empty_database_url)
    yield connection
    await connection.close()


@pytest.mark.requirement("OP-9")
async def test_migrators_that_start_at_once_apply_each_file_once(
    empty_database_url: str, empty_database: Database
) -> None:
    ended = await asyncio.gather(*(_migrate(empty_database_url) for _ in range(4)))
    assert [code for code, _ in ended] == [0, 0, 0, 0], ended
    names = [name for name, _ in migrations()]
    assert "".join(output for _, output in ended).count("applied") == len(names)
    rows = await empty_database.fetch("SELECT name FROM schema_migrations ORDER BY name")
    assert [row["name"] for row in rows] == names


@pytest.mark.requirement("OP-9")
async def test_a_file_that_was_changed_after_it_was_applied_is_refused(database_url: str, database: Database) -> None:
    await database.execute("UPDATE schema_migrations SET checksum = 'of another text'")
    code, output = await _migrate(database_url)
    assert code == 1
    assert migrations()[0][0] in output
    assert "Traceback" not in output


@pytest.mark.requirement("OP-9")
async def test_services_start_and_answer_beside_a_newer_version_that_has_migrated_already(
    services: Services, database: Database
) -> None:
    await database.execute("INSERT INTO schema_migrations (name, checksum) VALUES ('9999_of_tomorrow.sql', 'x')")
    await database.execute("ALTER TABLE tasks ADD COLUMN of_tomorrow text")
    await database.execute("ALTER TABLE messages ADD COLUMN of_tomorrow text NOT NULL DEFAULT 'x'")
    await database.execute("ALTER TABLE sessions ADD COLUMN of_tomorrow text")
    system = await services.whole()
    async with Chat(system.url) as chat:
        turn = await chat.ask("still here [[tokens=4 rate=0]]")
        assert fold(await chat.answer(turn)).text == answer_to("still here", 4)
        assert len(await chat.messages(turn.session_id)) == 2


@pytest.mark.requirement("OP-9")
async def test_services_that_all_start_on_an_empty_database_migrate_it_and_work(
    empty_database_url: str, services: Services
) -> None:
    system = await services.whole(gateways=2, DATABASE_URL=empty_database_url)
    async with Chat(system.url) as chat:
        turn = await chat.ask("from nothing [[tokens=4 rate=0]]")
        assert fold(await chat.answer(turn)).text == answer_to("from nothing", 4)


@pytest.mark.requirement("OP-9")
async def test_a_gateway_is_not_ready_before_its_schema_is_there(empty_database_url: str, services: Services) -> None:
    gateway = await services.gateway(DATABASE_URL=empty_database_url, MIGRATE_ON_START="false")
    assert not await gateway.answers("/readyz")
    assert await gateway.answers("/healthz")
