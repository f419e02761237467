"""Calls to real MCP servers: over pipes and by HTTP, in the protocol's version of 2026 and in the one of 2025."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from sluiceway.wire.tools import ToolSpec
from tool_runner.tool import ToolFailed

from harness.waiting import wait_until
from tests.tool_runner.mcp.mcp_stage import HttpServer, McpStage, Watcher, lines_of, mcp_stage, over_pipes

EVERY_WAY = ["pipes", "pipes of 2025", "http", "http of 2025"]


@pytest.fixture(scope="module")
def http_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpServer]:
    server = HttpServer(tmp_path_factory.mktemp("mcp"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(params=EVERY_WAY)
async def every_way(request: pytest.FixtureRequest, http_server: HttpServer) -> AsyncIterator[McpStage]:
    """The server `s`, reached in each way."""
    protocol = "legacy" if "2025" in request.param else "auto"
    over_http = "http" in request.param
    server = http_server.settings(protocol=protocol) if over_http else over_pipes(protocol=protocol)
    async with mcp_stage({"s": server}) as stage:
        yield stage


@pytest.fixture
async def stage(http_server: HttpServer) -> AsyncIterator[McpStage]:
    async with mcp_stage({"s": http_server.settings()}) as stage:
        yield stage


async def failure(stage: McpStage, name: str, /, **arguments: Any) -> ToolFailed:
    with pytest.raises(ToolFailed) as failed:
        await stage.call(name, **arguments)
    return failed.value


async def test_tools_are_listed_and_called_and_say_how_far_they_are(every_way: McpStage) -> None:
    watcher = Watcher()
    assert await every_way.call("s__add", a=1, b=2) == {"result": 3}
    assert await every_way.call("s__count", watcher, steps=2) == "counted"
    assert watcher.said == [(50, "step 1"), (100, "step 2")]
    failed = await failure(every_way, "s__fail", reason="no ink")
    assert failed.type == "TOOL_ERROR"
    assert "no ink" in failed.message


async def test_a_call_that_is_cancelled_is_cancelled_at_the_server(every_way: McpStage, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    call = asyncio.create_task(every_way.call("s__hang", notes=str(notes)))
    await wait_until(lambda: "began" in lines_of(notes), 60)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await wait_until(lambda: "cancelled" in lines_of(notes))
    assert await every_way.call("s__say", text="still here") == "still here"


async def test_calls_run_side_by_side(every_way: McpStage, tmp_path: Path) -> None:
    slow = asyncio.create_task(every_way.call("s__hang", notes=str(tmp_path / "notes")))
    await wait_until(lambda: lines_of(tmp_path / "notes"), 60)
    answers = await asyncio.gather(*(every_way.call("s__add", a=n, b=n) for n in range(20)))
    assert [answer["result"] for answer in answers] == [2 * n for n in range(20)]
    slow.cancel()


@pytest.mark.parametrize("every_way", ["pipes", "http"], indirect=True)
async def test_a_tool_that_is_added_is_there_when_the_server_says_so(every_way: McpStage) -> None:
    assert await every_way.call("s__grow", name="grown_in_2026") == "grown"
    assert await every_way.call("s__grown_in_2026", text="new") == {"result": "new"}


@pytest.mark.parametrize("every_way", ["pipes of 2025", "http of 2025"], indirect=True)
async def test_a_tool_that_is_added_is_there_also_in_the_older_protocol(every_way: McpStage) -> None:
    assert await every_way.call("s__grow_as_in_2025", name="grown_in_2025") == "grown"
    assert await every_way.call("s__grown_in_2025", text="new") == {"result": "new"}


async def test_a_tool_is_described_as_its_server_describes_it(stage: McpStage) -> None:
    spec = (await stage.tool("s__add")).spec()
    assert isinstance(spec, ToolSpec)
    assert (spec.title, spec.description, spec.approval) == ("s: Addition", "Add two numbers.", False)
    assert spec.parameters["required"] == ["a", "b"]
    assert (await stage.tool("s__say")).spec().text_field == "text"


async def test_only_what_is_said_to_be_harmless_is_repeated(stage: McpStage) -> None:
    assert (await stage.tool("s__die_once")).repeatable
    assert (await stage.tool("s__put")).repeatable
    assert not (await stage.tool("s__add")).repeatable
    assert not (await stage.tool("s__destroy")).repeatable


async def test_what_may_destroy_needs_approval_unless_the_settings_say_otherwise(
    http_server: HttpServer, stage: McpStage
) -> None:
    assert not (await stage.tool("s__destroy")).approval
    trusted, distrusted = http_server.settings(approval="none"), http_server.settings(approval="all")
    servers = {"s": http_server.settings(), "trusted": trusted, "distrusted": distrusted}
    servers["slow"] = http_server.settings(background=True)
    async with mcp_stage(servers, approve_destructive=True) as careful:
        assert (await careful.tool("s__destroy")).approval
        assert (await careful.tool("s__add")).approval  # it says nothing of itself
        assert not (await careful.tool("s__put")).approval
        assert not (await careful.tool("trusted__destroy")).approval
        assert (await careful.tool("distrusted__put")).approval
        # Which of them block a turn is known by the settings, or from the tool itself.
        assert [(await careful.tool(f"{server}__put")).spec().background for server in ("s", "slow")] == [False, True]
        assert (await careful.tool("s__liar")).spec().background


async def test_structured_content_is_the_result_as_it_is(stage: McpStage) -> None:
    assert await stage.call("s__person", name="Ada") == {"name": "Ada", "age": 42}


async def test_what_is_no_text_is_described_and_not_carried(stage: McpStage) -> None:
    assert (await stage.call("s__picture")).splitlines() == [
        "Here it is.",
        "[image image/png, 30000 bytes]",
        "[audio audio/wav, 2 bytes]",
        "[resource <file:///a.pdf>, application/pdf, 3 bytes]",
        "inside",
        "[resource log <file:///log>, text/plain, 7 bytes]",
    ]


async def test_a_large_text_comes_as_it_is(stage: McpStage) -> None:
    text = "ü" * 1_500_000
    assert await stage.call("s__say", text=text) == text


async def test_arguments_are_checked_before_they_are_sent(stage: McpStage) -> None:
    failed = await failure(stage, "s__add", a="one", b=2)
    assert failed.type == "INVALID_ARGUMENTS"
    assert "a: 'one' is not of type" in failed.message


async def test_an_answer_that_breaks_the_tools_own_promise_is_invalid(stage: McpStage) -> None:
    assert (await failure(stage, "s__liar")).type == "INVALID_RESULT"


async def test_headers_reach_the_server(http_server: HttpServer) -> None:
    server = http_server.settings(headers={"Authorization": "Bearer sesame"})
    async with mcp_stage({"s": server}) as stage:
        assert await stage.call("s__header", name="authorization") == "Bearer sesame"


async def test_a_child_gets_the_variables_of_its_settings_and_none_of_the_runners(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "the runner's")
    async with mcp_stage({"s": over_pipes(env={"TOKEN": "sesame"})}) as stage:
        assert await stage.call("s__variable", name="TOKEN") == "sesame"
        assert await stage.call("s__variable", name="OPENAI_API_KEY") == "not set"


async def test_odd_names_fit_and_are_called_by_their_own_and_bad_schemas_are_left_out() -> None:
    async with mcp_stage({"odd": over_pipes("--odd")}) as stage:
        assert await stage.call("odd__plain") == "plain"
        made = [name for name in stage.names() if name.startswith(("odd__files_read_", "odd__xx"))]
        assert {await stage.call(name) for name in made} == {"files.read", "files/read", "x" * 100, "x" * 99 + "y"}
        assert "odd__broken" not in stage.names()
        assert "odd__elsewhere" not in stage.names()  # its schema refers to another document, which nobody fetches
        assert stage.servers.left_out().keys() == {"odd__broken", "odd__elsewhere"}
        assert [tool.spec().name for tool in stage.servers.tools()] == [tool.name for tool in stage.servers.tools()]


async def test_two_servers_may_have_a_tool_of_the_same_name(http_server: HttpServer) -> None:
    async with mcp_stage({"one": over_pipes(), "two": http_server.settings()}) as stage:
        one, two = await stage.call("one__process_id"), await stage.call("two__process_id")
        assert one != two
