"""The MCP servers that the settings name, and the tools that they add to this runner.

The runner starts, and is ready, without any of them: a tool is there while its server is. A call that is on its way
when the server goes waits a while for it to come back.
"""

import asyncio
import logging
from collections.abc import Mapping

from mcp import types
from sluiceway.process.logs import get_logger

from tool_runner.mcp.connection import McpConnection
from tool_runner.mcp.names import offered_names
from tool_runner.mcp.schemas import UnfitSchema
from tool_runner.mcp.tool import McpTool
from tool_runner.mcp_settings import McpServerSettings

_CLOSE_SECONDS = 15.0
# More tools than this no model chooses from, and the catalogue is read by every worker every second.
_MAX_TOOLS = 200


class McpServers:
    """`run` is their one task; `tools` answers at any time. They are run once."""

    def __init__(self, servers: Mapping[str, McpServerSettings], *, approve_destructive: bool = False) -> None:
        self._servers = [_Server(name, server, approve_destructive) for name, server in servers.items()]

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
    """A connection, and its tools as tools of this runner, made anew when the server lists others."""

    def __init__(self, name: str, server: McpServerSettings, approve_destructive: bool) -> None:
        self.connection = McpConnection(name, server)
        self._server = server
        self._approve_destructive = approve_destructive
        self._made_of: list[types.Tool] = []
        self._tools: dict[str, McpTool] = {}

    def tools(self) -> dict[str, McpTool]:
        listed = self.connection.listed
        if listed is not self._made_of:
            self._made_of = listed
            self._tools = self._make(listed)
        return self._tools

    def _make(self, listed: list[types.Tool]) -> dict[str, McpTool]:
        by_name = {tool.name: tool for tool in listed}
        made: dict[str, McpTool] = {}
        for name, name_there in offered_names(self.connection.name, by_name).items():
            try:
                made[name] = McpTool(
                    name, by_name[name_there], self.connection, self._server, self._approve_destructive
                )
            except UnfitSchema as error:
                self._leave_out(name, str(error))
        for name in list(made)[_MAX_TOOLS:]:
            del made[name]
            self._leave_out(name, f"the server lists more than {_MAX_TOOLS} tools")
        return made

    def _leave_out(self, tool: str, reason: str) -> None:
        get_logger().warning("mcp_tool_left_out", mcp_server=self.connection.name, tool=tool, reason=reason)


async def _ended(owners: list[asyncio.Task[None]]) -> None:
    _, late = await asyncio.wait(owners, timeout=_CLOSE_SECONDS)
    for owner in late:
        owner.cancel()


def _keep_quiet() -> None:
    """The library logs what it could not read, which may be what users wrote, and addresses, which may hold secrets.
    What matters of it is logged here."""
    for name in ("mcp", "client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
