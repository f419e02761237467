"""One tool of an MCP server, as a tool of this runner.

It is repeatable only where the server says that calling it twice does no harm; such a call is sent once more when the
connection broke under it. Everything else that breaks off ends as INTERRUPTED. Errors are the operation's:
TOOL_UNAVAILABLE (the server is away), TOOL_ERROR (the tool or its server refused), INVALID_RESULT (the answer is not
what the protocol, or the tool's own output schema, asks for). A call that its server works on as a task (tasks.py) is
looked at from time to time.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mcp import MCPError, types
from pydantic import RootModel
from sluiceway.operation.input_schema import InputSchema
from sluiceway.wire.elicitation import INPUT_REQUIRED
from sluiceway.wire.json_values import clean_json

from tool_runner.mcp.asking import Asking
from tool_runner.mcp.calls import Call
from tool_runner.mcp.connection import McpConnection, McpConnectionLost, McpServerAway, McpSessionGone
from tool_runner.mcp.elicitations import NotAnswerable
from tool_runner.mcp.limits import TOO_LARGE
from tool_runner.mcp.progress import ProgressOf
from tool_runner.mcp.results import error_text, result_value
from tool_runner.mcp.shown_words import one_line
from tool_runner.mcp.tasks import TaskBegun, TaskState, poll_seconds
from tool_runner.mcp_settings import McpApproval, McpServerSettings
from tool_runner.tool.definition import AsksPerson, InProgress, Tool, ToolContext, ToolFailed
from tool_runner.tool.files import KeepFile

# Longer than a server takes to restart, much shorter than a user waits for an answer.
_PATIENCE_SECONDS = 10.0
# A task is looked at again anyway.
_LOOK_PATIENCE_SECONDS, _AWAY_SECONDS = 3.0, 10.0
_MAX_MESSAGE_CHARS = 500
_ONLY_A_PERSON = "asks for something that only a person can say: "
# In a tool's `_meta`: it never blocks a turn.
_BACKGROUND = "sluiceway/background"
_MAX_DESCRIPTION_CHARS = 4000
_MAX_TITLE_CHARS = 100


Meta = Mapping[str, str]


class McpArguments(RootModel[dict[str, Any]]):
    """The arguments as JSON: their schema is the server's."""


