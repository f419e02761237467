"""A turn: accepted, followed, shown and stopped."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import Field
from sluiceway.store.records import Operation, Task
from sluiceway.wire.entry_id import EntryId, format_entry_id
from sluiceway.wire.task import Status

from gateway.api.models.operations import OperationSummary
from gateway.api.models.wire import Wire


def stream_url(task_id: str) -> str:
    return f"/api/chat/tasks/{task_id}/stream"


class ActiveTask(Wire):
    """The turn that runs or is next. Its answer is not among the messages yet: follow `stream_url` for it.

    Of `background_tasks`: one that made way for another message. What it has said is among the messages; its stream
    tells how its operations get on, and ends when a turn of its own is there that continues it."""

    task_id: str
    status: Status
    message_id: str
    stream_url: str
    last_event_id: str | None

    @classmethod
    def of(cls, task: Task, last_id: EntryId | None) -> "ActiveTask":
        return cls(
            task_id=task.id,
            status=task.status,
            message_id=task.message_id,
            stream_url=stream_url(task.id),
            last_event_id=format_entry_id(last_id) if last_id else None,
        )


# What became of a message that was to enter a turn.
Steer = Literal["waiting", "accepted", "returned"]


class AcceptedTurn(Wire):
    """It is durable now and will be answered. `position` 0 runs or is next; n waits for n others."""

    task_id: str
    session_id: str
    message_id: str = Field(description="the user's message")
    assistant_message_id: str
    status: Status
    position: int
    stream_url: str
    steers: str | None = Field(default=None, description="of a message with `policy: steer`: the turn it is for")


class TaskView(Wire):
    task_id: str
    session_id: str
    message_id: str
    assistant_message_id: str
    status: Status
    attempt: int
    model: str | None
    error: dict[str, Any] | None
    usage: dict[str, Any] | None
    prompt: dict[str, Any] | None = Field(description="with which system prompt: `name`, `version` and `source`")
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    stream_url: str
    operations: list[OperationSummary] = Field(description="its tool calls, in their order")
    steers: str | None = Field(default=None, description="the turn that its message was to enter")
    steer: Steer | None = Field(
        default=None,
        description="`accepted`: that turn ended between two steps, and this one continues with what it had;"
        " `returned`: it ended before there was such a moment, and this is a turn of its own",
    )
    background: bool = Field(
        default=False,
        description="it made way for another message while its operations run; a turn of its own continues it then",
    )
    continued_by: str | None = Field(default=None, description="of one in the background: the turn that continued it")
    continues: str | None = Field(default=None, description="the turn whose results this one answers with")

    @classmethod
    def of(cls, task: Task, operations: Sequence[Operation], continued_by: str | None = None) -> "TaskView":
        return cls(
            task_id=task.id,
            session_id=task.session_id,
            message_id=task.user_message_id,
            assistant_message_id=task.message_id,
            status=task.status,
            attempt=task.attempt,
            model=task.model,
            error=task.error,
            usage=task.usage,
            prompt=task.prompt,
            created_at=task.created_at,
            started_at=task.started_at,
            ended_at=task.ended_at,
            stream_url=stream_url(task.id),
            operations=[OperationSummary.summary_of(operation) for operation in operations],
            steers=task.steers,
            steer=_steer_of(task),
            background=task.background_at is not None,
            continued_by=continued_by,
            continues=task.continues,
        )


def _steer_of(task: Task) -> Steer | None:
    if task.steers is None:
        return None
    if task.entered:
        return "accepted"
    return "waiting" if task.status == "queued" else "returned"


class CancelledTurn(Wire):
    """The status is the one of this moment: a running turn ends within a second, one that had ended stays as it was."""

    task_id: str
    status: Status


class StreamTokenView(Wire):
    """`expires_at`: until then a stream may be opened with it."""

    token: str
    expires_at: datetime
    stream_url: str


class Idle(Wire):
    """There was nothing to stop."""

    status: Literal["idle"] = "idle"
