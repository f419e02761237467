"""Branches on a real Postgres: what replaces something, by whatever way a client says it, and going back to it."""

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from sluiceway.errors import AccessDenied, MessageNotFound, SessionBusy, SessionExists, SessionNotFound
from sluiceway.store import Store
from sluiceway.store.operations.operations import NewOperation
from sluiceway.store.records import Message, Task
from sluiceway.store.sessions.conversations import Compaction
from sluiceway.store.turns.accepting import AcceptedTurn, NewTurn
from sluiceway.store.turns.approving import Decision
from sluiceway.store.turns.branches import FIRST
from sluiceway.store.turns.ending import TurnEnd
from sluiceway.wire.message import text_of

from harness.databases.database import Database


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with Store.open(database_url, max_size=4, application_name="test") as opened:
        yield opened


async def end(store: Store, accepted: AcceptedTurn, text: str) -> Task:
    task = await store.turns.claim(accepted.task.id)
    assert task is not None
    whole = TurnEnd(status="completed", parts=[{"type": "text", "text": text}], metadata={"taskId": task.id})
    assert await store.turns.end(task, whole, attempt=task.attempt) is not None
    return task


async def told(store: Store, task: Task) -> list[str]:
    """What the model is told before it answers."""
    conversation = await store.conversations.before(task, max_messages=1000, max_bytes=10**6)
    assert texts(await store.turns.history(task, 1000)) == texts(conversation.messages)
    return texts(conversation.messages)


def texts(messages: Any) -> list[str]:
    return [text_of(message.parts) for message in messages]


@dataclass
class Chat:
    """A session; a message's text is its name here, and each is said once."""

    store: Store
    session_id: str = "s"
    said: int = 0

    async def ask(self, text: str, *, answered: str, **more: Any) -> AcceptedTurn:
        fields: dict[str, Any] = {"session_id": self.session_id, "user_id": "ada", "text": text, "create_session": True}
        accepted = await self.store.turns.accept(NewTurn(**{**fields, **more}))
        await end(self.store, accepted, answered)
        return accepted

    async def shown(self) -> list[Message]:
        return (await self.store.sessions.messages(self.session_id, None, 1000)).messages

    async def texts(self) -> list[str]:
        return texts(await self.shown())

    async def id_of(self, text: str) -> str:
        found = await self.store.sessions.messages_after(self.session_id, 0, 1000, all_branches=True)
        return next(message.id for message in found if text_of(message.parts) == text)

    async def siblings(self) -> dict[str, list[str]]:
        """By its text, of each message that is shown and has some, the texts in their order."""
        found = await self.store.sessions.messages_after(self.session_id, 0, 1000, all_branches=True)
        by_id = {message.id: text_of(message.parts) for message in found}
        page = await self.store.sessions.messages(self.session_id, None, 1000)
        return {by_id[one]: [by_id[other] for other in ids] for one, ids in page.siblings.items()}

    async def show(self, text: str) -> None:
        await self.store.branches.show(self.session_id, "ada", await self.id_of(text))


@pytest.fixture
async def chat(store: Store) -> Chat:
    """one → 1, two → 2"""
    chat = Chat(store)
    await chat.ask("one", answered="1", message_id="m1")
    await chat.ask("two", answered="2", message_id="m2")
    return chat


@pytest.mark.requirement("CH-22")
async def test_another_answer_stands_beside_the_one_it_replaces_and_both_can_be_gone_to(chat: Chat) -> None:
    await chat.ask("", answered="2b", regenerate=True)
    assert await chat.texts() == ["one", "1", "two", "2b"]
    assert await chat.siblings() == {"2b": ["2", "2b"]}
    await chat.ask("three", answered="3")
    await chat.show("2")
    assert await chat.texts() == ["one", "1", "two", "2"]
    assert await chat.siblings() == {"2": ["2", "2b"]}
    await chat.show("2b")
    assert await chat.texts() == ["one", "1", "two", "2b", "three", "3"]


