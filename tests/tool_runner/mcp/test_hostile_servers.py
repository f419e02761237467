"""MCP servers that want harm, and a real runner between them and everybody else."""

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from sluiceway.store.records import Operation
from tool_runner.mcp import connection

from harness.processes.child import Child
from harness.processes.ports import free_port
from harness.processes.services import Service, Services
from harness.waiting import wait_until
from tests.tool_runner.mcp.hostile_server import HUGE_MIB, MIB
from tests.tool_runner.mcp.mcp_stage import mcp_stage
from tests.tool_runner.operations import Caller
from tests.tool_runner.tiny_server import answering, serving

SCRIPT = str(Path(__file__).with_name("hostile_server.py"))
STARTUP_SECONDS = 30
# Few bytes that cost much once they are read: up to 1,064 MB and 55 s.
SMALL_THINGS = ("h__small_things", "h__blocks", "h__keys")


def over_pipes(**settings: Any) -> dict[str, Any]:
    return {"command": [sys.executable, SCRIPT], "protocol": "legacy", **settings}


async def runner_with(services: Services, caller: Caller, server: dict[str, Any], **environment: str) -> Service:
    runner = await services.tool_runner(MCP_SERVERS=json.dumps({"h": server}), **environment)
    await wait_until(lambda: is_offered(caller, "h__hello"), STARTUP_SECONDS, "the server's tools are offered")
    return runner


async def is_offered(caller: Caller, tool: str) -> bool:
    return tool in await caller.offered()


@asynccontextmanager
async def over_http(directory: Path, **environment: str) -> AsyncIterator[dict[str, Any]]:
    port = free_port()
    child = Child("hostile", [sys.executable, SCRIPT, "--http", str(port)], directory / "hostile.log")
    child.start({**os.environ, **environment})
    try:
        yield {"url": f"http://127.0.0.1:{port}/mcp", "protocol": "legacy"}
    finally:
        psutil.Process(child.pid).kill()
        child.wait(10)


