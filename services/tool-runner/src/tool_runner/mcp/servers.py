"""The MCP servers that the settings name, and the tools that they add to this runner.

The runner starts, and is ready, without any of them: a tool is there while its server is. A call that is on its way
when the server goes waits a while for it to come back.
"""

import asyncio
import logging
from collections.abc import Container, Mapping

from mcp import types
from sluiceway.operation.input_schema import UnfitSchema
from sluiceway.process.shares import Shares

from tool_runner.mcp import large_messages
from tool_runner.mcp.connection import McpConnection
from tool_runner.mcp.names import offered_names
from tool_runner.mcp.tool import McpTool
from tool_runner.mcp_settings import McpServerSettings

_CLOSE_SECONDS = 8.0


class McpServers:
    """`run` is their one task; `tools` answers at any time. They are run once."""

    def __init__(self, servers: Mapping[str, McpServerSettings], *, approve_destructive: bool = False) -> None:
        self.places = large_messages.places()
        self._servers = [_Server(name, server, approve_destructive, self.places) for name, server in servers.items()]

    def left_out(self) -> dict[str, str]:
        """The tools that are not offered although their servers list them, with why."""
        return {name: reason for server in self._servers for name, reason in server.all_left_out().items()}

    def tools(self) -> list[McpTool]:
        """What can be called now. A tool stays the same object until its server lists others."""
        return [tool for server in self._servers if server.connection.here for tool in server.tools().values()]

    async def run(self) -> None:
        """Stay connected to all until `close`, or until cancelled; leaves no child process behind."""
        if not self._servers:
            return
        _keep_quiet()
        owners = [
            asyncio.create_task(server.connection.run(), name=f"mcp-{server.connection.name}")
            for server in self._servers
        ]
        try:
            done, _ = await asyncio.wait(owners, return_when=asyncio.FIRST_EXCEPTION)
            for owner in done:
                owner.result()
        finally:
            self.close()
            await _ended(owners)

    def close(self) -> None:
        """Let `run` end. Calls that are on their way are lost."""
        for server in self._servers:
            server.connection.close()


class _Server:
    """A connection, and its tools as tools of this runner, made again when the server lists others."""

    def __init__(self, name: str, server: McpServerSettings, approve_destructive: bool, places: Shares) -> None:
        self.connection = McpConnection(name, server, places)
        self._server = server
        self._approve_destructive = approve_destructive
        self._made_of: list[types.Tool] = []
        self._tools: dict[str, McpTool] = {}
        self.left_out: dict[str, str] = {}

    def all_left_out(self) -> dict[str, str]:
        """Also what the library takes for no tool, under the name that it would have here."""
        connection = self.connection
        refused = {f"{connection.name}__{name}": reason for name, reason in connection.refused.items()}
        return refused | self.left_out

    def tools(self) -> dict[str, McpTool]:
        listed = self.connection.listed
        if listed is not self._made_of:
            self._made_of = listed
            self._tools = self._make(listed)
        return self._tools

    def _make(self, listed: list[types.Tool]) -> dict[str, McpTool]:
        """In the order of their names, and no more than the setting says."""
        self.left_out = {}
        by_name = {tool.name: tool for tool in listed}
        self._note_missing(by_name)
        made: dict[str, McpTool] = {}
        for name, name_there in offered_names(self.connection.name, by_name).items():
            if self._server.tools is not None and name_there not in self._server.tools:
                continue
            if len(made) == self._server.max_tools:
                self._leave_out(name, f"the server lists more than max_tools, {self._server.max_tools}")
                continue
            try:
                made[name] = McpTool(
                    name, by_name[name_there], self.connection, self._server, self._approve_destructive
                )
            except UnfitSchema as error:
                self._leave_out(name, str(error))
        return made

    def _note_missing(self, listed: Container[str]) -> None:
        """A name that the setting allows and the server does not have is likely a slip."""
        missing = sorted(name for name in self._server.tools or () if name not in listed)
        if missing:
            self.connection.log.warning("mcp_tools_missing", tools=missing)

    def _leave_out(self, tool: str, reason: str) -> None:
        self.left_out[tool] = reason
        self.connection.log.warning("mcp_tool_left_out", tool=tool, reason=reason)


async def _ended(owners: list[asyncio.Task[None]]) -> None:
    _, late = await asyncio.wait(owners, timeout=_CLOSE_SECONDS)
    for owner in late:
        owner.cancel()


def _keep_quiet() -> None:
    """The library logs what it could not read, which may be what users wrote, and addresses, which may hold secrets.
    What matters of it is logged here."""
    for name in ("mcp", "client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
