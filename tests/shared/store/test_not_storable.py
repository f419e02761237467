"""The last line of defence: whatever is handed to the store or to a stream is stored, or refused for good, at once."""

import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sluiceway.errors import NotStorable, StoreUnavailable
from sluiceway.store import Store
from sluiceway.store.database.pool import Pool
from sluiceway.store.turns.accepting import NewTurn
from sluiceway.store.turns.ending import TurnEnd
from sluiceway.turn.not_storable import ERROR, MAX_KEPT_BYTES, reductions
from sluiceway.wire.events import Data, ReasoningDelta, TextDelta, decode
from sluiceway.wire.jobs import CompletionJob, OperationError
from sluiceway.wire.json_values import clean_json, encode_json

from harness.databases.database import Database
from tests.any_json import ANY_JSON, ANY_TEXT

SOME = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
MANY = settings(SOME, max_examples=300)
LINE_ENDS = "one\u2028two\u2029three\x85four"
pytestmark = pytest.mark.requirement("CH-24")


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with Store.open(database_url, max_size=2, application_name="test") as opened:
        yield opened


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    pool = Pool(database_url, max_size=2, application_name="test")
    yield pool
    await pool.close()


@MANY
@given(ANY_JSON)
def test_the_encoding_of_any_value_is_taken_and_is_the_same_where_it_was_fit(value: Any) -> None:
    raw = encode_json(value)
    raw.decode()
    read = json.loads(raw)
    assert "\x00" not in json.dumps(read, ensure_ascii=False).replace("\\u0000", "\x00")
    assert encode_json(read) == raw
    cleaned = clean_json(value)
    assert json.loads(encode_json(cleaned)) == json.loads(json.dumps(cleaned))


@pytest.mark.requirement("TS-8")
@MANY
@given(ANY_TEXT, ANY_TEXT)
def test_a_chunk_of_any_text_is_encoded_is_one_line_and_reads_back(name: str, text: str) -> None:
    for event in (TextDelta(id=name, delta=text), ReasoningDelta(id=name, delta=text), Data(type="data-x", data=text)):
        raw = event.encode()
        assert len(raw.decode().splitlines()) == 1
        assert decode(event.type, raw).encode() == raw
        assert b"\\u0000" not in raw.replace(b"\\\\", b"")


@pytest.mark.requirement("CC-6")
@MANY
@given(ANY_TEXT, ANY_JSON)
def test_a_completion_of_any_result_and_any_error_can_be_queued_and_read(text: str, value: Any) -> None:
    error = OperationError(message=f"failed: {text}")
    raw = CompletionJob(operation_id=text, success=False, result=value, error=error).encode()
    read = CompletionJob.model_validate_json(raw)
    assert read.error is not None
    assert read.error.message.startswith("failed: ")


@pytest.mark.requirement("TS-8")
async def test_line_readers_see_one_line_and_the_same_text() -> None:
    """httpx splits where `str.splitlines` does, and so do many other readers of streams."""
    body = b"data: %s\n\n" % TextDelta(id="1", delta=LINE_ENDS).encode()
    response = httpx.Response(200, content=body)
    lines = [line async for line in response.aiter_lines()]
    assert len(lines) == 2
    assert json.loads(lines[0].removeprefix("data: "))["delta"] == LINE_ENDS


@pytest.mark.requirement("TS-5", "CH-11")
@SOME
@given(parts=st.lists(ANY_JSON, max_size=3), metadata=st.dictionaries(ANY_TEXT, ANY_JSON, max_size=3), text=ANY_TEXT)
async def test_a_turn_with_any_parts_metadata_usage_and_error_ends(
    store: Store, parts: list[Any], metadata: dict[str, Any], text: str
) -> None:
    accepted = await store.turns.accept(
        NewTurn(session_id=f"s-{id(parts)}", user_id=None, text="hello", create_session=True)
    )
    task = await store.turns.claim(accepted.task.id)
    assert task is not None
    said = [{"type": "text", "text": text}, *({"type": "data-x", "data": part} for part in parts)]
    end = TurnEnd("failed", said, metadata, {"code": text, "message": text}, {"inputTokens": text})
    assert await store.turns.end(task, end, attempt=task.attempt)
    message = await store.turns.message(task)
    assert message is not None
    assert len(message.parts or []) == len(said)
    await store.sessions.delete(task.session_id, None)


