"""A turn from the browser's POST to the last token, through gateway, chat worker and model, as processes."""

from typing import Any

import pytest
from redis.asyncio import Redis
from sluiceway import keys

from harness.clients.asking import asked, questions
from harness.clients.chat import Chat
from harness.clients.folding import fold
from harness.clients.sse import follow, replay
from harness.databases.database import Database
from harness.model_server import ModelServer, answer_to
from harness.processes.services import Services
from harness.waiting import wait_until


@pytest.mark.requirement("CH-5", "GW-3")
async def test_an_answer_streams_word_for_word_with_an_id_on_every_event(chat: Chat) -> None:
    question = "Tell me of the river and its locks [[tokens=60 rate=300]]"
    turn = await chat.ask(question)
    stream = await replay(chat.stream_url(turn))
    message = fold(stream.events)
    assert message.text == answer_to(question, 60)
    assert message.id == turn.message_id
    assert stream.done
    assert all(event.id for event in stream.events[:-1])


@pytest.mark.requirement("CH-5")
async def test_reasoning_comes_before_the_text_and_usage_at_the_end(chat: Chat) -> None:
    question = "think first [[reasoning=12 tokens=8 rate=0]]"
    turn = await chat.ask(question)
    message = fold(await chat.answer(turn))
    assert message.reasoning == answer_to(question, 12)
    assert message.text == answer_to(question, 8)
    assert [part.kind for part in message.steps[0]] == ["reasoning", "text"]
    assert message.metadata["usage"]["outputTokens"] > 0
    assert message.metadata["model"] == "fake"
    assert list(message.metadata["reasoningSeconds"]) == ["0"]


@pytest.mark.requirement("CH-5")
async def test_the_model_is_asked_with_the_history_of_the_session(chat: Chat, model: ModelServer) -> None:
    first = await chat.ask("My name is Ada [[tokens=5 rate=0]]")
    await chat.answer(first)
    second = await chat.send(first.session_id, "What is my name? [[tokens=5 rate=0]]")
    await chat.answer(second)
    sent = (await questions(model))[-1].body["messages"]
    said = [(message["role"], message["content"]) for message in sent if message["role"] != "system"]
    assert [role for role, _ in said] == ["user", "assistant", "user"]
    assert "Ada" in str(said[0][1])
    assert "What is my name?" in str(said[2][1])


@pytest.mark.requirement("CH-11")
async def test_a_message_is_durable_before_it_is_accepted(services: Services, database: Database) -> None:
    gateway = await services.gateway()
    async with Chat(gateway.url) as chat:
        turn = await chat.ask("nobody works yet", message_id="mine")
        row = await database.fetchrow("SELECT role, parts FROM messages WHERE id = 'mine'")
    assert row is not None
    assert "nobody works yet" in row["parts"]
    assert await database.fetchval("SELECT status FROM tasks WHERE id = $1", turn.task_id) == "queued"


@pytest.mark.requirement("CH-11")
async def test_while_postgres_cannot_take_the_answer_the_whole_text_is_shown_and_no_end(
    chat: Chat, shared_database: Database, shared_redis: Redis, model: ModelServer
) -> None:
    turn = await chat.ask("held up [[tokens=30 rate=0 gate_after=3:held]]")
    async with shared_database.transaction():
        # Whoever ends the turn has to wait for the session's row.
        await shared_database.execute("SELECT 1 FROM sessions WHERE id = $1 FOR UPDATE", turn.session_id)
        await model.open_gate("held")
        async with follow(chat.stream_url(turn)) as stream:
            await stream.read_until("finish-step")
            await wait_until(
                lambda: shared_database.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"),
                what="the end of the turn waits for the lock",
            )
            newest: Any = await shared_redis.xrevrange(keys.task_events(turn.task_id), count=1)
            assert newest[0][1][b"t"] == b"finish-step"
    assert fold(await chat.answer(turn)).metadata["model"] == "fake"


