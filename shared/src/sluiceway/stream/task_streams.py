"""Task streams: the registry of tasks in Redis, and the one event stream that each has.

Guarantees
- Entries are ordered and never trimmed while the stream lives; ids are ATTEMPT-SEQUENCE, so ids grow over attempts.
- Appends are fenced: after `begin(attempt)` no earlier attempt adds one more entry.
- A task ends once: `close` is a compare-and-set, and writes the terminal entry in the same script.
- Every key has a TTL; `heartbeat` renews it for as long as somebody holds the task.
- Nothing is written behind a gap. A server that took over may lack the last writes of the one before it: whoever writes
  on is told "lost" then, and the stream is begun again under a greater attempt, so that no id stands for two entries.
Not guaranteed: that Redis remembers. A lost task reads as None here; Postgres has the truth.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from redis.asyncio import Redis

from sluiceway import keys
from sluiceway.errors import Fenced
from sluiceway.process.retention import Retention
from sluiceway.redis_client import answered, command, commands, server_time_ms
from sluiceway.scripts import Argument, Scripts, source
from sluiceway.wire.entry_id import EntryId, parse_entry_id
from sluiceway.wire.events import TERMINAL_TYPES, Event, ProtocolVersion, Start, UnknownEvent, decode
from sluiceway.wire.task import ENDED, EndStatus, Status, TaskFields

Verdict = Literal["ok", "cancelled", "fenced", "lost"]
Annotated = Literal["ok", "old", "ended", "refused", "lost"]
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class TaskMeta:
    """What Redis knows of a task. `retracted`: what retried steps abandoned, the entries between (kept, resumed).
    `replication_id`: under which the stream was known to be whole; see `TaskStreams.replication_id`."""

    task_id: str
    session_id: str
    user_id: str | None
    message_id: str
    status: Status
    attempt: int
    created_at: str
    cancel: bool = False
    retracted: tuple[tuple[EntryId, EntryId], ...] = ()
    terminal: EntryId | None = None
    holder: str | None = None
    heartbeat_ms: int | None = None
    queue_entry: str | None = None
    replication_id: str | None = None
    tool_call_id: str | None = None
    tool_name: str | None = None
    operation_id: str | None = None

    @property
    def ended(self) -> bool:
        return self.status in ENDED

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
            holder=text.get("holder"),
            heartbeat_ms=int(text["beat"]) if "beat" in text else None,
            queue_entry=text.get("entry"),
            replication_id=text.get("epoch"),
            tool_call_id=text.get("tool_call_id"),
            tool_name=text.get("tool_name"),
            operation_id=text.get("operation_id"),
        )


@dataclass(frozen=True, slots=True)
class Seen:
    """What Redis answered about one of many tasks, and for how many ms it would keep that, and the stream (below 0:
    there is none)."""

    answer: Mapping[bytes, bytes] | Exception
    meta_left_ms: int
    events_left_ms: int

    @property
    def meta(self) -> TaskMeta | None:
        """Raises what Redis answered instead, and ValueError where no script of ours has written it."""
        return TaskMeta.read(answered(self.answer))

    @property
    def left_ms(self) -> int:
        """For how long nothing of it expires."""
        return self.meta_left_ms if self.events_left_ms < 0 else min(self.meta_left_ms, self.events_left_ms)


@dataclass(frozen=True, slots=True)
class Begun:
    """The answer to `begin`: what the writer needs to know of its predecessors. `dropped`: what they had written, as
    Redis may have forgotten the last of it. `reached`: the last of their notes (`StreamWriter.note`)."""

    cancelled: bool
    last_id: EntryId | None
    retracted: str
    dropped: bool = False
    reached: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored event. `protocol`: only for clients of that version."""

    entry_id: EntryId
    event: Event | UnknownEvent
    protocol: ProtocolVersion | None


def parse_retracted(text: str) -> tuple[tuple[EntryId, EntryId], ...]:
    pairs = (pair.split(">") for pair in text.split(",") if pair)
    return tuple((parse_entry_id(kept), parse_entry_id(resumed)) for kept, resumed in pairs)


