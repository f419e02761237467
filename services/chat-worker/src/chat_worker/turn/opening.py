"""How an attempt takes the stream of its turn over, and lets go of it.

Guarantees: whichever way a run ends, its writer is closed; what an attempt that breaks off had is given up at once, so
that its successor need not wait for a lease to run out.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sluiceway.errors import Unavailable
from sluiceway.process.logs import get_logger
from sluiceway.queue.worker import persistently
from sluiceway.store.records import Task
from sluiceway.stream.entry import Entry
from sluiceway.stream.reader import TaskReader
from sluiceway.stream.writer import Begun, TaskWriter
from sluiceway.turn.shown import Durable, TurnMessage, untold
from sluiceway.wire.message import MessageFold
from sluiceway_llm.model_events import Reached

from chat_worker.flusher import Flusher, StreamWriter
from chat_worker.step.note import Note
from chat_worker.turn.answering import Answering
from chat_worker.turn.takeover import Continuable, take_over

_RELEASE_SECONDS = 1


class Opening:
    def __init__(self, writer: TaskWriter, reader: TaskReader, message: TurnMessage, flusher: Flusher) -> None:
        self._writer = writer
        self._reader = reader
        self._message = message
        self._flusher = flusher
        self._log = get_logger()

    async def begin(self, task: Task, entry_id: str) -> tuple[Begun, list[Entry]]:
        """Become the stream's writer; what it has."""
        begun = await self._writer.begin(task.fields, task.attempt, entry_id=entry_id)
        return begun, await self._reader.read(task.id) if begun.last_id is not None else []

    async def durable(self, task: Task) -> Durable:
        """What there is of the answer already; a turn that nobody held before has nothing."""
        fresh = task.attempt == 1 and task.parts_before == 0
        return Durable() if fresh else await self._message.durable(task)

    @contextmanager
    def stream(self, task: Task) -> Iterator[StreamWriter]:
        """The attempt's writes."""
        writer = self._flusher.open(task.id, task.attempt)
        try:
            yield writer
        finally:
            self._flusher.close(writer)

    async def open(self, turn: Answering, entries: Sequence[Entry], able: Continuable) -> None:
        """Begin the stream, or continue where predecessors left it."""
        task, writer = turn.task, turn.attempt.writer
        beginning = take_over(entries, turn.durable, task.message_id, task.attempt, turn.begun.retracted, able=able)
        for event, protocol in beginning.opening:
            writer.write(event, protocol)
        if beginning.retracted is not None:
            # Not before: see takeover.py.
            await writer.drained()
            await self._writer.mark_retracted(task.id, beginning.retracted)
        turn.take(beginning)
        if turn.continues:
            self._log.info("step_continued", able=able)

    async def restart_step(self, turn: Answering) -> None:
        """Replace what was shown of the step that is open, as it could not be continued."""
        await turn.attempt.writer.drained()
        await self.open(turn, await self._reader.read(turn.task.id), "nothing")

    async def as_it_was_left(self, task: Task, writer: StreamWriter) -> MessageFold:
        """The message as its stream has it, and what that lacked: nothing of it is replaced."""
        fold, lacking = await self._message.shown(task)
        for event in lacking:
            writer.write(event)
        return fold

    async def show_answers(self, turn: Answering) -> None:
        """A client may answer while the turn runs: what it said is shown, and the model is told."""
        durable = await persistently(lambda: self._message.durable(turn.task))
        for event in untold(durable.parts, durable, turn.fold):
            turn.fold.add(event)
            turn.attempt.writer.write(event)

    async def is_unknown(self, task: Task, reached: Reached) -> bool:
        """Whether no successor will continue that answer: the metadata names another one, or none, as Redis forgot them
        and somebody had begun anew before this attempt heard of it."""
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                note = Note.parse(await self._reader.reached(task.id))
        except (Unavailable, TimeoutError):
            return False
        return note is None or note.reached.response_id != reached.response_id

    async def release(self, task: Task) -> None:
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                await self._writer.release(task.id, task.attempt)
        except (Unavailable, TimeoutError) as error:
            self._log.warning("release_failed", reason=str(error))  # its lease runs out instead