@pytest.mark.requirement("CH-22", "GW-2")
async def test_an_edited_message_keeps_its_id_and_what_it_was_stays_beside_it(chat: Chat) -> None:
    edited = await chat.ask("uno", answered="1b", message_id="m1", edit=True)
    again = await chat.store.turns.accept(NewTurn("s", "ada", "uno", message_id="m1", edit=True))
    assert (again.task.id, again.created) == (edited.task.id, False)
    assert next((message.id, text_of(message.parts)) for message in await chat.shown()) == ("m1", "uno")
    assert await chat.siblings() == {"uno": ["one", "uno"]}
    await chat.show("one")
    assert await chat.texts() == ["one", "1", "two", "2"]
    # The turn of an old question is still the old question's.
    asked = {task.message_id: task.user_message_id for task in await _turns(chat)}
    assert asked[await chat.id_of("1")] == await chat.id_of("one") != "m1"
    await chat.ask("", answered="1c", regenerate=True, replaces=await chat.id_of("1"))
    assert await chat.texts() == ["one", "1c"]
    # What another device still shows is edited where it stands.
    await chat.ask("uno, again", answered="1d", message_id="m1", edit=True)
    assert await chat.siblings() == {"uno, again": ["one", "uno", "uno, again"]}


@pytest.mark.requirement("CH-22", "GW-2")
@pytest.mark.parametrize(
    ("behind", "expected"),
    [
        ("1", ["one", "1", "new", "N"]),
        ("2", ["one", "1", "two", "2", "new", "N"]),
        # A question that has an answer is followed by that, whether the client has seen it or not.
        ("one", ["one", "1", "new", "N"]),
        ("two", ["one", "1", "two", "2", "new", "N"]),
        (FIRST, ["new", "N"]),
        (None, ["one", "1", "two", "2", "new", "N"]),
        ("unknown", ["one", "1", "two", "2", "new", "N"]),
    ],
)
async def test_a_message_behind_a_shortened_history_replaces_what_followed_there(
    chat: Chat, behind: str | None, expected: list[str]
) -> None:
    known = behind in ("1", "2", "one", "two")
    parent_id = await chat.id_of(str(behind)) if known else behind
    accepted = await chat.ask("new", answered="N", message_id="m9", parent_id=parent_id)
    assert await chat.texts() == expected
    assert await told(chat.store, accepted.task) == expected[:-1]
    repeated = await chat.store.turns.accept(NewTurn("s", "ada", "new", message_id="m9", parent_id=parent_id))
    assert not repeated.created
    if len(expected) < 6:
        await chat.show("2")
        assert await chat.texts() == ["one", "1", "two", "2"]


@pytest.mark.requirement("CH-22", "GW-2")
async def test_a_message_behind_one_that_is_not_shown_continues_there(chat: Chat) -> None:
    await chat.ask("", answered="2b", regenerate=True)
    await chat.ask("three", answered="3", parent_id=await chat.id_of("2"))
    assert await chat.texts() == ["one", "1", "two", "2", "three", "3"]
    await chat.ask("four", answered="4", parent_id=await chat.id_of("two"))
    assert (await chat.texts())[-2:] == ["four", "4"]


@pytest.mark.requirement("CH-22", "GW-2")
async def test_an_answer_is_made_again_for_the_question_that_a_history_ends_with(chat: Chat) -> None:
    await chat.ask("one", answered="1b", regenerate=True, message_id="m1", parent_id=None)
    assert await chat.texts() == ["one", "1b"]
    # One that never arrived is asked now.
    await chat.ask("lost", answered="L", regenerate=True, message_id="m7", parent_id=await chat.id_of("1b"))
    assert await chat.texts() == ["one", "1b", "lost", "L"]
    with pytest.raises(MessageNotFound):
        await chat.ask("", answered="", regenerate=True, replaces="nobody's")


@pytest.mark.requirement("CH-22", "CH-12")
async def test_who_replaces_something_does_not_wait_for_it_and_who_appends_does(chat: Chat) -> None:
    running = await chat.store.turns.accept(NewTurn("s", "ada", "three", message_id="m3"))
    behind = await chat.store.turns.accept(NewTurn("s", "ada", "four", message_id="m4", parent_id="m3"))
    assert (behind.position, behind.interrupted) == (1, None)
    instead = await chat.store.turns.accept(
        NewTurn("s", "ada", "five", message_id="m5", parent_id=await chat.id_of("2"))
    )
    assert instead.interrupted is None
    assert [task.id for task in instead.cancelled] == [running.task.id, behind.task.id]
    with pytest.raises(SessionBusy):
        await chat.show("1")


@pytest.mark.requirement("CH-22")
async def test_only_what_is_there_can_be_gone_to_and_only_by_its_owner(chat: Chat) -> None:
    for session_id, user_id, error in (("s", "bob", AccessDenied), ("none", "ada", SessionNotFound)):
        with pytest.raises(error):
            await chat.store.branches.show(session_id, user_id, "m1")
        with pytest.raises(error):
            await chat.store.branches.fork(session_id, user_id, "m1", "f")
    for action in (
        chat.store.branches.show("s", "ada", "none"),
        chat.store.branches.fork("s", "ada", "none", "f"),
    ):
        with pytest.raises(MessageNotFound):
            await action
    with pytest.raises(SessionNotFound):
        await chat.store.sessions.get("f", "ada")


