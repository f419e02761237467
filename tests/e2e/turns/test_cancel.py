"""Cancelling: from any gateway, in any state, fast, and with what was said kept."""

import time

import pytest

from harness.clients.asking import asked, questions
from harness.clients.chat import Chat, Turn
from harness.clients.folding import Message, fold
from harness.clients.sse import SseStream, follow
from harness.model_server import ModelServer, answer_to
from harness.processes.services import Services

PROMISED_SECONDS = 1.0


async def _cancel_and_see_the_end(chat: Chat, turn: Turn, stream: SseStream) -> tuple[Message, float]:
    """What the follower shows after a cancel, and after how many seconds it saw the end."""
    asked_at = time.monotonic()
    await chat.cancel(turn.task_id)
    await stream.read_until("finish")
    seconds = time.monotonic() - asked_at
    await stream.read_to_end()
    assert stream.end == "clean"
    assert stream.types[-3:] == ["abort", "finish", "[DONE]"]
    return fold(stream.events), seconds


@pytest.mark.requirement("CH-13", "CH-11", "TS-5")
async def test_a_running_turn_is_cancelled_within_a_second_and_keeps_its_partial_text(
    chat: Chat, model: ModelServer
) -> None:
    question = "a long story [[tokens=2000 rate=50]]"
    turn = await chat.ask(question)
    async with follow(chat.stream_url(turn)) as stream:
        await stream.read_text(40)
        asked_at = time.monotonic()
        message, seconds = await _cancel_and_see_the_end(chat, turn, stream)
    assert seconds < PROMISED_SECONDS
    request = await asked(model, lambda record: record.client_closed_at)
    assert request.client_closed_at is not None
    assert request.client_closed_at - asked_at < PROMISED_SECONDS
    assert answer_to(question, 2000).startswith(message.text)
    assert (await chat.messages(turn.session_id))[-1] == ("assistant", message.text)
    assert await chat.status(turn.task_id) == "cancelled"


@pytest.mark.requirement("CH-13")
@pytest.mark.parametrize("silence", ["stall_headers=ever", "stall=ever", "stall_after=4 rate=0"])
async def test_a_turn_whose_model_is_silent_is_cancelled_within_a_second(
    chat: Chat, model: ModelServer, silence: str
) -> None:
    turn = await chat.ask(f"say nothing [[{silence}]]")
    await asked(model, lambda record: record.tokens_sent == (4 if "after" in silence else 0))
    async with follow(chat.stream_url(turn)) as stream:
        asked_at = time.monotonic()
        _, seconds = await _cancel_and_see_the_end(chat, turn, stream)
    assert seconds < PROMISED_SECONDS
    request = await asked(model, lambda record: record.client_closed_at)
    assert request.client_closed_at is not None
    assert request.client_closed_at - asked_at < PROMISED_SECONDS


@pytest.mark.requirement("CH-13", "CH-12")
async def test_a_queued_turn_is_cancelled_and_never_reaches_the_model(chat: Chat, model: ModelServer) -> None:
    running = await chat.ask("first [[gate=g tokens=5 rate=0]]")
    await asked(model)
    queued = await chat.send(running.session_id, "second")
    async with follow(chat.stream_url(queued)) as stream:
        _, seconds = await _cancel_and_see_the_end(chat, queued, stream)
    assert seconds < PROMISED_SECONDS
    await model.open_gate("g")
    assert fold(await chat.answer(running)).text == answer_to("first", 5)
    assert not await questions(model, "second")


@pytest.mark.requirement("CH-13")
async def test_a_turn_that_no_worker_has_taken_is_cancelled(services: Services) -> None:
    gateway = await services.gateway()
    async with Chat(gateway.url) as chat:
        turn = await chat.ask("is anybody there?")
        async with follow(chat.stream_url(turn)) as stream:
            _, seconds = await _cancel_and_see_the_end(chat, turn, stream)
        assert seconds < PROMISED_SECONDS
        assert await chat.status(turn.task_id) == "cancelled"


@pytest.mark.requirement("CH-13", "GW-1")
async def test_a_turn_is_cancelled_from_another_gateway_than_the_one_that_took_it(chat: Chat, other_chat: Chat) -> None:
    turn = await chat.ask("long [[tokens=2000 rate=50]]")
    async with follow(chat.stream_url(turn)) as stream:
        await stream.read_text(10)
        _, seconds = await _cancel_and_see_the_end(other_chat, turn, stream)
    assert seconds < PROMISED_SECONDS


@pytest.mark.requirement("TS-5", "CH-13")
async def test_cancelling_twice_or_after_the_end_changes_nothing(chat: Chat) -> None:
    turn = await chat.ask("short [[tokens=3 rate=0]]")
    before = await chat.answer(turn)
    await chat.cancel(turn.task_id)
    await chat.cancel(turn.task_id)
    assert await chat.status(turn.task_id) == "completed"
    assert fold(await chat.replay(turn)) == fold(before)


@pytest.mark.requirement("CH-13", "CH-12")
async def test_the_session_continues_after_a_cancelled_turn(chat: Chat) -> None:
    turn = await chat.ask("long [[tokens=2000 rate=50]]")
    following = await chat.send(turn.session_id, "next [[tokens=4 rate=0]]")
    await chat.cancel(turn.task_id)
    assert fold(await chat.answer(following)).text == answer_to("next", 4)
