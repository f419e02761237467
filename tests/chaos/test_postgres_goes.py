"""Postgres is away for a while: clear answers, nothing lost, and all goes on by itself when it is back."""

import asyncpg
import pytest

from tests.support.asking import questions
from tests.support.chat import Chat
from tests.support.database import stored_answer, task_status
from tests.support.folding import fold
from tests.support.model_server import ModelServer, answer_to
from tests.support.postgres import Postgres
from tests.support.services import Services, probe
from tests.support.sse import follow
from tests.support.waiting import wait_until

QUESTION = "what is durable? [[tokens=20 rate=0 gate_after=8:g]]"
ANSWER = answer_to(QUESTION, 20)


@pytest.mark.requirement("OP-7", "CH-11", "TS-5")
async def test_a_turn_whose_end_comes_while_postgres_is_away_ends_when_it_is_durable(
    services: Services, postgres: Postgres, database_url: str, model: ModelServer
) -> None:
    system = await services.whole()
    async with Chat(system.url) as chat:
        turn = await chat.ask(QUESTION)
        async with follow(chat.stream_url(turn)) as stream:
            await stream.read_text(len(answer_to(QUESTION, 8)))
            postgres.stop()
            await model.open_gate("g")
            await stream.read_text(len(ANSWER))
            await wait_until(lambda: _is(system.url, 503), what="the gateway says that Postgres is away")
            assert "finish" not in stream.types
            postgres.start()
            await stream.read_until("finish")
            database = await asyncpg.connect(database_url)
            assert await stored_answer(database, turn.message_id) == ANSWER
            assert await task_status(database, turn.task_id) == "completed"
            await database.close()
            await stream.read_to_end()
        assert fold(stream.events).text == ANSWER
        assert len(await questions(model)) == 1


@pytest.mark.requirement("OP-7")
async def test_new_turns_get_a_503_with_retry_after_while_postgres_is_away_and_are_taken_afterwards(
    services: Services, postgres: Postgres
) -> None:
    system = await services.whole()
    async with Chat(system.url) as chat:
        session_id = await chat.open_session()
        postgres.stop()
        refused = await chat.post_message(session_id, "now? [[tokens=3 rate=0]]", message_id="same")
        assert refused.status_code == 503
        assert refused.json()["code"] == "STORE_UNAVAILABLE"
        assert int(refused.headers["retry-after"]) > 0
        postgres.start()
        await wait_until(lambda: _is(system.url, 200), 60, "the gateway is ready again")
        turn = await chat.send(session_id, "now? [[tokens=3 rate=0]]", message_id="same")
        assert fold(await chat.answer(turn)).text == answer_to("now?", 3)


async def _is(url: str, status: int) -> bool:
    return await probe(url, "/readyz") == status