@pytest.mark.requirement("CH-22")
async def test_a_session_is_forked_at_a_message_of_any_branch(chat: Chat, database: Database) -> None:
    await chat.store.sessions.change("s", "ada", title="Numbers")
    await chat.ask("", answered="2b", regenerate=True)
    session, created = await chat.store.branches.fork("s", "ada", await chat.id_of("2"), "f")
    assert (session.title, created) == ("Numbers", True)
    fork = Chat(chat.store, "f")
    assert await fork.texts() == ["one", "1", "two", "2"]
    assert await fork.siblings() == {}
    assert (await chat.store.branches.fork("s", "ada", await chat.id_of("2"), "f")) == (session, False)
    with pytest.raises(AccessDenied):
        await chat.store.branches.fork("s", "bob", None, "f")
    await chat.store.sessions.create("bob's", "bob", None)
    with pytest.raises(SessionExists):
        await chat.store.branches.fork("s", "ada", None, "bob's")
    # Each goes its own way, also when the other is gone.
    await chat.store.sessions.delete("s", "ada")
    asked = await fork.ask("", answered="2c", regenerate=True)
    assert await told(chat.store, asked.task) == ["one", "1", "two"]
    await fork.show("2")
    assert await fork.texts() == ["one", "1", "two", "2"]
    assert await database.fetchval("SELECT count(*) FROM messages WHERE metadata->>'taskId' IS NULL AND role <> 'user'")


async def asks(chat: Chat) -> Task:
    """A turn that waits for a yes."""
    asking = await chat.store.turns.claim(
        (await chat.store.turns.accept(NewTurn("s", "ada", "", regenerate=True))).task.id
    )
    assert asking is not None
    call = NewOperation("op_1", 1, "call_1", "tool", {}, "default", "approval", 60.0, "apr_1")
    parts = [{"type": "tool-tool", "toolCallId": "call_1", "state": "approval-requested", "input": {}}]
    await chat.store.turns.pause(asking, parts, [call], None)
    await chat.store.turns.end(asking, TurnEnd("completed", None, None, awaits=True), attempt=asking.attempt)
    return asking


@pytest.mark.requirement("CH-22", "CH-16")
async def test_no_answer_that_is_being_continued_is_forked(chat: Chat) -> None:
    asking = await asks(chat)
    await chat.store.turns.answer(asking.id, "ada", {"call_1": Decision(approved=True)})
    await chat.store.turns.accept(NewTurn("s", "ada", "and then?", message_id="behind"))
    with pytest.raises(SessionBusy):
        await chat.store.branches.fork("s", "ada", "behind", "f")


@pytest.mark.requirement("CH-22", "CH-16")
async def test_what_waits_for_a_person_waits_on_the_branch_that_is_shown_alone(chat: Chat) -> None:
    await asks(chat)
    await chat.store.branches.fork("s", "ada", None, "f")
    assert (await Chat(chat.store, "f").shown())[-1].parts[0]["state"] == "output-error"
    assert (await chat.shown())[-1].parts[0]["state"] == "approval-requested"
    await chat.show("2")
    operation = await chat.store.operations.get("op_1")
    assert operation is not None
    assert operation.status == "cancelled"


@pytest.mark.requirement("CH-22", "CH-6")
async def test_a_cut_off_belongs_to_the_branches_that_have_what_it_sums_up(chat: Chat) -> None:
    task = await chat.store.turns.claim((await chat.store.turns.accept(NewTurn("s", "ada", "three"))).task.id)
    assert task is not None
    first, second = [message.sequence for message in await chat.shown() if text_of(message.parts) in ("1", "2")]
    for sequence, summary in ((first, "of one"), (second, "of two")):
        assert await chat.store.conversations.compact(task, Compaction(sequence, summary))
    await chat.store.turns.end(task, TurnEnd("completed", [{"type": "text", "text": "3"}], {}), attempt=task.attempt)
    await chat.store.branches.fork("s", "ada", await chat.id_of("two"), "f")
    there = await Chat(chat.store, "f").ask("", answered="2f", regenerate=True)
    seen = await chat.store.conversations.before(there.task, max_messages=9, max_bytes=10**6)
    assert seen.compaction is not None
    assert (seen.compaction.summary, texts(seen.messages)) == ("of one", ["two"])
    await chat.store.branches.fork("s", "ada", await chat.id_of("1"), "g")
    there = await Chat(chat.store, "g").ask("deux", answered="2g")
    seen = await chat.store.conversations.before(there.task, max_messages=9, max_bytes=10**6)
    assert (seen.compaction, texts(seen.messages)) == (None, ["one", "1", "deux"])
    instead = await chat.ask("deux", answered="2b", message_id="m2", edit=True)
    seen = await chat.store.conversations.before(instead.task, max_messages=9, max_bytes=10**6)
    assert seen.compaction is None or seen.compaction.summary == "of one"


