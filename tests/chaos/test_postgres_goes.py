"""Postgres is away for a while, however it goes: clear answers, nothing lost, and all goes on when it is back.

Stopped, killed under load, hung, or there and only reading. (Connections that are cut at a commit: see
test_postgres_cuts.py; each single error: see test_postgres_errors.py.)
"""

import asyncio
import json
import time
from collections.abc import Callable

import asyncpg
import httpx
import pytest

from harness.clients.asking import questions
from harness.clients.calling import TOOLS_DIR, answers, call, calls_tools, offered
from harness.clients.chat import Chat, Turn
from harness.clients.folding import fold
from harness.clients.sse import follow, replay
from harness.databases.database import Database, stored_answer, task_status
from harness.databases.postgres import Postgres
from harness.model_server import ModelServer, answer_to
from harness.processes.services import Service, Services, System, probe
from harness.waiting import wait_until

QUESTION = "what is durable? [[tokens=20 rate=0 gate_after=8:g]]"
ANSWER = answer_to(QUESTION, 20)
KEY = {"x-api-key": "the key of a trusted caller"}
TURNS = 8


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
            async with follow(f"{chat.url}/api/chat/{turn.session_id}/stream") as reloaded:
                assert await reloaded.read_text(len(ANSWER)) == ANSWER, "Redis has what a reload needs"
            postgres.start()
            await stream.read_until("finish")
            database = await asyncpg.connect(database_url)
            assert await stored_answer(database, turn.message_id) == ANSWER
            assert await task_status(database, turn.task_id) == "completed"
            await database.close()
            await stream.read_to_end()
        assert fold(stream.events).text == ANSWER
        assert len(await questions(model)) == 1
    for service in services.all:
        assert _count(service, "waiting") <= 3, f"{service.name} says once that it waits"


@pytest.mark.requirement("OP-7", "WH-3", "GW-7")
async def test_what_needs_postgres_is_refused_with_a_503_while_it_is_away_and_done_afterwards(
    services: Services, postgres: Postgres, database: Database, model: ModelServer
) -> None:
    system = await services.whole(tool_runners=1, TOOLS_DIR=str(TOOLS_DIR), API_KEYS=json.dumps([*KEY.values()]))
    await offered(system.url, "outside")
    async with Chat(system.url) as chat:
        await calls_tools(model, "ask outside", call("outside", "call_o", text="hello"))
        await answers(model, "ask outside", "They said hi.")
        turn = await chat.ask("ask outside")
        operation_id = await wait_until(lambda: _accepted(database, turn), what="somebody outside works on it")
        postgres.stop()

        session, operation = f"/api/chat/sessions/{turn.session_id}", f"/api/chat/operations/{operation_id}"
        for path in ("/api/chat/sessions", session, f"/api/chat/tasks/{turn.task_id}", operation):
            _is_refused(await chat.get(path))
        # One that waits for the tool: else it depends on the moment which of the two is answered first.
        now = "now? [[tokens=3 rate=0]]"
        _is_refused(await chat.post_message(turn.session_id, now, message_id="same", policy="enqueue"))
        _is_refused(await chat.post("/api/chat/sessions", {"id": "mine"}))
        _is_refused(await chat.post(f"/api/chat/tasks/{turn.task_id}/cancel", {}))
        done = {"success": True, "result": "hi"}
        _is_refused(await _webhook(chat, f"{operation}/complete", done))
        _is_refused(await _webhook(chat, f"{operation}/progress", {"percent": 5}))
        assert await probe(chat.url, "/healthz") == 200

        postgres.start()
        await wait_until(lambda: _is(system.url, 200), 60, "the gateway is ready again")
        assert (await _webhook(chat, f"{operation}/complete", done)).status_code == 202
        following = await chat.send(turn.session_id, now, message_id="same", policy="enqueue")
        message = fold(await chat.answer(turn))
        assert (message.tools["call_o"]["output"], message.text) == ("hi", "They said hi.")
        assert fold(await chat.answer(following)).text == answer_to("now?", 3)


@pytest.mark.requirement("OP-7", "CH-11", "CH-2", "CC-8")
async def test_turns_under_load_outlast_two_crashes_of_postgres(
    services: Services, postgres: Postgres, database_url: str, model: ModelServer
) -> None:
    postgres.remember(database_url.rpartition("/")[2])
    system = await services.whole(gateways=2, tool_runners=1, TOOLS_DIR=str(TOOLS_DIR), RECONCILE_SECONDS="0.5")
    await offered(system.url, "echo")
    asking = asyncio.gather(*(_ask_and_check(system, model, number) for number in range(TURNS)))
    await wait_until(lambda: _more_questions(model, 3), what="turns are under way")
    for _ in range(2):
        await wait_until(lambda: _is(system.url, 200), 30, "the gateway sees Postgres")
        await asyncio.to_thread(postgres.kill)
        await wait_until(lambda: _is(system.url, 503), what="the gateway says that Postgres is away")
        await asyncio.to_thread(postgres.start)
    turns = await asyncio.wait_for(asking, 60)

    database = await asyncpg.connect(database_url)
    for turn in turns:
        assert await task_status(database, turn.task_id) == "completed"
    assert await database.fetchval("SELECT count(*) FROM tasks WHERE user_message_id LIKE 'load-%'") == TURNS
    assert await database.fetchval("SELECT count(*) FROM messages WHERE id LIKE 'load-%'") == TURNS
    await database.close()


