"""From a worker's streams to Redis: one flush loop for all streams of a process.

A token alone goes out at once. Under load batches form by themselves: while one flush is on its way new deltas gather,
adjacent deltas of the same part become one, and the next flush takes them all in one round trip. The pause between two
flushes grows with what the last one carried, to at most `MAX_PAUSE_SECONDS`.

Where one node of a cluster is away, the streams of the others are flushed meanwhile.

Guarantees: order within a stream; no entry of a text has more than MAX_DELTA_CHARS; each event once, also when a flush
has to be sent again (batches are numbered, and the script skips a number that it has seen); nothing is dropped while
Redis is away, it is sent when Redis is back. A writer learns that it was cancelled, fenced or lost (Redis forgot some
of what it had acknowledged) from the answer to its own flush, or from the heartbeat that goes along while it is silent
(every `HEARTBEAT_SECONDS`).
"""

import asyncio
import contextlib
import itertools
import time
from dataclasses import dataclass, field

from sluiceway import keys
from sluiceway.backoff import Backoff
from sluiceway.errors import Fenced, Forgotten, RedisUnavailable
from sluiceway.process.logs import get_logger
from sluiceway.scripts import Call, Scripts
from sluiceway.stream.writer import WriteResult
from sluiceway.wire.events import (
    MAX_DELTA_CHARS,
    Event,
    ProtocolVersion,
    ReasoningDelta,
    TextDelta,
    ToolInputDelta,
    in_pieces,
)

MIN_PAUSE_SECONDS = 0.003
PAUSE_PER_STREAM_SECONDS = 0.00003
MAX_PAUSE_SECONDS = 0.008
HEARTBEAT_SECONDS = 0.4
CUT_OFF_SECONDS = 0.2
# Heartbeats go out in so many groups, one after the other: hundreds at once would hold up the tokens.
HEARTBEAT_GROUPS = 8

Delta = TextDelta | ReasoningDelta


@dataclass(slots=True)
class _Pending:
    """What goes out next: an event, or the texts of a delta that may still grow."""

    event: Event
    protocol: ProtocolVersion | None = None
    texts: list[str] = field(default_factory=list)
    chars: int = 0

    def arguments(self) -> tuple[str, bytes, str]:
        event = self.event
        if len(self.texts) > 1 and isinstance(event, Delta):
            event = type(event)(id=event.id, delta="".join(self.texts))
        return event.type, event.encode(), "" if self.protocol is None else str(self.protocol)


