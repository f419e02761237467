"""Tasks of MCP servers (the extension io.modelcontextprotocol/tasks, 2026-07-28): a call is answered with a handle, and
the server is asked from time to time what became of it.

Guarantees: no slot and no connection is held meanwhile, and a runner's death loses no task, as its handle is stored.
Asked for is only over HTTP: a child process's tasks would be known to nobody but the runner that has the child.

What a task asks of its user (`input_required`) is an approval, where one answers it (elicitations.py), one question
after the other. Else the task is cancelled, and its call fails with what was asked, so that the model can ask, and call
again.

Source: modelcontextprotocol/ext-tasks, specification of 2026-07-28.
"""

from collections.abc import Collection
from typing import Any, Literal

from mcp import types
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim
from pydantic import Field
from sluiceway.wire.json_values import clean_text

_LEAST_SECONDS, _MOST_SECONDS = 0.5, 60.0
_USUAL_SECONDS = 2.0
_MAX_ASKED_CHARS = 500


class CreatedTask(types.Result):
    result_type: Literal["task"] = "task"
    task_id: str = Field(min_length=1, max_length=1000)
    poll_interval_ms: float | None = None


class TaskState(types.Result):
    """What `tasks/get` answers."""

    status: Literal["working", "input_required", "completed", "failed", "cancelled"]
    status_message: str | None = None
    poll_interval_ms: float | None = None
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    input_requests: dict[str, Any] | None = None

    def asked(self, answered: Collection[str] = ()) -> str:
        """What a person would have to answer, in the server's words, and the fields of its form."""
        requests = (one for key, one in (self.input_requests or {}).items() if key not in answered)
        told = (request.get("params") for request in requests if isinstance(request, dict))
        messages = [_with_fields(params) for params in told if isinstance(params, dict)]
        return clean_text(" ".join(" ".join(messages).split()))[:_MAX_ASKED_CHARS]


def _with_fields(params: dict[str, Any]) -> str:
    message, schema = str(params.get("message") or ""), params.get("requestedSchema")
    fields = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(fields, dict) or not fields:
        return message
    titles = (one.get("title") if isinstance(one, dict) else None for one in fields.values())
    return f"{message} ({', '.join(str(title or name) for name, title in zip(fields, titles, strict=True))})"


class TaskOf(types.RequestParams):
    task_id: str


class GetTask(types.Request[TaskOf, Literal["tasks/get"]]):
    method: Literal["tasks/get"] = "tasks/get"
    name_param = "taskId"


class Answers(TaskOf):
    """`input_responses`: by the keys of what was asked."""

    input_responses: dict[str, Any]


class UpdateTask(types.Request[Answers, Literal["tasks/update"]]):
    method: Literal["tasks/update"] = "tasks/update"
    name_param = "taskId"


class CancelTask(types.Request[TaskOf, Literal["tasks/cancel"]]):
    method: Literal["tasks/cancel"] = "tasks/cancel"
    name_param = "taskId"


class TaskBegun(Exception):
    """The server answered a call with a task."""

    def __init__(self, task: CreatedTask) -> None:
        self.task_id = task.task_id
        self.seconds = poll_seconds(task.poll_interval_ms)
        super().__init__()


class Tasks(ClientExtension):
    """Says that this client takes tasks, and hands them to whoever called."""

    identifier = "io.modelcontextprotocol/tasks"

    def claims(self) -> list[ResultClaim[Any]]:
        return [ResultClaim(result_type="task", model=CreatedTask, resolve=_begun)]


async def _begun(task: CreatedTask, context: ClaimContext) -> types.CallToolResult:
    raise TaskBegun(task)


def poll_seconds(interval_ms: float | None) -> float:
    """As the server wishes, within bounds."""
    if interval_ms is None or not interval_ms > 0:
        return _USUAL_SECONDS
    return min(_MOST_SECONDS, max(_LEAST_SECONDS, interval_ms / 1000))
