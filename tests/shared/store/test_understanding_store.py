"""What is known about a person, on a real Postgres."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sluiceway.errors import UnderstandingTooLarge
from sluiceway.store import Store
from sluiceway.store.people.understandings import MAX_FACTS

from harness.databases.database import Database


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with Store.open(database_url, max_size=8, application_name="test") as opened:
        yield opened


@pytest.mark.requirement("CH-4")
async def test_facts_are_each_persons_own_and_none_that_come_at_once_is_lost(store: Store) -> None:
    known = store.understandings
    await known.put("ada", {"name": "Ada"})

    await asyncio.gather(*(known.remember("ada", f"fact {number}", "so") for number in range(20)))
    await known.remember("ada", "name", None)
    await known.remember(None, "name", "local")

    assert sorted((await known.get("ada")).facts) == sorted(f"fact {number}" for number in range(20))
    assert (await known.get("grace")).updated_at is None
    assert dict((await known.get(None)).facts) == {"name": "local"}
    await known.forget("ada")
    assert dict((await known.get("ada")).facts) == {}


@pytest.mark.requirement("CH-4")
async def test_what_is_too_much_is_refused_and_changes_nothing(store: Store) -> None:
    known = store.understandings
    full = {f"fact {number}": "x" for number in range(MAX_FACTS)}
    await known.put("ada", full)

    with pytest.raises(UnderstandingTooLarge):
        await known.remember("ada", "one more", "x")
    with pytest.raises(UnderstandingTooLarge):
        await known.put("ada", {"fact": "x" * 20_000})
    await known.remember("ada", "fact 1", "instead")

    assert len((await known.get("ada")).facts) == MAX_FACTS
    assert (await known.get("ada")).facts["fact 1"] == "instead"


@pytest.mark.requirement("CH-4")
async def test_a_person_is_new_in_the_first_conversation_alone(store: Store) -> None:
    await store.sessions.create("first", "ada", None)
    assert (await store.understandings.acquaintance("ada", "first")).new

    await store.sessions.create("second", "ada", None)
    assert not (await store.understandings.acquaintance("ada", "second")).new
    await store.understandings.put("grace", {"name": "Grace"})
    told = await store.understandings.acquaintance("grace", "s")
    assert (told.new, dict(told.facts)) == (False, {"name": "Grace"})
    assert not (await store.understandings.acquaintance(None, "s")).new


@pytest.mark.requirement("CH-4")
async def test_a_temporary_session_is_told_the_instructions_alone_and_writes_nothing_down(store: Store) -> None:
    known = store.understandings
    await known.put("ada", {"name": "Ada"})
    await known.instruct("ada", "Be brief.")
    await store.sessions.create("t", "ada", None, temporary=True)
    told = await known.acquaintance("ada", "t")
    assert (dict(told.facts), told.instructions, told.new) == ({}, "Be brief.", False)
    assert await known.remember("ada", "river", "the Rhine", "t") is None
    told = await known.acquaintance("ada", "s")
    assert (dict(told.facts), told.instructions) == ({"name": "Ada"}, "Be brief.")

    # Each is forgotten by itself.
    await known.forget("ada")
    assert (dict((await known.get("ada")).facts), await known.instructions("ada")) == ({}, "Be brief.")
    await known.instruct("ada", "")
    await known.forget("ada")
    assert (await known.get("ada")).updated_at is None


@pytest.mark.requirement("LC-3", "CH-4", "CH-20")
async def test_a_person_takes_along_what_is_known_and_used_and_has_it_erased_but_not_todays_budget(
    store: Store, database: Database
) -> None:
    await store.understandings.put("ada", {"name": "Ada"})
    await database.execute(
        "INSERT INTO usage_days SELECT 'ada', (now() AT TIME ZONE 'UTC')::date - n, 'm', 0, 1, 2, 3, 0, 0, 0.5, 0"
        " FROM generate_series(0, 1) n"
    )

    rows = [row async for row in store.people.export("ada")]
    assert [row["kind"] for row in rows] == ["understanding", "usage", "usage"]
    assert rows[0]["facts"] == {"name": "Ada"}
    assert await store.people.erase_some("ada") is None

    rows = [row async for row in store.people.export("ada")]
    assert [row["kind"] for row in rows] == ["usage"]
    assert (await store.usage.today("ada")).tokens == 5
