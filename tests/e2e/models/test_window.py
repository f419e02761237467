"""A conversation that outgrows its model's window, through gateway, worker, tool runner and consumer as processes."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from harness.clients.calling import TOOLS_DIR, answers, call, calls_tools, offered
from harness.clients.chat import Chat
from harness.clients.folding import fold
from harness.databases.database import Database
from harness.model_server import ModelServer
from harness.model_server.record import Record
from harness.model_server.strictness import tokens_of
from harness.processes.services import Services, System
from harness.waiting import wait_until

pytestmark = pytest.mark.requirement("CH-6")

WINDOW = 1500
STRICT = (f"window:{WINDOW}", "begins", "alternate", "pairs", "filled", "names")
WORDS = "the river had risen in the night and by morning the meadow was a lake "
NOTES = "They spoke of the river."


@pytest.fixture
async def system(services: Services, model: ModelServer) -> System:
    """Nobody tells the worker how much the model takes."""
    await model.script({"begin": True}, {"tokens": 5, "of": NOTES}, {"finish": "stop"}, match="<conv", times=1000)
    system = await services.whole(workers=2, tool_runners=1, TOOLS_DIR=str(TOOLS_DIR), OFFER_TOOLS="false")
    await offered(system.url, "echo")
    return system


@pytest.fixture
async def chat(system: System) -> AsyncIterator[Chat]:
    async with Chat(system.url) as client:
        yield client


async def sent(model: ModelServer, match: str) -> list[Record]:
    asked = [one for one in await model.requests(match) if one.path.endswith("/chat/completions")]
    # The notes that this server makes repeat what they were asked for.
    return [one for one in asked if "<conversation>" not in str(one.body["messages"][-1])]


def contexts(message: dict[str, Any]) -> list[dict[str, Any]]:
    return [part["data"] for part in message["parts"] if part["type"] == "data-context"]


async def test_dozens_of_turns_against_a_strict_server_of_which_nothing_is_known(
    chat: Chat, model: ModelServer, database: Database
) -> None:
    """The first refusal teaches how much it takes, within its own step; no turn fails, and the person is told."""
    await model.strict(*STRICT)
    session = await chat.open_session()
    for n in range(40):
        turn = await chat.send(session, f"question {n}: {WORDS * 2} [[tokens=20 rate=0]]")
        message = fold(await chat.answer(turn))
        assert not message.error, f"turn {n}: {message.error}"
        assert await chat.status(turn.task_id) == "completed"

    told = [data for one in (await chat.session(session))["messages"] for data in contexts(one)]
    assert "summarised" in {data["state"] for data in told}
    assert {data["windowTokens"] for data in told if data["state"] == "summarised"} == {WINDOW}
    refused = [one for one in await sent(model, "question") if tokens_of(one.body) > WINDOW]
    assert len(refused) <= 4  # of two workers, each learns it
    last = (await sent(model, "question 39"))[-1].body["messages"]
    assert "Notes that were made of it" in json.dumps(last)
    assert await database.fetchval("SELECT count(*) FROM compactions WHERE summary IS NOT NULL") >= 1


@pytest.mark.requirement("CH-9")
async def test_a_turn_that_waited_for_a_tool_continues_in_a_conversation_that_no_longer_fits(
    services: Services, model: ModelServer, redis: Redis
) -> None:
    """The server takes less by then, as after a switch of the model behind it."""
    # One worker: another may not have seen yet that the tool is there.
    system = await services.whole(tool_runners=1, TOOLS_DIR=str(TOOLS_DIR))
    await offered(system.url, "wait_at")
    async with Chat(system.url) as chat:
        session = await chat.open_session()
        for n in range(8):
            await chat.answer(await chat.send(session, f"question {n}: {WORDS * 10} [[tokens=20 rate=0]]"))
        await calls_tools(model, "quick tool", call("wait_at", "call_a", gate="g"), says="Let me see.")
        turn = await chat.send(session, "quick tool, please")
        first = await model.wait_for(lambda one: "quick tool" in str(one.body) and one.finished_at)
        window = tokens_of(first.body) - 600
        await model.strict(f"window:{window}", *STRICT[1:])
        await answers(model, "quick tool", "It went through.")
        await redis.set("test:{g}", "1", ex=60)

        message = fold(await chat.answer(turn))

    assert (message.error, message.text) == (None, "Let me see.It went through.")
    body = (await sent(model, "quick tool"))[-1].body
    assert [one["role"] for one in body["messages"][-3:]] == ["user", "assistant", "tool"]
    assert tokens_of(body) <= window


async def test_a_successor_of_a_dead_worker_continues_with_the_same_cut_off(
    chat: Chat, system: System, model: ModelServer, database: Database
) -> None:
    await model.strict(*STRICT)
    session = await chat.open_session()
    for n in range(20):
        await chat.answer(await chat.send(session, f"question {n}: {WORDS * 2} [[tokens=20 rate=0]]"))
    turn = await chat.send(session, "and then? [[tokens=9 rate=0 gate_after=3:g]]")
    await model.wait_for(lambda one: "and then?" in str(one.body) and one.tokens_sent == 3)
    before = await database.fetchval("SELECT max(through_sequence) FROM compactions")

    for worker in system.workers:
        worker.kill9()
    await model.open_gate("g")
    for worker in system.workers:
        await worker.start()
    message = fold(await chat.answer(turn))

    assert message.error is None
    first, *_, last = await sent(model, "and then?")
    assert first.body["messages"] == last.body["messages"]
    assert await database.fetchval("SELECT max(through_sequence) FROM compactions") == before


async def test_a_message_that_no_window_takes_is_told_so_and_the_session_continues(
    chat: Chat, model: ModelServer
) -> None:
    await model.strict(*STRICT)
    session = await chat.open_session()
    turn = await chat.send(session, WORDS * 150)
    message = fold(await chat.answer(turn))

    assert message.error is not None
    assert "too long for this model" in message.error
    assert fold(await chat.answer(await chat.send(session, "short [[tokens=3 rate=0]]"))).error is None


async def test_a_turn_can_be_stopped_while_notes_are_made(chat: Chat, model: ModelServer) -> None:
    await model.reset()
    await model.strict(*STRICT)
    await model.script({"stall": "ever"}, match="<conversation>", times=100)
    session = await chat.open_session()
    turn = await chat.send(session, f"question: {WORDS * 2} [[tokens=20 rate=0]]")
    while await compacting_or_ended(chat, model, turn.task_id) == "ended":
        turn = await chat.send(session, f"question: {WORDS * 2} [[tokens=20 rate=0]]")
    await chat.cancel(turn.task_id)

    await chat.answer(turn, timeout=20)
    assert await chat.status(turn.task_id) == "cancelled"


async def compacting_or_ended(chat: Chat, model: ModelServer, task_id: str) -> str:
    """Whichever comes first."""

    async def look() -> str | None:
        if any("<conversation>" in str(one.body) for one in await model.requests()):
            return "compacting"
        return "ended" if await chat.status(task_id) == "completed" else None

    found = await wait_until(look, 20, "the turn has ended, or notes are made")
    assert found is not None
    return found
