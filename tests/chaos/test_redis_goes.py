"""Redis is disposable: it forgets everything, or is away for a while, and no accepted turn is lost."""

import pytest

from harness.clients.asking import asked, questions
from harness.clients.chat import Chat
from harness.clients.folding import fold
from harness.clients.sse import follow
from harness.databases.database import Database, stored_answer, task_status
from harness.databases.valkey import Valkey
from harness.model_server import ModelServer, answer_to
from harness.processes.services import Services, probe
from harness.waiting import wait_until

QUESTION = "what remains? [[tokens=20 rate=0 gate_after=8:g]]"
ANSWER = answer_to(QUESTION, 20)


async def _is_completed(database: Database, task_id: str) -> bool:
    return await task_status(database, task_id) == "completed"


@pytest.mark.requirement("OP-7", "TS-12")
@pytest.mark.parametrize("loss", ["flush", "restart"])
async def test_a_turn_in_mid_answer_is_finished_after_redis_lost_everything(
    services: Services, valkey: Valkey, model: ModelServer, database: Database, loss: str
) -> None:
    system = await services.whole()
    async with Chat(system.url) as chat:
        turn = await chat.ask(QUESTION)
        async with follow(chat.stream_url(turn)) as stream:
            await stream.read_text(len(answer_to(QUESTION, 8)))
            valkey.flush() if loss == "flush" else valkey.restart()
            await model.open_gate("g")
            await stream.read_to_end()
        assert not (stream.end == "clean" and fold(stream.events).text != ANSWER), "half an answer looked complete"
        await wait_until(lambda: _is_completed(database, turn.task_id), 60, "the turn is completed")
        assert await stored_answer(database, turn.message_id) == ANSWER
        assert fold(await chat.replay(turn)).text == ANSWER
        following = await chat.send(turn.session_id, "next [[tokens=3 rate=0]]")
        assert fold(await chat.answer(following)).text == answer_to("next", 3)


@pytest.mark.requirement("OP-7", "TS-12")
async def test_who_continues_after_a_flush_with_an_old_cursor_is_told_to_begin_again(
    services: Services, valkey: Valkey, model: ModelServer, database: Database
) -> None:
    system = await services.whole()
    async with Chat(system.url) as chat:
        turn = await chat.ask(QUESTION)
        async with follow(chat.stream_url(turn)) as stream:
            await stream.read_text(len(answer_to(QUESTION, 8)))
            valkey.flush()
            await model.open_gate("g")
            await stream.read_to_end()
        assert stream.end == "broken"
        await wait_until(lambda: _is_completed(database, turn.task_id), 60, "the turn is completed")
        response = await chat.get(turn.stream_path, headers={"last-event-id": stream.last_event_id or ""})
        assert response.status_code == 409
        assert response.json()["code"] == "STREAM_TRUNCATED"
        async with follow(chat.stream_url(turn), last_event_id=response.json()["read_on_from"]) as again:
            await again.read_to_end()
        assert fold(again.events).text == ANSWER


@pytest.mark.requirement("OP-7")
async def test_queued_turns_are_answered_in_their_order_after_a_flush(
    services: Services, valkey: Valkey, model: ModelServer
) -> None:
    system = await services.whole()
    async with Chat(system.url) as chat:
        running = await chat.ask(QUESTION)
        await asked(model, lambda record: record.tokens_sent == 8)
        second = await chat.send(running.session_id, "second [[tokens=3 rate=0]]")
        third = await chat.send(running.session_id, "third [[tokens=3 rate=0]]")
        valkey.flush()
        await model.open_gate("g")
        await wait_until(lambda: _ended(chat, third.task_id), 60, "the last turn has ended")
        texts = [text for role, text in await chat.messages(second.session_id) if role == "assistant"]
        assert texts == [ANSWER, answer_to("second", 3), answer_to("third", 3)]


@pytest.mark.requirement("OP-7", "CH-11")
async def test_a_turn_that_is_accepted_in_the_background_while_redis_is_away_is_answered_when_it_is_back(
    services: Services, valkey: Valkey, model: ModelServer
) -> None:
    system = await services.whole()
    async with Chat(system.url) as chat:
        session_id = await chat.open_session()
        valkey.stop()
        turn = await chat.send(session_id, "later [[tokens=5 rate=0]]", message_id="same")
        again = await chat.send(session_id, "later [[tokens=5 rate=0]]", message_id="same")
        assert again.task_id == turn.task_id
        streamed = await chat.post_stream(session_id, "at once")
        assert streamed.status_code == 503
        assert int(streamed.headers["retry-after"]) > 0
        valkey.start()
        await wait_until(lambda: _ended(chat, turn.task_id), 60, "the turn has ended")
        assert (await chat.messages(session_id))[-1] == ("assistant", answer_to("later", 5))
        assert len(await questions(model, "later")) == 1


@pytest.mark.requirement("OP-7")
async def test_a_turn_continues_after_redis_did_not_answer_for_a_while(
    services: Services, valkey: Valkey, model: ModelServer, database: Database
) -> None:
    system = await services.whole()
    async with Chat(system.url) as chat:
        turn = await chat.ask(QUESTION)
        await asked(model, lambda record: record.tokens_sent == 8)
        valkey.freeze()
        await model.open_gate("g")
        await wait_until(lambda: _not_ready(system.gateway.url), what="the gateway says that Redis is away")
        valkey.thaw()
        assert fold(await chat.answer(turn)).text == ANSWER
        assert await stored_answer(database, turn.message_id) == ANSWER


async def _ended(chat: Chat, task_id: str) -> bool:
    response = await chat.get(f"/api/chat/tasks/{task_id}")
    return response.status_code == 200 and response.json()["status"] in {"completed", "failed", "cancelled"}


async def _not_ready(url: str) -> bool:
    return await probe(url, "/readyz") == 503
