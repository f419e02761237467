"""Tools that run in the client: declared by a request, called by the model, answered by the client, once."""

import json
from typing import Any

import pytest
from gateway.api.posted_message import answers_in
from redis.asyncio import Redis
from sluiceway.store.turns.approving import ClientOutput, Decision

from harness.clients.calling import answers, call, calls_tools
from harness.clients.chat import Chat, Turn
from harness.clients.folding import Message, fold
from harness.clients.sse import follow_to_the_end
from harness.model_server import ModelServer
from harness.waiting import wait_until
from tests.e2e.tools.approving import answer, followed, is_status, last_parts
from tests.e2e.tools.gates import asked_of, open_gate

TOOLS = {"where_am_i": {"description": "The place.", "parameters": {"type": "object", "properties": {"exact": {}}}}}
WHERE = call("where_am_i", "call_w", exact=True)


async def ask(chat: Chat, model: ModelServer, question: str, *calls: dict[str, Any]) -> tuple[Turn, Message]:
    """A turn that has ended with calls for the client, and what its client has."""
    await calls_tools(model, question, *(calls or (WHERE,)), says="Where?")
    turn = await chat.ask(question, tools=TOOLS)
    message = fold(await chat.answer(turn))
    assert message.finish is not None
    assert message.finish["finishReason"] == "tool-calls"
    return turn, message


async def give(chat: Chat, turn: Turn, call_id: str, **body: Any) -> Any:
    return await chat.post(f"/api/chat/tasks/{turn.task_id}/outputs/{call_id}", body)


@pytest.mark.requirement("CH-18")
async def test_the_client_s_output_goes_to_the_model_and_the_same_message_continues(
    chat: Chat, model: ModelServer
) -> None:
    turn, asked = await ask(chat, model, "where am I")
    offered = [tool["function"] for tool in (await asked_of(model, "where am I"))[0].body["tools"]]
    assert {"name": "where_am_i", **TOOLS["where_am_i"]} in offered
    assert asked.tools["call_w"]["state"] == "input-available"
    await answers(model, "where am I", "At home.")

    first = await give(chat, turn, "call_w", output={"lat": 1})
    message = await followed(chat, first, asked)

    assert message.id == asked.id == turn.message_id
    assert message.tools["call_w"]["output"] == {"lat": 1}
    assert message.text == "At home."
    # A page that reloads takes what it is sent then for the whole message.
    reloaded = fold(await follow_to_the_end([f"{chat.url}/api/chat/{turn.session_id}/stream"]))
    assert (reloaded.id, reloaded.text) == (turn.message_id, "Where?At home.")
    assert (reloaded.tools["call_w"]["input"], reloaded.tools["call_w"]["output"]) == ({"exact": True}, {"lat": 1})
    assert (await asked_of(model, "where am I"))[-1].body["messages"][-1] == {
        "role": "tool",
        "tool_call_id": "call_w",
        "content": '{"lat": 1}',
    }
    parts = await last_parts(chat, turn)
    assert [part["type"] for part in parts] == ["step-start", "text", "tool-where_am_i", "step-start", "text"]
    assert (parts[2]["state"], parts[2]["output"]) == ("output-available", {"lat": 1})
    assert (await give(chat, turn, "call_w", output="another")).json() == first.json()
    assert (await last_parts(chat, turn))[2]["output"] == {"lat": 1}


@pytest.mark.requirement("CH-18")
async def test_an_error_of_the_client_is_told_to_the_model(chat: Chat, model: ModelServer) -> None:
    turn, asked = await ask(chat, model, "nowhere")
    await answers(model, "nowhere", "Sorry.")
    message = await followed(chat, await give(chat, turn, "call_w", error="no \x00 permission"), asked)
    assert message.text == "Sorry."
    told = (await asked_of(model, "nowhere"))[-1].body["messages"][-1]["content"]
    assert told.startswith("Error: ")
    assert told.endswith(" permission")


@pytest.mark.requirement("CH-18", "CH-16")
async def test_a_step_waits_for_its_client_for_a_person_and_for_a_runner(chat: Chat, model: ModelServer) -> None:
    calls = (WHERE, call("careful", "call_c", 1, text="b"), call("echo", "call_e", 2, text="beside"))
    turn, asked = await ask(chat, model, "all of them", *calls)
    assert asked.tools["call_e"]["output"] == {"said": "beside"}
    await answers(model, "all of them", "All three.")
    recorded = (await give(chat, turn, "call_w", output=[1])).json()
    assert (recorded["status"], recorded["remaining"]) == ("recorded", 1)
    message = await followed(chat, await answer(chat, turn, "call_c", True), asked)
    assert message.tools["call_c"]["output"] == "carefully: b"
    assert message.tools["call_w"]["output"] == [1]
    assert message.text == "All three."


@pytest.mark.requirement("CH-18")
async def test_an_output_that_comes_while_a_runner_still_works_is_kept(
    chat: Chat, model: ModelServer, shared_redis: Redis
) -> None:
    await calls_tools(model, "early bird", WHERE, call("wait_at", "call_g", 1, gate="early bird"))
    await answers(model, "early bird", "Both.")
    turn = await chat.ask("early bird", tools=TOOLS)
    await wait_until(lambda: is_status(chat, turn, "waiting"), 10, "the turn waits")
    assert (await give(chat, turn, "call_w", output="soon")).json()["task_id"] == turn.task_id
    await open_gate(shared_redis, "early bird")
    message = fold(await chat.answer(turn))
    assert message.tools["call_w"]["output"] == "soon"
    assert message.text == "Both."


