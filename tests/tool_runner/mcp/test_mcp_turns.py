"""Tools of a real MCP server in whole turns: gateway, chat worker, tool runner and completion consumer as processes."""

import json
from pathlib import Path

import psutil
import pytest

from harness.clients.calling import answers, call, calls_tools, offered
from harness.clients.chat import Chat
from harness.clients.folding import fold
from harness.clients.sse import follow_to_the_end
from harness.model_server import ModelServer
from harness.processes.services import Service, Services
from harness.waiting import wait_until
from tests.tool_runner.mcp.mcp_stage import HttpServer, lines_of, over_pipes


def mcp_processes(runner: Service) -> list[psutil.Process]:
    return psutil.Process(runner.pid).children(recursive=True)


async def test_the_model_calls_tools_of_mcp_servers(services: Services, model: ModelServer, tmp_path: Path) -> None:
    servers = {"s": over_pipes(approval="none"), "impatient": over_pipes(approval="none", timeout_seconds=1)}
    system = await services.whole(tool_runners=1, MCP_SERVERS=json.dumps(servers))
    await offered(system.url, "s__count")
    await offered(system.url, "impatient__hang")
    notes = tmp_path / "notes"
    ask = [call("s__count", "call_1", 0, steps=3), call("s__add", "call_2", 1, a=1, b=2)]
    ask += [call("s__add", "call_3", 2, a="one"), call("s__fail", "call_4", 3, reason="no ink")]
    ask.append(call("impatient__hang", "call_5", 4, notes=str(notes)))
    await calls_tools(model, "everything", *ask)
    await answers(model, "everything", "There you are.")

    async with Chat(system.url) as chat:
        message = fold(await chat.answer(await chat.ask("everything, please")))

    assert message.text == "There you are."
    assert message.tools["call_1"]["output"] == "counted"
    assert message.tools["call_2"]["output"] == {"result": 3}
    assert message.tools["call_3"]["error"].startswith("INVALID_ARGUMENTS")
    assert message.tools["call_4"]["error"].startswith("TOOL_ERROR")
    assert "no ink" in message.tools["call_4"]["error"]
    assert message.tools["call_5"]["error"].startswith("TIMEOUT")
    await wait_until(lambda: lines_of(notes) == ["began", "cancelled"])


async def test_a_turn_outlives_the_runner_and_its_mcp_server(
    services: Services, model: ModelServer, tmp_path: Path
) -> None:
    system = await services.whole(tool_runners=1, MCP_SERVERS=json.dumps({"s": over_pipes(approval="none")}))
    await offered(system.url, "s__hang")
    notes = tmp_path / "notes"
    await calls_tools(model, "hang on", call("s__hang", "call_1", notes=str(notes)))
    await answers(model, "hang on", "It was interrupted.")
    runner = system.tool_runners[0]

    async with Chat(system.url) as chat:
        turn = await chat.ask("hang on")
        await wait_until(lambda: "began" in lines_of(notes), 30)
        left = mcp_processes(runner)
        runner.kill9()
        await wait_until(lambda: not any(process.is_running() for process in left), 10, "the MCP server has gone too")
        await runner.start()
        message = fold(await chat.answer(turn))

    assert left
    assert message.text == "It was interrupted."
    assert message.tools["call_1"]["error"].startswith("INTERRUPTED")


async def test_a_runner_that_is_told_to_stop_takes_its_mcp_servers_along(
    services: Services, model: ModelServer, tmp_path: Path
) -> None:
    system = await services.whole(tool_runners=1, MCP_SERVERS=json.dumps({"s": over_pipes(approval="none")}))
    await offered(system.url, "s__hang")
    runner = system.tool_runners[0]
    await calls_tools(model, "hang on", call("s__hang", "call_1", notes=str(tmp_path / "notes")))
    async with Chat(system.url) as chat:
        await chat.ask("hang on")
    await wait_until(lambda: lines_of(tmp_path / "notes"), 30)
    left = mcp_processes(runner)
    assert await runner.terminate() == 0
    assert left
    assert not any(process.is_running() for process in left)


@pytest.mark.requirement("CH-10")
async def test_a_task_of_a_server_is_asked_for_asks_its_person_and_is_told_when_nobody_wants_it(
    services: Services, model: ModelServer, tmp_path: Path
) -> None:
    server, notes = HttpServer(tmp_path), tmp_path / "notes"
    server.start()
    servers = {"s": server.settings(approval="none")}
    try:
        system = await services.whole(tool_runners=1, MCP_SERVERS=json.dumps(servers))
        await offered(system.url, "s__slowly")
        for text in ("print this", "and that", "ask me"):
            await calls_tools(model, text, call("s__slowly", "call_1", notes=str(notes)))
        await answers(model, "print this", "It is printed.")
        await answers(model, "ask me", "As you wished.")
        async with Chat(system.url) as chat:
            turn = await chat.ask("print this")
            await wait_until(lambda: _accepted(chat, turn.task_id), 30, "its server has the task")
            done = {"status": "completed", "result": {"content": [{"type": "text", "text": "two pages"}]}}
            notes.with_suffix(".told").write_text(json.dumps(done))
            message = fold(await chat.answer(turn, timeout=60))
            assert message.text == "It is printed."
            assert message.tools["call_1"]["output"] == "two pages"

            notes.with_suffix(".told").unlink()
            other = await chat.ask("and that")
            await wait_until(lambda: _accepted(chat, other.task_id), 30, "its server has the task")
            await chat.cancel(other.task_id)
            await wait_until(lambda: "cancelled task-1" in lines_of(notes), 30, "its server is told")
            await _asks_its_person(chat, system.tool_runners[0], notes)
    finally:
        server.kill()


async def _accepted(chat: Chat, task_id: str) -> bool:
    return [one["status"] for one in (await chat.task(task_id))["operations"]] == ["accepted"]


async def _asks_its_person(chat: Chat, runner: Service, notes: Path) -> None:
    """The turn ends for the question, which is there after a reload; its answer outlives the runner."""
    turn = await chat.ask("ask me")
    await wait_until(lambda: _accepted(chat, turn.task_id), 30, "its server has the task")
    asks = {"method": "elicitation/create", "params": {"message": "Two-sided?", "requestedSchema": {}}}
    notes.with_suffix(".told").write_text(json.dumps({"status": "input_required", "inputRequests": {"a": asks}}))
    asked = fold(await chat.answer(turn, timeout=60))
    assert asked.finish is not None
    assert asked.finish["finishReason"] == "tool-calls"
    assert asked.tools["call_1"]["state"] == "approval-requested"
    history = (await chat.session(turn.session_id))["messages"]
    question = history[-1]["parts"][-1]
    assert question["type"] == "data-elicitation"
    assert (question["data"]["source"], question["data"]["message"]) == ("s", "Two-sided?")

    runner.kill9()
    done = {"status": "completed", "result": {"content": [{"type": "text", "text": "both sides"}]}}
    notes.with_suffix(".then").write_text(json.dumps(done))
    answered = await chat.post(f"/api/chat/tasks/{turn.task_id}/approvals/call_1", {"approved": True})
    assert answered.status_code == 202
    await runner.start()
    following = [chat.url + answered.json()["stream_url"]]
    message = fold(await follow_to_the_end(following), before=asked)
    assert message.tools["call_1"]["output"] == "both sides"
    assert message.text == "As you wished."
    told = {"a": {"action": "accept", "content": {}}}
    assert [line for line in lines_of(notes) if line.startswith("answered")] == [f"answered {json.dumps(told)}"]
