"""A real MCP server with a tool for everything that can happen, as a process of its own.

    python mcp_server.py [--http PORT] [--odd]

Without a port it speaks over its pipes. `--odd` adds tools whose names or schemas are not what they should be.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import anyio
from mcp import MCPError, types
from mcp.server import MCPServer
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.extension import Extension, MethodBinding
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel

ODD_NAMES = ["files.read", "files/read", "x" * 100, "x" * 99 + "y", "plain"]
BROKEN = {"type": "object", "properties": {"a": {"type": "nonsense"}}}
LIAR = types.Tool(
    name="liar",
    _meta={"sluiceway/background": True},
    input_schema={"type": "object"},
    output_schema={"type": "object", "properties": {"true": {"type": "boolean"}}, "required": ["true"]},
)


class Person(BaseModel):
    name: str
    age: int


class Server(MCPServer[Any]):
    """Also lists what no decent server would."""

    odd = False

    async def list_tools(self) -> list[types.Tool]:
        listed = [*await super().list_tools(), LIAR]
        if self.odd:
            listed += [types.Tool(name=name, input_schema={"type": "object"}) for name in ODD_NAMES]
            listed.append(types.Tool(name="broken", input_schema=BROKEN))
            listed.append(types.Tool(name="elsewhere", input_schema={"type": "object", "$ref": "http://127.0.0.1:9/x"}))
        return listed

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> types.CallToolResult | types.InputRequiredResult:
        if name == LIAR.name:
            return types.CallToolResult(content=[], structured_content={"true": "maybe"})
        if name in (*ODD_NAMES, "elsewhere"):
            return types.CallToolResult(content=[types.TextContent(type="text", text=name)])
        return await super().call_tool(name, arguments, context)


class Tasks(Extension):
    """Calls of `slowly` are tasks: they work until a file says otherwise. They die with the process."""

    identifier = "io.modelcontextprotocol/tasks"

    def __init__(self) -> None:
        self._tasks: dict[str, Path] = {}

    def methods(self) -> list[MethodBinding]:
        return [
            MethodBinding(method="tasks/get", params_type=TaskParams, handler=self._get),
            MethodBinding(method="tasks/update", params_type=AnswerParams, handler=self._update),
            MethodBinding(method="tasks/cancel", params_type=TaskParams, handler=self._cancel),
        ]

    async def intercept_tool_call(
        self, params: types.CallToolRequestParams, ctx: ServerRequestContext[Any, Any], call_next: CallNext
    ) -> HandlerResult:
        client = ctx.session.client_capabilities
        if params.name != "slowly" or client is None or self.identifier not in (client.extensions or {}):
            return await call_next(ctx)
        notes = Path((params.arguments or {})["notes"])
        task_id = f"task-{len(self._tasks)}"
        self._tasks[task_id] = notes
        note(notes, f"began {task_id}")
        return {"resultType": "task", "taskId": task_id, "status": "working", "ttlMs": None, "pollIntervalMs": 500}

    async def _get(self, ctx: ServerRequestContext[Any, Any], params: "TaskParams") -> HandlerResult:
        if params.task_id not in self._tasks:
            raise MCPError(types.INVALID_PARAMS, "no such task")
        told = self._tasks[params.task_id].with_suffix(".told")
        state = json.loads(told.read_text()) if told.exists() else {"status": "working", "statusMessage": "at it"}
        return {"resultType": "complete", "taskId": params.task_id, "ttlMs": None, "pollIntervalMs": 500, **state}

    async def _update(self, ctx: ServerRequestContext[Any, Any], params: "AnswerParams") -> HandlerResult:
        """The answer is noted; what the file `.then` says is the state from then on."""
        notes = self._tasks[params.task_id]
        note(notes, f"answered {json.dumps(params.input_responses)}")
        if (then := notes.with_suffix(".then")).exists():
            then.rename(notes.with_suffix(".told"))
        return {"resultType": "complete"}

    async def _cancel(self, ctx: ServerRequestContext[Any, Any], params: "TaskParams") -> HandlerResult:
        note(self._tasks[params.task_id], f"cancelled {params.task_id}")
        return {"resultType": "complete"}


class TaskParams(types.RequestParams):
    task_id: str


class AnswerParams(TaskParams):
    input_responses: dict[str, Any]


server = Server("everything", extensions=[Tasks()])
HARMLESS = types.ToolAnnotations(read_only_hint=True)


@server.tool(title="Addition")
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
def person(name: str) -> Person:
    return Person(name=name, age=42)


@server.tool(structured_output=False)
def say(text: str) -> str:
    return text


@server.tool(structured_output=False)
def picture() -> list[Any]:
    blob = types.BlobResourceContents(uri="file:///a.pdf", mime_type="application/pdf", blob="QUJD")
    return [
        types.TextContent(type="text", text="Here it is."),
        types.ImageContent(type="image", data="QUJD" * 10_000, mime_type="image/png"),
        types.AudioContent(type="audio", data="QUI=", mime_type="audio/wav"),
        types.EmbeddedResource(type="resource", resource=blob),
        types.EmbeddedResource(type="resource", resource=types.TextResourceContents(uri="file:///a", text="inside")),
        types.ResourceLink(type="resource_link", name="log", uri="file:///log", mime_type="text/plain", size=7),
    ]


@server.tool()
def fail(reason: str) -> str:
    raise ToolError(reason)


@server.tool(annotations=types.ToolAnnotations(destructive_hint=True))
def destroy() -> str:
    return "destroyed"


@server.tool(annotations=types.ToolAnnotations(destructive_hint=False, idempotent_hint=True))
def put() -> str:
    return "put"


@server.tool(structured_output=False)
async def count(steps: int, context: Context[Any, Any]) -> str:
    """Say how far it is at each step."""
    for step in range(1, steps + 1):
        await context.report_progress(step, steps, f"step {step}")
    return "counted"


@server.tool(structured_output=False)
async def hang(notes: Path) -> str:
    """Never answer, and note down when it began and when it was cancelled."""
    note(notes, "began")
    try:
        await anyio.sleep_forever()
    except anyio.get_cancelled_exc_class():
        note(notes, "cancelled")
        raise
    return "never"


@server.tool(structured_output=False)
def die(notes: Path) -> str:
    """End the whole process."""
    note(notes, "died")
    os._exit(1)


@server.tool(structured_output=False, annotations=HARMLESS)
def die_once(notes: Path) -> str:
    """End the whole process the first time that it is called."""
    if notes.exists():
        note(notes, "lived")
        return "survived"
    note(notes, "died")
    os._exit(1)


@server.tool(structured_output=False)
async def grow(name: str, context: Context[Any, Any]) -> str:
    """Offer one more tool, and tell the client."""
    server.add_tool(say, name=name)
    await context.notify_tools_changed()
    return "grown"


@server.tool(structured_output=False)
async def grow_as_in_2025(name: str, context: Context[Any, Any]) -> str:
    server.add_tool(say, name=name)
    await context.session.send_tool_list_changed()
    return "grown"


@server.tool(structured_output=False)
def variable(name: str) -> str:
    return os.environ.get(name, "not set")


@server.tool(structured_output=False)
def header(name: str, context: Context[Any, Any]) -> str:
    return (context.headers or {}).get(name, "not sent")


@server.tool(structured_output=False)
def slowly(notes: Path) -> str:
    """A task, where the client takes tasks."""
    return "at once"


@server.tool(structured_output=False)
def ask(question: str) -> types.InputRequiredResult:
    form = types.ElicitRequestFormParams(message=question, requested_schema={"type": "object", "properties": {}})
    return types.InputRequiredResult(input_requests={"a": types.ElicitRequest(params=form)})


@server.tool(structured_output=False)
def process_id() -> str:
    return str(os.getpid())


@server.tool(structured_output=False)
def meta(context: Context[Any, Any]) -> str:
    """What the client sent along."""
    sent = context.request_context.meta
    return json.dumps(dict(sent) if sent is not None else {}, default=str)


@server.tool(structured_output=False)
def accept() -> str:
    return '{"status": "accepted", "job": 7}'


@server.tool()
def accept_as_text() -> str:
    return '{"status": "accepted"}'


@server.tool()
def accept_structured() -> dict[str, Any]:
    return {"status": "accepted", "job": 7}


@server.tool(structured_output=False)
def parents_environment() -> str:
    try:
        return Path(f"/proc/{os.getppid()}/environ").read_text(errors="replace")
    except OSError as error:
        return type(error).__name__


def note(notes: Path, what: str) -> None:
    with notes.open("a") as file:
        file.write(f"{what}\n")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--http", type=int)
    parser.add_argument("--odd", action="store_true")
    options = parser.parse_args()
    server.odd = options.odd
    if options.http is None:
        server.run("stdio")
    else:
        server.run("streamable-http", port=options.http)


if __name__ == "__main__":
    main()