class StreamWriter:
    """One attempt's writes to one task stream. Made by `Flusher.open`, within `async with`."""

    def __init__(self, flusher: "Flusher", task_id: str, attempt: int, group: int) -> None:
        self.task_id = task_id
        self.attempt = attempt
        self.group = group
        self.result: WriteResult = "ok"
        self._flusher = flusher
        self._keys = (keys.task_meta(task_id), keys.task_events(task_id))
        self._pending: list[_Pending] = []
        self._note: str | None = None
        self._sending: Call | None = None
        self._batch = 0
        self._batched = time.monotonic()
        self._changed = asyncio.Event()
        self._interrupted = asyncio.Event()

    def write(self, event: Event, protocol: ProtocolVersion | None = None) -> None:
        """Take an event along with the next flush. Never waits and never fails: see `drained` and `result`."""
        if isinstance(event, Delta):
            if len(event.delta) > MAX_DELTA_CHARS:
                for piece in in_pieces(event):
                    self.write(piece, protocol)
            else:
                self._write_delta(event, protocol)
            return
        pieces = in_pieces(event) if isinstance(event, ToolInputDelta) else [event]
        self._pending += [_Pending(piece, protocol) for piece in pieces]
        self._flusher.wake(self)

    def _write_delta(self, event: Delta, protocol: ProtocolVersion | None) -> None:
        last, chars = self._pending[-1] if self._pending else None, len(event.delta)
        if (
            last is not None
            and last.texts
            and type(last.event) is type(event)
            and last.event.id == event.id
            and last.chars + chars <= MAX_DELTA_CHARS
        ):
            last.texts.append(event.delta)
            last.chars += chars
            return
        self._pending.append(_Pending(event, protocol, [event.delta], chars))
        self._flusher.wake(self)

    def note(self, reached: str) -> None:
        """Keep, together with what was written up to now, how far the model's answer is: both are in Redis, or neither.

        A successor finds it in `Begun.reached`.
        """
        self._note = reached
        self._flusher.wake(self)

    async def drained(self) -> None:
        """Wait until all that was written is in Redis. Raises Fenced, or Forgotten, when it never will be."""
        while (self._pending or self._sending is not None) and not self._is_lost:
            self._flusher.hurry()
            self._changed.clear()
            await self._changed.wait()
        if self._is_lost:
            raise self.loss()

    def loss(self) -> Fenced:
        """What to raise where the result is that nothing more can be written."""
        kind = Forgotten if self.result == "lost" else Fenced
        return kind(f"task {self.task_id}, attempt {self.attempt}: {self.result}")

    @property
    def written(self) -> int:
        """The number of the last batch that Redis has acknowledged; 0: none."""
        return self._batch if self._sending is None else self._batch - 1

    @property
    def _is_lost(self) -> bool:
        return self.result in ("fenced", "lost")

    async def interrupted(self) -> WriteResult:
        """Wait until the task was cancelled, fenced or lost, and answer which."""
        await self._interrupted.wait()
        return self.result

    def take(self) -> Call | None:
        """The next batch as a script call; the unanswered one again, if there is one."""
        if self._sending is None and (self._pending or self._note is not None) and not self._is_lost:
            self._batch += 1
            self._batched = time.monotonic()
            arguments: list[str | bytes | int] = [self.attempt, self._batch, self._flusher.live_ttl_ms]
            for pending in self._pending:
                arguments += pending.arguments()
            if self._note is not None:
                arguments += ("", self._note, "")
            self._pending.clear()
            self._note = None
            self._sending = Call("stream/append", self._keys, arguments)
        return self._sending

    def heartbeat(self) -> Call:
        quiet_seconds = int(time.monotonic() - self._batched)
        return Call(
            "stream/heartbeat", self._keys, (self.attempt, self._flusher.live_ttl_ms, self.written, quiet_seconds)
        )

    def answered(self, result: WriteResult) -> None:
        """The batch on its way got its answer."""
        self._sending = None
        self.note_result(result)
        self._changed.set()
        if self._pending or self._note is not None:  # while a batch was sent again, more has gathered
            self._flusher.wake(self)

    def note_result(self, result: WriteResult) -> None:
        if result != "ok" and not self._is_lost:
            self.result = result
            self._interrupted.set()
            self._changed.set()