@pytest.mark.requirement("CH-11")
async def test_an_answer_is_durable_at_the_moment_in_which_finish_is_seen(
    chat: Chat, shared_database: Database
) -> None:
    question = "durable [[tokens=30 rate=0]]"
    turn = await chat.ask(question)
    async with follow(chat.stream_url(turn)) as stream:
        await stream.read_until("finish")
        row = await shared_database.fetchrow("SELECT done, parts FROM messages WHERE id = $1", turn.message_id)
        status = await shared_database.fetchval("SELECT status FROM tasks WHERE id = $1", turn.task_id)
    assert row is not None
    assert row["done"]
    assert answer_to(question, 30) in row["parts"]
    assert status == "completed"


@pytest.mark.requirement("CH-5")
async def test_characters_of_several_bytes_arrive_whole_however_the_model_tears_them(chat: Chat) -> None:
    turn = await chat.ask("torn [[tokens=40 rate=0 multibyte split=3]]")
    text = fold(await chat.answer(turn)).text
    assert "👩‍🚀" in text
    assert "東京" in text
    assert "\ufffd" not in text


@pytest.mark.requirement("TS-5", "CH-7")
@pytest.mark.parametrize("fault", ["status=401", "status=context", "garbage=json", "stream_error"])
async def test_a_turn_that_fails_ends_with_exactly_one_error_and_the_session_continues(chat: Chat, fault: str) -> None:
    turn = await chat.ask(f"fail [[{fault} tokens=4 rate=0]]")
    events = await chat.answer(turn)
    types = [event.type for event in events if event.type != "[DONE]"]
    assert fold(events).error
    assert types[-1] == "error"
    assert "finish" not in types
    assert [event.type for event in await chat.replay(turn)][-2:] == ["error", "[DONE]"]
    assert await chat.status(turn.task_id) == "failed"
    following = await chat.send(turn.session_id, "and now? [[tokens=3 rate=0]]")
    assert fold(await chat.answer(following)).text == answer_to("and now?", 3)


@pytest.mark.requirement("CH-7")
async def test_a_rate_limit_is_waited_out_when_nothing_was_shown_yet(chat: Chat, model: ModelServer) -> None:
    question = "later [[status=429 retry_after=0 times=2 tokens=5 rate=0]]"
    turn = await chat.ask(question)
    assert fold(await chat.answer(turn)).text == answer_to(question, 5)
    assert len(await questions(model, "later")) == 3


@pytest.mark.requirement("CH-7", "CH-11")
async def test_what_was_shown_before_the_model_failed_is_kept(chat: Chat) -> None:
    question = "half [[cut=6 how=fin tokens=20 rate=100]]"
    turn = await chat.ask(question)
    message = fold(await chat.answer(turn))
    assert message.error
    assert message.text == answer_to(question, 6)
    assert (await chat.messages(turn.session_id))[-1] == ("assistant", answer_to(question, 6))


@pytest.mark.requirement("TS-6")
async def test_the_active_turn_of_a_session_is_found_and_is_gone_when_it_has_ended(
    chat: Chat, model: ModelServer
) -> None:
    turn = await chat.ask("hold on [[gate_after=3:g tokens=6 rate=0]]")
    await asked(model, lambda record: record.tokens_sent == 3)
    assert (await chat.session(turn.session_id))["active_task"]["task_id"] == turn.task_id
    await model.open_gate("g")
    await chat.answer(turn)
    await wait_until(lambda: _is_idle(chat, turn.session_id), what="the session has no active turn")
    assert (await chat.get(f"/api/chat/sessions/{turn.session_id}/stream")).status_code == 204


@pytest.mark.requirement("TS-6")
async def test_nothing_on_the_way_of_a_turn_scans_the_keys(chat: Chat, shared_redis: Redis) -> None:
    await shared_redis.config_resetstat()
    turn = await chat.ask("count [[tokens=3 rate=0]]")
    await chat.answer(turn)
    await chat.task(turn.task_id)
    await chat.session(turn.session_id)
    await chat.get(f"/api/chat/sessions/{turn.session_id}/stream")
    used = await shared_redis.info("commandstats")
    assert not {"cmdstat_scan", "cmdstat_keys"} & used.keys()


async def _is_idle(chat: Chat, session_id: str) -> bool:
    return (await chat.session(session_id))["active_task"] is None
