"""The second wall between organisations: row-level security holds where a statement forgets whose rows it is about."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from sluiceway.errors import SessionNotFound, StoreRefuses
from sluiceway.ids import org_of, owner_in_org, user_of
from sluiceway.store import Store
from sluiceway.store.database.pool import Pool
from sluiceway.store.database.wall import ROLE, acting_for
from sluiceway.store.turns.accepting import NewTurn

from harness.databases import pgbouncer
from harness.databases.database import Database
from harness.databases.pgbouncer import PgBouncer
from harness.databases.postgres import Postgres

pytestmark = pytest.mark.requirement("SE-1")

ADA, BOB, CAT, NOBODY_S = owner_in_org("acme", "ada"), owner_in_org("glo:bex/1", "bob"), "cat", None
# What has no word of a person's: ids, digests, and what is of the whole system.
_OPEN = {"api_keys", "erasure_receipts", "erasures", "file_removals", "schema_migrations", "store_mark"}
_WALLED = {
    "sessions": "id",
    "tasks": "session_id",
    "messages": "session_id",
    "message_words": "session_id",
    "operations": "session_id",
    "model_calls": "session_id",
    "compactions": "session_id",
    "feedback": "session_id",
    "shares": "session_id",
    "files": "session_id",
    "file_sessions": "session_id",
    "usage_days": "model",
    "understandings": "facts->>'of'",
    "webhook_journal": "webhook_id",
    "dead_letters": "entry_id",
    "parked_completions": "operation_id",
}


@dataclass(frozen=True)
class Two:
    store: Store
    pool: Pool


@pytest.fixture
async def two(database_url: str) -> AsyncIterator[Two]:
    async with Store.open(database_url, max_size=1, application_name="test", walled=True) as store:
        yield Two(store, store._pool)


async def _fill(two: Two, database: Database) -> dict[str | None, str]:
    """Something of each in every table; the session of each."""
    sessions = {}
    for number, owner in enumerate((ADA, BOB, CAT, NOBODY_S)):
        session = f"s-{number}"
        turn = NewTurn(session_id=session, user_id=owner, text="words", create_session=True)
        task_id = (await two.store.turns.accept(turn)).task.id
        sessions[owner] = session
        await database.execute(
            "INSERT INTO operations (id, task_id, session_id, message_id, step, tool_call_id, tool_name, input, queue,"
            " status, deadline_seconds, deadline_at) VALUES ($1, $2, $1, 'm', 1, 'c', 't', '{}', 'q', 'pending', 1,"
            " now())",
            session,
            task_id,
        )
        await database.execute(
            "INSERT INTO model_calls (id, task_id, session_id, attempt, step, purpose, model, outcome, estimated,"
            " input_tokens, output_tokens, reasoning_tokens, cached_tokens)"
            " VALUES ($1, $2, $1, 1, 1, 'answer', 'm', 'answered', false, 1, 1, 0, 0)",
            session,
            task_id,
        )
        await database.execute("INSERT INTO compactions (session_id, through_sequence) VALUES ($1, 1)", session)
        await database.execute(
            "INSERT INTO feedback (session_id, message_id, rating) SELECT session_id, id, 1 FROM messages"
            " WHERE session_id = $1 LIMIT 1",
            session,
        )
        await database.execute(
            "INSERT INTO shares (session_id, token, message_id, parts) VALUES ($1, $1, 'm', 0)", session
        )
        await database.execute(
            "INSERT INTO files (id, user_id, session_id, name, media_type, size) VALUES ($1, $2, $1, 'n', 't', 1)",
            session,
            owner,
        )
        await database.execute(
            "INSERT INTO usage_days VALUES ($1, current_date, $2, 0, 1, 1, 1, 0, 0, 0, 0)", owner or "", session
        )
        await database.execute(
            "INSERT INTO understandings (user_id, facts) VALUES ($1, jsonb_build_object('of', $2::text))",
            owner or "",
            session,
        )
        await database.execute(
            "INSERT INTO webhook_journal (operation_id, webhook_id, kind, sender, body, outcome)"
            " VALUES ($1, $1, 'progress', 'signature', '{}', 'late')",
            session,
        )
        await database.execute(
            "INSERT INTO dead_letters (queue, entry_id, body, reason, deliveries, task_id)"
            " VALUES ('q', $1, '', 'why', 1, $2)",
            session,
            task_id,
        )
        await database.execute(
            "INSERT INTO parked_completions (operation_id, task_id, body) VALUES ($1, $2, '{}')",
            session,
            task_id,
        )
    return sessions


async def _seen(pool: Pool, table: str) -> set[Any]:
    """What a statement without any condition finds."""
    async with pool.connection() as connection:
        return {row["whose"] for row in await connection.fetch(f"SELECT {_WALLED[table]} AS whose FROM {table}")}


def test_an_owner_s_name_says_of_which_organisation_he_is() -> None:
    assert (ADA, org_of(ADA), user_of(ADA)) == ("org:acme:ada", "acme", "ada")
    assert (org_of(BOB), user_of(BOB)) == ("glo%3Abex%2F1", "bob")
    assert user_of(owner_in_org("a", "b:c")) == "b:c"
    assert [org_of(name) for name in ("ada", "anon:x", "service:y", "", None)] == [""] * 5


async def test_each_table_is_behind_the_wall_or_has_no_word_of_a_person(two: Two, database: Database) -> None:
    tables = {
        row[0]
        for row in await database.fetch(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
        )
    }
    assert tables == _OPEN | set(_WALLED), "a table that comes gets a line in build_walls(), and one here"
    policies = await database.fetch("SELECT tablename FROM pg_policies WHERE policyname = 'org_wall'")
    assert {row["tablename"] for row in policies} == set(_WALLED)
    for owner in (ADA, BOB, "cat", "anon:x", "org:x", None):
        told = await database.fetchval("SELECT org_of($1)", owner)
        assert told == (org_of(owner) if owner != "org:x" else "x")


async def test_a_statement_that_forgets_its_condition_stays_in_its_organisation(two: Two, database: Database) -> None:
    sessions = await _fill(two, database)
    everybody_s, of_none = set(sessions.values()), {sessions[CAT], sessions[NOBODY_S]}
    for table in _WALLED:
        with acting_for(org_of(ADA)):
            assert await _seen(two.pool, table) == {sessions[ADA]}, table
        with acting_for(org_of(BOB)):
            assert await _seen(two.pool, table) == {sessions[BOB]}, table
        with acting_for(""):
            assert await _seen(two.pool, table) == of_none, table
        with acting_for("' OR true --"):
            assert await _seen(two.pool, table) == set(), table
        # On the same connection, of which there is one.
        assert await _seen(two.pool, table) == everybody_s, table


async def test_nothing_is_changed_or_made_in_another_organisation(two: Two, database: Database) -> None:
    sessions = await _fill(two, database)
    for statement in (
        "UPDATE sessions SET title = 'taken'",
        "UPDATE compactions SET summary = 'other'",
        "UPDATE understandings SET facts = '{}'",
        "DELETE FROM operations",
        "DELETE FROM usage_days",
    ):
        with acting_for("acme"):
            async with two.pool.transaction() as connection:
                assert (await connection.execute(statement)).split()[-1] == "1", statement
    taken = await database.fetch("SELECT id FROM sessions WHERE title = 'taken'")
    assert [row["id"] for row in taken] == [sessions[ADA]]
    for statement, *arguments in (
        ("INSERT INTO sessions (id, user_id) VALUES ('new', $1)", BOB),
        ("INSERT INTO sessions (id, user_id) VALUES ('new', $1)", None),
        ("UPDATE sessions SET user_id = $1", BOB),
        ("INSERT INTO compactions (session_id, through_sequence) VALUES ($1, 2)", sessions[BOB]),
        ("INSERT INTO understandings VALUES ($1, '{}') ON CONFLICT (user_id) DO UPDATE SET facts = '{}'", BOB),
    ):
        with acting_for("acme"), pytest.raises(StoreRefuses, match="row-level security"):
            async with two.pool.connection() as connection:
                await connection.execute(statement, *arguments)
    with acting_for("acme"), pytest.raises(SessionNotFound):
        await two.store.sessions.get(sessions[BOB], BOB)


async def test_the_wall_stands_behind_a_pooler_in_transaction_mode(
    two: Two, database: Database, database_url: str, server_directory: Path
) -> None:
    if pgbouncer.PROGRAM is None:
        pytest.skip("no pgbouncer here: NOTHING says that poolers work (apt-get install pgbouncer)")
    sessions = await _fill(two, database)
    parts = urlsplit(database_url)
    server_directory.chmod(0o755)  # noqa: ASYNC240
    pooler = PgBouncer(server_directory, parts.port or 0, "transaction")
    pooler.start()
    try:
        url = f"postgresql://postgres@127.0.0.1:{pooler.port}{parts.path}"
        async with Store.open(url, max_size=2, application_name="test", direct_url=database_url, walled=True) as store:
            assert await store.unsuitable() is None
            for _ in range(3):
                with acting_for("acme"):
                    assert await _seen(store._pool, "messages") == {sessions[ADA]}
                assert await _seen(store._pool, "messages") == set(sessions.values())
    finally:
        pooler.stop()


async def test_a_wall_that_is_not_there_is_told_and_built_as_it_is_told(postgres: Postgres, two: Two) -> None:
    """Of a role that owns the tables and may not make roles, as some hosters give it."""
    assert await two.store.unsuitable() is None
    postgres.execute("DROP ROLE IF EXISTS a_hoster_s; CREATE ROLE a_hoster_s LOGIN PASSWORD 'right'")
    postgres.execute("CREATE DATABASE a_hoster_s OWNER a_hoster_s TEMPLATE template0")
    try:
        url = f"postgresql://a_hoster_s@127.0.0.1:{postgres.port}/a_hoster_s"
        async with Store.open(url, max_size=1, application_name="test", walled=True) as store:
            await store.migrate()
            told = await store.unsuitable()
            assert told is not None
            assert "SELECT build_walls()" in told
            assert list(await store.problems()) == ["orgs"]
            with acting_for("acme"), pytest.raises(Exception, match="role"):
                await store.sessions.page(ADA, None, 1)
            postgres.execute(f"GRANT {ROLE} TO a_hoster_s")
            async with store._pool.connection() as connection:
                await connection.execute("SELECT build_walls()")
            assert await store.unsuitable() is None
            await store.sessions.create("s", ADA, None)
            await store.sessions.create("s-2", BOB, None)
            with acting_for("acme"):
                assert await _seen(store._pool, "sessions") == {"s"}
    finally:
        postgres.execute("DROP DATABASE a_hoster_s WITH (FORCE)")
        postgres.execute("DROP ROLE a_hoster_s")
