"""An attempt's writes to the stream of its task. Every call names the attempt, and is fenced by it.

The tokens of a chat worker go through its flusher, which sends the same scripts for many streams at once; this is for
the few writes beside the token path. Methods raise RedisUnavailable when Redis is away.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from redis.asyncio import Redis

from sluiceway import keys
from sluiceway.errors import Fenced
from sluiceway.process.retention import Retention
from sluiceway.scripts import Argument, Scripts
from sluiceway.stream.ordered import flat, keys_of, script_then
from sluiceway.wire.entry_id import EntryId, parse_entry_id
from sluiceway.wire.events import TERMINAL_TYPES, Event, Start
from sluiceway.wire.task import EndStatus, Status, TaskFields

# How long the end of an erased stream is there for those who follow it.
_SHOWN_MS = 60_000
# "cancelled": it was written all the same. "fenced": a later attempt writes, or the task has ended. "lost": Redis
# forgot the task, the attempt, or a write of it.
WriteResult = Literal["ok", "cancelled", "fenced", "lost"]


@dataclass(frozen=True, slots=True)
class Begun:
    """The answer to `begin`: what the writer needs to know of its predecessors. `dropped`: their entries were dropped,
    as Redis may have forgotten the last of them. `reached`: the last of their notes (the flusher's `note`)."""

    cancelled: bool
    last_id: EntryId | None
    retracted: str
    dropped: bool = False
    reached: str = ""


class TaskWriter:
    def __init__(self, redis: Redis, retention: Retention) -> None:
        self._redis = redis
        self._scripts = Scripts(redis)
        self.live_ttl_ms = retention.live_ms
        self._retention_ms = retention.ended_ms

    async def begin(
        self, task: TaskFields, attempt: int, *, entry_id: str | None = None, rebuild: bool = False
    ) -> Begun:
        """Become the writer; `rebuild`: of a stream that is emptied first. `entry_id`: the queue entry whose lease says
        that the writer lives. Raises Fenced when a later attempt is the writer, or when the task has ended."""
        arguments = [attempt, entry_id or "", self.live_ttl_ms, "1" if rebuild else "", *task.flat()]
        answer = await self._scripts.run("stream/begin", keys_of(task.task_id), arguments)
        if answer[0] != b"ok":
            raise Fenced(f"task {task.task_id}, attempt {attempt}: {answer[0].decode()}")
        _, cancel, last, retracted, dropped, reached = answer
        last_id = parse_entry_id(last.decode()) if last else None
        return Begun(bool(cancel), last_id, retracted.decode(), bool(dropped), reached.decode())

    async def append(self, task_id: str, attempt: int, batch: int, events: Sequence[Event]) -> WriteResult:
        """Append events as one batch; a batch number that was seen already adds nothing."""
        arguments: list[Argument] = [attempt, batch, self.live_ttl_ms]
        for event in events:
            arguments += [event.type, event.encode(), ""]
        answer: bytes = await self._scripts.run("stream/append", keys_of(task_id), arguments)
        return answer.decode()  # type: ignore[return-value]  # the script's four words

    async def mark_retracted(self, task_id: str, retracted: str) -> None:
        """Leave these ranges out of replays; see retracted.py."""
        await self._scripts.run("stream/set_if_live", [keys.task_meta(task_id)], ["void", retracted])

    async def heartbeat(self, task_id: str, attempt: int, quiet_seconds: int = 0) -> WriteResult:
        """Hear what became of the task, and renew TTLs. The flusher does it for its writers."""
        arguments: list[Argument] = [attempt, self.live_ttl_ms, 0, quiet_seconds]
        answer: bytes = await self._scripts.run("stream/heartbeat", keys_of(task_id), arguments)
        return answer.decode()  # type: ignore[return-value]  # the script's four words

    async def release(self, task_id: str, attempt: int) -> None:
        """Give the task up, so that nobody waits for the lease to run out."""
        await self._scripts.run("stream/release", [keys.task_meta(task_id)], [attempt])

    async def wait(
        self, task_id: str, attempt: int, operations: Mapping[str, str], *, written: int | None = None
    ) -> WriteResult:
        """As `wait_then`, with no commands behind it."""
        return (await self.wait_then(task_id, attempt, operations, (), written=written))[0]

    async def wait_then(
        self,
        task_id: str,
        attempt: int,
        operations: Mapping[str, str],
        then: Sequence[Sequence[Argument]],
        *,
        written: int | None = None,
    ) -> tuple[WriteResult, list[Any]]:
        """Let the task wait for its operations, without a holder. `operations`: what its metadata say of them.
        `written`: the writer's last batch; without it a change of the replication id since `begin` counts as a loss.
        `then`: commands that follow in the same round trip; their answers are the second of the pair.
        """
        fields = [text for pair in operations.items() for text in pair]
        arguments: list[Argument] = [attempt, "" if written is None else written, *fields]
        result, answers = await script_then(self._redis, "stream/wait", [keys.task_meta(task_id)], arguments, then)
        return result, answers  # type: ignore[return-value]  # three of the four words

    async def erase(self, task_id: str, events: Sequence[Event]) -> None:
        """Take out all that the stream says. `events`: what ends it for those who follow it, where it was live. Every
        attempt is fenced from here on."""
        arguments: list[Argument] = [self.live_ttl_ms, _SHOWN_MS, *flat(events)]
        await self._scripts.run("stream/erase", keys_of(task_id), arguments)

    async def close(
        self,
        task: TaskFields,
        attempt: int,
        status: EndStatus,
        events: Sequence[Event],
        *,
        proof: int | Literal["rebuild"] | None = None,
    ) -> Status | Literal["lost"]:
        """End the stream with `events`, the last of which is terminal. Answers the status that stands: another than
        `status` means that somebody else ended it first; "lost" that Redis does not know the task, or that its stream
        may lack what came before these events.

        `proof`: the writer's last batch; without it a change of the replication id since the stream was written counts
        as a loss. "rebuild": the events are the whole message, without `start`, and replace what is there.
        """
        if events[-1].type not in TERMINAL_TYPES:
            raise ValueError("a stream ends with a terminal event")
        arguments: list[Argument] = [attempt, status, self._retention_ms]
        arguments += [Start(message_id=task.message_id).encode(), "" if proof is None else proof, *flat(events)]
        answer = await self._scripts.run("stream/close", keys_of(task.task_id), arguments)
        active = keys.session_active(task.session_id)
        await self._scripts.run("stream/delete_if_equal", [active], [task.task_id])
        if answer[0] == b"ok":
            return status
        return answer[1].decode() if answer[0] == b"second" else "lost"
