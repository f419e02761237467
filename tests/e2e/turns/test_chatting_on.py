"""Chatting on while a long operation runs: answered at once, continued by itself, once, whatever dies in between."""

from typing import Any

import pytest
from redis.asyncio import Redis

from harness.clients.asking import asked, questions
from harness.clients.calling import TOOLS_DIR, answers, call, calls_tools, offered
from harness.clients.chat import Chat, Turn
from harness.clients.folding import fold
from harness.clients.sse import follow
from harness.model_server import ModelServer, answer_to
from harness.model_server.record import Record
from harness.processes.services import Services
from harness.waiting import wait_until
from tests.e2e.tools.gates import open_gate

STILL_RUNS = "It was started, and still runs."


def heard(record: Record) -> list[tuple[str, str]]:
    """What the model was told, without the system prompt."""
    return [(one["role"], one["content"] or "") for one in record.body["messages"] if one["role"] != "system"]


async def waits_at(chat: Chat, model: ModelServer, gate: str) -> Turn:
    """A turn whose tool stands at that gate, and has said so."""
    await calls_tools(model, f"go through {gate}", call("wait_at", f"call_{gate}", gate=gate), says="I go.")
    turn = await chat.ask(f"go through {gate}")
    async with follow(chat.stream_url(turn)) as stream:
        await stream.read_until(lambda event: "waiting at the gate" in event.data)
    return turn


async def continuing(chat: Chat, turn: Turn) -> Turn:
    """The turn that continues this one, once it is there."""

    async def there() -> object:
        return (await chat.task(turn.task_id))["continued_by"]

    task_id = await wait_until(there, 30, "a turn continues it")
    task = await chat.task(str(task_id))
    assert task["continues"] == turn.task_id
    return Turn(
        turn.session_id, task["task_id"], task["assistant_message_id"], task["status"], None, f"{task['stream_url']}"
    )


@pytest.mark.requirement("CH-19")
async def test_chatting_on_outlives_a_worker_a_consumer_and_redis(
    services: Services, model: ModelServer, redis: Redis
) -> None:
    system = await services.whole(tool_runners=1, TOOLS_DIR=str(TOOLS_DIR), LEASE_SECONDS="1")
    await offered(system.url, "wait_at")
    await answers(model, "call_north", "Through it, and that was that.")
    async with Chat(system.url) as chat:
        turn = await waits_at(chat, model, "north")
        meanwhile = await chat.send(turn.session_id, "and meanwhile? [[tokens=3 rate=0 gate=slowly]]")
        assert meanwhile.position == 0
        first = await asked(model, lambda record: "and meanwhile?" in str(record.body))
        assert heard(first)[:2] == [("user", "go through north"), ("assistant", "I go.")]
        assert heard(first)[2][1].startswith(STILL_RUNS)
        session = await chat.session(turn.session_id)
        assert session["active_task"]["task_id"] == meanwhile.task_id
        assert [one["task_id"] for one in session["background_tasks"]] == [turn.task_id]

        system.worker.kill9()
        await redis.flushall()
        await system.worker.start()
        await model.open_gate("slowly")
        assert fold(await chat.answer(meanwhile)).text == answer_to("and meanwhile?", 3)
        # Its end comes to nobody.
        system.consumer.kill9()
        await open_gate(redis, "north")
        await system.consumer.start()

        message = fold(await chat.answer(turn))
        assert (message.tools["call_north"]["output"], message.text) == ("through north", "I go.")
        answer = await continuing(chat, turn)
        assert fold(await chat.answer(answer)).text == "Through it, and that was that."
        assert [role for role, _ in await chat.messages(turn.session_id)] == ["user", "assistant"] * 3
        assert (await chat.session(turn.session_id))["background_tasks"] == []
    last = (await questions(model, "tool calls from further up"))[-1]
    assert heard(last)[-1][1].endswith("wait_at (call_north):\nthrough north")
    assert heard(last)[2][1].startswith(STILL_RUNS), "what was sent before is sent as it was"
    assert len(await questions(model, "tool calls from further up")) == 1, "it was paid once"


