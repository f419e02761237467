"""Tool calls that a person must agree to: asked, answered by either route, across restarts, and taken away."""

from typing import Any

import pytest
from redis.asyncio import Redis

from harness.clients.calling import TOOLS_DIR, answers, call, calls_tools, offered
from harness.clients.chat import Chat, Turn
from harness.clients.folding import Message, fold
from harness.clients.sse import follow_to_the_end
from harness.databases.database import Database
from harness.model_server import ModelServer
from harness.processes.services import Services
from harness.waiting import wait_until
from tests.e2e.tools.approving import answer, followed, is_status, last_parts
from tests.e2e.tools.gates import asked_of, open_gate

CAREFUL = call("careful", "call_c", text="hello")


async def ask_for(chat: Chat, model: ModelServer, question: str, *calls: dict[str, Any]) -> tuple[Turn, Message]:
    """A turn that has ended asking for approval, and what its client has."""
    await calls_tools(model, question, *(calls or (CAREFUL,)), says="May I?")
    turn = await chat.ask(question)
    message = fold(await chat.answer(turn))
    assert message.finish is not None
    assert message.finish["finishReason"] == "tool-calls"
    return turn, message


@pytest.mark.requirement("CH-16")
async def test_an_approved_call_is_run_and_the_same_message_continues(chat: Chat, model: ModelServer) -> None:
    turn, asked = await ask_for(chat, model, "ask me first")
    assert asked.tools["call_c"]["state"] == "approval-requested"
    (stored,) = (part for part in await last_parts(chat, turn) if part["type"] == "tool-careful")
    assert stored["state"] == "approval-requested"
    await answers(model, "ask me first", "Said.")

    message = await followed(chat, await answer(chat, turn, "call_c", True), asked)

    assert message.id == asked.id == turn.message_id
    assert message.tools["call_c"]["output"] == "carefully: hello"
    assert message.text == "Said."
    parts = await last_parts(chat, turn)
    assert [part["type"] for part in parts] == ["step-start", "text", "tool-careful", "step-start", "text"]
    assert parts[2]["state"] == "output-available"


@pytest.mark.requirement("CH-16")
async def test_a_denied_call_is_not_run_and_the_model_is_told_why(chat: Chat, model: ModelServer) -> None:
    turn, asked = await ask_for(chat, model, "ask and be denied")
    await answers(model, "ask and be denied", "Then not.")

    message = await followed(chat, await answer(chat, turn, "call_c", False, "too loud"), asked)

    assert message.tools["call_c"]["state"] == "output-denied"
    assert message.text == "Then not."
    told = (await asked_of(model, "ask and be denied"))[-1].body["messages"][-1]
    assert "too loud" in told["content"]
    (part,) = (part for part in await last_parts(chat, turn) if part["type"] == "tool-careful")
    assert part["approval"] == {"id": asked.tools["call_c"]["approval_id"], "approved": False, "reason": "too loud"}


@pytest.mark.requirement("CH-16", "GW-2")
@pytest.mark.parametrize("approved", [True, False])
async def test_while_a_turn_continues_a_message_its_history_is_what_a_stock_client_resumes_from(
    chat: Chat, model: ModelServer, approved: bool
) -> None:
    question = f"ask and hold {approved}"
    turn, asked = await ask_for(chat, model, question)
    await model.script({"gate": question}, {"text": "Said."}, {"finish": "stop"}, match=question)

    accepted = await answer(chat, turn, "call_c", approved)
    await wait_until(lambda: asks_again(model, question), 10, "the model has the output")

    (held,) = (part for part in await last_parts(chat, turn) if part["type"] == "tool-careful")
    assert held["state"] == "approval-responded"
    assert held["approval"]["approved"] is approved
    assert "output" not in held
    await model.open_gate(question)
    message = await followed(chat, accepted, asked)
    assert message.text == "Said."
    (whole,) = (part for part in await last_parts(chat, turn) if part["type"] == "tool-careful")
    assert whole["state"] == ("output-available" if approved else "output-denied")