@pytest.mark.requirement("OP-7", "CH-11", "TS-5")
async def test_a_postgres_that_hangs_is_given_up_in_time_and_used_again_when_it_wakes_up(
    services: Services, postgres: Postgres, model: ModelServer, database: Database
) -> None:
    system = await services.whole(tool_runners=1, DATABASE_TIMEOUT_SECONDS="1")
    async with Chat(system.url) as chat:
        turn = await chat.ask(QUESTION)
        async with follow(chat.stream_url(turn)) as stream:
            await stream.read_text(len(answer_to(QUESTION, 8)))
            postgres.freeze()
            try:
                await model.open_gate("g")
                await stream.read_text(len(ANSWER))
                began = time.monotonic()
                _is_refused(await chat.post_message(turn.session_id, "now?", message_id="same"))
                assert time.monotonic() - began < 5
                for service in (system.gateway, system.consumer, system.tool_runners[0]):
                    await wait_until(lambda: _is(service.url, 503), what=f"{service.name} says it")  # noqa: B023
                    assert await probe(service.url, "/healthz") == 200
                assert (await replay(f"{chat.url}/healthz")).status == 200
                assert "finish" not in stream.types
            finally:
                postgres.thaw()
            await stream.read_to_end()
        assert fold(stream.events).text == ANSWER
        await wait_until(lambda: _is(system.url, 200), 30, "the gateway is ready again")
        following = await chat.send(turn.session_id, "now? [[tokens=3 rate=0]]")
        assert fold(await chat.answer(following)).text == answer_to("now?", 3)
        assert await stored_answer(database, turn.message_id) == ANSWER
        assert len(await questions(model, "what is durable?")) == 2, "once for each turn: the second sees the first"


@pytest.mark.requirement("OP-7", "CH-11")
async def test_a_turn_that_ends_after_a_failover_waits_for_the_server_that_writes(
    services: Services, postgres: Postgres, database_url: str, model: ModelServer, database: Database
) -> None:
    system = await services.whole()
    name = database_url.rpartition("/")[2]
    async with Chat(system.url) as chat:
        turn = await chat.ask(QUESTION)
        async with follow(chat.stream_url(turn)) as stream:
            await stream.read_text(len(answer_to(QUESTION, 8)))
            postgres.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
            ended = (
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()"
            )
            await database.execute(ended, name)
            await model.open_gate("g")
            await stream.read_text(len(ANSWER))
            await wait_until(lambda: _reads_only(chat, turn), what="new turns are refused, and old ones can be read")
            assert "finish" not in stream.types
            postgres.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = off')
            await stream.read_to_end()
        assert fold(stream.events).text == ANSWER
        assert await stored_answer(database, turn.message_id) == ANSWER


async def _ask_and_check(system: System, model: ModelServer, number: int) -> Turn:
    """A turn, half of them with a tool, by a client that insists and reconnects."""
    text = f"load {number:02}"
    async with Chat(system.gateways[number % 2].url) as chat:
        if number % 2:
            await calls_tools(model, text, call("echo", "call_e", text=text))
            await model.script({"tokens": 20, "rate": 20, "of": text}, {"finish": "stop"}, match=text)
        else:
            await model.script({"tokens": 40, "rate": 20, "of": text}, {"finish": "stop"}, match=text, times=9)
        session_id = f"load-{number}"
        await _insist(lambda: chat.post("/api/chat/sessions", {"id": session_id}))
        response = await _insist(lambda: chat.post_message(session_id, text, f"load-{number}"))
        body = response.json()
        path = httpx.URL(body["stream_url"]).path
        turn = Turn(session_id, body["task_id"], body["assistant_message_id"], body["status"], None, path)
        message = fold(await chat.answer(turn, protocol=7), protocol=7)
        assert message.finish is not None
        assert message.text == answer_to(text, 20 if number % 2 else 40)
        assert [part["output"] for part in message.tools.values()] == ([{"said": text}] if number % 2 else [])
        stored = await _insist(lambda: chat.get(f"/api/chat/sessions/{session_id}"))
        roles = [one["role"] for one in stored.json()["messages"]]
        assert roles == ["user", "assistant"]
        return turn


async def _insist(send: Callable[[], object]) -> httpx.Response:
    """The first answer that is no 503; a 503 says when to come back, and nothing else may come."""
    answer: list[httpx.Response] = []

    async def answered() -> bool:
        response: httpx.Response = await send()  # type: ignore[misc]
        if response.status_code == 503:
            assert int(response.headers["retry-after"]) > 0
            return False
        answer.append(response)
        return True

    await wait_until(answered, 60, "an answer that is no 503")
    assert answer[0].status_code < 300, answer[0].text
    return answer[0]


def _is_refused(response: httpx.Response) -> None:
    assert response.status_code == 503, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == "STORE_UNAVAILABLE"
    assert int(response.headers["retry-after"]) > 0


async def _webhook(chat: Chat, path: str, body: object) -> httpx.Response:
    async with httpx.AsyncClient(base_url=chat.url, trust_env=False) as http:
        return await http.post(path, json=body, headers={**KEY, "webhook-id": "w-1"})


async def _reads_only(chat: Chat, turn: Turn) -> bool:
    refused = await chat.post_message(turn.session_id, "now?", message_id="same")
    read = await chat.get(f"/api/chat/tasks/{turn.task_id}")
    if refused.status_code != 503 or read.status_code != 200:
        return False
    _is_refused(refused)
    return True


async def _accepted(database: Database, turn: Turn) -> str | None:
    found: str | None = await database.fetchval(
        "SELECT id FROM operations WHERE task_id = $1 AND status = 'accepted'", turn.task_id
    )
    return found


async def _more_questions(model: ModelServer, number: int) -> bool:
    return len(await questions(model)) >= number


def _count(service: Service, event: str) -> int:
    return sum(line.get("event") == event for line in service.log_lines)


async def _is(url: str, status: int) -> bool:
    return await probe(url, "/readyz") == status
