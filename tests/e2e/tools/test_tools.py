"""Turns whose model calls tools: through gateway, chat worker, tool runner and completion consumer, as processes."""

import json
from typing import Any

import pytest
from chat_worker.direct import SIGN_IN
from redis.asyncio import Redis

from harness.clients.calling import answers, call, calls_tools
from harness.clients.chat import Chat
from harness.clients.folding import Message, fold
from harness.clients.sse import replay
from harness.databases.database import Database
from harness.model_server import ModelServer
from harness.processes.services import Services
from harness.waiting import wait_until
from tests.e2e.tools.gates import asked_of, open_gate
from tests.gateway.callers import SECRET, bearer


async def shown_so_far(chat: Chat, task_id: str, redis: Redis) -> Message:
    """What a client that follows from the beginning has of a live turn."""
    entries: Any = await redis.xrange(f"sw:task:{{{task_id}}}:events")
    return fold([json.loads(fields[b"d"]) for _, fields in entries if fields.get(b"v") != b"7"])


@pytest.mark.requirement("CC-6", "CH-5", "CH-9")
async def test_a_tool_call_is_run_and_the_answer_continues_in_the_same_stream(chat: Chat, model: ModelServer) -> None:
    await calls_tools(model, "quick tool", call("echo", "call_a", text="größe"), says="Let me see.")
    await answers(model, "quick tool", "It said größe.")
    turn = await chat.ask("quick tool, please")

    message = fold(await chat.answer(turn))

    assert message.text == "Let me see.It said größe."
    assert len(message.steps) == 2
    assert message.tools["call_a"] | {"arguments": ""} == {
        "name": "echo",
        "state": "output-available",
        "arguments": "",
        "preliminary": False,
        "input": {"text": "größe"},
        "output": {"said": "größe"},
    }
    first, second = await asked_of(model, "quick tool")
    assert "echo" in {tool["function"]["name"] for tool in first.body["tools"]}
    assert [sent["role"] for sent in second.body["messages"][-3:]] == ["user", "assistant", "tool"]
    assert second.body["messages"][-1]["content"] == '{"said": "größe"}'
    stored = (await chat.session(turn.session_id))["messages"][-1]["parts"]
    assert [part["type"] for part in stored] == ["step-start", "text", "tool-echo", "step-start", "text"]
    assert stored[2]["output"] == {"said": "größe"}


@pytest.mark.requirement("CC-6", "CH-5")
async def test_parallel_calls_are_answered_together_whoever_is_last(
    chat: Chat, model: ModelServer, shared_redis: Redis
) -> None:
    names = [f"call_{n}" for n in range(5)]
    calls = [call("wait_at", name, n, gate=f"par-{n}") for n, name in enumerate(names)]
    await calls_tools(model, "five tools", *calls)
    await answers(model, "five tools", "All five.")
    turn = await chat.ask("five tools at once")
    for n in (3, 0, 4, 2, 1):
        await open_gate(shared_redis, f"par-{n}")

    message = fold(await chat.answer(turn))

    assert message.text == "All five."
    assert [message.tools[name]["output"] for name in names] == [f"through par-{n}" for n in range(5)]
    assert len(await asked_of(model, "five tools")) == 2
    listed = (await chat.get(f"/api/chat/tasks/{turn.task_id}")).json()["operations"]
    assert [(one["tool_call_id"], one["status"], one["attempt"]) for one in listed] == [
        (name, "succeeded", 1) for name in names
    ]


@pytest.mark.requirement("CH-9")
async def test_progress_is_seen_while_it_runs_and_after_a_reload(
    chat: Chat, model: ModelServer, shared_redis: Redis
) -> None:
    await calls_tools(model, "slow tool", call("wait_at", "call_s", gate="progress"))
    await answers(model, "slow tool", "Done.")
    turn = await chat.ask("slow tool")

    async def waiting() -> bool:
        seen = (await shown_so_far(chat, turn.task_id, shared_redis)).tools.get("call_s", {})
        return bool(seen.get("preliminary") and seen["output"]["percent"] == 30)

    await wait_until(waiting, 10, "progress is in the stream")
    assert await chat.status(turn.task_id) == "waiting"
    await open_gate(shared_redis, "progress")
    message = fold(await chat.answer(turn))
    assert message.tools["call_s"]["output"] == "through progress"
    assert [chunk["data"] for chunk in message.data] == [{"gate": "progress"}]
    parts = (await chat.session(turn.session_id))["messages"][-1]["parts"]
    assert {"type": "data-gate", "data": {"gate": "progress"}} in parts


