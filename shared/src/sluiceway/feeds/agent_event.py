"""One agent event: what it says, how it stands on the wire, and what is refused.

Guarantees: an event that was taken is JSON that every browser can read, on one line, with letters of any script as they
are; and what cannot be stored or read back is refused, by AgentEventRejected, before anything is sent.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer, ValidationError

from sluiceway.errors import AgentEventError, AgentEventRejected
from sluiceway.ids import is_client_id
from sluiceway.process.logs import get_logger
from sluiceway.wire.json_values import one_line

PublishedType = Literal["start", "thought", "action", "output", "end", "error", "complete"]
AgentEventType = Literal[PublishedType, "connection_end"]
CONNECTION_END = "connection_end"
MAX_EVENT_BYTES = 1024 * 1024
MAX_NAME_CHARS = 200
_TYPES = frozenset(get_args(PublishedType))


def _in_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


def _with_z(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class AgentEvent(BaseModel):
    """One event. `timestamp` is the publisher's clock, in UTC, in ms; `metadata` any JSON object."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    task_id: str
    sequence: int = Field(ge=1)
    agent_name: str
    event_type: AgentEventType
    content: str
    timestamp: Annotated[AwareDatetime, AfterValidator(_in_utc), PlainSerializer(_with_z)]
    metadata: dict[str, Any] = Field(default_factory=dict)

    def encode(self) -> bytes:
        """As JSON, as it is stored: on one line for every reader, letters of any script as they are."""
        return one_line(json.dumps(self.model_dump(), ensure_ascii=False, allow_nan=False).encode())

    def sse(self, entry_id: str | None = None) -> bytes:
        """As a frame of an event stream. With an id, a browser can resume after it."""
        head = b"" if entry_id is None else f"id: {entry_id}\n".encode()
        return b"%bdata: %b\n\n" % (head, self.encode())


@dataclass(frozen=True, slots=True)
class Draft:
    """An event that has all but its number: its JSON, in front of the number and behind it; `event` has a wrong one."""

    head: bytes
    tail: bytes
    event: AgentEvent

    @property
    def task_id(self) -> str:
        return self.event.task_id

    @property
    def event_type(self) -> str:
        return self.event.event_type

    @classmethod
    def make(
        cls, task_id: str, agent_name: str, event_type: str, content: str, metadata: Mapping[str, Any] | None
    ) -> "Draft":
        """Raises AgentEventRejected for what is no event."""
        if not isinstance(event_type, str) or event_type not in _TYPES:
            raise AgentEventRejected(f"an event_type is one of {', '.join(get_args(PublishedType))}")
        if not isinstance(agent_name, str) or not 0 < len(agent_name) <= MAX_NAME_CHARS:
            raise AgentEventRejected(f"an agent_name is a text of 1 to {MAX_NAME_CHARS} characters")
        if not isinstance(content, str):
            raise AgentEventRejected(f"content is a text, not {type(content).__name__}; metadata take any JSON")
        if metadata is not None and not isinstance(metadata, Mapping):
            raise AgentEventRejected(f"metadata are a JSON object, not {type(metadata).__name__}")
        return cls._encoded(task_id, agent_name, event_type, content, dict(metadata or {}))

    @classmethod
    def ending(cls, task_id: str) -> "Draft":
        return cls._encoded(task_id, "", CONNECTION_END, "", {})

    @classmethod
    def _encoded(
        cls, task_id: str, agent_name: str, event_type: str, content: str, metadata: dict[str, Any]
    ) -> "Draft":
        rest = {
            "agent_name": agent_name,
            "event_type": event_type,
            "content": content,
            "timestamp": _with_z(datetime.now(UTC)),
            "metadata": metadata,
        }
        head = f'{{"task_id": "{checked_task_id(task_id)}", "sequence": '.encode()
        try:
            # NaN and halves of surrogate pairs are no JSON: no browser could read the event.
            tail = b", " + one_line(json.dumps(rest, ensure_ascii=False, allow_nan=False).encode())[1:]
        except (TypeError, ValueError, RecursionError) as error:
            raise AgentEventRejected(f"not JSON: {type(error).__name__}: {error}") from error
        if len(tail) > MAX_EVENT_BYTES:
            raise AgentEventRejected(f"{len(tail)} bytes; an event has at most {MAX_EVENT_BYTES}")
        try:
            # Before it is stored: what we cannot read back, others cannot either.
            event = AgentEvent.model_validate_json(head + b"1" + tail)
        except ValidationError as error:
            reasons = "; ".join(fault["msg"] for fault in error.errors(include_input=False, include_url=False))
            raise AgentEventRejected(f"unreadable once it is JSON: {reasons}") from None
        return cls(head, tail, event)

    def numbered(self, sequence: int) -> AgentEvent:
        return self.event.model_copy(update={"sequence": sequence})


def log_failure(task_id: object, event_type: object, error: AgentEventError) -> None:
    """Ids and types that were refused may be anything; the line that says so must not fail, too."""
    get_logger().error(
        "agent_event_not_published",
        task_id=ascii(task_id)[:100],
        event_type=ascii(event_type)[:100],
        error=type(error).__name__,
        reason=str(error).encode(errors="replace").decode(),
    )


def checked_task_id(task_id: str) -> str:
    """Raises AgentEventRejected."""
    if not isinstance(task_id, str) or not is_client_id(task_id):
        raise AgentEventRejected("a task's id has 1 to 64 characters of A-Z a-z 0-9 . _ ~ : @ -")
    return task_id
