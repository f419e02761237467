"""The connection to one MCP server: kept by one task, used by all calls, made again whenever it is lost.

Guarantees: `run` continues until `close`, whatever the server does, and leaves no child process behind. A call gets an
answer, or an error of this module that says whether the server may have begun the work. A call that is cancelled is
cancelled at the server. Nothing of a call is sent twice by this module.

Not guaranteed: that a server which is away is noticed at once. A child process's end is; a server on HTTP is noticed by
the next call, the end of its stream of changes, or the next listing, whichever comes first.
"""

import asyncio
import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any, cast

import anyio
from mcp import Client, MCPError, types
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
from sluiceway.backoff import Backoff
from sluiceway.process.few_lines import FewLines
from sluiceway.process.logs import get_logger
from sluiceway.process.shares import Shares

from tool_runner.mcp.calls import Call
from tool_runner.mcp.edge import Edge
from tool_runner.mcp.elicitations import not_in_a_call
from tool_runner.mcp.listing import MAX_LISTED
from tool_runner.mcp.result_schemas import ResultSchemas
from tool_runner.mcp.tasks import Answers, CancelTask, GetTask, TaskOf, Tasks, TaskState, UpdateTask
from tool_runner.mcp.transports import transport_to
from tool_runner.mcp_settings import McpServerSettings

_CONNECT_SECONDS = 30.0
_LIST_SECONDS = 30.0
# Between two listings, and so many times as long as one took: a server may say at any time that its tools have changed.
_LIST_PAUSE_SECONDS, _LIST_PAUSE_TIMES = 0.5, 4
_MAX_PAGES = 50
_MAX_LISTED_BYTES = 8 * 1024 * 1024
# A connection that held this long was a good one: the next loss starts the backoff from its beginning.
_GOOD_SECONDS = 30.0
_SESSION_GONE = (types.INVALID_REQUEST, "Session terminated")  # the library's words for HTTP 404 within a session


class McpServerAway(Exception):
    """The server did not get the call: it is not there."""


class McpSessionGone(McpServerAway):
    """The server was there, but knew nothing of this connection any more, so it did nothing. It will be made again."""


class McpConnectionLost(Exception):
    """The connection broke during the call: the server may have done the work, or not."""


class ListTooLong(Exception):
    """The server lists more tools than anybody could mean."""