@pytest.mark.requirement("CC-7", "CH-8")
@pytest.mark.parametrize(
    ("calls", "error"),
    [
        (call("broken", "call_e", text="so"), "SPEECHLESS: cannot say so"),
        (call("nonsense", "call_e", text="so"), "UNKNOWN_TOOL"),
        (call("echo", "call_e", words="so"), "INVALID_ARGUMENTS"),
        (
            {"tool_call": {"index": 0, "id": "call_e", "function": {"name": "echo", "arguments": '{"text": "so'}}},
            "INVALID_ARGUMENTS",
        ),
        (call("forgotten", "call_e", text="so"), "DEADLINE_EXCEEDED"),
    ],
    ids=["raises", "unknown", "bad-arguments", "cut-arguments", "past-its-deadline"],
)
async def test_the_model_gets_to_explain_what_went_wrong(
    chat: Chat, model: ModelServer, calls: dict[str, Any], error: str
) -> None:
    question = f"explain {error}"
    await calls_tools(model, question, calls)
    await answers(model, question, "It went wrong.")
    turn = await chat.ask(question)

    message = fold(await chat.answer(turn))

    assert message.text == "It went wrong."
    assert message.tools["call_e"]["state"] == "output-error"
    assert message.tools["call_e"]["error"].startswith(error)
    told = (await asked_of(model, question))[-1].body["messages"][-1]
    assert told["role"] == "tool"
    assert error in told["content"]


@pytest.mark.requirement("CH-8")
async def test_a_long_result_is_shortened_for_the_conversation_and_kept_whole(
    chat: Chat, model: ModelServer, shared_database: Database
) -> None:
    await calls_tools(model, "huge result", call("huge", "call_h", text="ab"))
    await answers(model, "huge result", "Long.")
    turn = await chat.ask("huge result")
    message = fold(await chat.answer(turn))
    assert message.text == "Long."
    assert 1000 < len(message.tools["call_h"]["output"]) < 50_000
    whole = await shared_database.fetchval("SELECT output#>>'{}' FROM operations WHERE task_id = $1", turn.task_id)
    assert whole == "ab" * 50_000


@pytest.mark.requirement("CH-8")
async def test_in_the_last_round_no_tool_may_be_called_so_there_is_an_answer(chat: Chat, model: ModelServer) -> None:
    question = "never enough"
    for n in range(11):
        await calls_tools(model, question, call("echo", "call_0", text=f"round {n}"))
    await answers(model, question, "Enough.")
    message = fold(await chat.answer(await chat.ask(question)))
    assert message.text == "Enough."
    asked = await asked_of(model, question)
    assert all(record.body["tools"] for record in asked), "servers want tools where messages have calls"
    assert [record.body.get("tool_choice") for record in asked] == [None] * 11 + ["none"]
    assert len(message.tools) == 11, "calls of one id are told apart"


@pytest.mark.requirement("CH-8")
async def test_too_many_calls_of_one_step_go_back_as_errors(chat: Chat, model: ModelServer) -> None:
    await calls_tools(model, "too many", *(call("echo", f"call_{n}", n, text=str(n)) for n in range(20)))
    await answers(model, "too many", "Some.")
    message = fold(await chat.answer(await chat.ask("too many")))
    states = [part["state"] for part in message.tools.values()]
    assert states == ["output-available"] * 16 + ["output-error"] * 4


@pytest.mark.requirement("CH-13")
async def test_stop_while_a_tool_runs_ends_the_turn_and_the_tool(
    chat: Chat, other_chat: Chat, model: ModelServer, shared_redis: Redis, shared_database: Database
) -> None:
    await calls_tools(model, "stop the tool", call("wait_at", "call_w", gate="never"), says="First this.")
    turn = await chat.ask("stop the tool")
    await wait_until(lambda: _is_running(shared_database, turn.task_id), 10, "the tool runs")

    await other_chat.cancel(turn.task_id)
    message = fold(await chat.answer(turn, timeout=5))

    assert message.aborted
    assert message.text == "First this."
    assert message.tools["call_w"]["error"].startswith("CANCELLED")
    status = await shared_database.fetchval("SELECT status FROM operations WHERE task_id = $1", turn.task_id)
    assert status == "cancelled"
    following = await chat.send(turn.session_id, "and now [[tokens=3 rate=0]]")
    assert fold(await chat.answer(following)).finish is not None