async def asks_again(model: ModelServer, question: str) -> bool:
    return len(await asked_of(model, question)) == 2


@pytest.mark.requirement("CH-16")
async def test_the_turn_continues_when_the_last_of_several_calls_is_answered(
    chat: Chat, model: ModelServer, shared_redis: Redis
) -> None:
    second, beside = call("careful", "call_2", 1, text="b"), call("echo", "call_3", 2, text="beside")
    turn, asked = await ask_for(chat, model, "three calls", call("careful", "call_1", text="a"), second, beside)
    assert asked.tools["call_3"]["output"] == {"said": "beside"}
    await answers(model, "three calls", "One of two.")

    first = await answer(chat, turn, "call_1", True)
    assert (first.status_code, first.json()) == (
        202,
        {"status": "recorded", "remaining": 1, "task_id": None, "assistant_message_id": None, "stream_url": None},
    )
    message = await followed(chat, await answer(chat, turn, "call_2", False), asked)

    assert message.tools["call_1"]["output"] == "carefully: a"
    assert message.tools["call_2"]["state"] == "output-denied"
    assert message.text == "One of two."


@pytest.mark.requirement("CH-16")
async def test_an_answer_while_the_step_still_runs_is_kept_until_then(
    chat: Chat, model: ModelServer, shared_redis: Redis
) -> None:
    await calls_tools(model, "both kinds", CAREFUL, call("wait_at", "call_w", 1, gate="both kinds"))
    await answers(model, "both kinds", "Both done.")
    turn = await chat.ask("both kinds")
    await wait_until(lambda: is_status(chat, turn, "waiting"), 10, "the turn waits")

    early = await answer(chat, turn, "call_c", True)
    assert early.json()["task_id"] == turn.task_id
    await open_gate(shared_redis, "both kinds")

    message = fold(await chat.answer(turn))
    assert message.text == "Both done."
    assert message.tools["call_c"]["output"] == "carefully: hello"


@pytest.mark.requirement("CH-16")
async def test_the_same_answer_again_is_the_same_and_another_one_is_refused(chat: Chat, model: ModelServer) -> None:
    turn, _ = await ask_for(chat, model, "ask twice")
    first = await answer(chat, turn, "call_c", True)
    assert (await answer(chat, turn, "call_c", True)).json() == first.json()
    other = await answer(chat, turn, "call_c", False)
    assert (other.status_code, other.json()["code"]) == (409, "APPROVAL_ANSWERED")
    unknown = await answer(chat, turn, "call_x", True)
    assert (unknown.status_code, unknown.json()["code"]) == (404, "APPROVAL_NOT_FOUND")
    nowhere = await chat.post("/api/chat/tasks/task_nothing/approvals/call_c", {"approved": True})
    assert nowhere.status_code == 404
    assert (await chat.post(f"/api/chat/tasks/{turn.task_id}/approvals/call_c", {"yes": 1})).status_code == 422


@pytest.mark.requirement("CH-16")
async def test_another_message_takes_the_question_away(chat: Chat, model: ModelServer) -> None:
    turn, _ = await ask_for(chat, model, "ask in vain")
    following = await chat.send(turn.session_id, "never mind [[tokens=3 rate=0]]")
    assert fold(await chat.answer(following)).finish is not None

    late = await answer(chat, turn, "call_c", True)

    assert (late.status_code, late.json()["code"]) == (410, "APPROVAL_GONE")
    messages = (await chat.session(turn.session_id))["messages"]
    (part,) = (part for part in messages[1]["parts"] if part["type"] == "tool-careful")
    assert part["state"] == "output-error"
    told = [m for m in (await asked_of(model, "never mind"))[-1].body["messages"] if m["role"] == "tool"]
    assert [m["tool_call_id"] for m in told] == ["call_c"], "every call has a result"


