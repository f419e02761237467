"""Search, on a real Postgres."""

from collections.abc import AsyncIterator
from hashlib import sha256

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sluiceway.store import Store
from sluiceway.store.database.migrate import migrations
from sluiceway.store.turns.accepting import NewTurn
from sluiceway.store.turns.ending import TurnEnd

from harness.databases.database import Database


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with Store.open(database_url, max_size=4, application_name="test") as opened:
        yield opened


async def talk(store: Store, session_id: str, user_id: str | None, question: str, answer: str, **more: object) -> None:
    fields = {"session_id": session_id, "user_id": user_id, "text": question, "create_session": True, **more}
    accepted = await store.turns.accept(NewTurn(**fields))  # type: ignore[arg-type]
    task = await store.turns.claim(accepted.task.id)
    assert task is not None
    parts = [{"type": "step-start"}, {"type": "text", "text": answer}]
    await store.turns.end(task, TurnEnd("completed", parts, {}), attempt=task.attempt)


async def found(store: Store, user_id: str | None, text: str) -> list[tuple[str, str]]:
    return [(one.session_id, one.role) for one in (await store.search.find(user_id, text, 10)).messages]


@pytest.mark.requirement("CH-1")
async def test_words_of_questions_answers_and_titles_are_found_the_newest_first(store: Store) -> None:
    await talk(store, "s", "ada", "Which rivers rise in the Alps?", "The Rhine, the Rhône and the Inn.")
    await talk(store, "t", "ada", "And lakes?", "Lake Constance, where the Rhine flows through.")
    await store.sessions.change("s", "ada", title="Rivers of the Alps")

    assert await found(store, "ada", "rhine") == [("t", "assistant"), ("s", "assistant")]
    assert await found(store, "ada", "ALPS") == [("s", "user")]
    assert await found(store, "ada", "const") == [("t", "assistant")]  # a word that is begun
    assert await found(store, "ada", '"rhine flows"') == [("t", "assistant")]
    assert await found(store, "ada", "rhine -constance") == [("s", "assistant")]
    assert await found(store, "ada", "lakes or rhône") == [("t", "user"), ("s", "assistant")]
    result = await store.search.find("ada", "rivers", 10)
    assert [session.title for session in result.sessions] == ["Rivers of the Alps"]
    assert result.messages[0].snippet == "Which rivers rise in the Alps"


@pytest.mark.requirement("CH-1")
async def test_what_is_written_without_spaces_is_found_by_any_part_and_words_without_their_accents(
    store: Store,
) -> None:
    await talk(store, "j", "ada", "東京タワーはどこですか", "港区の芝公園です。" + "何もない。" * 400 + "終わり")
    await talk(store, "g", "ada", "Fährt die Straßenbahn nach Köln?", "Ja — naïve café résumé, ガラス.")
    await talk(store, "a", "ada", "أين العَرَبِيَّة؟", "هنا")
    await store.sessions.change("j", "ada", title="東京の名所")

    for text in ("東京", "タワー", "どこ", '"京タ"', "東京 タワー"):
        assert await found(store, "ada", text) == [("j", "user")], text
    [last] = (await store.search.find("ada", "終わり", 10)).messages
    assert last.snippet.endswith("何もない。終わり")
    assert len(last.snippet) < 100
    for text in ("京東", "タワー -東京"):
        assert await found(store, "ada", text) == [], text
    for text in ("koln", "Köln", "strassen", "Straßenbahn", "FAHRT koln"):
        assert await found(store, "ada", text) == [("g", "user")], text
    for text in ("cafe", "naïve -cafes", "ラス"):
        assert await found(store, "ada", text) == [("g", "assistant")], text
    assert await found(store, "ada", "العربية") == [("a", "user")]
    assert [session.id for session in (await store.search.find("ada", "名所", 10)).sessions] == ["j"]


@pytest.mark.requirement("CH-1", "SE-1")
async def test_nobody_finds_what_is_anothers_deleted_or_replaced(store: Store, database: Database) -> None:
    await talk(store, "s", "ada", "Rivers", "Rhine")
    await talk(store, "t", None, "Rivers", "Danube")

    assert await found(store, "grace", "rivers") == []
    assert await found(store, None, "rivers") == [("t", "user")]
    await talk(store, "s", "ada", "", "Inn", regenerate=True, create_session=False)
    assert await found(store, "ada", "rhine") == []
    assert await found(store, "ada", "inn") == [("s", "assistant")]
    await store.sessions.delete("s", "ada")
    assert await found(store, "ada", "rivers") == []
    assert await database.fetchval("SELECT count(*) FROM message_words WHERE session_id = 's'") == 0


@pytest.mark.requirement("CH-1", "CH-24")
async def test_no_message_is_too_large_or_too_odd_to_be_kept(store: Store) -> None:
    many = " ".join(f"w{number}" for number in range(60_000))
    await talk(store, "s", "ada", "x" * 100_000, many)
    await talk(store, "s", "ada", "<script> ' \\ & | ! :* \u202e", "\ud800 \x00 fine")

    assert await found(store, "ada", "w77") != []
    assert await found(store, "ada", "fine") == [("s", "assistant")]


@pytest.mark.requirement("CH-1", "CH-24")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=60)
    | st.text("a'\"-|&!:*()<> \\or", max_size=30)
)
async def test_no_query_is_an_error(store: Store, text: str) -> None:
    await store.search.find("ada", text, 10)


@pytest.mark.requirement("CH-1", "OP-9")
async def test_words_are_kept_in_a_database_of_another_encoding(database: Database, database_url: str) -> None:
    await database.execute(
        "CREATE DATABASE another ENCODING 'SQL_ASCII' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0"
    )
    connection = await asyncpg.connect(f"{database_url.rpartition('/')[0]}/another")
    try:
        for name, sql in migrations():
            if "_search_words" in name:
                await connection.execute(sql.partition("CREATE OR REPLACE FUNCTION keep_")[0])
        assert await connection.fetchval("SELECT words_of('naïve rivers') @@ 'rivers'")
        assert await connection.fetchval("SELECT spread_text('東京')") == "東京"
    finally:
        await connection.close()
        await database.execute("DROP DATABASE another")


@pytest.mark.requirement("CH-1", "OP-9")
async def test_what_was_said_before_there_was_a_search_is_found(empty_database_url: str) -> None:
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute("CREATE TABLE schema_migrations (name text PRIMARY KEY, checksum text NOT NULL)")
    for name, sql in migrations():
        if name.startswith(("0001", "0002", "0003", "0004")):
            await connection.execute(sql)
            checksum = sha256(sql.encode()).hexdigest()
            await connection.execute("INSERT INTO schema_migrations VALUES ($1, $2)", name, checksum)
    await connection.execute(
        "INSERT INTO sessions (id, user_id) VALUES ('s', 'ada');"
        "INSERT INTO messages (session_id, id, sequence, role, parts, done) VALUES"
        """ ('s', 'm', 1, 'user', '[{"type": "text", "text": "old rivers"}]', true),"""
        """ ('s', 'n', 2, 'assistant', '[{"type": "text", "text": "half rivers"}]', false)"""
    )
    await connection.close()

    async with Store.open(empty_database_url, max_size=2, application_name="test") as store:
        await store.migrate()
        assert await found(store, "ada", "rivers") == [("s", "user")]
