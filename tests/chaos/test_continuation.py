"""Workers that die in mid-answer, where the model server can go on: the text goes on, and nothing is made twice."""

from pathlib import Path

import pytest
from redis.asyncio import Redis
from sluiceway.process.settings import WorkerSettings

from harness.clients.asking import questions
from harness.clients.chat import Chat
from harness.clients.folding import Message, fold
from harness.clients.sse import follow
from harness.databases.database import Database, stored_answer, task_status
from harness.model_server import ModelServer, answer_to
from harness.processes.llama_cpp import llama_cpp
from harness.processes.services import Services
from tests.chaos.dying import (
    ANSWER,
    BEGUN,
    LEASE_SECONDS,
    SHOWN,
    STALLED,
    TOKENS,
    holder,
    interrupted,
    kill,
    running,
    stop,
    tokens,
)


def _is_unbroken(message: Message) -> bool:
    return message.resets == 0 and [len(step) for step in message.steps] == [1] and message.finish is not None


@pytest.mark.requirement("TS-3", "TS-5", "CH-11")
@pytest.mark.parametrize("dialect", ["llama.cpp", "vllm", "mistral"])
async def test_an_answer_whose_worker_is_killed_continues_in_the_same_text_and_no_token_is_made_twice(
    services: Services, model: ModelServer, redis: Redis, database: Database, dialect: str
) -> None:
    system = await running(services, dialect)
    async with Chat(system.url) as chat:
        turn, seen, _ = await interrupted(system, chat, redis, STALLED, SHOWN, kill)
        for protocol in (6, 7):
            for events in (seen[protocol], await chat.replay(turn, protocol=protocol)):
                message = fold(events, protocol)
                assert message.text == ANSWER
                assert _is_unbroken(message)
        for cut in range(1, len(seen[7]) - 1):
            async with follow(chat.stream_url(turn), protocol=7, last_event_id=seen[7][cut - 1].id) as resumed:
                await resumed.read_to_end()
            assert fold(seen[7][:cut] + resumed.events, 7).text == ANSWER
    assert await stored_answer(database, turn.message_id) == ANSWER
    assert await task_status(database, turn.task_id) == "completed"
    assert await tokens(model) == TOKENS
    assert fold(seen[7], 7).metadata["usage"]["outputTokens"] == TOKENS - BEGUN


@pytest.mark.requirement("TS-5")
async def test_a_worker_that_is_told_to_stop_releases_and_another_continues_within_two_seconds(
    services: Services, model: ModelServer, redis: Redis, database: Database
) -> None:
    system = await services.whole(workers=0, consumers=0)
    for _ in range(2):
        patient = {"MODEL_CONTINUATION": "llama.cpp", "LEASE_SECONDS": "60", "DRAIN_SECONDS": "0"}
        system.workers.append(await services.chat_worker(**patient))
    async with Chat(system.url) as chat:
        turn, seen, gap = await interrupted(system, chat, redis, STALLED, SHOWN, stop)
    assert gap < 2
    assert fold(seen[7], 7).text == fold(seen[6], 6).text == ANSWER
    assert _is_unbroken(fold(seen[7], 7))
    assert await stored_answer(database, turn.message_id) == ANSWER
    assert await tokens(model) == TOKENS


@pytest.mark.requirement("TS-5")
async def test_an_answer_continues_after_two_deaths_in_the_same_text(
    services: Services, model: ModelServer, redis: Redis
) -> None:
    question = f"what floats down the long river? [[tokens={TOKENS} rate=0 stall_after=8 gate_after=16:second]]"
    system = await running(services)
    async with Chat(system.url) as chat:
        turn = await chat.ask(question)
        async with follow(chat.stream_url(turn), protocol=7) as stream:
            for shown in (8, 16):
                await stream.read_text(len(answer_to(question, shown)))
                (await holder(redis, turn, system)).kill9()
                if shown == 8:
                    system.workers.append(await services.chat_worker(MODEL_CONTINUATION="llama.cpp"))
            await stream.read_to_end()
    assert fold(stream.events, 7).text == answer_to(question, TOKENS)
    assert _is_unbroken(fold(stream.events, 7))
    assert await tokens(model) == TOKENS


