"""Turns that wait for tools, while what they stand on is killed, flushed and restarted."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from sluiceway.operation.completions import Completions

from harness.clients.asking import questions
from harness.clients.calling import TOOLS_DIR, answers, call, calls_tools, offered
from harness.clients.chat import Chat, Turn
from harness.clients.folding import Message, fold
from harness.clients.sse import replay
from harness.databases.database import Database
from harness.databases.valkey import Valkey
from harness.model_server import ModelServer
from harness.processes.services import Services, System
from harness.waiting import wait_until
from tests.chaos.operations import operation_in

QUESTION = "ask somebody outside"
PARTIAL = "Only the beginning "


@pytest.fixture
async def system(services: Services) -> System:
    system = await services.whole(tool_runners=1, TOOLS_DIR=str(TOOLS_DIR))
    await offered(system.url, "outside")
    return system


@pytest.fixture
async def chat(system: System) -> AsyncIterator[Chat]:
    async with Chat(system.url) as client:
        yield client


async def waits_for_outside(chat: Chat, model: ModelServer, database: Database) -> tuple[Turn, str]:
    """A turn whose only operation was taken by an outside service; that operation's id."""
    await calls_tools(model, QUESTION, call("outside", "call_o", text="hello"), says="Let me ask. ")
    await answers(model, QUESTION, "They said hi.")
    turn = await chat.ask(QUESTION)
    return turn, await operation_in(database, turn, "accepted")


async def complete(redis: Redis, operation_id: str) -> None:
    await Completions(redis).publish_operation_complete(operation_id, None, True, "hi")


def is_whole(message: Message) -> bool:
    return (
        message.text == "Let me ask. They said hi."
        and message.tools["call_o"]["output"] == "hi"
        and message.finish is not None
    )


@pytest.mark.requirement("CH-9", "OP-7")
async def test_a_waiting_turn_survives_a_flush_and_its_stream_is_rebuilt(
    system: System, chat: Chat, model: ModelServer, database: Database, valkey: Valkey, redis: Redis
) -> None:
    turn, operation_id = await waits_for_outside(chat, model, database)
    valkey.flush()

    await wait_until(lambda: redis.exists(f"sw:task:{{{turn.task_id}}}:events"), 20, "the stream is there again")
    await complete(redis, operation_id)

    assert is_whole(fold(await chat.answer(turn)))
    assert is_whole(fold((await replay(chat.stream_url(turn))).events))
    assert len(await questions(model, QUESTION)) == 2


@pytest.mark.requirement("CC-8", "CH-9", "CH-10")
async def test_a_turn_that_waits_for_outside_survives_the_restart_of_everything(
    services: Services, system: System, chat: Chat, model: ModelServer, database: Database, redis: Redis
) -> None:
    turn, operation_id = await waits_for_outside(chat, model, database)
    for service in (*system.gateways, *system.workers, *system.consumers, *system.tool_runners):
        await service.restart()
    await complete(redis, operation_id)
    assert is_whole(fold(await chat.answer(turn)))


@pytest.mark.requirement("CC-8")
async def test_a_completion_while_the_consumer_is_dead_is_applied_when_it_is_back(
    system: System, chat: Chat, model: ModelServer, database: Database, redis: Redis
) -> None:
    turn, operation_id = await waits_for_outside(chat, model, database)
    system.consumer.kill9()
    await complete(redis, operation_id)
    await complete(redis, operation_id)
    await system.consumer.start()
    assert is_whole(fold(await chat.answer(turn)))
    assert len(await questions(model, QUESTION)) == 2, "the second completion changed nothing"


@pytest.mark.requirement("CH-9", "TS-5")
async def test_the_step_after_the_tools_is_done_again_when_its_worker_is_killed(
    services: Services, system: System, chat: Chat, model: ModelServer, database: Database, redis: Redis
) -> None:
    await calls_tools(model, QUESTION, call("outside", "call_o", text="hello"), says="Let me ask. ")
    await model.script({"text": PARTIAL}, {"stall": "ever"}, match=QUESTION)
    await answers(model, QUESTION, "They said hi.")
    turn = await chat.ask(QUESTION)
    await complete(redis, await operation_in(database, turn, "accepted"))
    await model.wait_for(lambda seen: seen.tokens_sent > 0 and len(seen.body.get("messages", [])) > 3)
    system.worker.kill9()
    await services.chat_worker()

    older = fold(await chat.answer(turn))
    assert older.text == f"Let me ask. {PARTIAL}They said hi.", "one of protocol 6 has seen the abandoned step"
    assert is_whole(fold((await replay(chat.stream_url(turn))).events))
    messages = await chat.messages(turn.session_id)
    assert messages[-1] == ("assistant", "Let me ask. They said hi.")


@pytest.mark.requirement("CH-9")
async def test_a_tool_that_may_be_repeated_runs_again_when_its_runner_is_killed(
    services: Services, system: System, chat: Chat, model: ModelServer, database: Database, redis: Redis
) -> None:
    question = "wait a while"
    await calls_tools(model, question, call("wait_at", "call_w", gate="killed"))
    await answers(model, question, "Waited.")
    turn = await chat.ask(question)
    await operation_in(database, turn, "running")
    system.tool_runners[0].kill9()
    await services.tool_runner(TOOLS_DIR=str(TOOLS_DIR))
    await redis.set("test:{killed}", "1", ex=60)

    message = fold(await chat.answer(turn))
    assert message.tools["call_w"]["output"] == "through killed"
    assert message.text == "Waited."


@pytest.mark.requirement("CC-7", "CH-9")
async def test_a_tool_that_may_not_be_repeated_has_failed_and_the_model_explains(
    services: Services, system: System, chat: Chat, model: ModelServer, database: Database, redis: Redis
) -> None:
    question = "only once"
    await calls_tools(model, question, call("once", "call_w", gate="once"))
    await answers(model, question, "It was interrupted.")
    turn = await chat.ask(question)
    await operation_in(database, turn, "running")
    system.tool_runners[0].kill9()
    await services.tool_runner(TOOLS_DIR=str(TOOLS_DIR))

    message = fold(await chat.answer(turn))
    assert message.tools["call_w"]["error"].startswith("INTERRUPTED")
    assert message.text == "It was interrupted."


@pytest.mark.requirement("CH-9", "CC-8")
async def test_operations_that_redis_forgot_before_a_runner_had_them_are_run(
    services: Services, chat: Chat, model: ModelServer, database: Database, valkey: Valkey, system: System
) -> None:
    question = "flushed before it ran"
    await calls_tools(model, question, call("wait_at", "call_w", gate="flushed"))
    await answers(model, question, "It ran.")
    system.tool_runners[0].freeze()
    turn = await chat.ask(question)
    await operation_in(database, turn, "pending")
    valkey.flush()
    system.tool_runners[0].kill9()
    await services.tool_runner(TOOLS_DIR=str(TOOLS_DIR))
    await operation_in(database, turn, "running")
    async with Redis.from_url(valkey.url) as redis:
        await redis.set("test:{flushed}", "1", ex=60)
    message = fold(await chat.answer(turn))
    assert message.tools["call_w"]["output"] == "through flushed"
    assert message.text == "It ran."