@pytest.mark.requirement("CH-19", "GW-2")
async def test_a_tool_that_never_blocks_is_answered_at_once_and_once_more_with_its_result(
    services: Services, model: ModelServer, redis: Redis
) -> None:
    system = await services.whole(
        tool_runners=1, TOOLS_DIR=str(TOOLS_DIR), TOOLS_IN_BACKGROUND='["wait_at"]', LEASE_SECONDS="1"
    )
    await offered(system.url, "wait_at")
    await calls_tools(model, "go through east", call("wait_at", "call_east", gate="east"))
    await answers(model, "go through east", "It is under way.")
    await answers(model, "tool calls from further up", "Through it, and that was that.")
    async with Chat(system.url) as chat:
        session_id = await chat.open_session()
        posted = {"id": session_id, "messages": [said("m1", "go through east")]}
        async with follow(f"{chat.url}/api/chat", method="POST", json=posted) as stream:
            first = fold(await stream.read_to_end())
        assert first.text == "It is under way."
        assert first.finish == {"type": "finish", "finishReason": "tool-calls"}
        session = await chat.session(session_id)
        assert session["active_task"] is None, "the next message need not wait"
        [waiting] = session["background_tasks"]
        turn = Turn(session_id, waiting["task_id"], waiting["message_id"], "waiting", None, waiting["stream_url"])
        async with follow(chat.stream_url(turn)) as stream:
            await stream.read_until(lambda event: "waiting at the gate" in event.data)

        await redis.flushall()
        system.consumer.kill9()
        system.worker.kill9()
        await open_gate(redis, "east")
        await system.consumer.start()
        await system.worker.start()

        whole = fold(await chat.answer(turn))
        assert (whole.tools["call_east"]["output"], whole.text) == ("through east", "It is under way.")
        assert fold(await chat.answer(await continuing(chat, turn))).text == "Through it, and that was that."
        assert [role for role, _ in await chat.messages(session_id)] == ["user", "assistant"] * 2
        assert (await chat.session(session_id))["background_tasks"] == []
    last = (await questions(model, "tool calls from further up"))[-1]
    assert [role for role, _ in heard(last)] == ["user", "assistant", "tool", "assistant", "user"]
    assert heard(last)[2][1].startswith(STILL_RUNS), "what was sent before is sent as it was"
    assert len(await questions(model, "tool calls from further up")) == 1, "it was paid once"


@pytest.mark.requirement("CH-19", "GW-2")
async def test_a_stream_of_the_stock_client_ends_where_its_turn_makes_way_and_that_of_the_turn_is_whole(
    chat: Chat, other_chat: Chat, model: ModelServer, shared_redis: Redis
) -> None:
    await calls_tools(model, "go through west", call("wait_at", "call_west", gate="west"))
    await answers(model, "call_west", "Gone.")
    session_id = await chat.open_session()
    async with follow(
        f"{chat.url}/api/chat", method="POST", json={"id": session_id, "messages": [said("m1", "go through west")]}
    ) as stream:
        await stream.read_until(lambda event: "waiting at the gate" in event.data)
        meanwhile = await other_chat.send(session_id, "meanwhile [[tokens=2 rate=0]]")
        ended = fold(await stream.read_to_end())
    assert ended.finish == {"type": "finish", "finishReason": "tool-calls"}
    assert fold(await chat.answer(meanwhile)).text == answer_to("meanwhile", 2)
    [waiting] = (await chat.session(session_id))["background_tasks"]
    turn = Turn(session_id, waiting["task_id"], waiting["message_id"], "waiting", None, waiting["stream_url"])
    await open_gate(shared_redis, "west")
    whole = fold(await chat.answer(turn))
    assert whole.tools["call_west"]["output"] == "through west"
    answer = fold(await chat.answer(await continuing(chat, turn)))
    assert answer.text == "Gone."
    stored = (await chat.session(session_id))["messages"][1]["parts"]
    assert {"type": "data-gate", "data": {"gate": "west"}} in stored, "what the tool has shown beside its call stays"


def said(message_id: str, text: str) -> dict[str, Any]:
    return {"id": message_id, "role": "user", "parts": [{"type": "text", "text": text}]}
