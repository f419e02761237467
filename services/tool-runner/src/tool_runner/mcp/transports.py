"""The way to an MCP server: HTTP requests, or the pipes of a child process.

A child process ends with its transport, within seconds. When this process is killed, the child's input ends, which is
what tells an MCP server to go. It sees no variable of this process's environment but the likes of HOME and PATH,
and those that its settings name. What it writes to its standard error goes to this process's.
"""

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

import anyio
import httpx2
from mcp import StdioServerParameters
from mcp.client import Transport
from mcp.client.streamable_http import streamable_http_client
from pydantic import SecretStr

from tool_runner.mcp.edge import Edge
from tool_runner.mcp.http_bodies import BoundedTransport
from tool_runner.mcp.limits import MAX_MESSAGE_BYTES
from tool_runner.mcp.pipes import over_pipes
from tool_runner.mcp_settings import McpServerSettings
from tool_runner.tool.cookies import no_cookies

_CONNECT_SECONDS = 10.0


def transport_to(
    server: McpServerSettings, on_end: Callable[[], None], on_status: Callable[[int], None], edge: Edge
) -> Transport:
    """Yields the (read, write) streams that `mcp.Client` takes.

    `on_end` is called when a child process closed its output. `on_status` gets the status of every HTTP answer. `edge`
    has every message before the library does.
    """
    if server.url is not None:
        return _over_http(server.url, server.headers, on_status, edge)
    return _over_pipes(server, on_end, edge)


@asynccontextmanager
async def _over_http(
    url: str, headers: dict[str, SecretStr], on_status: Callable[[int], None], edge: Edge
) -> AsyncIterator[Any]:
    async def note_status(response: httpx2.Response) -> None:
        on_status(response.status_code)

    # An answer may take as long as its call may, and a stream of changes is silent for days: no limit for reading here.
    timeout = httpx2.Timeout(_CONNECT_SECONDS, read=None)
    hooks = {"response": [note_status]}
    async with (
        httpx2.AsyncClient(
            transport=BoundedTransport(edge),
            headers=_revealed(headers),
            cookies=no_cookies(),
            timeout=timeout,
            event_hooks=hooks,
        ) as http,
        streamable_http_client(url, http_client=http, max_sse_event_size=MAX_MESSAGE_BYTES) as (read, write),
    ):
        yield _AtTheEdge(read, edge), _Sent(write, edge)


@asynccontextmanager
async def _over_pipes(server: McpServerSettings, on_end: Callable[[], None], edge: Edge) -> AsyncIterator[Any]:
    program, *arguments = server.command
    parameters = StdioServerParameters(command=program, args=arguments, env=_revealed(server.env), cwd=server.cwd)
    # A start that is broken off in the middle leaves its pipes open, and the child to nobody.
    with anyio.CancelScope(shield=True) as starting:
        async with over_pipes(parameters, sys.stderr, edge) as (read, write):
            starting.shield = False
            yield _UntilItsEnd(read, on_end), _Sent(write, edge)


def _revealed(secrets: dict[str, SecretStr]) -> dict[str, str]:
    return {name: secret.get_secret_value() for name, secret in secrets.items()}


class _Stream:
    """As the library wants one."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


class _Sent(_Stream):
    """Outgoing messages, each in the task of its sender."""

    def __init__(self, stream: Any, edge: Edge) -> None:
        super().__init__(stream)
        self._edge = edge

    async def send(self, message: Any) -> None:
        self._edge.sent(message)
        await self._stream.send(message)


class _Received(_Stream):
    async def receive(self) -> Any:
        return await self._stream.receive()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None


class _AtTheEdge(_Received):
    """What comes in, as far as the library shall have it."""

    def __init__(self, stream: Any, edge: Edge) -> None:
        super().__init__(stream)
        self._edge = edge

    async def receive(self) -> Any:
        while True:
            message = await self._stream.receive()
            if self._edge.received(message):
                return message

    async def aclose(self) -> None:
        self._edge.end()
        await super().aclose()


class _UntilItsEnd(_Received):
    """It says when it has ended: the library says so only to those who wait for an answer."""

    def __init__(self, stream: Any, on_end: Callable[[], None]) -> None:
        super().__init__(stream)
        self._on_end = on_end

    async def receive(self) -> Any:
        try:
            return await self._stream.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            self._on_end()
            raise