@pytest.mark.requirement("CH-16")
async def test_a_question_that_nobody_answers_expires(
    chat: Chat, model: ModelServer, shared_database: Database
) -> None:
    turn, _ = await ask_for(chat, model, "ask nobody")
    await shared_database.execute(
        "UPDATE operations SET deadline_at = now() - interval '1 s' WHERE task_id = $1", turn.task_id
    )

    async def expired() -> bool:
        return (await answer(chat, turn, "call_c", True)).status_code == 410

    parts = None

    async def told() -> bool:
        nonlocal parts
        (parts,) = (part for part in await last_parts(chat, turn) if part["type"] == "tool-careful")
        return bool(parts["state"] == "output-error")

    await wait_until(told, 15, "the question has expired")
    assert await expired()


@pytest.mark.requirement("CH-16")
async def test_a_live_continuation_is_listed_as_the_message_was_when_it_began(chat: Chat, model: ModelServer) -> None:
    turn, asked = await ask_for(chat, model, "go on slowly")
    await model.script({"text": "Slowly "}, {"gate": "slow"}, {"text": "done."}, {"finish": "stop"}, match="go on")
    response = await answer(chat, turn, "call_c", True)
    url = chat.url + response.json()["stream_url"]

    async def shows_text() -> bool:
        session = await chat.session(turn.session_id)
        return bool(session["active_task"] and session["active_task"]["status"] == "running")

    await wait_until(shows_text, 10, "the answer goes on")
    session = await chat.session(turn.session_id)
    assert session["active_task"]["message_id"] == turn.message_id
    assert [part["type"] for part in session["messages"][-1]["parts"]] == ["step-start", "text", "tool-careful"]
    await model.open_gate("slow")
    message = fold(await follow_to_the_end([url]), before=asked)
    assert message.text == "Slowly done."


@pytest.mark.requirement("CH-16")
async def test_the_question_outlives_every_process(
    services: Services, model: ModelServer, database: Database, valkey_url: str
) -> None:
    system = await services.whole(tool_runners=1, TOOLS_DIR=str(TOOLS_DIR))
    await offered(system.url, "careful")
    async with Chat(system.url) as chat:
        turn, asked = await ask_for(chat, model, "ask before the restart")
    for service in services.all:
        await service.terminate()
    async with Redis.from_url(valkey_url) as redis:
        await redis.flushall()
    system = await services.whole(tool_runners=1, TOOLS_DIR=str(TOOLS_DIR))
    await offered(system.url, "careful")
    await answers(model, "ask before the restart", "After it.")
    async with Chat(system.url) as chat:
        message = await followed(chat, await answer(chat, turn, "call_c", True), asked)
    assert message.text == "After it."
    assert message.tools["call_c"]["output"] == "carefully: hello"


@pytest.mark.requirement("CH-16", "GW-2")
async def test_the_stock_clients_message_answers_too(chat: Chat, model: ModelServer) -> None:
    turn, asked = await ask_for(chat, model, "stock client")
    await answers(model, "stock client", "By the stock client.")
    part = {
        "type": "tool-careful",
        "toolCallId": "call_c",
        "state": "approval-responded",
        "input": {"text": "hello"},
        "approval": {"id": asked.tools["call_c"]["approval_id"], "approved": True},
    }
    body = {
        "id": turn.session_id,
        "trigger": "submit-message",
        "messageId": turn.message_id,
        "messages": [{"id": turn.message_id, "role": "assistant", "parts": [{"type": "step-start"}, part]}],
    }

    first = await chat.post("/api/chat", body)

    assert first.status_code == 200, first.text
    assert f'"type":"start","messageId":"{turn.message_id}"' in first.text
    assert "By the stock client." in first.text
    assert '"carefully: hello"' in first.text
    again = await chat.post("/api/chat", body)
    said = [line for line in first.text.splitlines() if line.startswith(("id:", "data:"))]
    assert all(line in again.text for line in said), "the same request again is answered by the same turn"