@pytest.mark.requirement("CH-18")
async def test_several_rounds_of_calls_and_what_follows_are_one_message(chat: Chat, model: ModelServer) -> None:
    turn, message = await ask(chat, model, "twice please")
    await calls_tools(model, "twice please", call("where_am_i", "call_x"))
    message = await followed(chat, await give(chat, turn, "call_w", output="here"), message)
    assert message.tools["call_x"]["state"] == "input-available"
    await answers(model, "twice please", "Twice.")
    message = await followed(chat, await give(chat, turn, "call_x", output="there"), message)
    assert (message.tools["call_w"]["output"], message.tools["call_x"]["output"]) == ("here", "there")
    assert message.text == "Twice."


@pytest.mark.requirement("CH-18")
async def test_another_message_takes_the_call_away(chat: Chat, model: ModelServer) -> None:
    turn, _ = await ask(chat, model, "forget it")
    await answers(model, "never mind", "Fine.")
    follow = await chat.send(turn.session_id, "never mind")
    assert fold(await chat.answer(follow)).text == "Fine."
    late = await give(chat, turn, "call_w", output=1)
    assert (late.status_code, late.json()["code"]) == (410, "APPROVAL_GONE")
    messages = (await chat.session(turn.session_id))["messages"]
    (part,) = (part for part in messages[1]["parts"] if "toolCallId" in part)
    assert part["state"] == "output-error"


@pytest.mark.requirement("CH-18")
async def test_only_calls_of_the_client_take_an_output(chat: Chat, model: ModelServer) -> None:
    await calls_tools(model, "a runner's", call("echo", "call_e", text="x"))
    await answers(model, "a runner's", "Done.")
    turn = await chat.ask("a runner's", tools=TOOLS)
    assert fold(await chat.answer(turn)).text == "Done."
    for call_id in ("call_e", "call_unknown"):
        refused = await give(chat, turn, call_id, output="forged")
        assert (refused.status_code, refused.json()["code"]) == (404, "APPROVAL_NOT_FOUND")
    again = fold(await follow_to_the_end([f"{chat.url}/api/chat/tasks/{turn.task_id}/stream"]))
    assert again.tools["call_e"]["output"] == {"said": "x"}


@pytest.mark.requirement("CH-18", "CH-24")
def test_an_output_that_is_too_long_is_an_error_for_the_model() -> None:
    part = {"type": "tool-x", "toolCallId": "call_1", "state": "output-available", "output": {"rows": "ä" * 100}}
    message = {"role": "assistant", "id": "m1", "parts": [part]}
    whole = json.dumps(part["output"], ensure_ascii=False)
    taken = answers_in([message], len(whole))
    assert taken == ("m1", {"call_1": ClientOutput(part["output"])})
    told = ClientOutput(error_text=f"The output was longer than {len(whole) - 1} characters.")
    assert answers_in([message], len(whole) - 1) == ("m1", {"call_1": told})


@pytest.mark.requirement("CH-16", "SE-4")
@pytest.mark.parametrize("approved", ["y", "on", "true", 1, 1.0, None, {}])
def test_a_client_says_yes_with_true_and_with_nothing_else(approved: Any) -> None:
    """By a message, as `useChat` posts it; by the route of an approval it is refused."""

    def said(approved: Any) -> Any:
        part = {"toolCallId": "call_1", "state": "approval-responded", "approval": {"id": "a", "approved": approved}}
        return answers_in([{"role": "assistant", "id": "m1", "parts": [part]}], 1000)

    assert said(True) == ("m1", {"call_1": Decision(True, None)})
    assert said(approved) is None


@pytest.mark.requirement("CH-18", "CH-24")
async def test_strange_characters_in_a_tool_keep_no_turn_from_running(chat: Chat, model: ModelServer) -> None:
    tools = {"odd": {"description": "a\x00", "parameters": {"type": "object", "\x00": "\x00"}}}
    turn = await chat.ask("hello [[tokens=2 rate=0]]", tools=tools)
    assert fold(await chat.answer(turn)).error is None


@pytest.mark.requirement("CH-18", "SE-4")
async def test_a_client_cannot_pass_its_tool_off_as_one_of_the_service(chat: Chat, model: ModelServer) -> None:
    turn = await chat.ask("my own echo", tools={"echo": {"description": "mine"}})
    message = fold(await chat.answer(turn))
    assert "echo" in (message.error or "")
    task = await chat.task(turn.task_id)
    assert (task["status"], task["error"]["code"]) == ("failed", "TOOL_NAME_TAKEN")


@pytest.mark.requirement("CH-18", "CH-24")
@pytest.mark.parametrize(
    "tools",
    [
        {"a b": {}},
        {"x": {"parameters": 1}},
        {"x": {"description": "a" * 9000}},
        {f"t{n}": {} for n in range(65)},
        {f"t{n}": {"description": "a" * 8000} for n in range(9)},
    ],
)
async def test_tools_that_are_none_are_refused_before_anything_is_stored(
    chat: Chat, model: ModelServer, tools: dict[str, Any]
) -> None:
    refused = await chat.post("/api/chat/sessions/bad-tools/messages", {"message": "hello", "tools": tools})
    assert (refused.status_code, refused.json()["code"]) == (422, "INVALID_BODY")
