"""MCP servers for tests: real processes, reached over their pipes or by HTTP, and a runner's view of them."""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import psutil
from sluiceway.wire.message import Part
from tool_runner.mcp.servers import McpServers
from tool_runner.mcp.tool import McpTool
from tool_runner.mcp_settings import McpServerSettings
from tool_runner.tool import ToolContext
from tool_runner.tool.files import no_files

from harness.processes.child import Child
from harness.processes.ports import free_port
from harness.waiting import wait_until

SCRIPT = str(Path(__file__).with_name("mcp_server.py"))
STARTUP_SECONDS = 60.0


def over_pipes(*options: str, **settings: Any) -> dict[str, Any]:
    return {"command": [sys.executable, SCRIPT, *options], **settings}


class HttpServer:
    """One that is started, killed and started again at the same address."""

    def __init__(self, directory: Path) -> None:
        self._port = free_port()
        self._child = Child("mcp", [sys.executable, SCRIPT, "--http", str(self._port)], directory / "mcp.log")

    def start(self) -> None:
        self._child.start()

    def kill(self) -> None:
        if self._child.alive:
            psutil.Process(self._child.pid).kill()
            self._child.wait(10)

    def settings(self, **settings: Any) -> dict[str, Any]:
        return {"url": f"http://127.0.0.1:{self._port}/mcp", **settings}


@dataclass
class Watcher:
    """Takes the place of a tool's context: what was said about progress."""

    said: list[tuple[float | None, str | None]] = field(default_factory=list)
    operation_id: str = "op_1"
    callback: None = None
    callbacks: None = None

    async def keep(self, name: str, content: bytes, media_type: str | None) -> Part:
        return await no_files(name, content, media_type)

    @property
    def reporter(self) -> "Watcher":
        return self

    def report(self, percent: float | None, message: str | None, data: Any) -> None:
        self.said.append((percent, message))

    async def progress(self, percent: float | None = None, message: str | None = None, data: Any = None) -> None:
        self.report(percent, message, data)


class McpStage:
    """What a runner sees of its MCP servers, and does with them."""

    def __init__(self, servers: McpServers) -> None:
        self.servers = servers

    def names(self) -> list[str]:
        return sorted(tool.name for tool in self.servers.tools())

    async def tool(self, name: str) -> McpTool:
        """The tool, as soon as it is there."""

        def found() -> McpTool | None:
            return next((tool for tool in self.servers.tools() if tool.name == name), None)

        tool = await wait_until(found, STARTUP_SECONDS, f"{name} is there")
        assert tool is not None
        return tool

    async def until_gone(self, name: str) -> None:
        await wait_until(lambda: name not in self.names(), 20, f"{name} is gone")

    async def call(self, name: str, watcher: Watcher | None = None, /, **arguments: Any) -> Any:
        tool = await self.tool(name)
        async with asyncio.timeout(STARTUP_SECONDS):
            return await tool.run(tool.read(arguments), cast("ToolContext", watcher or Watcher()))


@asynccontextmanager
async def mcp_stage(servers: Mapping[str, Any], approve_destructive: bool = False) -> AsyncIterator[McpStage]:
    """Servers by name, as the setting has them."""
    settings = {name: McpServerSettings.model_validate(server) for name, server in servers.items()}
    stage = McpStage(McpServers(settings, approve_destructive=approve_destructive))
    running = asyncio.create_task(stage.servers.run())
    try:
        yield stage
    finally:
        stage.servers.close()
        await asyncio.wait_for(running, 20)


def children() -> list[psutil.Process]:
    """The MCP servers that are children of this process and live."""
    return [child for child in psutil.Process().children(recursive=True) if _is_server(child)]


def _is_server(process: psutil.Process) -> bool:
    try:
        # One that is over, and whose end was not noticed yet, has no command line any more.
        return SCRIPT in process.cmdline() and "--http" not in process.cmdline()
    except psutil.Error:
        return False


def lines_of(notes: Path) -> list[str]:
    return notes.read_text().splitlines() if notes.exists() else []