class McpTool(Tool[McpArguments]):
    """`name`: the one it has here. Raises UnfitSchema where its schema cannot be offered."""

    Input = McpArguments

    def __init__(
        self,
        name: str,
        listed: types.Tool,
        connection: McpConnection,
        server: McpServerSettings,
        approve_destructive: bool,
    ) -> None:
        hints = listed.annotations or types.ToolAnnotations()
        self.name = name
        title = clean_json(listed.title or hints.title or listed.name)
        # A person who approves must see whose tool it is: its own words may be those of one of ours.
        self.title = f"{connection.name}: {one_line(title, _MAX_TITLE_CHARS)}"
        self.description = clean_json(listed.description or title)[:_MAX_DESCRIPTION_CHARS]
        self.long = server.long
        self.timeout_seconds = server.call_seconds
        self.approval = _needs_approval(hints, server.approval or ("destructive" if approve_destructive else "none"))
        self.background = server.background or (listed.meta or {}).get(_BACKGROUND) is True
        self.repeatable = bool(hints.read_only_hint or hints.idempotent_hint)
        self._schema = InputSchema(listed.input_schema)
        self._name_there = listed.name
        self._connection = connection

    def schema(self) -> dict[str, Any]:
        return self._schema.offered

    def read(self, arguments: Any) -> McpArguments:
        problem = self._schema.problem(arguments)
        if problem is not None:
            raise ToolFailed(problem, type="INVALID_ARGUMENTS")
        return McpArguments.model_validate(arguments)

    async def run(self, arguments: McpArguments, context: ToolContext) -> Any:
        """Its structured content, else its text. Cancelling this cancels the call at the server."""
        progress = ProgressOf(context)
        call = Call(progress.said)
        with call.asking():
            try:
                with self._failures():
                    result = await self._call(arguments.root, progress, self._meta(context))
            except TaskBegun as begun:
                return InProgress({"taskId": begun.task_id}, begun.seconds)
            call.was_read()
            return await _value(result, context.keep)

    async def look(self, handle: Mapping[str, Any], context: ToolContext) -> Any:
        """What became of a task; while its server is away it is asked later. It is told first what a person said."""
        asking, refused = Asking.read(handle), None
        try:
            answers = asking.answers()
        except ValueError as error:
            why = str(error)
            return await self._ask(asking, lambda: asking.again(why, context.operation_id))
        try:
            if answers:
                refused = await self._answer(asking.task_id, answers)
                asking = asking.told()
            with self._failures(away_too=False):
                state = await self._connection.look_at(asking.task_id, self._name_there, _LOOK_PATIENCE_SECONDS)
        except (McpServerAway, McpConnectionLost):
            return InProgress(asking.handle, _AWAY_SECONDS)
        match state.status:
            case "working":
                if state.status_message:
                    await context.progress(None, clean_json(state.status_message)[:_MAX_MESSAGE_CHARS])
                return InProgress(asking.handle, poll_seconds(state.poll_interval_ms))
            case "input_required":
                return await self._input_required(state, asking, refused, context.operation_id)
            case "completed":
                done = types.CallToolResult.model_validate(state.result or {}, by_name=False)
                return await _value(done, context.keep)
            case "failed":
                message = str((state.error or {}).get("message") or state.status_message or "the task failed")
                raise ToolFailed(message[:_MAX_MESSAGE_CHARS], type="TOOL_ERROR")
            case "cancelled":
                raise self._failed("has cancelled the task", "TOOL_ERROR")

    async def _answer(self, task_id: str, answers: dict[str, Any]) -> MCPError | None:
        """Tell it what a person said; what it refused with. It does so, too, where it was told before."""
        try:
            await self._connection.answer_task(task_id, answers, _LOOK_PATIENCE_SECONDS)
        except MCPError as refused:
            return refused
        return None

    async def _input_required(
        self, state: TaskState, asking: Asking, refused: MCPError | None, operation_id: str
    ) -> InProgress | AsksPerson:
        if not asking.has_all(state):
            asked = state.asked(asking.answered)
            return await self._ask(asking, lambda: asking.next(state, operation_id, self._connection.name), asked)
        if refused is not None:
            await self.give_up(asking.handle)
            raise ToolFailed(refused.message[:_MAX_MESSAGE_CHARS] or "the server refused", type="TOOL_ERROR")
        return InProgress(asking.handle, poll_seconds(state.poll_interval_ms))

    async def _ask(self, before: Asking, question: Callable[[], Asking], asked: str = "") -> AsksPerson:
        """Its person; where no approval answers it, the task is given up, and the model told what is `asked`."""
        try:
            asking = question()
        except NotAnswerable:
            await self.give_up(before.handle)
            raise self._failed(_ONLY_A_PERSON + (asked or before.message), INPUT_REQUIRED) from None
        otherwise = f"the MCP server {self._connection.name} {_ONLY_A_PERSON}{asking.message}"
        return AsksPerson(asking.handle, asking.question, otherwise)

    async def give_up(self, handle: Mapping[str, Any]) -> None:
        with contextlib.suppress(McpServerAway, McpConnectionLost, MCPError, ValueError, RuntimeError):
            async with asyncio.timeout(_LOOK_PATIENCE_SECONDS):
                await self._connection.cancel_task(str(handle.get("taskId")), _LOOK_PATIENCE_SECONDS)

    @contextlib.contextmanager
    def _failures(self, *, away_too: bool = True) -> Iterator[None]:
        """What a call may end with, as the operation's errors."""
        try:
            yield
        except McpServerAway as error:
            if not away_too:
                raise
            raise self._failed("is away", "TOOL_UNAVAILABLE") from error
        except McpConnectionLost as error:
            if not away_too:
                raise
            raise self._failed("was lost in the middle of the call", "INTERRUPTED") from error
        except MCPError as error:
            if TOO_LARGE in error.message:
                raise self._failed("answered more than is taken", "RESULT_TOO_LARGE") from error
            raise ToolFailed(error.message[:_MAX_MESSAGE_CHARS] or "the server refused", type="TOOL_ERROR") from error
        except (ValueError, RuntimeError) as error:  # what the library raises about answers
            raise self._failed("gave an answer that is not valid", "INVALID_RESULT") from error

    def _meta(self, context: ToolContext) -> Meta:
        """What a server needs to continue the work and tell how it ended. Ids of the conversation are pseudonyms."""
        if context.callback is None or context.callbacks is None:
            return {}
        ids = {"task_id": context.task_id, "session_id": context.session_id}
        pseudonyms = context.callbacks.pseudonyms(f"mcp:{self._connection.name}", ids)
        deadline = context.deadline_at.isoformat()
        return {"operation_id": context.operation_id, **pseudonyms, **context.callback.told(), "deadline": deadline}

    async def _call(self, arguments: dict[str, Any], progress: ProgressOf, meta: Meta) -> types.CallToolResult:
        try:
            return await self._call_once(arguments, progress, meta)
        except McpSessionGone:
            pass  # it was not begun
        except McpConnectionLost:
            if not self.repeatable:
                raise
        return await self._call_once(arguments, progress, meta)

    async def _call_once(self, arguments: dict[str, Any], progress: ProgressOf, meta: Meta) -> types.CallToolResult:
        progress.begin()
        try:
            return await self._connection.call(self._name_there, arguments, _PATIENCE_SECONDS, meta)
        finally:
            progress.end()

    def _failed(self, what: str, kind: str) -> ToolFailed:
        return ToolFailed(f"the MCP server {self._connection.name} {what}", type=kind)


async def _value(result: types.CallToolResult, keep: KeepFile) -> Any:
    if result.is_error:
        raise ToolFailed(error_text(result), type="TOOL_ERROR")
    return await result_value(result, keep)


def _needs_approval(hints: types.ToolAnnotations, wanted: McpApproval) -> bool:
    """A tool that says nothing of itself may destroy: the protocol's own default."""
    harmless = hints.read_only_hint is True or hints.destructive_hint is False
    return wanted == "all" or (wanted == "destructive" and not harmless)