@pytest.mark.requirement("CH-22")
async def test_messages_from_before_there_were_branches_have_them_too(chat: Chat, database: Database) -> None:
    await chat.ask("", answered="2b", regenerate=True)
    await database.execute("UPDATE messages SET parent_id = NULL")
    assert await chat.texts() == ["one", "1", "two", "2b"]
    await chat.ask("uno", answered="1b", message_id="m1", edit=True)
    await chat.show("2")
    assert await chat.texts() == ["one", "1", "two", "2"]
    assert await chat.siblings() == {"one": ["one", "uno"], "2": ["2", "2b"]}


@dataclass
class Tree:
    """What the store is compared with: the children of each message, and which of them was shown last."""

    children: dict[str, list[str]] = field(default_factory=lambda: {FIRST: []})
    parent: dict[str, str] = field(default_factory=dict)
    chosen: dict[str, str] = field(default_factory=dict)

    def add(self, parent: str, text: str) -> None:
        self.children[parent].append(text)
        self.children[text] = []
        self.parent[text] = parent
        self.show(text)

    def show(self, text: str) -> None:
        while text != FIRST:
            self.chosen[self.parent[text]] = text
            text = self.parent[text]

    def cut(self, text: str) -> None:
        """It is the end of what is shown; what followed it can be gone back to."""
        self.show(text)
        self.chosen.pop(text, None)

    @property
    def shown(self) -> list[str]:
        path, at = [], FIRST
        while at in self.chosen:
            at = self.chosen[at]
            path.append(at)
        return path

    @property
    def siblings(self) -> dict[str, list[str]]:
        beside = {text: self.children[self.parent[text]] for text in self.shown}
        return {text: others for text, others in beside.items() if len(others) > 1}


@pytest.mark.requirement("CH-22", "GW-2")
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_whatever_is_asked_edited_and_gone_back_to_screen_history_and_context_are_the_same(
    store: Store, seed: int
) -> None:
    chance, chat, tree = random.Random(seed), Chat(store), Tree()
    for number in range(40):
        question, answer = f"q{number}", f"a{number}"
        known = [text for text in tree.parent if text[0] == "q"]
        match chance.choice(["send", "send", "by id", "by history", "again", "show"]) if known else "send":
            case "send":
                parent = (tree.shown or [FIRST])[-1]
                asked = await chat.ask(question, answered=answer, message_id=f"m{number}")
                tree.add(parent, question)
            case "by id":
                old = chance.choice(known)
                asked = await chat.ask(question, answered=answer, message_id=await chat.id_of(old), edit=True)
                tree.cut(tree.parent[old]) if tree.parent[old] else tree.chosen.pop(FIRST, None)
                tree.add(tree.parent[old], question)
            case "by history":
                parent = chance.choice([text for text in tree.parent if text[0] == "a"])
                asked = await chat.ask(
                    question, answered=answer, message_id=f"m{number}", parent_id=await chat.id_of(parent)
                )
                tree.cut(parent)
                tree.add(parent, question)
            case "again":
                question = chance.choice(known)
                asked = await chat.ask(
                    question, answered=answer, regenerate=True, message_id=await chat.id_of(question)
                )
                tree.cut(question)
            case _:
                there = chance.choice(list(tree.parent))
                await chat.show(there)
                tree.show(there)
                assert await chat.texts() == tree.shown
                continue
        tree.add(question, answer)
        assert await told(store, asked.task) == tree.shown[:-1]
        assert await chat.texts() == tree.shown
        assert await chat.siblings() == tree.siblings


async def _turns(chat: Chat) -> list[Task]:
    found = [await chat.store.turns.get(task_id) for task_id in await chat.store.sessions.task_ids(chat.session_id)]
    return [task for task in found if task is not None]
