"""A message for a turn that runs enters between two steps, or is the next turn; the latest takes the others' place."""

import pytest
from redis.asyncio import Redis

from harness.clients.asking import asked, questions
from harness.clients.calling import answers, call, calls_tools
from harness.clients.chat import Chat, Turn
from harness.clients.folding import Message, fold
from harness.model_server import ModelServer, answer_to
from tests.e2e.tools.gates import asked_of, open_gate


async def _task(chat: Chat, turn: Turn) -> dict[str, object]:
    found = await chat.task(turn.task_id)
    return {name: found[name] for name in ("status", "steers", "steer")}


def _told(message: Message) -> list[dict[str, object]]:
    return [part["data"] for part in message.data if part["type"] == "data-steer"]


@pytest.mark.requirement("CH-12")
async def test_messages_that_steer_reach_the_model_together_in_its_next_step(
    chat: Chat, other_chat: Chat, model: ModelServer, shared_redis: Redis
) -> None:
    await calls_tools(model, "to be steered", call("wait_at", "call_s", gate="steered"), says="Let me see.")
    running = await chat.ask("to be steered")
    await asked(model, lambda record: record.finished_at is not None)
    first = await other_chat.send(running.session_id, "rather briefly", policy="steer")
    second = await chat.send(running.session_id, "and in French", policy="steer")
    assert await _task(chat, first) == {"status": "queued", "steers": running.task_id, "steer": "waiting"}
    await answers(model, "and in French", "Voilà.")
    await open_gate(shared_redis, "steered")

    steered, passed, answered = [fold(await chat.answer(turn)) for turn in (running, first, second)]

    assert (steered.text, answered.text) == ("Let me see.", "Voilà.")
    assert steered.tools["call_s"]["output"] == "through steered"
    assert steered.finish is not None
    assert _told(steered) == [{"state": "accepted", "taskId": first.task_id}]
    assert (passed.text, _told(passed)[0]) == ("", {"state": "accepted", "taskId": running.task_id})
    assert _told(answered) == [{"state": "accepted", "taskId": first.task_id}]
    for turn in (first, second):
        assert (await _task(chat, turn))["steer"] == "accepted"
    (_, last) = await asked_of(model, "to be steered")
    heard = [(one["role"], one["content"]) for one in last.body["messages"] if one["role"] in ("user", "tool")]
    assert heard == [
        ("user", "to be steered"),
        ("tool", "through steered"),
        ("user", "rather briefly"),
        ("user", "and in French"),
    ]
    assert len(await questions(model)) == 2


@pytest.mark.requirement("CH-12")
async def test_a_message_for_a_turn_without_another_step_is_the_next_turn(chat: Chat, model: ModelServer) -> None:
    running = await chat.ask("one step only [[gate=g tokens=3 rate=0]]")
    await asked(model)
    steering = await chat.send(running.session_id, "too late [[tokens=3 rate=0]]", policy="steer")
    await model.open_gate("g")
    whole, returned = fold(await chat.answer(running)), fold(await chat.answer(steering))
    assert (whole.text, returned.text) == (answer_to("one step only", 3), answer_to("too late", 3))
    assert _told(whole) == []
    assert _told(returned) == [{"state": "returned", "taskId": running.task_id}]
    assert (await _task(chat, steering))["steer"] == "returned"


@pytest.mark.requirement("CH-12")
async def test_the_latest_message_is_answered_after_what_runs_and_those_that_waited_are_not(
    chat: Chat, model: ModelServer
) -> None:
    running = await chat.ask("at work [[gate=g tokens=3 rate=0]]")
    await asked(model)
    waiting = await chat.send(running.session_id, "never mind", policy="latest")
    latest = await chat.send(running.session_id, "this then [[tokens=3 rate=0]]", policy="latest")
    await model.open_gate("g")
    assert fold(await chat.answer(waiting)).aborted
    assert fold(await chat.answer(running)).text == answer_to("at work", 3)
    assert fold(await chat.answer(latest)).text == answer_to("this then", 3)
    assert len(await questions(model)) == 2
