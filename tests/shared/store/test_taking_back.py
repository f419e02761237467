"""Messages that wait, taken back on a real Postgres: out of the conversation, or answered, and never both."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sluiceway.errors import AccessDenied, MessageConflict, MessageNotFound, MessageNotWaiting, SessionNotFound
from sluiceway.store import Store
from sluiceway.store.records import Task
from sluiceway.store.turns.accepting import AcceptedTurn, NewTurn
from sluiceway.store.turns.ending import TurnEnd
from sluiceway.wire.message import text_of

pytestmark = pytest.mark.requirement("CH-12")


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with Store.open(database_url, max_size=8, application_name="test") as opened:
        yield opened


async def ask(store: Store, text: str, **more: Any) -> AcceptedTurn:
    """A message's id is its text."""
    fields: dict[str, Any] = {"session_id": "s", "user_id": "ada", "create_session": True, "message_id": text}
    return await store.turns.accept(NewTurn(**{**fields, "text": text, **more}))


async def end(store: Store, accepted: AcceptedTurn) -> Task:
    task = await store.turns.claim(accepted.task.id)
    assert task is not None
    answer = TurnEnd("completed", [{"type": "text", "text": f"to {task.user_message_id}"}], None)
    assert await store.turns.end(task, answer, attempt=task.attempt) is not None
    return task


async def shown(store: Store) -> list[str]:
    page = await store.sessions.messages("s", None, 100)
    assert not page.siblings
    return [text_of(message.parts) for message in page.messages]


async def test_what_is_taken_back_was_never_said_and_what_waits_behind_it_is_next(store: Store) -> None:
    first, second, third = [await ask(store, text) for text in ("one", "two", "three")]
    await end(store, first)
    taken = await store.turns.take_back("s", "ada", "two")
    assert (taken and taken.id, taken and taken.status) == (second.task.id, "cancelled")
    assert await store.turns.take_back("s", "ada", "two") is None  # the answer of the first request was lost
    active = await store.sessions.active_task("s")
    assert active is not None
    assert active.id == third.task.id
    told = await store.turns.history(third.task, 100)
    assert [text_of(message.parts) for message in told] == ["one", "to one", "three"]
    await end(store, third)
    assert await shown(store) == ["one", "to one", "three", "to three"]
    with pytest.raises(MessageConflict):
        await ask(store, "two")  # a request of before that was late

    # Nothing of it is on a branch, to or from which one can go.
    await end(store, await ask(store, "drei", parent_id=first.task.message_id))
    await store.branches.show("s", "ada", "three")
    texts = [text_of(one.parts) for one in (await store.sessions.messages("s", None, 100)).messages]
    assert texts == ["one", "to one", "three", "to three"]
    with pytest.raises(MessageNotFound):
        await store.branches.show("s", "ada", "two")


async def test_it_is_taken_back_or_answered_and_never_both(store: Store) -> None:
    for number in range(12):
        await end(store, await ask(store, f"before {number}"))
        waits = await ask(store, f"waits {number}")
        begun, taken = await asyncio.gather(
            store.turns.claim(waits.task.id),
            store.turns.take_back("s", "ada", f"waits {number}"),
            return_exceptions=True,
        )
        assert isinstance(begun, Task)
        assert (begun.status == "running") == isinstance(taken, MessageNotWaiting), (begun, taken)
        assert (f"waits {number}" in await shown(store)) == isinstance(taken, MessageNotWaiting)
        if begun.status == "running":
            answer = TurnEnd("completed", [{"type": "text", "text": "yes"}], None)
            assert await store.turns.end(begun, answer, attempt=begun.attempt) is not None


async def test_nothing_else_is_taken_back(store: Store) -> None:
    first = await ask(store, "one")
    await ask(store, "two")
    for user_id, message_id, refusal in (
        ("bob", "two", AccessDenied),
        ("ada", "none", MessageNotFound),
        ("ada", first.task.message_id, MessageNotFound),  # no person's
    ):
        with pytest.raises(refusal):
            await store.turns.take_back("s", user_id, message_id)
    with pytest.raises(SessionNotFound):
        await store.turns.take_back("nowhere", "ada", "two")
    await end(store, first)
    with pytest.raises(MessageNotWaiting):
        await store.turns.take_back("s", "ada", "one")
    # What has taken another message's place would leave nothing there.
    await ask(store, "zwei", parent_id=first.task.message_id)
    with pytest.raises(MessageNotWaiting):
        await store.turns.take_back("s", "ada", "zwei")
    # Asked again, a question has an answer of before.
    await ask(store, "", regenerate=True, message_id="one")
    with pytest.raises(MessageNotWaiting):
        await store.turns.take_back("s", "ada", "one")
    assert await shown(store) == ["one"]