@pytest.mark.requirement("TS-5", "CH-9")
async def test_the_step_after_a_tool_continues_too_and_the_steps_before_it_stay(
    services: Services, model: ModelServer, redis: Redis, database: Database
) -> None:
    call = {"index": 0, "id": "c1", "function": {"name": "no_such_tool", "arguments": "{}"}}
    await model.script({"text": "Let me look. "}, {"tool_call": call}, {"finish": "tool_calls"})
    system = await running(services, "vllm")
    async with Chat(system.url) as chat:
        shown = "Let me look. " + SHOWN
        turn, seen, _ = await interrupted(system, chat, redis, STALLED, shown, kill)
        for events in (*seen.values(), await chat.replay(turn)):
            message = fold(events, 7)
            assert message.text == "Let me look. " + ANSWER
            assert message.resets == 0
            assert len(message.steps) == 2
    assert await stored_answer(database, turn.message_id) == "Let me look. " + ANSWER
    asked = (await questions(model))[-1].body["messages"]
    assert [message["role"] for message in asked[-3:]] == ["assistant", "tool", "assistant"]
    assert asked[-1]["content"] == SHOWN.rstrip()


@pytest.mark.requirement("TS-5")
@pytest.mark.parametrize("begun", ["arguments", "reasoning"])
async def test_what_no_server_can_continue_is_done_again(
    services: Services, model: ModelServer, redis: Redis, database: Database, begun: str
) -> None:
    fragment = {"index": 0, "id": "c1", "function": {"name": "weather", "arguments": '{"que'}}
    shown: dict[str, list[dict[str, object]]] = {
        "arguments": [{"text": "Let me look. "}, {"tool_call": fragment}],
        "reasoning": [{"reasoning": "The user wants "}],
    }
    await model.script(*shown[begun], {"stall": "ever"})
    system = await running(services)
    question = f"what floats down the long river? [[tokens={TOKENS} rate=0]]"
    async with Chat(system.url) as chat:
        turn = await chat.ask(question)
        async with follow(chat.stream_url(turn), protocol=7) as stream:
            await stream.read_until({"arguments": "tool-input-delta", "reasoning": "reasoning-delta"}[begun])
            (await holder(redis, turn, system)).kill9()
            await stream.read_to_end()
    message = fold(stream.events, 7)
    assert message.resets == 1
    assert message.text == ANSWER
    assert await stored_answer(database, turn.message_id) == ANSWER
    assert (await questions(model))[-1].body["messages"][-1]["role"] == "user"


@pytest.mark.requirement("TS-5")
async def test_a_server_that_repeats_the_beginning_is_not_shown_to_do_so(
    services: Services, model: ModelServer, redis: Redis, database: Database
) -> None:
    question = f"what floats down the long river? [[tokens={TOKENS} rate=0 stall_after={BEGUN} prefix=echo_words]]"
    system = await running(services, "mistral")
    async with Chat(system.url) as chat:
        turn, seen, _ = await interrupted(system, chat, redis, question, SHOWN, kill)
    for protocol, events in seen.items():
        assert fold(events, protocol).text == ANSWER
        assert _is_unbroken(fold(events, protocol))
    assert await stored_answer(database, turn.message_id) == ANSWER


@pytest.mark.requirement("TS-3", "TS-5")
@pytest.mark.parametrize("refusal", ["refuse", "template_error"])
async def test_where_the_server_takes_no_beginning_after_all_the_step_is_done_again(
    services: Services, model: ModelServer, redis: Redis, database: Database, refusal: str
) -> None:
    question = f"what floats down the long river? [[tokens={TOKENS} rate=0 prefix={refusal}]]"
    await model.script({"text": SHOWN}, {"stall": "ever"})
    system = await running(services, "vllm")
    async with Chat(system.url) as chat:
        turn, seen, _ = await interrupted(system, chat, redis, question, SHOWN, kill)
        newer, older = fold(seen[7], 7), fold(seen[6], 6)
        assert newer.text == ANSWER
        assert newer.resets == 1
        assert [len(step) for step in older.steps] == [1, 1]
        assert older.last_step_text == ANSWER
        for protocol in (6, 7):
            replayed = fold(await chat.replay(turn, protocol=protocol), protocol)
            assert replayed.text == ANSWER
            assert _is_unbroken(replayed)
    assert await stored_answer(database, turn.message_id) == ANSWER
    assert await task_status(database, turn.task_id) == "completed"


