"""A page of messages, and what a model is told of a conversation, are bounded in bytes, whatever the messages are."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from sluiceway.store import Store
from sluiceway.store.records import Message
from sluiceway.store.sessions.newest import CONTEXT_BYTES, EXPORT_BYTES, PAGE_BYTES
from sluiceway.store.turns.accepting import NewTurn

from harness.databases.database import Database

# A text that Postgres stores in a hundredth of its size, and one of which it can make nothing smaller.
EASY = "repeat('x', {chars})"
HARD = "(SELECT string_agg(md5(n::text || random()), '') FROM generate_series(1, {chars} / 32) AS n)"
LARGE = """
INSERT INTO messages (id, session_id, role, sequence, done, parts)
SELECT 'large' || n, 's', 'assistant', n + 100, true,
    jsonb_build_array(jsonb_build_object('type', 'text', 'text', {text}))
FROM generate_series(1, {messages}) AS n
"""
pytestmark = pytest.mark.requirement("CH-1", "SE-3")


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with Store.open(database_url, max_size=2, application_name="test") as opened:
        await opened.turns.accept(NewTurn(session_id="s", user_id=None, text="first", create_session=True))
        yield opened


async def fill(database: Database, text: str, messages: int, chars: int) -> None:
    await database.execute(LARGE.format(text=text.format(chars=chars), messages=messages))


def size_of(messages: list[Message]) -> int:
    return sum(len(json.dumps(message.parts)) for message in messages)


@pytest.mark.parametrize(
    ("text", "messages", "chars", "on_a_page"),
    [
        pytest.param(EASY, 31, 4_000_000, 1, id="more than a page may have, of 4 MB, that are stored small"),
        pytest.param(HARD, 6, 1_600_000, 2, id="six of 1.6 MB that are stored as they are"),
        pytest.param(EASY, 3, 2 * PAGE_BYTES, 1, id="each larger than a page"),
        pytest.param(EASY, 30, 10, 30, id="small ones"),
    ],
)
async def test_pages_are_bounded_in_bytes_and_together_have_all(
    store: Store, database: Database, text: str, messages: int, chars: int, on_a_page: int
) -> None:
    await fill(database, text, messages, chars)
    seen: list[str] = []
    before: int | None = None
    has_more = True
    # Of many that are alike a few pages do.
    while has_more and len(seen) < 8:
        page = await store.sessions.messages("s", before, 30)
        assert len(page.messages) == 1 or size_of(page.messages) <= PAGE_BYTES
        assert len(page.messages) == on_a_page or not page.has_more
        seen = [message.id for message in page.messages] + seen
        before, has_more = page.messages[0].sequence, page.has_more
    assert seen[-messages:] == [f"large{n}" for n in range(1, messages + 1)][-len(seen) :]
    first = await store.sessions.messages("s", 101, 30)
    assert ([message.parts[0]["text"] for message in first.messages], first.has_more) == (["first"], False)


async def test_what_a_model_is_told_has_the_newest_messages_that_have_room(store: Store, database: Database) -> None:
    await fill(database, EASY, 30, 1_000_000)
    task = await store.sessions.active_task("s")
    assert task is not None
    history = await store.turns.history(replace(task, sequence=1000), 100)
    assert [message.id for message in history] == [f"large{n}" for n in range(31 - len(history), 31)]
    assert CONTEXT_BYTES - 1_100_000 < size_of(history) <= CONTEXT_BYTES
    [newest] = await store.turns.history(replace(task, sequence=1000), 100, max_bytes=10)
    assert newest.id == "large30"


async def test_a_number_of_messages_bounds_a_page_as_well(store: Store, database: Database) -> None:
    await fill(database, EASY, 5, 10)
    page = await store.sessions.messages("s", None, 5)
    assert ([message.id for message in page.messages], page.has_more) == ([f"large{n}" for n in range(1, 6)], True)
    whole = await store.sessions.messages("s", None, 6)
    assert (len(whole.messages), whole.has_more) == (6, False)


async def test_pages_of_an_export_are_bounded_in_bytes_and_together_have_all(store: Store, database: Database) -> None:
    await fill(database, EASY, 3, 4_000_000)
    await store.sessions.create("small", None, None, 0)
    await database.execute(LARGE.format(text="repeat('x', 60000)", messages=10).replace("'s',", "'small',"))
    for session_id, on_a_page, expected in (("s", 1, 4), ("small", 4, 10)):
        seen: list[Message] = []
        while page := await store.sessions.messages_after(session_id, seen[-1].sequence if seen else 0):
            assert len(page) <= on_a_page
            assert len(page) == 1 or size_of(page) <= EXPORT_BYTES
            seen += page
        assert len({message.id for message in seen}) == len(seen) == expected
        assert [message.sequence for message in seen] == sorted(message.sequence for message in seen)