class MemoryWatch:
    """The most memory that a process had while it was looked at."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.before = self.most = self._process.memory_info().rss

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        looking = asyncio.create_task(self._look())
        try:
            yield
        finally:
            looking.cancel()

    async def _look(self) -> None:
        while True:
            self.most = max(self.most, self._process.memory_info().rss)
            await asyncio.sleep(0.01)

    @property
    def grown_mib(self) -> float:
        return (self.most - self.before) / MIB


async def failed_without_much_memory(caller: Caller, runner: Service, tool: str) -> str:
    memory = MemoryWatch(runner.pid)
    async with memory.watching():
        failure = await caller.failure(await caller.call(tool), 60)
    assert memory.grown_mib < HUGE_MIB / 2
    return failure


@pytest.mark.parametrize("tool", ["h__huge", "h__huge_behind"])
async def test_a_result_of_200_mb_over_pipes_is_one_failed_call_and_costs_little_memory(
    services: Services, caller: Caller, tool: str
) -> None:
    runner = await runner_with(services, caller, over_pipes())
    for each in (tool, *SMALL_THINGS):
        assert await failed_without_much_memory(caller, runner, each) == "RESULT_TOO_LARGE"
    assert await caller.ask("h__hello") == "hello"


async def test_a_result_of_200_mb_over_http_is_one_failed_call_and_costs_little_memory(
    services: Services, caller: Caller, tmp_path: Path
) -> None:
    async with over_http(tmp_path) as server:
        runner = await runner_with(services, caller, server)
        assert await caller.failure(await caller.call("h__slow_result"), 60) == "INVALID_RESULT"
        for each in ("h__huge", "h__lines", *SMALL_THINGS):
            assert await failed_without_much_memory(caller, runner, each) == "RESULT_TOO_LARGE"
        assert await caller.ask("h__hello") == "hello", "each answer set a cookie, and none came back"
        assert await memory_of_pictures(caller, runner) < 140


async def memory_of_pictures(caller: Caller, runner: Service) -> float:
    """Of eight at once, of 14 MB each; each costs two of its copies, and two of a server are read at once."""
    memory = MemoryWatch(runner.pid)
    async with memory.watching():
        calls = [await caller.call("h__picture") for _ in range(8)]
        for call in calls:
            assert "10500000 bytes" in str((await caller.end(call, timeout=60)).result)
    return memory.grown_mib


@pytest.mark.requirement("SE-4")
async def test_a_server_that_never_stops_talking_is_listed_seldom_and_its_call_ends_with_its_progress(
    services: Services, caller: Caller
) -> None:
    runner = await runner_with(services, caller, over_pipes())
    began = time.monotonic()
    call = await caller.call("h__talk")
    assert (await caller.end(call, timeout=60)).result == "hello"
    assert time.monotonic() - began < 20
    assert 1 <= len(await caller.shown(call)) <= 5 * (time.monotonic() - began) + 2
    assert await caller.ask("h__hello") == "hello"
    assert not [line for line in runner.log_lines if line["event"] == "mcp_server_away"]


@pytest.mark.requirement("SE-4")
async def test_a_schema_that_wants_harm_is_left_out_and_said_and_nothing_is_fetched(
    services: Services, caller: Caller
) -> None:
    async with serving(answering("{}", content_type="application/json")) as trap:
        runner = await runner_with(services, caller, over_pipes(env={"TRAP": str(trap.port)}))
        offered = await caller.offered()
        assert trap.requests == []
    assert {"h__slow_pattern", "h__doubling", "h__hello"} <= offered.keys()
    left_out = await details(runner)
    assert left_out.keys() == {"h__fetches", "h__heavy", "h__no_schema"}
    assert "another document" in left_out["h__fetches"]
    logged = {line["tool"] for line in runner.log_lines if line["event"] == "mcp_tool_left_out"}
    assert logged == left_out.keys()


@pytest.mark.requirement("SE-4")
@pytest.mark.parametrize("way", ["pipes", "http"])
async def test_what_is_no_tool_by_the_protocol_is_left_out_and_said_and_the_others_work(
    services: Services, caller: Caller, tmp_path: Path, way: str
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        if way == "pipes":
            server = over_pipes(env={"NO_TOOLS": "1"})
        else:
            server = await stack.enter_async_context(over_http(tmp_path, NO_TOOLS="1"))
        runner = await runner_with(services, caller, server)
        assert await caller.ask("h__hello") == "hello"
        offered, left_out = await caller.offered(), await details(runner)
    names = {"no_type", "of_an_array", "no_object", "odd_required", "odd_output", "odd_hints", "(without a name)"}
    assert {name.removeprefix("h__") for name in left_out} >= names
    assert offered["h__half"].description == "half \ufffd of one"
    assert "inputSchema.type" in left_out["h__no_type"]
    assert not {f"h__{name}" for name in names} & offered.keys()
    logged = [line["tool"] for line in runner.log_lines if line["event"] == "mcp_tool_left_out"]
    assert {f"h__{name}" for name in names} <= set(logged)
    assert len(logged) == len(set(logged)), "once each"


@pytest.mark.requirement("SE-4")
@pytest.mark.parametrize(("many", "most_bytes"), [("1100", 8_000_000), ("100", 200_000)], ids=["tools", "bytes"])
async def test_a_listing_that_nobody_could_mean_is_not_taken(
    many: str, most_bytes: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(connection, "_MAX_LISTED_BYTES", most_bytes)
    said = ""

    def is_said() -> bool:
        nonlocal said
        said += capfd.readouterr().out
        return "ListTooLong" in said

    async with mcp_stage({"h": over_pipes(env={"MANY": many})}) as stage:
        await wait_until(is_said, STARTUP_SECONDS)
        assert stage.names() == []


@pytest.mark.requirement("SE-4")
async def test_of_a_listing_without_end_some_pages_are_taken() -> None:
    async with mcp_stage({"h": over_pipes(env={"ENDLESS": "1"})}) as stage:
        await stage.tool("h__hello")


@pytest.mark.requirement("SE-4")
async def test_a_server_that_lists_other_tools_each_time_is_asked_seldom_and_fills_no_log(
    capfd: pytest.CaptureFixture[str],
) -> None:
    server = over_pipes(env={"CHANGES": "1", "MANY": "100"}, max_tools=20, refresh_seconds=0.1)
    async with mcp_stage({"h": server}) as stage:

        def listings() -> int:
            return max((int(name.removeprefix("h__a_")) + 1 for name in stage.names() if "__a_" in name), default=0)

        await wait_until(listings, STARTUP_SECONDS)
        first, began = listings(), time.monotonic()
        await wait_until(lambda: listings() >= first + 3, 20)
        assert listings() - first <= (time.monotonic() - began) / 0.5 + 1
    assert 50 < capfd.readouterr().out.count("mcp_tool_left_out") <= 110


async def details(runner: Service) -> dict[str, str]:
    async with httpx.AsyncClient() as http:
        told = (await http.get(f"{runner.url}/readyz")).json()
    found: dict[str, str] = told["details"]["tools_left_out"]
    return found


async def test_arguments_that_want_to_keep_the_checker_busy_hold_nobody_up(services: Services, caller: Caller) -> None:
    await runner_with(services, caller, over_pipes())
    busy: list[Operation] = [
        await caller.call("h__slow_pattern", text="a" * 40 + "!"),
        await caller.call("h__doubling", text="b"),
    ]
    began = time.monotonic()
    await caller.ask("current_time")
    assert time.monotonic() - began < 5
    assert await caller.failure(busy[0]) == "INVALID_ARGUMENTS"
    assert (await caller.end(busy[1])).success  # not checked here: that would have no end


async def test_more_tools_than_models_can_carry_are_left_out_by_the_settings(
    services: Services, caller: Caller
) -> None:
    server = over_pipes(env={"MANY": "200"})
    runner = await runner_with(services, caller, server | {"max_tools": 60}, MAX_OFFERED_BYTES="65536")
    offered = await caller.offered()
    assert sum(len(spec.model_dump_json()) for spec in offered.values()) <= 65536
    left_out = await details(runner)
    assert "max_tools" in left_out["h__many_060"]
    assert "65536 bytes" in left_out["h__many_050"]
    assert "h__many_000" in offered
    assert "current_time" in offered


async def test_only_the_tools_that_the_setting_names_are_offered(services: Services, caller: Caller) -> None:
    runner = await runner_with(services, caller, over_pipes(env={"MANY": "200"}, tools=["hello", "many_007", "gone"]))
    offered = await caller.offered()
    assert {name for name in offered if name.startswith("h__")} == {"h__hello", "h__many_007"}
    [missing] = [line for line in runner.log_lines if line["event"] == "mcp_tools_missing"]
    assert missing["tools"] == ["gone"]
    assert offered["h__hello"].title == "h: Web page"
    assert (offered["h__hello"].approval, offered["h__many_007"].approval) == (False, True)
