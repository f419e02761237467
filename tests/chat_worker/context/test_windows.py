"""How large a window is, and what a server that refuses says of it: told to gateways, learned, and kept to."""

import asyncio
import json

import pytest
from chat_worker.context.context import Held
from sluiceway.operation.model_windows import read_windows
from sluiceway_llm.asking.history import Wants, fitted
from sluiceway_llm.asking.server_options import ServerOptions
from sluiceway_llm.calling.model import Model
from sluiceway_llm.model_errors import ModelContextExceeded, ModelRejected

from harness.model_server import ModelServer
from harness.model_server.strictness import refusal_for, tokens_of
from harness.waiting import wait_until
from tests.chat_worker.context.talk import (
    STRICT,
    SYSTEM,
    WORDS,
    Talk,
    said,
    texts,
    uninterrupted,
)

pytestmark = pytest.mark.requirement("CH-6")


async def test_a_switch_to_a_model_with_a_smaller_window_in_mid_conversation_and_back(
    talk: Talk, model: ModelServer
) -> None:
    options = {"small": ServerOptions(window_tokens=1000)}
    for n in range(60):
        await talk.exchange(f"question {n}: {WORDS * 3}")
    async with Model(model.base_url, "sk", model_options=options) as talk.client:
        context = talk.context(models=["small"])
        large = await talk.prepare(context, first := await talk.ask("large?"))
        await talk.end(first, said("yes"))
        await model.strict("window:1000", *STRICT)
        small, refusals = await talk.answered(context, second := await talk.ask("small?", model="small"), model="small")
        await talk.end(second, said("yes"))
        back = await talk.prepare(context, await talk.ask("large again?"))

    assert "question 0:" in texts(large)
    assert refusals == 0
    assert small.data["state"] == "summarised"
    assert "small?" in texts(back)


async def test_a_refusal_without_a_number_makes_the_room_smaller_until_it_fits(talk: Talk, model: ModelServer) -> None:
    await model.strict("window:900", *STRICT)
    context = talk.context()
    for n in range(60):
        await talk.exchange(f"question {n}: {WORDS * 2}")
    error = ModelContextExceeded()
    task = await talk.ask("and now?")
    held = Held(await context.load(task))
    sizes = []
    for _ in range(10):
        prepared = await context.prepare(task, held, "fake", SYSTEM, [], [], uninterrupted)
        assert prepared is not None
        sizes.append(prepared.tokens)
        if tokens_of({"messages": prepared.messages}) <= 900:
            break
        assert context.refused(held, "fake", error, prepared)

    assert sizes == sorted(sizes, reverse=True)
    assert prepared is not None
    await talk.send("fake", prepared)


async def test_a_message_that_is_larger_than_the_window_ends_its_turn_and_not_the_session(
    talk: Talk, model: ModelServer
) -> None:
    await model.strict("window:600", *STRICT)
    context = talk.context()
    await talk.exchange("before")
    task = await talk.ask(WORDS * 100)
    with pytest.raises(ModelContextExceeded):
        await talk.answered(context, task)
    await talk.end(task, {"type": "data-error", "data": {"code": "MODEL_CONTEXT_LENGTH_EXCEEDED"}})

    prepared, _ = await talk.answered(context, await talk.ask("and now?"))

    assert prepared.messages[-1]["content"] == "and now?"


async def test_windows_come_from_the_server_and_are_told_to_gateways(talk: Talk, model: ModelServer) -> None:
    listed = {"data": [{"id": "fake", "max_model_len": 4096}]}
    await model.reset()
    await model.script({"status": 200, "body": json.dumps(listed)}, path="/models", times=100)
    talk.context(models=["gpt-4o", "unknown"])
    assert talk.windows.of("fake").source == "assumed"

    running = asyncio.create_task(talk.windows.run())
    try:
        told = await wait_until(lambda: read_windows(talk.redis), 10, "windows are published")
    finally:
        running.cancel()

    assert told == {"": 4096, "fake": 4096, "gpt-4o": 128_000}
    assert (talk.windows.of("fake").tokens, talk.windows.of("fake").source) == (4096, "server")
    assert talk.windows.learn("fake", 2048)
    assert not talk.windows.learn("fake", 4096)
    assert talk.windows.of("fake").tokens == 2048


async def test_other_refusals_are_not_about_length(talk: Talk, model: ModelServer) -> None:
    await model.reset()
    await model.script({"status": 400}, times=3)
    with pytest.raises(ModelRejected):
        await talk.answered(talk.context(), await talk.ask("hello"))


@pytest.mark.requirement("CH-25")
@pytest.mark.parametrize("most", [2, 3, 4])
async def test_of_however_few_messages_a_strict_server_gets_a_question_first_and_turns_after_it(
    talk: Talk, most: int
) -> None:
    context = talk.context(max_context_messages=most, compaction="truncate")
    for n in range(5):
        await talk.exchange(f"question {n}")
        prepared = await talk.prepare(context, await talk.ask("and now?"))
        sent = fitted(prepared.messages, Wants())
        assert refusal_for(["alternate", "begins", "filled"], {"messages": sent}) is None
        assert sent[-1]["content"] == "and now?"


async def test_a_picture_takes_no_room_in_the_window_of_a_model_that_was_found_to_take_none(talk: Talk) -> None:
    """Else the second question about it would push the conversation out of a small window."""
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    context, task = talk.context(max_context_tokens=4000), await talk.ask("what is this?")
    own = [{"role": "user", "content": [picture]}]
    shown = await talk.prepare(context, task, own)
    talk.client.manners_of("fake").lessons.no_pictures = True
    assert (await talk.prepare(context, task, own)).tokens < shown.tokens - 1000
