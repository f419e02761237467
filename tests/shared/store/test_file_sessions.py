"""A file belongs to every conversation that names it, and goes with the last of them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from importlib import resources

import pytest
from sluiceway.errors import AccessDenied, FileNotFound
from sluiceway.store import Store
from sluiceway.store.sessions.files import Allowance, NewFile
from sluiceway.store.turns.accepting import NewTurn
from sluiceway.store.turns.ending import TurnEnd

from harness.databases.database import Database

pytestmark = pytest.mark.requirement("CH-17", "CH-22")


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with Store.open(database_url, max_size=6, application_name="files") as opened:
        yield opened


async def upload(store: Store, file_id: str, user_id: str | None = "ada") -> None:
    await store.files.begin(NewFile(file_id, user_id, None, "a.png", "image/png", 9), Allowance())
    assert await store.files.finish(file_id, 9, "digest") is not None


async def ask(store: Store, session_id: str, *files: str, user_id: str | None = "ada") -> str:
    """A message that names these files, and its answer; the message's id."""
    turn = NewTurn(session_id, user_id, "see", create_session=True, files=files)
    task = await store.turns.claim((await store.turns.accept(turn)).task.id)
    assert task is not None
    end = TurnEnd("completed", [{"type": "text", "text": "I see"}], {})
    assert await store.turns.end(task, end, attempt=task.attempt)
    return task.user_message_id


async def forked(store: Store, user_id: str | None = "ada") -> Store:
    """A conversation of two questions, each with a file, that was forked behind the first."""
    for file_id in ("file_one", "file_two"):
        await upload(store, file_id, user_id)
    first = await ask(store, "origin", "file_one", user_id=user_id)
    await ask(store, "origin", "file_two", user_id=user_id)
    await store.branches.fork("origin", user_id, first, "fork")
    return store


async def there(database: Database) -> list[tuple[str, str]]:
    rows = await database.fetch("SELECT id, session_id FROM files ORDER BY id")
    return [(row["id"], row["session_id"]) for row in rows]


async def test_a_fork_keeps_the_files_that_it_names_when_the_first_conversation_is_deleted(
    store: Store, database: Database
) -> None:
    await forked(store)
    assert await there(database) == [("file_one", "origin"), ("file_two", "origin")]

    await store.sessions.delete("origin", "ada")

    assert await there(database) == [("file_one", "fork")]
    assert await store.files.removals(10) == ["file_two"]
    assert (await store.files.get("file_one", "ada")).session_id == "fork"
    with pytest.raises(AccessDenied):
        await store.files.get("file_one", "bob")
    await ask(store, "fork", "file_one")
    await store.sessions.delete("fork", "ada")
    assert await there(database) == []
    assert sorted(await store.files.removals(10)) == ["file_one", "file_two"]
    assert await database.fetchval("SELECT count(*) FROM file_sessions") == 0


@pytest.mark.parametrize("round_number", range(3))
async def test_of_two_conversations_that_are_deleted_at_once_the_second_takes_the_files_along(
    store: Store, database: Database, round_number: int
) -> None:
    await forked(store)
    await store.branches.fork("origin", "ada", None, "whole")
    pair: Sequence[str] = ("origin", "whole", "fork")
    await asyncio.gather(*(store.sessions.delete(session_id, "ada") for session_id in pair))
    assert await there(database) == []
    assert sorted(await store.files.removals(10)) == ["file_one", "file_two"]


async def test_a_conversation_names_files_of_the_one_that_it_was_forked_from_and_no_others(store: Store) -> None:
    await forked(store)
    await ask(store, "fork", "file_one")
    with pytest.raises(FileNotFound):
        await ask(store, "fork", "file_two")
    with pytest.raises(FileNotFound):
        await ask(store, "another", "file_one")


async def test_a_person_has_a_file_of_two_conversations_in_both_and_it_is_erased_once(
    store: Store, database: Database
) -> None:
    await forked(store)
    told = [row async for kind, row in rows_of(store) if kind == "file"]
    assert sorted((row["session_id"], row["id"]) for row in told) == [
        ("fork", "file_one"),
        ("origin", "file_one"),
        ("origin", "file_two"),
    ]
    batch = await store.people.erase_some("ada")
    assert batch is not None
    assert batch.counts["files"] == 2
    assert await there(database) == []


async def rows_of(store: Store) -> AsyncIterator[tuple[str, dict[str, object]]]:
    async for row in store.people.export("ada"):
        yield str(row["kind"]), row


async def test_who_claims_a_conversation_has_its_files(store: Store) -> None:
    await forked(store, None)
    await store.sessions.claim("fork", "ada", None)
    assert (await store.files.get("file_one", "ada")).user_id == "ada"
    assert (await store.files.get("file_two", None)).user_id is None


async def test_forks_from_before_have_the_files_that_they_name(store: Store, database: Database) -> None:
    await forked(store)
    await database.execute("ALTER TABLE file_sessions DISABLE TRIGGER USER")
    await database.execute("DELETE FROM file_sessions")
    await database.execute("ALTER TABLE file_sessions ENABLE TRIGGER USER")
    migration = resources.files("sluiceway.store").joinpath("migrations/0026_file_sessions.sql").read_text()
    filling = [one for one in migration.split(";\n") if "\nINSERT INTO file_sessions" in one]
    assert len(filling) == 2
    for statement in filling:
        await database.execute(statement)
    rows = await database.fetch("SELECT session_id, file_id FROM file_sessions ORDER BY 1, 2")
    assert [tuple(row) for row in rows] == [("fork", "file_one"), ("origin", "file_one"), ("origin", "file_two")]
