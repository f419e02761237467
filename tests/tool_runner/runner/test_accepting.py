"""Work that somebody else goes on with: whoever says so, and however, is waited for."""

import json
from functools import partial

import pytest
from sluiceway.operation.webhook_secrets import operation_secret
from sluiceway.store.records import Operation
from tool_runner.tool.accepting import is_accepted

from harness.processes.services import Services
from harness.waiting import wait_until
from tests.tool_runner.conftest import BAD_TOOLS
from tests.tool_runner.mcp.mcp_stage import over_pipes
from tests.tool_runner.operations import Caller

ROOT = "a-root-secret-of-more-than-thirty-two-bytes"
WEBHOOKS = {"PUBLIC_URL": "http://gateway.test", "WEBHOOK_SECRETS": json.dumps([ROOT])}
EXPECTED_TRACES = "tools_not_loaded"


@pytest.mark.parametrize(
    "answer",
    [
        {"status": "accepted"},
        {"status": "accepted", "job": 7},
        '{"status": "accepted"}',
        '\n {"eta": 3, "status": "accepted"} ',
        {"result": '{"status": "accepted", "job": 7}'},
        {"result": {"status": "accepted"}},
    ],
)
def test_accepted_is_said_in_many_ways(answer: object) -> None:
    assert is_accepted(answer)


@pytest.mark.parametrize(
    "answer",
    [None, [], "accepted", {}, {"status": "done"}, {"status": ["accepted"]}, "{", '["accepted"]', '{"a":' * 5000],
)
def test_what_is_something_else_is_a_result(answer: object) -> None:
    assert not is_accepted(answer)


@pytest.mark.requirement("CH-10")
async def test_what_was_accepted_waits_and_what_was_not_ends(services: Services, caller: Caller) -> None:
    services.expect_in_logs(EXPECTED_TRACES)
    await services.tool_runner(TOOLS_DIR=BAD_TOOLS)
    names = ["accepted", "accepted_dict", "accepted_with_more", "accepted_text"]
    operations = [await caller.call(name) for name in names]
    assert await caller.ask("not_accepted") == {"status": "done", "was": "accepted"}
    for operation in operations:
        await wait_until(partial(_is_accepted, caller, operation), what=f"{operation.tool_name} waits")
        assert await caller.told(operation) == []


async def _is_accepted(caller: Caller, operation: Operation) -> bool:
    return await caller.status(operation) == "accepted"


@pytest.mark.requirement("WH-2")
async def test_a_tool_of_ones_own_finds_its_callback_its_secret_and_the_conversation(
    services: Services, caller: Caller
) -> None:
    services.expect_in_logs(EXPECTED_TRACES)
    await services.tool_runner(TOOLS_DIR=BAD_TOOLS, **WEBHOOKS)
    operation = await caller.call("knows")
    told = (await caller.end(operation)).result
    assert told["callback_url"] == f"http://gateway.test/api/chat/operations/{operation.id}/complete"
    assert told["secret"] == operation_secret(ROOT, operation.id)
    assert told["said"] == [["user", "please"]]
    assert "whsec_" not in told["shown"]


@pytest.mark.requirement("WH-2")
async def test_an_mcp_server_gets_them_too_and_may_accept(services: Services, caller: Caller) -> None:
    await services.tool_runner(MCP_SERVERS=json.dumps({"s": over_pipes()}), **WEBHOOKS)
    await wait_until(lambda: _is_offered(caller, "s__meta"), 60)
    operation = await caller.call("s__meta")
    told = json.loads((await caller.end(operation)).result)
    assert told["callback_url"] == f"http://gateway.test/api/chat/operations/{operation.id}/complete"
    assert told["progress_url"] == f"http://gateway.test/api/chat/operations/{operation.id}/progress"
    assert told["secret"] == operation_secret(ROOT, operation.id)
    assert told["operation_id"] == operation.id
    assert operation.session_id not in str(told)
    assert operation.task_id not in str(told)
    for tool in ("s__accept", "s__accept_as_text", "s__accept_structured"):
        waiting = await caller.call(tool)
        await wait_until(partial(_is_accepted, caller, waiting), what=f"{tool} waits")


async def _is_offered(caller: Caller, tool: str) -> bool:
    return tool in await caller.offered()


async def test_children_find_no_secret_of_the_runner_in_its_environment(services: Services, caller: Caller) -> None:
    services.fork_server = None  # a fork's environment block is that of its server
    planted = {"OPENAI_API_KEY": "sk-planted", **WEBHOOKS}
    await services.tool_runner(MCP_SERVERS=json.dumps({"s": over_pipes(env={"TOKEN": "planted-too"})}), **planted)
    await wait_until(lambda: _is_offered(caller, "s__parents_environment"), 60)
    told = await caller.ask("s__parents_environment")
    for secret in ("sk-planted", ROOT, "planted-too"):
        assert secret not in told


@pytest.mark.requirement("CC-7")
async def test_whatever_a_tool_says_is_made_fit_where_it_comes_in(services: Services, caller: Caller) -> None:
    services.expect_in_logs(f"{EXPECTED_TRACES}|tool_raised")
    await services.tool_runner(TOOLS_DIR=BAD_TOOLS)
    failures = {name: await caller.end(await caller.call(name)) for name in ("mute", "odd_failure")}
    told = {name: (job.error.type, job.error.message) for name, job in failures.items() if job.error is not None}
    assert told == {"mute": ("FAILED", "Mute"), "odd_failure": ("ODD\ufffd", "nul \ufffd half \ufffd")}
    operation = await caller.call("odd_words")
    result = (await caller.end(operation)).result
    assert (result["nul"], result["half"], result["number"]) == ("\ufffd", "\ufffd", None)
    shown = (await caller.shown(operation))[0]
    assert shown == {"status": "running", "message": "nul \ufffd half \ufffd", "data": {"\ufffd": "\ufffd"}}
    (part,) = await caller.parts(operation)
    assert (part.id, part.data["text"]) == ("\ufffd", "\ufffd")
    assert (await caller.offered())["odd_words"].title == "nul \ufffd title"
