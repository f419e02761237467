"""Two messages at once: the same one twice, and different ones of one session."""

import asyncio
import itertools

import pytest

from harness.clients.asking import asked, questions
from harness.clients.chat import Chat
from harness.clients.folding import fold
from harness.databases.database import Database
from harness.model_server import ModelServer, answer_to


@pytest.mark.requirement("CH-2", "GW-1")
async def test_a_message_that_two_gateways_get_at_once_is_stored_once_and_answered_once(
    chat: Chat, other_chat: Chat, model: ModelServer, shared_database: Database
) -> None:
    for round_number in range(8):
        session_id, question = await chat.open_session(), f"round {round_number} [[tokens=3 rate=0]]"
        senders = (chat, other_chat, chat, other_chat)
        turns = await asyncio.gather(*(sender.send(session_id, question, message_id="same") for sender in senders))
        assert len({turn.task_id for turn in turns}) == 1
        await chat.answer(turns[0])
        assert len(await questions(model, f"round {round_number}")) == 1
        assert await chat.messages(session_id) == [("user", question), ("assistant", answer_to(question, 3))]
        tasks = await shared_database.fetchval("SELECT count(*) FROM tasks WHERE session_id = $1", session_id)
        assert tasks == 1


@pytest.mark.requirement("CH-2")
async def test_the_same_id_with_another_text_is_a_conflict(chat: Chat) -> None:
    turn = await chat.ask("one [[tokens=3 rate=0]]", message_id="mine")
    response = await chat.post_message(turn.session_id, "two", message_id="mine")
    assert response.status_code == 409
    assert response.json()["code"] == "MESSAGE_ID_CONFLICT"
    await chat.answer(turn)


@pytest.mark.requirement("CH-12")
async def test_messages_of_a_session_are_answered_one_after_the_other_in_their_order(
    chat: Chat, model: ModelServer
) -> None:
    first = await chat.ask("one [[gate=g tokens=3 rate=0]]")
    await asked(model)
    others = [await chat.send(first.session_id, f"{word} [[tokens=3 rate=0]]") for word in ("two", "three")]
    assert [turn.status for turn in others] == ["queued", "queued"]
    assert [turn.position for turn in others] == [1, 2]
    assert len(await questions(model)) == 1
    await model.open_gate("g")
    for turn, word in zip(others, ("two", "three"), strict=True):
        assert fold(await chat.answer(turn)).text == answer_to(word, 3)
    said = [text.partition(" [")[0].strip() for _, text in await chat.messages(first.session_id)]
    assert said == ["one", "one one one", "two", "two two two", "three", "three three three"]
    requests = await questions(model)
    for earlier, later in itertools.pairwise(requests):
        assert earlier.finished_at is not None
        assert earlier.finished_at <= later.began_at
        assert len(later.body["messages"]) > len(earlier.body["messages"])


@pytest.mark.requirement("CH-12", "CH-13")
async def test_a_message_that_interrupts_cancels_what_runs_and_what_waits(chat: Chat, model: ModelServer) -> None:
    running = await chat.ask("long story [[tokens=2000 rate=50]]")
    await asked(model, lambda record: record.tokens_sent > 5)
    waiting = await chat.send(running.session_id, "waiting")
    urgent = await chat.send(running.session_id, "stop! [[tokens=3 rate=0]]", policy="interrupt")
    assert fold(await chat.answer(urgent)).text == answer_to("stop!", 3)
    for turn in (running, waiting):
        assert fold(await chat.answer(turn)).aborted
        assert await chat.status(turn.task_id) == "cancelled"
    newest = [request.body["messages"][-1]["content"] for request in await questions(model)]
    assert [text.partition(" [")[0] for text in newest] == ["long story", "stop!"]
    assert (await questions(model))[0].client_closed_at is not None
    texts = [text for _, text in await chat.messages(running.session_id)]
    assert texts[0].startswith("long story")
    assert answer_to("long story", 2000).startswith(texts[1])
    assert texts[-1] == answer_to("stop!", 3)


@pytest.mark.requirement("CH-12")
async def test_a_message_that_asks_for_it_is_rejected_while_a_turn_runs_and_leaves_nothing(
    chat: Chat, model: ModelServer
) -> None:
    running = await chat.ask("busy [[gate=g tokens=3 rate=0]]")
    await asked(model)
    response = await chat.post_message(running.session_id, "me too", policy="reject")
    assert response.status_code == 409
    assert response.json()["code"] == "SESSION_BUSY"
    await model.open_gate("g")
    await chat.answer(running)
    assert [role for role, _ in await chat.messages(running.session_id)] == ["user", "assistant"]
    later = await chat.send(running.session_id, "now? [[tokens=3 rate=0]]", policy="reject")
    assert fold(await chat.answer(later)).text == answer_to("now?", 3)


@pytest.mark.requirement("CH-12")
async def test_sessions_do_not_wait_for_each_other(chat: Chat, model: ModelServer) -> None:
    stuck = await chat.ask("stuck [[gate=g tokens=3 rate=0]]")
    await asked(model)
    free = await chat.ask("free [[tokens=3 rate=0]]")
    assert fold(await chat.answer(free)).text == answer_to("free", 3)
    await model.open_gate("g")
    await chat.answer(stuck)
