"""Whatever JSON a tool answers, it can be stored, shown and read back."""

import json
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sluiceway.wire.events import ToolOutputAvailable, decode
from sluiceway.wire.json_values import MAX_DEPTH, TOO_DEEP, clean_json, shorten

from harness.databases.database import Database
from tests.any_json import ANY_JSON, as_doubles, nested

MANY = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
async def codec(database: Database) -> Database:
    """A connection that reads and writes jsonb as the store's do."""
    await database.set_type_codec(
        "jsonb", encoder=lambda value: json.dumps(value, ensure_ascii=False), decoder=json.loads, schema="pg_catalog"
    )
    return database


@MANY
@given(value=ANY_JSON)
async def test_postgres_stores_what_was_cleaned_and_gives_it_back(codec: Database, value: Any) -> None:
    cleaned = clean_json({"value": value})
    stored = await codec.fetchval("SELECT $1::jsonb", cleaned)
    assert as_doubles(stored) == as_doubles(cleaned)
    assert clean_json(stored) == stored


@MANY
@given(value=ANY_JSON)
def test_a_chunk_takes_what_was_cleaned_and_reads_it_back(value: Any) -> None:
    event = ToolOutputAvailable(tool_call_id="call", output=clean_json({"value": value}))
    assert decode(event.type, event.encode()) == event


@MANY
@given(value=ANY_JSON)
def test_cleaning_again_changes_nothing(value: Any) -> None:
    cleaned = clean_json(value)
    assert clean_json(cleaned) == cleaned


@MANY
@given(value=ANY_JSON, max_chars=st.integers(100, 400))
def test_what_was_shortened_is_short_clean_and_short_enough_for_ever(value: Any, max_chars: int) -> None:
    shown = shorten(clean_json(value), max_chars)
    assert len(shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False)) <= max_chars
    assert clean_json(shown) == shown
    assert shorten(shown, max_chars) == shown


@pytest.mark.parametrize("depth", [MAX_DEPTH, MAX_DEPTH + 1, 5_000, 100_000])
async def test_deep_nesting_is_cut_off_and_raises_nothing(codec: Database, depth: int) -> None:
    cleaned = clean_json(nested(depth))
    assert await codec.fetchval("SELECT $1::jsonb", cleaned) == cleaned
    event = ToolOutputAvailable(tool_call_id="call", output=cleaned)
    assert decode(event.type, event.encode()) == event
    assert (TOO_DEEP in json.dumps(cleaned)) == (depth > MAX_DEPTH)
    assert clean_json(cleaned) == cleaned


@pytest.mark.parametrize(
    ("value", "cleaned"),
    [
        ("a\x00b", "a\ufffdb"),
        ("\ud83d\ude00", "\U0001f600"),
        ("\ud83d!", "\ufffd!"),
        ([float("nan"), float("inf"), 1.5], [None, None, 1.5]),
        (10**400, None),
        ({"__proto__": {"x": 1}, "kept": 2}, {"kept": 2}),
        ({"constructor": {"prototype": {}}, "kept": 2}, {"kept": 2}),
        ({"constructor": {"name": "harmless"}}, {"constructor": {"name": "harmless"}}),
        ({"in": [{"constructor": {"prototype": None}}]}, {"in": [{}]}),
        ({1: (2, 3)}, {"1": [2, 3]}),
        (
            {
                True,
            },
            "{True}",
        ),
    ],
)
def test_what_nobody_takes_is_replaced_or_left_out(value: Any, cleaned: Any) -> None:
    assert clean_json(value) == cleaned


async def test_postgres_refuses_what_is_not_cleaned(codec: Database) -> None:
    with pytest.raises(asyncpg.PostgresError):
        await codec.fetchval("SELECT $1::jsonb", "a\x00b")


def test_a_short_value_stays_what_it_is_and_a_long_one_becomes_its_beginning_with_a_note() -> None:
    assert shorten({"a": [1, 2]}, 100) == {"a": [1, 2]}
    shown = shorten({"text": "x" * 1000}, 200)
    assert shown.startswith('{"text": "xxx')
    assert shown.endswith("of 1012 characters are shown. The whole result is kept.]")
    assert shorten("y" * 1000, 200).startswith("yyy")