class TaskStreams:
    """All task streams of a Redis. Methods raise RedisUnavailable when it is away."""

    def __init__(self, redis: Redis, retention: Retention) -> None:
        self._redis = redis
        self._scripts = Scripts(redis)
        self.live_ttl_ms = retention.live_ms
        self._retention_ms = retention.ended_ms

    async def create(self, task: TaskFields) -> bool:
        """Register a queued task, as the active one of its session. False when it is known already."""
        fields = [*task.flat(), "status", "queued", "attempt", "0"]
        active = keys.session_active(task.session_id)
        created, _ = await asyncio.gather(
            self._scripts.run("stream/create", [keys.task_meta(task.task_id)], [self.live_ttl_ms, *fields]),
            command(self._redis, "SET", active, task.task_id, "PX", self.live_ttl_ms),
        )
        if task.operation_id is not None:
            await self.bind_operation(task.operation_id, task.task_id)
        return bool(created)

    async def meta(self, task_id: str) -> TaskMeta | None:
        return TaskMeta.read(await self._ask("HGETALL", keys.task_meta(task_id)))

    async def look_at(self, task_ids: Sequence[str]) -> list[Seen]:
        """What Redis knows of many tasks, in their order; one round trip."""
        asked = ([("HGETALL", meta), ("PTTL", meta), ("PTTL", events)] for meta, events in map(self._keys, task_ids))
        answers = iter(await commands(self._redis, [one for three in asked for one in three]))
        return [Seen(fields, *left_ms) for fields, *left_ms in zip(answers, answers, answers, strict=True)]

    async def active(self, session_id: str) -> str | None:
        """The id of the session's running task, as far as Redis knows. One key, whatever the number of tasks."""
        value = await self._ask("GET", keys.session_active(session_id))
        return value.decode() if value is not None else None

    async def bind_operation(self, operation_id: str, task_id: str) -> None:
        await command(self._redis, "SET", keys.operation(operation_id), task_id, "PX", self.live_ttl_ms)

    async def task_of_operation(self, operation_id: str) -> str | None:
        value = await command(self._redis, "GET", keys.operation(operation_id))
        return value.decode() if value is not None else None

    async def set_operation_entry(self, task_id: str, operation_id: str, entry_id: str) -> None:
        await self._scripts.run("stream/set_if_exists", [keys.task_meta(task_id)], [f"entry:{operation_id}", entry_id])

    async def bind_operations(self, entries: Sequence[tuple[str, str, str]]) -> None:
        """Note for operations, each (task id, operation id, queue entry), what the two above do; one round trip."""
        bound = [("SET", keys.operation(one), task_id, "PX", self.live_ttl_ms) for task_id, one, _ in entries]
        noted = [
            ("EVAL", source("stream/set_if_exists"), 1, keys.task_meta(task_id), f"entry:{one}", entry_id)
            for task_id, one, entry_id in entries
        ]
        for answer in await commands(self._redis, [*bound, *noted]):
            answered(answer)

    async def last_id(self, task_id: str) -> EntryId | None:
        entries = await command(self._redis, "XREVRANGE", keys.task_events(task_id), "+", "-", "COUNT", 1)
        return parse_entry_id(entries[0][0].decode()) if entries else None

    async def set_queue_entry(self, task_id: str, entry_id: str) -> None:
        await self._scripts.run("stream/set_if_exists", [keys.task_meta(task_id)], ["entry", entry_id])

    async def replication_id(self) -> str:
        """What Redis calls its replication id. Another one means a failover or a restart, and that what was written
        last may be gone."""
        return str((await self._scripts.run("stream/replication_id", [])).decode())

    async def now_ms(self) -> int:
        """Redis's clock, by which heartbeats are written."""
        return await server_time_ms(self._redis)

    async def begin(self, task: TaskFields, attempt: int, holder: str, *, anew: bool = False) -> Begun:
        """Become the writer; `anew`: of an empty stream. Raises Fenced when a later attempt is, or when the task has
        ended."""
        arguments = [attempt, holder, self.live_ttl_ms, "1" if anew else "", *task.flat()]
        answer = await self._scripts.run("stream/begin", self._keys(task.task_id), arguments)
        if answer[0] != b"ok":
            raise Fenced(f"task {task.task_id}, attempt {attempt}: {answer[0].decode()}")
        _, cancel, last, retracted, dropped, reached = answer
        last_id = parse_entry_id(last.decode()) if last else None
        return Begun(bool(cancel), last_id, retracted.decode(), bool(dropped), reached.decode())

    async def append(self, task_id: str, attempt: int, batch: int, events: Sequence[Event]) -> Verdict:
        """Append events as one batch; a batch number that was seen already adds nothing. The flusher does the same
        for many streams at once; this is for the few events beside the token path."""
        arguments: list[bytes | int | str] = [attempt, batch, self.live_ttl_ms]
        for event in events:
            arguments += [event.type, event.encode(), ""]
        answer: bytes = await self._scripts.run("stream/append", self._keys(task_id), arguments)
        return answer.decode()  # type: ignore[return-value]  # the script's four words

    async def wait(
        self, task_id: str, attempt: int, operations: Mapping[str, str], *, written: int | None = None
    ) -> Verdict:
        """As `wait_and`, with nothing behind it."""
        return (await self.wait_and(task_id, attempt, operations, (), written=written))[0]

    async def wait_and(
        self,
        task_id: str,
        attempt: int,
        operations: Mapping[str, str],
        then: Sequence[Sequence[Argument]],
        *,
        written: int | None = None,
    ) -> tuple[Verdict, list[Any]]:
        """Let go of a task that now waits for its operations. `operations`: what its metadata say of them. `written`:
        the writer's last batch; without it a change of the epoch since `begin` counts as a loss. `then`: commands that
        follow in the same round trip; their answers, or the ResponseErrors that they got, are the second of the pair.
        """
        flat = [text for pair in operations.items() for text in pair]
        proof = "" if written is None else written
        verdict, *answers = await self._in_order(
            "stream/wait", [keys.task_meta(task_id)], [attempt, proof, *flat], then
        )
        return verdict, answers

    async def annotate(
        self,
        task_id: str,
        operation_id: str,
        events: Sequence[Event],
        *,
        number: int | None = None,
        final: bool = False,
    ) -> Annotated:
        """Append what an operation has to say to the stream of a task that waits. What ends it is said once.

        `number`: an event that is older than the last one shown adds nothing.
        """
        told = "" if number is None else number
        arguments: list[Argument] = [operation_id, told, "1" if final else "", self.live_ttl_ms]
        arguments += _flat(events)
        answer: bytes = await self._scripts.run("stream/annotate", self._keys(task_id), arguments)
        return answer.decode()  # type: ignore[return-value]  # the script's five words

    async def end_operation(
        self, task_id: str, operation_id: str, events: Sequence[Event], then: Sequence[Sequence[Argument]]
    ) -> list[Any]:
        """As a final `annotate`, and commands behind it in the same round trip: their answers, as of `wait_and`."""
        arguments: list[Argument] = [operation_id, "", "1", self.live_ttl_ms, *_flat(events)]
        return (await self._in_order("stream/annotate", self._keys(task_id), arguments, then))[1:]

    async def heartbeat(self, task_id: str, attempt: int) -> Verdict:
        """The holder's sign of life, which also renews TTLs. The flusher gives it for its writers."""
        answer: bytes = await self._scripts.run("stream/heartbeat", self._keys(task_id), [attempt, self.live_ttl_ms, 0])
        return answer.decode()  # type: ignore[return-value]  # the script's four words

    async def mark_retracted(self, task_id: str, retracted: str) -> None:
        await self._scripts.run("stream/set_if_exists", [keys.task_meta(task_id)], ["void", retracted])

    async def set_owner(self, task_id: str, user_id: str) -> None:
        """From here on only that user follows the task, also when it has ended."""
        await self._scripts.run("stream/set_owner", [keys.task_meta(task_id)], [user_id])

    async def request_cancel(self, task_id: str) -> bool:
        """Raise the flag that the holder looks at. False when Redis knows no such live task."""
        return bool(await self._scripts.run("stream/set_if_exists", [keys.task_meta(task_id)], ["cancel", "1"]))

    async def release(self, task_id: str, attempt: int) -> None:
        await self._scripts.run("stream/release", [keys.task_meta(task_id)], [attempt])

    async def close(
        self,
        task: TaskFields,
        attempt: int,
        status: EndStatus,
        events: Sequence[Event],
        *,
        proof: int | Literal["anew"] | None = None,
    ) -> Status | Literal["lost"]:
        """End the stream with `events`, the last of which is terminal. Answers the status that stands: another than
        `status` means that somebody else ended it first; "lost" that Redis does not know the task, or that its stream
        may lack what came before these events.

        `proof`: the writer's last batch; without it a change of the epoch since the stream was written counts as a
        loss. "anew": the events are the whole message, without `start`, and take the place of what is there.
        """
        if events[-1].type not in TERMINAL_TYPES:
            raise ValueError("a stream ends with a terminal event")
        arguments: list[str | bytes | int] = [attempt, status, self._retention_ms]
        arguments += [Start(message_id=task.message_id).encode(), "" if proof is None else proof]
        for event in events:
            arguments += [event.type, event.encode()]
        answer = await self._scripts.run("stream/close", self._keys(task.task_id), arguments)
        active = keys.session_active(task.session_id)
        await self._scripts.run("stream/delete_if_equal", [active], [task.task_id])
        if answer[0] == b"ok":
            return status
        return answer[1].decode() if answer[0] == b"second" else "lost"

    async def refresh_many(self, task_ids: Sequence[str]) -> None:
        """Renew the TTLs of tasks that nobody holds at the moment; one round trip."""
        of_each = ((keys.task_meta(task_id), keys.task_events(task_id)) for task_id in task_ids)
        await commands(self._redis, [("PEXPIRE", key, self.live_ttl_ms) for pair in of_each for key in pair])

    async def operation_entries(self, operations: Sequence[tuple[str, str]]) -> list[str | Exception | None]:
        """The queue entries that were made last for operations, each (task id, operation id), or what Redis answered
        instead; one round trip."""
        asked = [("HGET", keys.task_meta(task_id), f"entry:{operation_id}") for task_id, operation_id in operations]
        answers = await commands(self._redis, asked)
        return [answer.decode() if isinstance(answer, bytes) else answer for answer in answers]

    async def read(self, task_id: str) -> list[Entry]:
        """The whole stream, in order: for recovery, not for followers."""
        entries: list[Entry] = []
        after = "0-0"
        while True:
            answer = await command(self._redis, "XRANGE", keys.task_events(task_id), f"({after}", "+", "COUNT", _PAGE)
            for raw_id, fields in answer:
                after = raw_id.decode()
                entries.append(_entry(after, fields))
            if len(answer) < _PAGE:
                return entries

    async def _in_order(
        self, script: str, names: Sequence[str], arguments: Sequence[Argument], then: Sequence[Sequence[Argument]]
    ) -> list[Any]:
        """A script that answers a word, and commands behind it. Its text is sent: a server that was to be taught it
        first would carry out the commands before it."""
        call = ("EVAL", source(script), len(names), *names, *arguments)
        word, *answers = await commands(self._redis, [call, *then])
        return [answered(word).decode(), *answers]

    async def _ask(self, *arguments: str) -> Any:
        """How the reads that every follower begins with are sent."""
        return await command(self._redis, *arguments)

    @staticmethod
    def _keys(task_id: str) -> list[str]:
        return [keys.task_meta(task_id), keys.task_events(task_id)]


def _flat(events: Sequence[Event]) -> list[Argument]:
    return [text for event in events for text in (event.type, event.encode())]


def _entry(entry_id: str, fields: Mapping[bytes, bytes]) -> Entry:
    flavour = fields.get(b"v")
    protocol: ProtocolVersion | None = None if flavour is None else (7 if flavour == b"7" else 6)
    return Entry(parse_entry_id(entry_id), decode(fields[b"t"].decode(), fields[b"d"]), protocol)