@pytest.mark.requirement("TS-5")
async def test_a_server_that_cannot_continue_is_not_asked_to(
    services: Services, model: ModelServer, redis: Redis
) -> None:
    await model.script({"text": SHOWN}, {"stall": "ever"})
    system = await running(services, "none")
    question = f"what floats down the long river? [[tokens={TOKENS} rate=0]]"
    async with Chat(system.url) as chat:
        _, seen, gap = await interrupted(system, chat, redis, question, SHOWN, kill)
    assert fold(seen[7], 7).resets == 1
    assert fold(seen[7], 7).text == ANSWER
    assert (await questions(model))[-1].body["messages"][-1]["role"] == "user"
    assert gap < LEASE_SECONDS + 2


@pytest.mark.requirement("CH-13")
async def test_a_turn_that_is_cancelled_while_it_continues_keeps_all_that_was_shown(
    services: Services, model: ModelServer, redis: Redis, database: Database
) -> None:
    question = f"what floats down the long river? [[tokens={TOKENS} rate=0 stall_after=8 gate_after=16:never]]"
    system = await running(services)
    async with Chat(system.url) as chat:
        turn = await chat.ask(question)
        async with follow(chat.stream_url(turn), protocol=7) as stream:
            await stream.read_text(len(answer_to(question, 8)))
            (await holder(redis, turn, system)).kill9()
            await stream.read_text(len(answer_to(question, 16)))
            await chat.cancel(turn.task_id)
            await stream.read_to_end()
    assert fold(stream.events, 7).aborted
    assert fold(stream.events, 7).text == answer_to(question, 16)
    assert await stored_answer(database, turn.message_id) == answer_to(question, 16)


@pytest.mark.requirement("TS-5")
async def test_with_the_default_lease_the_next_text_comes_within_that_and_two_seconds(
    services: Services, model: ModelServer, redis: Redis
) -> None:
    lease = float(WorkerSettings.model_fields["lease_seconds"].default)
    assert lease <= 15
    system = await services.whole(workers=2, consumers=0, MODEL_CONTINUATION="vllm", LEASE_SECONDS=str(lease))
    async with Chat(system.url) as chat:
        _, seen, gap = await interrupted(system, chat, redis, STALLED, SHOWN, kill)
    assert gap < lease + 2
    assert fold(seen[7], 7).text == ANSWER


@pytest.mark.requirement("CH-25")
async def test_a_text_that_its_server_broke_off_is_continued_where_it_stopped_and_not_for_ever(
    services: Services, model: ModelServer, database: Database
) -> None:
    system = await services.whole(consumers=0, MODEL_CONTINUATION="vllm")
    question, refused = (
        "the river [[tokens=12 rate=0 cut=5 how=rst]]",
        "the sea [[tokens=12 rate=0 cut=5 prefix=refuse]]",
    )
    async with Chat(system.url) as chat:
        turn = await chat.ask(question)
        message = fold(await chat.answer(turn, protocol=7), 7)
        assert (message.text, _is_unbroken(message)) == (answer_to(question, 12), True)
        assert await stored_answer(database, turn.message_id) == answer_to(question, 12)
        assert len(await questions(model, "the river")) == 2
        # It is made anew where the server does not continue it, and broken off each time: that ends.
        turn = await chat.ask(refused)
        assert fold(await chat.answer(turn, protocol=7), 7).text == answer_to(refused, 5)
        assert (await chat.task(turn.task_id))["error"]["code"] == "MODEL_CUT"
        assert len(await questions(model, "the sea")) == 7


@pytest.mark.requirement("TS-5")
async def test_llama_cpp_itself_continues_the_answer_of_a_killed_worker(
    services: Services, redis: Redis, database: Database, tmp_path: Path
) -> None:
    async with llama_cpp(tmp_path) as base_url:
        environment = {"OPENAI_BASE_URL": base_url, "MODEL_CONTINUATION": "llama.cpp", "OFFER_TOOLS": "false"}
        environment["MAX_ANSWER_CHARS"] = "400"  # stories of this model end when its window does
        system = await services.whole(workers=0, consumers=0)
        for _ in range(2):
            system.workers.append(await services.chat_worker(**environment, LEASE_SECONDS="1"))
        async with Chat(system.url) as chat:
            turn = await chat.ask("Write a long story about a river.")
            async with follow(chat.stream_url(turn), protocol=7) as stream:
                shown = await stream.read_text(60)
                (await holder(redis, turn, system)).kill9()
                await stream.read_to_end()
    message = fold(stream.events, 7)
    assert _is_unbroken(message)
    assert message.text.startswith(shown)
    assert shown[:40] not in message.text[len(shown) :]
    assert await stored_answer(database, turn.message_id) == message.text
    assert len({event.id.split("-")[0] for event in stream.events if event.id}) == 2