@pytest.mark.parametrize(
    "state", ["22P05", "22021", "22003", "22P02", "22001", "23514", "23505", "54000", "42883", "P0001", "XX000"]
)
async def test_what_postgres_refuses_is_no_outage_and_its_data_are_not_repeated(
    pool: Pool, database: Database, state: str
) -> None:
    await database.execute(
        "CREATE FUNCTION refuse(given text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN"
        f" RAISE EXCEPTION 'no' USING ERRCODE = '{state}', DETAIL = given; END $$"
    )
    with pytest.raises(NotStorable) as caught:
        async with pool.transaction() as connection:
            await connection.execute("SELECT refuse($1)", "heptagon-marker")
    assert state in str(caught.value)
    assert "heptagon" not in str(caught.value)
    assert caught.value.__cause__ is None
    async with pool.connection() as connection:
        assert await connection.fetchval("SELECT 1") == 1


async def test_a_text_that_no_column_takes_is_refused_without_being_repeated(pool: Pool) -> None:
    for text in ("heptagon\x00", "heptagon\ud800"):
        with pytest.raises(NotStorable) as caught:
            async with pool.connection() as connection:
                await connection.execute("SELECT $1::text", text)
        assert "heptagon" not in str(caught.value)


async def test_a_value_that_would_make_postgres_end_the_connection_is_not_sent(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One a little larger than the real bound is refused by Postgres, too, after it has been sent."""
    monkeypatch.setattr("sluiceway.store.database.pool.MAX_JSON_BYTES", 1000)
    with pytest.raises(NotStorable):
        async with pool.connection() as connection:
            await connection.execute("SELECT $1::jsonb", "x" * 1000)


@pytest.mark.parametrize("error", [asyncpg.LockNotAvailableError, asyncpg.AdminShutdownError, asyncpg.DiskFullError])
async def test_what_passes_stays_an_outage(pool: Pool, error: type[asyncpg.PostgresError]) -> None:
    with pytest.raises(StoreUnavailable):
        async with pool.connection():
            raise error("passing")


async def test_dead_letters_keep_their_bytes_and_a_reason_of_any_text(store: Store) -> None:
    for number, reason in enumerate(("\x00", "\ud800", "x" * 100_000)):
        await store.dead_letters.add(
            queue="q", entry_id=f"{number}", body=b"\x00\xff", reason=reason, deliveries=1, task_id="t\x00"
        )
    letters = await store.dead_letters.newest(5)
    assert [letter.body for letter in letters] == [b"\x00\xff"] * 3
    assert all(letter.reason for letter in letters)


def test_of_an_end_that_is_refused_less_and_less_is_tried() -> None:
    long = [{"type": "text", "text": "ä" * 3 * MAX_KEPT_BYTES, "state": "done"}]
    end = TurnEnd("completed", long, {"x": 1}, usage={"inputTokens": 3, "absurd": 2**60, "odd": "many"})
    tried = list(reductions(end, "task", []))
    assert {one.status for one in tried} == {"failed"}
    assert all(one.error == ERROR for one in tried)
    assert tried[0].usage == {"inputTokens": 3}
    assert 0 < len(encode_json(tried[0].parts)) < MAX_KEPT_BYTES
    assert (tried[-1].parts, tried[-1].metadata, tried[-1].usage) == (None, None, None)
    cancelled = list(reductions(TurnEnd("cancelled", long, {}), "task", []))
    assert {(one.status, one.error is None) for one in cancelled} == {("cancelled", True)}