class McpConnection:
    """One server. `listed`: its tools as it last listed them, also while it is away; `refused`: what it listed beside
    them that is no tool, with why; `log`: what is said of what it lists. `here`: they can be called."""

    def __init__(self, name: str, server: McpServerSettings, places: Shares) -> None:
        self.name = name
        self.listed: list[types.Tool] = []
        self.refused: dict[str, str] = {}
        self.log = FewLines(mcp_server=name)
        self.here = False
        self._server = server
        self._client: Client | None = None
        self._usable = asyncio.Event()
        self._stale = asyncio.Event()
        self._ended = asyncio.Event()
        self._status: int | None = None
        self._edge = Edge(name, places, self._stale.set)
        self._results = ResultSchemas()
        self._scope = anyio.CancelScope()
        self._log = get_logger().bind(mcp_server=name)

    async def run(self) -> None:
        """Stay connected until `close`. The library's scopes belong to the task that runs this, so nobody else enters
        them; and it is ended by `close`, not by cancelling the task, which could cut the end of a child short."""
        with self._scope:
            backoff = Backoff(first_seconds=0.2, cap_seconds=30)
            while True:
                began = anyio.current_time()
                reason = await self._connect_and_stay()
                if anyio.current_time() - began > _GOOD_SECONDS:
                    backoff.reset()
                delay = backoff.next_seconds()
                self._log.warning("mcp_server_away", reason=reason, retry_in_seconds=round(delay, 2))
                await asyncio.sleep(delay)

    def close(self) -> None:
        """Let `run` end, from whatever it is doing. Calls that are on their way are lost."""
        self._scope.cancel()

    async def call(
        self,
        tool: str,
        arguments: dict[str, Any],
        patience_seconds: float,
        meta: Mapping[str, str],
    ) -> types.CallToolResult:
        """Ask the server; for a server that is away wait `patience_seconds`. `meta`: what goes along in `_meta`. What
        comes of it meanwhile is told to the Call that this is asked in.

        Raises McpServerAway, McpSessionGone, McpConnectionLost; MCPError: the server refused; ValueError, RuntimeError:
        what it answered is not what it must be; TaskBegun: it works on it, and is to be asked. There is no time limit
        but the caller's cancelling.
        """
        client = await self._usable_client(patience_seconds)
        with self._told(client):
            result = await client.call_tool(
                tool, arguments, progress_callback=_told_at_the_edge, meta=cast("Any", dict(meta)) if meta else None
            )
            self._results.check(tool, result)
            return result

    async def look_at(self, task_id: str, tool: str, patience_seconds: float) -> TaskState:
        """How far a task is that a call of the tool began. Raises as `call`."""
        client = await self._usable_client(patience_seconds)
        with self._told(client), Call().asking():
            state = await client.session.send_request(GetTask(params=TaskOf(task_id=task_id)), TaskState)
            if state.status == "completed":
                result = types.CallToolResult.model_validate(state.result or {}, by_name=False)
                self._results.check(tool, result)
            return state

    async def answer_task(self, task_id: str, answers: dict[str, Any], patience_seconds: float) -> None:
        """What a person said to what the task asked. Raises as `call`."""
        client = await self._usable_client(patience_seconds)
        with self._told(client):
            request = UpdateTask(params=Answers(task_id=task_id, input_responses=answers))
            await client.session.send_request(request, types.EmptyResult)

    async def cancel_task(self, task_id: str, patience_seconds: float) -> None:
        """Nobody wants it any more. Raises as `call`."""
        client = await self._usable_client(patience_seconds)
        with self._told(client):
            await client.session.send_request(CancelTask(params=TaskOf(task_id=task_id)), types.EmptyResult)

    @contextlib.contextmanager
    def _told(self, client: Client) -> Iterator[None]:
        """What went wrong with the connection, as errors of this module."""
        try:
            yield
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            self._doubt(client)
            raise McpConnectionLost from error
        except MCPError as error:
            if (error.code, error.message) == _SESSION_GONE:
                self._doubt(client)
                raise McpSessionGone from error
            if error.code == types.CONNECTION_CLOSED:
                self._doubt(client)
                raise McpConnectionLost from error
            raise

    async def _usable_client(self, patience_seconds: float) -> Client:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_seconds):
                await self._usable.wait()
        if self._client is None or not self._usable.is_set():
            raise McpServerAway
        return self._client

    def _doubt(self, client: Client) -> None:
        """A call was lost on it: nobody else uses it before it has listed its tools again."""
        if self._client is client:
            self._usable.clear()
            self._stale.set()

    async def _connect_and_stay(self) -> str:
        """Why it is over."""
        self._ended.clear()
        self._status = None
        transport = transport_to(self._server, self._ended.set, self._note_status, self._edge)
        tasks = self._server.url is not None
        client = Client(
            transport,
            mode=self._server.protocol,
            cache=None,
            extensions=[Tasks()] if tasks else None,
            elicitation_callback=not_in_a_call if tasks else None,
        )
        try:
            with anyio.fail_after(_CONNECT_SECONDS) as connecting:
                async with client:
                    self._edge.listing.version = client.protocol_version
                    await self._listed(client)
                    connecting.deadline = math.inf
                    await self._stay(client)
        except Exception as error:  # noqa: BLE001 - whatever a server does must not end the runner
            return self._reason(error)
        return "ended"

    async def _stay(self, client: Client) -> None:
        """Serve calls and keep the list of tools fresh. It ends with the connection."""
        self._client = client
        self._log.info("mcp_server_here", tools=len(self.listed), protocol=client.protocol_version)
        try:
            self.here = True
            async with anyio.create_task_group() as group:
                group.start_soon(self._notice_end)
                if client.server_capabilities.tools and client.server_capabilities.tools.list_changed:
                    group.start_soon(self._follow_changes, client)
                await self._keep_listing(client)
        finally:
            self._client = None
            self._usable.clear()
            self.here = False

    async def _keep_listing(self, client: Client) -> None:
        not_before = 0.0
        while True:
            self._usable.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._server.refresh_seconds):
                    await self._stale.wait()
            await asyncio.sleep(not_before - anyio.current_time())
            not_before = await self._listed(client)

    async def _listed(self, client: Client) -> float:
        """List; when that may be done again."""
        began = anyio.current_time()
        with Call().asking():  # a large listing has its place until it is read
            await self._list(client)
        ended = anyio.current_time()
        return ended + max(_LIST_PAUSE_SECONDS, _LIST_PAUSE_TIMES * (ended - began))

    async def _list(self, client: Client) -> None:
        """Raises what the library raises when the server does not answer as it must."""
        self._stale.clear()
        self._edge.listing.begin()
        listed: list[types.Tool] = []
        size = 0
        with anyio.fail_after(_LIST_SECONDS):
            page = await client.list_tools()
            for _ in range(_MAX_PAGES):
                listed += page.tools
                size += len(page.model_dump_json())
                if size > _MAX_LISTED_BYTES or len(listed) > MAX_LISTED:
                    raise ListTooLong
                if page.next_cursor is None:
                    break
                page = await client.list_tools(cursor=page.next_cursor)
        self._results = ResultSchemas(self._edge.listing.results)
        refused, before = self._edge.listing.refused, self.refused
        self.refused = refused
        for name in refused.keys() - before.keys():
            self.log.warning("mcp_tool_left_out", tool=f"{self.name}__{name}", reason=refused[name])
        if listed != self.listed:
            self.log.info("mcp_tools_changed", tools=len(listed))
            self.listed = listed

    async def _notice_end(self) -> None:
        await self._ended.wait()
        raise McpConnectionLost("the server closed its output")

    async def _follow_changes(self, client: Client) -> None:
        """Have a server of the newer protocol tell of changes, which the edge hears; one of the older tells anyway."""
        backoff = Backoff(first_seconds=1, cap_seconds=60)
        while True:
            began = anyio.current_time()
            try:
                async with client.listen(tools_list_changed=True) as changes:
                    self._stale.set()  # what changed since the last list, and before this, is not told
                    async for _ in changes:
                        pass
            except ListenNotSupportedError:
                return
            except (SubscriptionLost, MCPError) as error:
                self._log.info("mcp_changes_lost", reason=type(error).__name__)
            # What changed meanwhile is not told afterwards; and if the server is gone, this finds out.
            self._stale.set()
            if anyio.current_time() - began > _GOOD_SECONDS:
                backoff.reset()
            await asyncio.sleep(backoff.next_seconds())

    def _note_status(self, status: int) -> None:
        self._status = status

    def _reason(self, error: BaseException) -> str:
        """What happened, without a word of what servers and addresses say: secrets may be in both."""
        reasons = sorted({_kind(leaf) for leaf in _leaves(error)})
        if self._status is not None and self._status >= 400:
            reasons.append(f"HTTP {self._status}")
        return ", ".join(reasons)


async def _told_at_the_edge(progress: float, total: float | None, message: str | None) -> None:
    """The library asks a server for progress only where somebody wants it."""


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in _leaves(part)]
    return [error]


def _kind(error: BaseException) -> str:
    if isinstance(error, MCPError):
        return f"MCPError {error.code}"
    if isinstance(error, OSError) and error.strerror:
        return f"{type(error).__name__}: {error.strerror}"
    return type(error).__name__
