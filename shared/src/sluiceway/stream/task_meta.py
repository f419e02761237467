"""What Redis knows of a task: the fields of its metadata hash, read into one record."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sluiceway.stream.retracted import RetractedRange, parse_retracted
from sluiceway.wire.entry_id import EntryId, parse_entry_id
from sluiceway.wire.task import ENDED, Status, TaskFields

# What the field `holder` says while a stream is rebuilt. Older versions had the names of processes there, too.
REBUILDING = "restored"


@dataclass(frozen=True, slots=True)
class TaskMeta:
    """`retracted`: what retried steps abandoned, as ranges between the entries (kept, resumed).
    `replication_id`: under which the stream was known to be whole; see `TaskReader.replication_ids`.
    `queue_entry`: the entry that asks for the next step. `held_entry`: the one under whose lease the latest attempt
    writes. `rebuilding`: the stream is being written again, and may lack what Postgres has.
    `ended_operations`: whose end was shown. `quiet_since`: since when the attempt shows nothing, by Redis, in seconds
    since 1970; None: not for long. `before`: as of `TaskFields`."""

    task_id: str
    session_id: str
    user_id: str | None
    message_id: str
    status: Status
    attempt: int
    created_at: str
    cancel: bool = False
    retracted: tuple[RetractedRange, ...] = ()
    terminal: EntryId | None = None
    queue_entry: str | None = None
    held_entry: str | None = None
    rebuilding: bool = False
    replication_id: str | None = None
    ended_operations: frozenset[str] = frozenset()
    quiet_since: int | None = None
    before: str | None = field(default=None, repr=False)

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def entries(self) -> tuple[str, ...]:
        """The queue entries of the task: where none of them is in the queue, nobody works on it, or will."""
        return tuple({entry for entry in (self.held_entry, self.queue_entry) if entry is not None})

    @property
    def fields(self) -> TaskFields:
        """What was written of it at its creation."""
        return TaskFields(**{name: getattr(self, name) for name in TaskFields.__slots__})

    @classmethod
    def read(cls, fields: Mapping[bytes, bytes]) -> "TaskMeta | None":
        """None: Redis does not know the task, or forgot it and was told something about it since."""
        return cls.parse(fields) if b"status" in fields and b"task_id" in fields else None

    @classmethod
    def parse(cls, fields: Mapping[bytes, bytes]) -> "TaskMeta":
        text = {name.decode(): value.decode() for name, value in fields.items()}
        return cls(
            task_id=text["task_id"],
            session_id=text["session_id"],
            user_id=text.get("user_id"),
            message_id=text.get("message_id", ""),
            status=text["status"],  # type: ignore[arg-type]  # only our scripts write it
            attempt=int(text.get("attempt", "0")),
            created_at=text.get("created_at", ""),
            cancel="cancel" in text,
            retracted=parse_retracted(text.get("void", "")),
            terminal=parse_entry_id(text["terminal"]) if text.get("terminal") else None,
            queue_entry=text.get("entry"),
            held_entry=text.get("held"),
            rebuilding=text.get("holder") == REBUILDING,
            replication_id=text.get("epoch"),
            before=text.get("before"),
            quiet_since=_quiet_since(text.get("quiet", ""), text.get("batch", "0")),
            ended_operations=frozenset(
                name.removeprefix("op:") for name, value in text.items() if name.startswith("op:") and value == "end"
            ),
        )


def _quiet_since(told: str, batch: str) -> int | None:
    """It was told of one batch: another has followed since, or not."""
    of, _, since = told.partition(" ")
    return int(since) if of == batch and since.isdecimal() else None