class Flusher:
    """All writers of a process. `run` is its one task; `open` and `close` bracket an attempt."""

    def __init__(self, scripts: Scripts, *, live_ttl_ms: int) -> None:
        self.live_ttl_ms = live_ttl_ms
        self.flushes = 0
        self._scripts = scripts
        self._writers: set[StreamWriter] = set()
        self._dirty: dict[StreamWriter, None] = {}
        # Those whose node is away: they are flushed apart, so that the others do not wait for it.
        self._cut_off: set[StreamWriter] = set()
        self._group: asyncio.TaskGroup | None = None
        self._wakeup = asyncio.Event()
        self._hurried = asyncio.Event()
        self._next_group = itertools.cycle(range(HEARTBEAT_GROUPS))
        self._log = get_logger()

    def open(self, task_id: str, attempt: int) -> StreamWriter:
        writer = StreamWriter(self, task_id, attempt, next(self._next_group))
        self._writers.add(writer)
        return writer

    def close(self, writer: StreamWriter) -> None:
        """Forget the writer; what it has not sent is not sent any more."""
        self._writers.discard(writer)
        self._cut_off.discard(writer)
        self._dirty.pop(writer, None)

    def wake(self, writer: StreamWriter) -> None:
        if writer in self._cut_off:
            return
        self._dirty[writer] = None
        self._wakeup.set()

    def hurry(self) -> None:
        """A writer waits until all that it wrote is sent: end the pause that lets batches form."""
        self._hurried.set()

    async def run(self) -> None:
        """Flush, and send heartbeats, until cancelled."""
        async with asyncio.TaskGroup() as self._group:
            self._group.create_task(self._flush_loop(), name="flusher")
            self._group.create_task(self._heartbeat_loop(), name="task-heartbeat")

    async def _flush_loop(self) -> None:
        backoff = Backoff(first_seconds=0.05, cap_seconds=2)
        while True:
            await self._wakeup.wait()
            self._wakeup.clear()
            writers = list(self._dirty)
            self._dirty.clear()
            try:
                self._set_apart(await self._flush(writers))
            except RedisUnavailable as error:
                self._log.warning("flush_delayed", streams=len(writers), reason=str(error))
                for writer in writers:
                    if writer in self._writers:
                        self.wake(writer)
                await asyncio.sleep(backoff.next_seconds())
                continue
            backoff.reset()
            await self._pause(min(MAX_PAUSE_SECONDS, MIN_PAUSE_SECONDS + PAUSE_PER_STREAM_SECONDS * len(writers)))

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurried.wait()
        self._hurried.clear()

    async def _flush(self, writers: list[StreamWriter]) -> set[StreamWriter]:
        """Those whose node is away, where that of others is not."""
        batches = [(writer, call) for writer in writers if (call := writer.take()) is not None]
        if not batches:
            return set()
        self.flushes += 1
        away: set[StreamWriter] = set()
        answers = await self._scripts.run_many([call for _, call in batches], each=True)
        for (writer, _), answer in zip(batches, answers, strict=True):
            if isinstance(answer, RedisUnavailable):
                away.add(writer)
            else:
                writer.answered(self._result(writer, answer))
        return away

    def _set_apart(self, writers: set[StreamWriter]) -> None:
        if writers and self._group is not None:
            self._cut_off |= writers
            self._log.warning("flush_delayed", streams=len(writers), reason="their node of the cluster is away")
            self._group.create_task(self._until_answered(writers), name="flusher-apart")

    async def _until_answered(self, away: set[StreamWriter]) -> None:
        """What they write meanwhile goes along, or follows."""
        while away := away & self._writers:
            await asyncio.sleep(CUT_OFF_SECONDS)
            try:
                still = await self._flush(list(away))
            except RedisUnavailable:
                continue
            for writer in away - still:
                self._cut_off.discard(writer)
                self.wake(writer)
            away = still

    async def _heartbeat_loop(self) -> None:
        for group in itertools.cycle(range(HEARTBEAT_GROUPS)):
            await asyncio.sleep(HEARTBEAT_SECONDS / HEARTBEAT_GROUPS)
            writers = [writer for writer in self._writers if writer.group == group]
            if not writers:
                continue
            try:
                answers = await self._scripts.run_many([writer.heartbeat() for writer in writers], each=True)
            except RedisUnavailable:
                continue  # the flush loop says so; leases are fenced whatever happens meanwhile
            for writer, answer in zip(writers, answers, strict=True):
                if not isinstance(answer, RedisUnavailable):
                    writer.note_result(self._result(writer, answer))

    def _result(self, writer: StreamWriter, answer: bytes | Exception) -> WriteResult:
        if isinstance(answer, Exception):
            # A refused XADD (an id at or below the top) means that a later attempt has written.
            self._log.error("append_refused", task_id=writer.task_id, reason=str(answer))
            return "fenced"
        return answer.decode()  # type: ignore[return-value]  # the scripts' four words
