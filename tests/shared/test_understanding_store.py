"""What is known about a person, on a real Postgres."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sluiceway.errors import UnderstandingTooLarge
from sluiceway.store import Store
from sluiceway.store.understandings import MAX_FACTS


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
