"""Answers that the server makes in the background: read on where a dead worker stopped, and ended when unwanted."""

import pytest
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.wire.jobs import ChatJob

from harness.clients.chat import Chat, Turn
from harness.clients.folding import fold
from harness.clients.sse import follow
from harness.databases.database import Database, stored_answer
from harness.model_server import ModelServer
from harness.processes.services import Services
from tests.chaos.dying import ANSWER, LEASE_SECONDS, SHOWN, TOKENS, holder, interrupted, kill, running


async def _made(model: ModelServer) -> list[int]:
    """How many tokens of each answer were made in the background."""
    return [record.tokens_sent for record in await model.requests() if record.path.endswith("/responses")]


@pytest.mark.requirement("TS-3", "TS-5", "CH-11")
@pytest.mark.parametrize("kind", ["text", "reasoning"])
async def test_an_answer_made_in_the_background_is_read_on_where_the_dead_worker_stopped(
    services: Services, model: ModelServer, redis: Redis, database: Database, kind: str
) -> None:
    steps: list[dict[str, str]] = [{kind: SHOWN}, {"gate": "go"}, {kind: "and more "}, {"text": "the end."}]
    await model.script(*steps, path="/responses")
    system = await running(services, "background")
    async with Chat(system.url) as chat:
        turn = await chat.ask("what floats?")
        async with follow(chat.stream_url(turn), protocol=7) as newer, follow(chat.stream_url(turn)) as older:
            for stream in (newer, older):
                await stream.read_until(f"{kind}-delta")
            (await holder(redis, turn, system)).kill9()
            await model.open_gate("go")
            for stream in (newer, older):
                await stream.read_to_end()
        for events in (newer.events, older.events, await chat.replay(turn)):
            message = fold(events, 7)
            assert message.reasoning + message.text == SHOWN + "and more the end."
            assert message.resets == 0
            assert len(message.steps) == 1
            assert message.metadata["usage"]["outputTokens"] == 3
    assert await stored_answer(database, turn.message_id) == message.text
    assert await _made(model) == [3]


@pytest.mark.requirement("TS-5", "CH-9")
async def test_where_a_tool_call_was_begun_the_background_answer_is_read_again_and_not_made_again(
    services: Services, model: ModelServer, redis: Redis, database: Database
) -> None:
    begun = {"index": 0, "id": "c1", "function": {"name": "no_such_tool", "arguments": '{"que'}}
    rest = {"index": 0, "id": "c1", "function": {"arguments": 'ry": 1}'}}
    await model.script(
        {"text": "Let me look. "}, {"tool_call": begun}, {"gate": "go"}, {"tool_call": rest}, path="/responses"
    )
    await model.script({"text": "There is none."}, path="/responses")
    system = await running(services, "background")
    async with Chat(system.url) as chat:
        turn = await chat.ask("what floats?")
        async with follow(chat.stream_url(turn), protocol=7) as stream:
            await stream.read_until("tool-input-delta")
            (await holder(redis, turn, system)).kill9()
            await model.open_gate("go")
            await stream.read_to_end()
    message = fold(stream.events, 7)
    assert message.resets == 1
    assert message.text == "Let me look. There is none."
    assert message.tools["c1"]["input"] == {"query": 1}
    assert await stored_answer(database, turn.message_id) == message.text
    assert await _made(model) == [3, 1]


@pytest.mark.requirement("TS-5")
async def test_a_background_answer_that_is_not_kept_any_more_is_asked_for_anew(
    services: Services, model: ModelServer, redis: Redis
) -> None:
    await model.script({"text": SHOWN}, {"forget": True}, {"stall": "ever"}, path="/responses")
    system = await running(services, "background")
    question = f"what floats down the long river? [[tokens={TOKENS} rate=0]]"
    async with Chat(system.url) as chat:
        _, seen, _ = await interrupted(system, chat, redis, question, SHOWN, kill)
    assert fold(seen[7], 7).resets == 1
    assert fold(seen[7], 7).text == ANSWER


@pytest.mark.requirement("CH-13")
@pytest.mark.parametrize("dead", [False, True])
async def test_a_cancelled_turn_ends_its_background_answer_at_the_server(
    services: Services, model: ModelServer, redis: Redis, database: Database, dead: bool
) -> None:
    await model.script({"text": SHOWN}, {"gate": "go"}, {"text": "never"}, path="/responses")
    system = await running(services, "background")
    async with Chat(system.url) as chat:
        turn = await chat.ask("what floats?")
        async with follow(chat.stream_url(turn), protocol=7) as stream:
            await stream.read_text(len(SHOWN))
            if dead:
                (await holder(redis, turn, system)).kill9()
            await chat.cancel(turn.task_id)
            await stream.read_to_end()
    assert fold(stream.events, 7).aborted
    assert await stored_answer(database, turn.message_id) == SHOWN
    await model.wait_for(lambda record: record.path.endswith("/cancel"))
    await model.open_gate("go")
    assert await _made(model) == [1]


@pytest.mark.requirement("OP-7")
@pytest.mark.parametrize("at_once", [False, True])
async def test_where_redis_forgot_a_background_answer_it_is_asked_for_anew_and_the_old_one_is_made_no_further(
    services: Services, model: ModelServer, redis: Redis, database: Database, at_once: bool
) -> None:
    """`at_once`: the successor begins before the old holder has heard that anything was forgotten."""
    await model.script({"text": SHOWN}, {"gate": "go"}, {"text": "never"}, path="/responses")
    system = await services.whole(MODEL_CONTINUATION="background", LEASE_SECONDS=str(LEASE_SECONDS))
    question = f"what floats down the long river? [[tokens={TOKENS} rate=0]]"
    async with Chat(system.url) as chat:
        turn = await chat.ask(question)
        async with follow(chat.stream_url(turn), protocol=7) as stream:
            await stream.read_text(len(SHOWN))
        await _forget(redis, turn if at_once else None)
        assert fold(await chat.answer(turn, protocol=7), 7).text == ANSWER
    assert await stored_answer(database, turn.message_id) == ANSWER
    await model.wait_for(lambda record: record.path.endswith("/cancel"))
    await model.open_gate("go")
    assert await _made(model) == [1, TOKENS]


async def _forget(redis: Redis, queued: Turn | None) -> None:
    """Flush Redis; and queue a turn in the same moment, as the reconciler does at the next."""
    async with redis.pipeline(transaction=True) as pipe:
        pipe.flushall()
        if queued is not None:
            pipe.xadd(keys.work_queue(keys.CHAT), {"d": ChatJob(task_id=queued.task_id).encode()})
        await pipe.execute()
