"""MCP servers that are away, die, hang and come back; and a runner that leaves nothing behind."""

import asyncio
import gc
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import psutil
import pytest
from tool_runner.mcp.servers import McpServers
from tool_runner.mcp_settings import McpServerSettings
from tool_runner.tool import ToolContext, ToolFailed

from harness.processes.ports import free_port
from harness.waiting import wait_until
from tests.tool_runner.mcp.mcp_stage import HttpServer, Watcher, children, lines_of, mcp_stage, over_pipes


@pytest.fixture
def http_server(tmp_path: Path) -> Iterator[HttpServer]:
    server = HttpServer(tmp_path)
    server.start()
    yield server
    server.kill()


async def test_servers_that_are_not_there_keep_nobody_from_the_others() -> None:
    away = {"url": f"http://127.0.0.1:{free_port()}/mcp"}
    async with mcp_stage({"away": away, "missing": {"command": ["no-such-program"]}, "s": over_pipes()}) as stage:
        assert await stage.call("s__say", text="here") == "here"
        assert all(name.startswith("s__") for name in stage.names())


async def test_a_child_that_is_killed_is_started_again() -> None:
    async with mcp_stage({"s": over_pipes()}) as stage:
        first = int(await stage.call("s__process_id"))
        psutil.Process(first).kill()
        await stage.until_gone("s__process_id")
        assert int(await stage.call("s__process_id")) != first


@pytest.mark.parametrize("protocol", ["auto", "legacy"])
async def test_a_server_on_http_that_is_killed_takes_its_tools_along_and_brings_them_back(
    http_server: HttpServer, protocol: str
) -> None:
    async with mcp_stage({"s": http_server.settings(protocol=protocol, refresh_seconds=0.5)}) as stage:
        assert await stage.call("s__say", text="before") == "before"
        http_server.kill()
        await stage.until_gone("s__say")
        http_server.start()
        assert await stage.call("s__say", text="after") == "after"


async def test_a_session_that_the_server_forgot_is_made_again_under_the_call(http_server: HttpServer) -> None:
    async with mcp_stage({"s": http_server.settings(protocol="legacy", refresh_seconds=600)}) as stage:
        before = await stage.call("s__process_id")
        http_server.kill()
        http_server.start()
        await wait_until(lambda: answers(stage.call("s__process_id"), unlike=before), 60)


async def answers(call: object, unlike: str) -> bool:
    """Whether it answers; a server that is still starting does not."""
    try:
        return bool(await call != unlike)  # type: ignore[misc]
    except ToolFailed as failed:
        assert failed.type in ("INTERRUPTED", "TOOL_UNAVAILABLE")  # noqa: PT017
        return False


@pytest.mark.parametrize("over", ["pipes", "http"])
async def test_a_call_that_is_not_repeatable_is_interrupted_when_its_server_dies(
    over: str, http_server: HttpServer, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    server = over_pipes() if over == "pipes" else http_server.settings()
    async with mcp_stage({"s": server}) as stage:
        with pytest.raises(ToolFailed) as failed:
            await stage.call("s__die", notes=str(notes))
    assert failed.value.type == "INTERRUPTED"
    assert lines_of(notes) == ["died"]


async def test_a_repeatable_call_is_sent_once_more_when_its_server_is_back(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    async with mcp_stage({"s": over_pipes()}) as stage:
        assert await stage.call("s__die_once", notes=str(notes)) == "survived"
    assert lines_of(notes) == ["died", "lived"]


async def test_a_call_to_a_server_that_went_away_says_so(
    http_server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tool_runner.mcp.tool._PATIENCE_SECONDS", 0.1)
    async with mcp_stage({"s": http_server.settings(refresh_seconds=0.5)}) as stage:
        tool = await stage.tool("s__say")
        http_server.kill()
        await stage.until_gone("s__say")
        with pytest.raises(ToolFailed) as failed:
            await tool.run(tool.read({"text": "?"}), cast(ToolContext, Watcher()))
    assert failed.value.type == "TOOL_UNAVAILABLE"


@pytest.mark.parametrize("moment", ["while connecting", "when connected", "in a call", "when it is frozen"])
async def test_no_child_outlives_the_runner(moment: str, tmp_path: Path) -> None:
    call: asyncio.Task[object] | None = None
    async with mcp_stage({"s": over_pipes()}) as stage:
        await wait_until(children, 20)
        if moment != "while connecting":
            await stage.tool("s__hang")
        if moment == "in a call":
            call = asyncio.create_task(stage.call("s__hang", notes=str(tmp_path / "notes")))
            await wait_until(lambda: lines_of(tmp_path / "notes"))
        if moment == "when it is frozen":
            children()[0].send_signal(signal.SIGSTOP)
    assert children() == []
    if call is not None:
        with pytest.raises(ToolFailed):
            await call


def test_a_runner_that_ends_while_it_starts_a_child_leaves_nothing_open() -> None:
    async def start_and_end(turns: int) -> None:
        async with mcp_stage({"s": {"command": ["cat"]}}):
            for _ in range(turns):
                await asyncio.sleep(0)

    with warnings.catch_warnings(record=True) as left_open:
        warnings.simplefilter("always", ResourceWarning)
        for turns in range(30):
            asyncio.run(start_and_end(turns))
        gc.collect()
    assert [str(warning.message) for warning in left_open] == []
    assert not [child for child in psutil.Process().children() if child.name() == "cat"]


async def test_no_child_outlives_a_runner_that_is_cancelled() -> None:
    servers = McpServers({"s": McpServerSettings.model_validate(over_pipes())})
    running = asyncio.create_task(servers.run())
    await wait_until(servers.tools, 60)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert children() == []


async def test_secrets_are_not_logged(http_server: HttpServer, capfd: pytest.CaptureFixture[str]) -> None:
    refused = http_server.settings(headers={"Authorization": "Bearer sesame"}, refresh_seconds=0.5)
    refused["url"] = refused["url"].replace("127.0.0.1", "user:sesame@127.0.0.1") + "?key=sesame"
    child = over_pipes(env={"TOKEN": "sesame"})
    nowhere = {"url": f"http://127.0.0.1:{free_port()}/mcp?key=sesame"}
    missing = {"command": ["no-such-program", "sesame"], "env": {"TOKEN": "sesame"}}
    async with mcp_stage({"s": refused, "c": child, "nowhere": nowhere, "missing": missing}) as stage:
        await stage.tool("s__say")
        await stage.tool("c__say")
        http_server.kill()
        await stage.until_gone("s__say")
    output = capfd.readouterr()
    assert "mcp_server_away" in output.out
    assert "sesame" not in output.out + output.err