async def _is_running(database: Database, task_id: str) -> bool:
    return bool(await database.fetchval("SELECT status FROM operations WHERE task_id = $1", task_id) == "running")


@pytest.mark.requirement("CH-15")
async def test_a_command_runs_the_tool_without_asking_the_model_first(chat: Chat, model: ModelServer) -> None:
    await answers(model, "/echo hello there", "So it is.")
    turn = await chat.ask("/echo hello there")
    message = fold(await chat.answer(turn))
    (part,) = message.tools.values()
    assert (part["name"], part["input"]) == ("echo", {"text": "hello there"})
    assert part["output"] == {"said": "hello there"}
    assert message.text == "So it is."
    assert len(await asked_of(model, "/echo hello there")) == 1
    as_json = await chat.ask('/echo {"text": "hi", "times": 2}')
    (part,) = fold(await chat.answer(as_json)).tools.values()
    assert part["output"] == {"said": "hi hi"}


@pytest.mark.requirement("CH-15")
@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("/ehco hello", ["no tool `/ehco`", "`/echo`: Say the text again."]),
        ('/echo {"times": 2}', ["`/echo` cannot be run with that", "'text' is a required property", "Example:"]),
        ("/echo", ["'text' is a required property", '{"text": "…"}']),
        ("/tools", ["These tools are offered", "`/careful`"]),
    ],
)
async def test_a_wrong_command_gets_a_helpful_answer(
    chat: Chat, model: ModelServer, command: str, words: list[str]
) -> None:
    turn = await chat.ask(command)
    message = fold(await chat.answer(turn))
    for word in words:
        assert word in message.text
    assert not await asked_of(model, command)
    assert await chat.status(turn.task_id) == "completed"


@pytest.mark.requirement("CH-15")
async def test_commands_can_be_kept_for_people_who_have_signed_in(services: Services) -> None:
    system = await services.whole(tool_runners=1, DIRECT_TOOLS="signed-in", JWT_SECRET=SECRET, AUTH_REQUIRED="false")
    async with Chat(system.url) as anonymous:
        turn = await anonymous.ask("/current_time")
        await wait_until(lambda: _has_ended(anonymous, turn.task_id), 60)
        assert (await anonymous.messages(turn.session_id))[-1] == ("assistant", SIGN_IN)
    async with Chat(system.url, bearer("ada")) as ada:
        turn = await ada.ask("/current_time")
        await wait_until(lambda: _has_ended(ada, turn.task_id), 60)
        answer = (await ada.session(turn.session_id))["messages"][-1]
        assert "tool-current_time" in [part["type"] for part in answer["parts"]]


async def _has_ended(chat: Chat, task_id: str) -> bool:
    return await chat.status(task_id) == "completed"


@pytest.mark.requirement("CH-15")
async def test_commands_can_be_switched_off_and_are_messages_then(services: Services) -> None:
    system = await services.whole(tool_runners=1, DIRECT_TOOLS="off")
    async with Chat(system.url) as chat:
        told = fold(await chat.answer(await chat.ask("/current_time [[tokens=4 rate=0]]")))
    assert told.tools == {}
    assert told.text.startswith("/current_time")


async def test_a_path_is_no_command(chat: Chat) -> None:
    turn = await chat.ask("/usr/bin is a path [[tokens=4 rate=0]]")
    assert fold(await chat.answer(turn)).text.startswith("/usr/bin is")


@pytest.mark.requirement("CC-6")
async def test_a_replay_of_the_ended_turn_shows_the_same_message(chat: Chat, model: ModelServer) -> None:
    await calls_tools(model, "replay it", call("echo", "call_r", text="a"), call("broken", "call_b", 1, text="b"))
    await answers(model, "replay it", "Both.")
    turn = await chat.ask("replay it")
    live = fold(await chat.answer(turn))
    again = fold((await replay(chat.stream_url(turn))).events)
    assert again == live
    seventh = fold((await replay(chat.stream_url(turn), protocol=7)).events, protocol=7)
    assert seventh.tools == live.tools
