"""What happens at the same moment: ends and cancels, ends and new messages, two queue entries for one turn."""

import asyncio
import random

import pytest
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.wire.jobs import ChatJob

from harness.clients.asking import asked, questions
from harness.clients.chat import Chat, Turn
from harness.clients.folding import fold
from harness.clients.sse import Event, follow
from harness.clients.streams import nothing_is_queued
from harness.databases.database import Database, stored_answer, task_status
from harness.model_server import ModelServer, answer_to
from harness.waiting import wait_until


def _terminal_events(events: list[Event]) -> list[str]:
    return [event.type for event in events if event.type in {"finish", "error", "[DONE]"}]


@pytest.mark.requirement("TS-5", "CH-13", "CH-11")
async def test_a_cancel_at_any_moment_leaves_one_end_on_which_stream_and_database_agree(
    chat: Chat, other_chat: Chat, shared_database: Database
) -> None:
    async def cancelled_after(events: int) -> tuple[Turn, list[Event]]:
        question = f"stop after {events} [[tokens=40 rate=400]]"
        turn = await chat.ask(question)
        async with follow(chat.stream_url(turn)) as stream:
            while len(stream.events) < events and await stream.next_event() is not None:
                pass
            await asyncio.gather(chat.cancel(turn.task_id), other_chat.cancel(turn.task_id))
            await stream.read_to_end()
        assert stream.end == "clean"
        assert _terminal_events(stream.events) == ["finish", "[DONE]"]
        return turn, stream.events

    for batch in (range(8), range(8, 24, 2), range(24, 48, 3)):
        for turn, events in await asyncio.gather(*(cancelled_after(events) for events in batch)):
            message = fold(events)
            status = "cancelled" if message.aborted else "completed"
            assert await task_status(shared_database, turn.task_id) == status
            assert await stored_answer(shared_database, turn.message_id) == message.text


@pytest.mark.requirement("CH-12", "CH-11")
async def test_messages_that_come_at_any_moment_of_the_turn_before_are_all_answered_in_order(
    chat: Chat, other_chat: Chat
) -> None:
    session_id = await chat.open_session()
    clients = (chat, other_chat)

    async def send(number: int) -> Turn:
        return await clients[number % 2].send(session_id, f"number-{number} [[tokens=2 rate=0]]")

    turns: list[Turn] = []
    for first in range(0, 18, 3):
        turns += await asyncio.gather(*(send(number) for number in range(first, first + 3)))
        await chat.answer(turns[random.randrange(first, first + 3)])
    for turn in turns:
        assert fold(await chat.answer(turn)).finish is not None
    messages = await chat.messages(session_id)
    asked_texts = [text for role, text in messages if role == "user"]
    assert len(asked_texts) == 18
    assert messages[1::2] == [("assistant", answer_to(text, 2)) for text in asked_texts]


@pytest.mark.requirement("CH-12", "TS-5")
async def test_a_second_queue_entry_for_a_running_turn_changes_nothing(
    chat: Chat, model: ModelServer, shared_redis: Redis
) -> None:
    question = "once only [[tokens=6 rate=0 gate_after=3:g]]"
    turn = await chat.ask(question)
    await asked(model, lambda record: record.tokens_sent == 3)
    async with follow(chat.stream_url(turn)) as stream:
        await stream.read_text(len(answer_to(question, 3)))
        for _ in range(3):
            await shared_redis.xadd(keys.work_queue("chat"), {"d": ChatJob(task_id=turn.task_id).encode()})
        await model.open_gate("g")
        await stream.read_to_end()
    assert fold(stream.events).text == answer_to(question, 6)
    await shared_redis.xadd(keys.work_queue("chat"), {"d": ChatJob(task_id=turn.task_id).encode()})
    await wait_until(lambda: nothing_is_queued(shared_redis), what="the second entries are gone")
    assert len(await questions(model)) == 1
    assert fold(await chat.replay(turn)) == fold(stream.events)


@pytest.mark.requirement("CH-1", "TS-5")
async def test_deleting_a_session_in_mid_answer_ends_its_stream_and_closes_the_request_to_the_model(
    chat: Chat, model: ModelServer
) -> None:
    turn = await chat.ask("deleted [[tokens=2000 rate=50]]")
    async with follow(chat.stream_url(turn)) as stream:
        await stream.read_text(20)
        assert (await chat.delete(f"/api/chat/sessions/{turn.session_id}")).status_code == 204
        await stream.read_to_end()
    assert _terminal_events(stream.events) == ["finish", "[DONE]"]
    await asked(model, lambda record: record.client_closed_at)
    assert (await chat.get(f"/api/chat/sessions/{turn.session_id}")).status_code == 404


@pytest.mark.requirement("GW-1")
async def test_a_browser_that_goes_away_does_not_end_the_turn(chat: Chat, model: ModelServer) -> None:
    question = "alone [[tokens=6 rate=0 gate_after=3:g]]"
    turn = await chat.ask(question)
    async with follow(chat.stream_url(turn)) as stream:
        await stream.read_text(len(answer_to(question, 3)))
    await model.open_gate("g")
    assert fold(await chat.answer(turn)).text == answer_to(question, 6)
