"""What a stream and Postgres together show of a turn's message.

A step is durable when Postgres has its parts; what the stream shows beyond is an unfinished step.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sluiceway.process.logs import get_logger
from sluiceway.store import Store
from sluiceway.store.records import ASKING, BACKGROUND, Task
from sluiceway.stream.entry import Entry
from sluiceway.stream.reader import TaskReader
from sluiceway.wire.elicitation import ELICITATION_TYPE, asking_events
from sluiceway.wire.events import BACKGROUND_TYPE, Data, Event, MessageMetadata
from sluiceway.wire.message import MessageFold, Part, calls_in, count_steps, merged, output_of, replay_of

_WRITTEN_AT_THE_END = frozenset({"status", "taskId", "model", "finishReason", "usage", "error", BACKGROUND})
# What reading of parts and chunks raises where they are not as ours are. (A ValidationError is a ValueError.)
UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, RecursionError)

# In a task's metadata in Redis, in the place of an operation's end: its followers know that it is in the background.
TOLD_BACKGROUND = "background"


@dataclass(frozen=True, slots=True)
class Durable:
    """What Postgres has of the turn's message: all parts, how many of them are older than this turn, the calls that
    this turn has operations for, whether one of these waits for a person or the client, and the message's metadata."""

    parts: Sequence[Part] = ()
    before: int = 0
    calls: Collection[str] = field(default_factory=frozenset)
    asks: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def own(self) -> Sequence[Part]:
        return self.parts[self.before :]

    @property
    def steps(self) -> int:
        return count_steps(self.own)

    @property
    def in_background(self) -> set[str]:
        """The calls of this turn that do not block it."""
        return {str(one) for one in self.metadata.get(BACKGROUND) or () if one in self.calls}

    @property
    def told_metadata(self) -> dict[str, Any]:
        """The metadata without what an end writes: what producers said of the message."""
        return {name: value for name, value in self.metadata.items() if name not in _WRITTEN_AT_THE_END}

    @property
    def finish_metadata(self) -> dict[str, Any]:
        """What the `finish` of a completed turn says of the message."""
        return {name: value for name, value in self.metadata.items() if name != "status"}


def as_shown(entries: Sequence[Entry], durable: Durable) -> tuple[MessageFold, list[Event]]:
    """The message with its unfinished step, as clients see it, and the chunks that the stream lacks of it: for ending
    a turn that nobody continues. (`start` is not among them: what closes a stream sees to that.)"""
    fold = fold_entries(entries, durable)
    lacking = [] if fold.started else replay_of(durable.own)
    lacking += untold(durable.parts[: durable.before] if lacking else durable.parts, durable, fold)
    for event in lacking:
        fold.add(event)
    fold.adopt(durable.parts)
    return fold, lacking


def fold_entries(entries: Sequence[Entry], durable: Durable) -> MessageFold:
    """The message as clients of version 7 saw it."""
    fold = MessageFold(durable.parts[: durable.before])
    for entry in entries:
        if entry.protocol != 6 and isinstance(entry.event, Event):
            fold.add(entry.event)
    return fold


def untold(parts: Sequence[Part], durable: Durable, fold: MessageFold) -> list[Event]:
    """How calls of this turn ended, what they ask a person, and the message's metadata, as far as the stream does not
    show them."""
    metadata = [] if merged(fold.metadata, durable.told_metadata) == fold.metadata else told(durable.told_metadata)
    calls = calls_in(parts).items()
    events = [output_of(part) for call_id, part in calls if call_id in durable.calls and call_id not in fold.told]
    return [*metadata, *(event for event in events if event is not None), *_unasked(parts, durable, fold)]


def _unasked(parts: Sequence[Part], durable: Durable, fold: MessageFold) -> list[Event]:
    known = {part.get("id") for part in fold.parts if part["type"] == ELICITATION_TYPE}
    asking = [part for part in parts if part["type"] == ELICITATION_TYPE and part["id"] not in known]
    return [event for part in asking if part["data"]["toolCallId"] in durable.calls for event in asking_events(part)]


def went_into_background(task: Task) -> Data:
    """What the stream of a turn says when it goes there."""
    return Data(type=BACKGROUND_TYPE, data={"taskId": task.id}, transient=True)


def told(metadata: dict[str, Any]) -> list[Event]:
    """The chunk that tells a message's metadata; none where there are none."""
    return [MessageMetadata(message_metadata=metadata)] if metadata else []


class TurnMessage:
    """The message of a turn, from Postgres, and from the stream for its unfinished step."""

    def __init__(self, store: Store, reader: TaskReader) -> None:
        self._store = store
        self._reader = reader
        self._log = get_logger()

    async def shown(self, task: Task) -> tuple[MessageFold, list[Event]]:
        """The message so far, as a crashed holder had shown it, and the chunks that the stream lacks of it."""
        entries, durable = await asyncio.gather(self._reader.read(task.id), self.durable(task))
        try:
            return as_shown(entries, durable)
        except UNREADABLE:
            # A turn ends also where the chunks of its stream, or the parts of its message, fit no model of ours.
            self._log.exception("turn_unreadable", task_id=task.id, session_id=task.session_id)
            return MessageFold(durable.parts), []

    async def durable(self, task: Task) -> Durable:
        """What Postgres has of the message."""
        message, operations = await asyncio.gather(
            self._store.turns.message(task), self._store.operations.of_task(task.id)
        )
        calls = frozenset(one.tool_call_id for one in operations)
        asks = any(one.status in ASKING for one in operations)
        parts, metadata = (message.parts, message.metadata or {}) if message else ([], {})
        return Durable(parts, task.parts_before, calls, asks, metadata)
