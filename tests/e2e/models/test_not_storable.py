"""What Postgres refuses of a turn never keeps it from ending: its user sees an error, soon, and the session goes on.

The refusal is a real one, of a constraint that such a test adds; which one it is makes no difference to the code.
"""

import time
from typing import Any

import pytest

from harness.clients.asking import asked, questions
from harness.clients.chat import Chat
from harness.clients.folding import Message, fold
from harness.clients.sse import follow
from harness.databases.database import Database
from harness.model_server import ModelServer, answer_to
from harness.processes.services import Services
from harness.waiting import wait_until

SOON_SECONDS = 10.0
CODE = "ANSWER_NOT_STORABLE"
OFTEN = {"RECONCILE_SECONDS": "0.3"}
WORD = "ALTER TABLE messages ADD CHECK (role = 'user' OR position('unstorable' IN parts::text) = 0)"
LONG = "ALTER TABLE messages ADD CHECK (role = 'user' OR length(parts::text) < 1500)"
METADATA = "ALTER TABLE messages ADD CHECK (metadata->>'finishReason' <> 'stop')"
USAGE = "ALTER TABLE tasks ADD CHECK (usage IS NULL)"
RAISED = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF position('unstorable' IN NEW.parts::text) > 0 THEN RAISE EXCEPTION 'refused' USING ERRCODE = '22P05'; END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON messages FOR EACH ROW EXECUTE FUNCTION refuse();
"""
pytestmark = pytest.mark.requirement("CH-24", "TS-5", "CH-11")


async def _shows_the_failure_and_continues(
    chat: Chat, question: str, model: ModelServer, database: Database
) -> Message:
    began = time.monotonic()
    turn = await chat.ask(question)
    message = fold(await chat.answer(turn))
    assert time.monotonic() - began < SOON_SECONDS
    assert message.error
    assert message.data[-1]["data"]["code"] == CODE
    task = await chat.task(turn.task_id)
    assert (task["status"], task["error"]["code"]) == ("failed", CODE)
    stored = (await chat.session(turn.session_id))["messages"][-1]
    assert (stored["metadata"]["status"], stored["metadata"]["error"]["code"]) == ("failed", CODE)
    assert stored["parts"][-1]["data"]["code"] == CODE
    assert fold(await chat.replay(turn)).error == message.error
    assert len(await questions(model, "unstorable")) == 1, "nothing is paid twice"
    assert await database.fetchval("SELECT count(*) FROM dead_letters") == 0
    following = await chat.send(turn.session_id, "next [[tokens=3 rate=0 usage=no]]")
    answer = fold(await chat.answer(following))
    assert answer.text == answer_to("next", 3)
    return message


@pytest.mark.parametrize("refuses", [WORD, LONG, RAISED])
async def test_an_answer_that_is_refused_ends_its_turn_as_failed_at_once(
    services: Services, model: ModelServer, database: Database, refuses: str
) -> None:
    await database.execute(refuses)
    system = await services.whole()
    async with Chat(system.url) as chat:
        question = "unstorable [[tokens=500 rate=0]]"
        message = await _shows_the_failure_and_continues(chat, question, model, database)
        assert message.text == answer_to("unstorable", 500), "what was said was seen"
    ended = next(line for line in system.worker.log_lines if line["event"] == "turn_ended")
    assert (ended["status"], ended["code"]) == ("failed", CODE)


@pytest.mark.parametrize("refuses", [METADATA, USAGE])
async def test_what_is_refused_beside_the_parts_does_not_cost_them(
    services: Services, model: ModelServer, database: Database, refuses: str
) -> None:
    await database.execute(refuses)
    system = await services.whole()
    async with Chat(system.url) as chat:
        turn = await chat.ask("unstorable [[tokens=5 rate=0]]")
        assert fold(await chat.answer(turn)).error
        said = (await chat.messages(turn.session_id))[-1]
        assert said == ("assistant", answer_to("unstorable", 5) if refuses == METADATA else "")


async def test_a_call_that_is_refused_ends_its_turn_as_failed_at_once(
    services: Services, model: ModelServer, database: Database
) -> None:
    await database.execute("ALTER TABLE operations ADD CHECK (tool_name <> 'no_such_tool')")
    system = await services.whole()
    async with Chat(system.url) as chat:
        question = "unstorable [[tools=no_such_tool]]"
        message = await _shows_the_failure_and_continues(chat, question, model, database)
        assert [tool["state"] for tool in message.tools.values()] == ["output-error"]


@pytest.mark.requirement("CH-13")
@pytest.mark.parametrize("how", ["cancel", "interrupt"])
async def test_a_turn_that_cannot_be_stored_is_stopped_within_a_second(
    services: Services, model: ModelServer, database: Database, how: str
) -> None:
    await database.execute(WORD)
    system = await services.whole()
    async with Chat(system.url) as chat:
        turn = await chat.ask("unstorable [[tokens=5000 rate=50]]")
        async with follow(chat.stream_url(turn)) as stream:
            await stream.read_text(40)
            stopped = time.monotonic()
            if how == "cancel":
                await chat.cancel(turn.task_id)
            else:
                following = await chat.send(turn.session_id, "next [[tokens=3 rate=0]]", policy="interrupt")
            await stream.read_until("finish")
            assert time.monotonic() - stopped < 1
            await stream.read_to_end()
        assert fold(stream.events).aborted
        assert await chat.status(turn.task_id) == "cancelled"
        request = await asked(model, lambda record: record.client_closed_at)
        assert request.client_closed_at is not None
        assert request.client_closed_at - stopped < 1
        if how == "cancel":
            following = await chat.send(turn.session_id, "next [[tokens=3 rate=0]]")
        assert fold(await chat.answer(following)).text == answer_to("next", 3)


@pytest.mark.requirement("CH-13")
@pytest.mark.parametrize("how", ["cancel", "deadline", "dead letter"])
async def test_a_turn_that_cannot_be_stored_and_whose_worker_is_gone_is_ended_by_others(
    services: Services, model: ModelServer, database: Database, how: str
) -> None:
    await database.execute(WORD)
    gateway = await services.gateway()
    worker = await services.chat_worker(LEASE_SECONDS="1")
    await services.completion_consumer(LEASE_SECONDS="1", **OFTEN)
    async with Chat(gateway.url) as chat:
        turn = await chat.ask("unstorable [[tokens=20 rate=0 stall_after=10]]")
        async with follow(chat.stream_url(turn)) as stream:
            await stream.read_text(40)
            worker.kill9()
            match how:
                case "cancel":
                    await chat.cancel(turn.task_id)
                case "deadline":
                    await database.execute("UPDATE tasks SET created_at = created_at - interval '2 hours'")
                case _:
                    await services.chat_worker(LEASE_SECONDS="1", MAX_DELIVERIES="1")
            await stream.read_to_end()
        message = fold(stream.events)
        code = {"deadline": "TURN_DEADLINE_EXCEEDED", "dead letter": "TURN_GAVE_UP"}.get(how)
        task = await chat.task(turn.task_id)
        assert task["status"] == ("cancelled" if code is None else "failed")
        assert (task["error"] or {}).get("code") == code
        assert message.aborted if code is None else message.error
        assert len(await questions(model, "unstorable")) == 1
        if how != "dead letter":
            await services.chat_worker()
        following = await chat.send(turn.session_id, "next [[tokens=3 rate=0]]")
        assert fold(await chat.answer(following)).text == answer_to("next", 3)


async def test_an_answer_that_never_stops_ends_at_its_bound_and_closes_the_models_request(
    services: Services, model: ModelServer, database: Database
) -> None:
    system = await services.whole(MAX_ANSWER_CHARS="1000")
    async with Chat(system.url) as chat:
        for what, kind in (("text", "tokens=100000 rate=500"), ("thoughts", "reasoning=100000 rate=500")):
            turn = await chat.ask(f"{what} without end [[{kind}]]")
            message = fold(await chat.answer(turn))
            assert message.finish is not None
            assert message.finish["finishReason"] == "length"
            assert len(message.text + message.reasoning) == 1000
            request = await asked(model, lambda record: record.client_closed_at)
            assert request.client_closed_at is not None
            assert await chat.status(turn.task_id) == "completed"
            await model.reset()


async def test_arguments_that_never_stop_are_cut_and_run_nothing(services: Services, model: ModelServer) -> None:
    pieces: list[dict[str, Any]] = [{"tool_call": {"index": 0, "function": {"arguments": "x" * 100}}}] * 100
    head = {"tool_call": {"index": 0, "id": "a", "type": "function", "function": {"name": "echo", "arguments": '{"'}}}
    await model.script(head, *pieces, {"stall": "ever"}, times=1)
    system = await services.whole(MAX_ANSWER_CHARS="1000")
    async with Chat(system.url) as chat:
        turn = await chat.ask("call without end [[tokens=3 rate=0]]")
        message = fold(await chat.answer(turn))
        assert [tool["error"].split(":")[0] for tool in message.tools.values()] == ["OUTPUT_CUT"]
        assert message.finish is not None
        assert message.finish["finishReason"] == "length"
        assert len(await questions(model, "call without end")) == 1
        await wait_until(lambda: _ended(system.worker.log_lines), what="the worker logs the end")


def _ended(lines: list[dict[str, Any]]) -> bool:
    return any(line["event"] == "turn_ended" for line in lines)
