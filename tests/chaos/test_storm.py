"""Everything at once: many turns, while every part is killed, flushed or restarted in turn."""

import asyncio

import pytest

from tests.support.chat import Chat, Turn
from tests.support.database import Database, stored_answer, task_status
from tests.support.folding import fold
from tests.support.model_server import answer_to
from tests.support.postgres import Postgres
from tests.support.services import Service, Services
from tests.support.sse import follow_to_the_end
from tests.support.valkey import Valkey
from tests.support.waiting import wait_until

TURNS = 24


def _question(number: int) -> str:
    return f"storm-{number} [[tokens={30 + number} rate=12]]"


@pytest.mark.requirement("OP-7", "TS-5", "CH-11", "GW-1")
async def test_every_accepted_turn_is_answered_once_though_every_part_is_killed_in_turn(
    services: Services, database: Database
) -> None:
    system = await services.whole(gateways=2, workers=2)
    async with Chat(system.url) as chat:
        turns = [await chat.ask(_question(number)) for number in range(TURNS)]
        following = [
            asyncio.create_task(
                follow_to_the_end([gateway.url + turn.stream_path for gateway in system.gateways], protocol=7)
            )
            for turn in turns
        ]
        for victim in (system.workers[0], system.gateways[1], system.workers[1], system.consumer):
            await _kill_and_start_again(database, victim)
        seen = [fold(events, 7) for events in await asyncio.gather(*following)]
        for number, (turn, message) in enumerate(zip(turns, seen, strict=True)):
            answer = answer_to(_question(number), 30 + number)
            assert message.text == answer
            assert await stored_answer(database, turn.message_id) == answer
            assert await task_status(database, turn.task_id) == "completed"
            assert fold(await chat.replay(turn)).text == answer


async def _kill_and_start_again(database: Database, victim: Service) -> None:
    """In the middle of the work: only when turns are running."""
    running = "SELECT count(*) FROM tasks WHERE status = 'running'"
    await wait_until(lambda: database.fetchval(running), what="a turn is running")
    victim.kill9()
    await victim.start()


@pytest.mark.requirement("OP-7", "CH-11")
async def test_every_accepted_turn_is_answered_though_redis_and_postgres_restart_under_load(
    services: Services, valkey: Valkey, postgres: Postgres, database_url: str
) -> None:
    system = await services.whole(workers=2)
    async with Chat(system.url) as chat:
        turns = [await chat.ask(_question(number)) for number in range(TURNS)]
        valkey.restart()
        await wait_until(lambda: system.gateway.answers("/readyz"), 60, "the gateway is ready again")
        postgres.stop()
        postgres.start()
        await wait_until(lambda: system.gateway.answers("/readyz"), 60, "the gateway is ready again")
        valkey.flush()
        for number, turn in enumerate(turns):
            await wait_until(lambda: _has_ended(chat, turn), 90, f"turn {number} has ended")  # noqa: B023
            assert await chat.messages(turn.session_id) == [
                ("user", _question(number)),
                ("assistant", answer_to(_question(number), 30 + number)),
            ]


@pytest.mark.requirement("OP-7", "CH-11")
async def test_a_turn_is_answered_after_the_whole_system_was_killed_at_once_and_started_again(
    services: Services, valkey: Valkey
) -> None:
    system = await services.whole()
    async with Chat(system.url) as chat:
        before = await chat.ask("before [[tokens=3 rate=0]]")
        await chat.answer(before)
        turn = await chat.send(before.session_id, _question(0))
        waiting = await chat.send(before.session_id, "waiting [[tokens=3 rate=0]]")
    for service in services.all:
        service.kill9()
    valkey.restart()
    await asyncio.gather(*(service.start("/healthz") for service in services.all))
    async with Chat(system.url) as chat:
        await wait_until(lambda: _has_ended(chat, waiting), 60, "the last turn has ended")
        texts = [text for role, text in await chat.messages(turn.session_id) if role == "assistant"]
    assert texts == [answer_to("before", 3), answer_to(_question(0), 30), answer_to("waiting", 3)]


async def _has_ended(chat: Chat, turn: Turn) -> bool:
    response = await chat.get(f"/api/chat/tasks/{turn.task_id}")
    return response.status_code == 200 and response.json()["status"] in {"completed", "failed", "cancelled"}
