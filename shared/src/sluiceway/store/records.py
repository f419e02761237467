"""The rows of the store, as the rest of the system sees them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import asyncpg

from sluiceway.wire.message import Part
from sluiceway.wire.task import ENDED, NOTHING, Status, TaskFields

OperationStatus = Literal[
    "approval", "client", "pending", "running", "accepted", "succeeded", "failed", "denied", "expired", "cancelled"
]
# Those that wait for somebody in front of the client: a person's approval, or the output of what runs there.
ASKING = frozenset({"approval", "client"})
OPEN = frozenset({*ASKING, "pending", "running", "accepted"})


@dataclass(frozen=True, slots=True)
class Session:
    id: str
    user_id: str | None
    title: str | None
    active_task_id: str | None
    # The ended turn whose calls wait for the person.
    approval_task_id: str | None
    created_at: datetime
    updated_at: datetime
    # Since when its owner has it pinned; whether it is kept for a short time only, and listed nowhere.
    pinned_at: datetime | None = None
    temporary: bool = False
    # Since when its owner has it out of the list.
    archived_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Message:
    id: str
    role: str
    parts: list[Part]
    sequence: int
    metadata: dict[str, Any] | None
    created_at: datetime
    # The message that this one follows ('' for the first, None where that was never noted), and whether it is on a
    # branch that is not shown; see branches.py.
    parent_id: str | None = None
    superseded: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """One turn. `attempt` is the fence: a write that names an older one changes nothing."""

    id: str
    session_id: str
    user_id: str | None
    user_message_id: str
    message_id: str
    sequence: int
    status: Status
    attempt: int
    model: str | None
    error: dict[str, Any] | None
    usage: dict[str, Any] | None
    traceparent: str | None
    created_at: datetime
    started_at: datetime | None
    cancel_requested_at: datetime | None
    ended_at: datetime | None
    settled_at: datetime | None
    # How many operations have to end before the next step; how many parts the message had before this turn.
    open_operations: int
    parts_before: int
    # Of a turn that waits for its model: when that is to be asked again; and what it has gone through already, in the
    # chat worker's words. `status` in that is what followers are told.
    retry_at: datetime | None = None
    model_wait: dict[str, Any] | None = None
    # With which system prompt: {"name", "version", "source"}.
    prompt: dict[str, Any] | None = None
    # The tools that the client runs, by name, as the request declared them; see `wire/client_tools.py`.
    client_tools: dict[str, Any] | None = None
    # The form that the answer is to have; see `operation/answer_format.py`.
    answer_format: dict[str, Any] | None = None
    # The turn before it, for which its message was sent while that ran; `entered`: that one ended for it, between two
    # steps, and this one continues with what it had.
    steers: str | None = None
    entered: bool = False
    # Since when it is in the background: it waits for its operations, and its session has another active turn, or none;
    # see background.py. `continues`: the turn in the background whose results this one answers with. `chats_on`: it
    # need not wait for a turn that only waits for operations.
    background_at: datetime | None = None
    continues: str | None = None
    chats_on: bool = False

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def fields(self) -> TaskFields:
        """What Redis is told of it."""
        return TaskFields(
            task_id=self.id,
            session_id=self.session_id,
            user_id=self.user_id,
            message_id=self.message_id,
            created_at=self.created_at.isoformat(),
            before=NOTHING if self.parts_before == 0 else None,
        )


@dataclass(frozen=True, slots=True)
class Operation:
    """One tool call. `attempt`: how often a runner began it; `entry_id`: under which entry of its queue it did so last.
    `approval`: what the person said, {approved, reason?}. `background`: its turn does not wait for it; see
    store/turns/background.py.

    Its result is not here: it may be large. `deadline_at`: past it the operation has failed.
    """

    id: str
    task_id: str
    session_id: str
    message_id: str
    step: int
    tool_call_id: str
    tool_name: str
    input: dict[str, Any]
    queue: str
    status: OperationStatus
    attempt: int
    runner: str | None
    approval_id: str | None
    approval: dict[str, Any] | None
    error: dict[str, Any] | None
    traceparent: str | None
    deadline_seconds: float
    deadline_at: datetime
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    entry_id: str | None = None
    background: bool = False

    @property
    def open(self) -> bool:
        return self.status in OPEN


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that is there whole. `session_id`: None until a message names it. `reading`: what a model is told of a
    document, once it was read: {text} or {problem}."""

    id: str
    user_id: str | None
    session_id: str | None
    name: str
    media_type: str
    size: int
    sha256: str
    reading: dict[str, Any] | None
    created_at: datetime


# As a condition on operations: it has not ended.
UNENDED = "status IN ('approval', 'client', 'pending', 'running', 'accepted')"
# As a condition on operations: somebody in front of the client is waited for.
ASKS = "status IN ('approval', 'client')"
# As a condition on operations: somebody works on it, or is about to.
COMPLETABLE = "status IN ('pending', 'running', 'accepted')"
# As a condition on tasks: those that have not ended.
LIVE = "status IN ('queued', 'running', 'waiting')"
# In the metadata of a message that nobody wrote: the turn whose results it brings. And of an answer whose turn is, or
# was, in the background: the ids of the calls that were open then, or never blocked it; of a turn that runs, of those.
CONTINUES, BACKGROUND = "continues", "background"
TASK_COLUMNS = ", ".join(Task.__slots__)
OPERATION_COLUMNS = ", ".join(Operation.__slots__)
FILE_COLUMNS = ", ".join([*StoredFile.__slots__, "stored_at"])


def task_of(row: asyncpg.Record) -> Task:
    return Task(**{name: row[name] for name in Task.__slots__})


def session_of(row: asyncpg.Record) -> Session:
    return Session(**{name: row[name] for name in Session.__slots__})


def message_of(row: asyncpg.Record) -> Message:
    return Message(**{name: row[name] for name in Message.__slots__})


def operation_of(row: asyncpg.Record, prefix: str = "") -> Operation:
    """`prefix`: of its columns' names, in a row that has others of the same names."""
    return Operation(**{name: row[prefix + name] for name in Operation.__slots__})


def file_of(row: asyncpg.Record) -> StoredFile:
    return StoredFile(**{name: row[name] for name in StoredFile.__slots__})
