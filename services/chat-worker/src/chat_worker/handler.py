"""What the chat worker does with an entry of its queue: claim the task, run a step, see the end through."""

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta

from pydantic import ValidationError
from sluiceway.errors import Unavailable
from sluiceway.flusher import Flusher, StreamWriter
from sluiceway.jobs import ChatJob
from sluiceway.logs import bound, get_logger
from sluiceway.message import MessageFold
from sluiceway.store import Store
from sluiceway.store.records import Message, Task
from sluiceway.task_stream import Begun, TaskStreams
from sluiceway.turns import Turns
from sluiceway.work_queue import Delivery
from sluiceway.worker import Unreadable

from chat_worker.llm import Model, ModelRequest
from chat_worker.prompt import to_model_messages
from chat_worker.settings import Settings
from chat_worker.step import Step
from chat_worker.takeover import take_over

GAVE_UP = "TURN_GAVE_UP"
_GAVE_UP_MESSAGE = "The answer could not be produced, after several attempts. Please try again."
_HAND_BACK_SECONDS = 1


def read_job(delivery: Delivery) -> ChatJob:
    """Raises Unreadable."""
    try:
        return ChatJob.model_validate_json(delivery.body)
    except ValidationError as error:
        raise Unreadable(f"not a chat job: {error.error_count()} errors, first: {error.errors()[0]['msg']}") from None


class ChatHandler:
    def __init__(
        self,
        settings: Settings,
        system_prompt: str,
        store: Store,
        streams: TaskStreams,
        turns: Turns,
        flusher: Flusher,
        model: Model,
        queue_key: str,
    ) -> None:
        self._settings = settings
        self._system_prompt = system_prompt
        self._store = store
        self._streams = streams
        self._turns = turns
        self._flusher = flusher
        self._model = model
        self._queue_key = queue_key
        self._log = get_logger()

    async def handle(self, delivery: Delivery) -> None:
        """Do an entry's work; returning means that it is done for good."""
        job = read_job(delivery)
        # An entry that was delivered before is here because its lease ran out. The last sign of life is younger than
        # that (it comes more often than renewals) and a dead owner's: acknowledging now would lose the entry.
        if delivery.deliveries == 1 and await self._is_held(job.task_id):
            self._log.info("duplicate_entry", task_id=job.task_id, entry_id=delivery.entry_id)
            return
        task = await self._store.turns.claim(job.task_id)
        if task is None:
            self._log.info("task_deleted", task_id=job.task_id)
            return
        with bound(task_id=task.id, session_id=task.session_id, user_id=task.user_id, trace_id=_trace_id(task)):
            if task.ended:
                await self._turns.settle(task)
            else:
                await self._run(task)

    async def bury(self, delivery: Delivery, reason: str) -> None:
        """Keep an entry that nobody can handle, and end its turn with an error that the user sees."""
        try:
            task_id: str | None = read_job(delivery).task_id
        except Unreadable:
            task_id = None
        await self._store.dead_letters.add(
            queue=self._queue_key,
            entry_id=delivery.entry_id,
            body=delivery.body,
            reason=reason,
            deliveries=delivery.deliveries,
            task_id=task_id,
        )
        self._log.error("dead_letter", task_id=task_id, entry_id=delivery.entry_id, reason=reason)
        task = await self._store.turns.get(task_id) if task_id is not None else None
        if task is not None and not task.ended:
            await self._turns.end_unheld(task, "failed", {"code": GAVE_UP, "message": _GAVE_UP_MESSAGE})

    async def _is_held(self, task_id: str) -> bool:
        """Whether a living worker, maybe this one, has the task: then a fresh entry is a second one for it."""
        meta = await self._streams.meta(task_id)
        if meta is None or meta.holder is None or meta.beat_ms is None:
            return False
        age = timedelta(milliseconds=time.time() * 1000 - meta.beat_ms)
        return age < timedelta(seconds=self._settings.lease_seconds)

    async def _run(self, task: Task) -> None:
        began = time.monotonic()
        self._log.info("turn_started", attempt=task.attempt)
        status = "handed_back"
        try:
            status = await self._step(task)
        finally:
            if status == "handed_back":
                await self._hand_back(task)
            duration_ms = round((time.monotonic() - began) * 1000)
            self._log.info("turn_ended", attempt=task.attempt, status=status, duration_ms=duration_ms)

    async def _step(self, task: Task) -> str:
        begun, history = await asyncio.gather(
            self._streams.begin(task.fields, task.attempt, self._settings.worker_name),
            self._store.turns.history(task, self._settings.max_context_messages),
        )
        writer = self._flusher.open(task.id, task.attempt)
        try:
            if begun.cancelled or task.cancel_requested_at is not None:
                # Nothing is reset first: what a dead predecessor had shown is what the user stopped at.
                fold = await self._turns.partial(task.id)
                return await Step(task, self._turns, writer, fold).cancel()
            step = Step(task, self._turns, writer, await self._open_stream(task, begun, writer))
            model = task.model or self._settings.model
            if not self._settings.allows(model):
                return await step.fail("MODEL_NOT_ALLOWED", f"The model {model!r} is not offered here.")
            return await step.run(self._model, self._request(task, model, history), self._settings.model_attempts)
        finally:
            self._flusher.close(writer)

    async def _open_stream(self, task: Task, begun: Begun, writer: StreamWriter) -> MessageFold:
        """Begin the stream, or go on where predecessors left it; the message so far."""
        entries = await self._streams.read(task.id) if begun.last_id is not None else []
        beginning = take_over(entries, task.message_id, task.attempt, begun.void)
        if beginning.void is not None:
            await self._streams.mark_void(task.id, beginning.void)
        for event, protocol in beginning.opening:
            writer.write(event, protocol)
        return beginning.fold

    def _request(self, task: Task, model: str, history: Sequence[Message]) -> ModelRequest:
        return ModelRequest(
            model=model,
            messages=to_model_messages(self._system_prompt, history),
            user=task.user_id,
            max_tokens=self._settings.max_output_tokens,
        )

    async def _hand_back(self, task: Task) -> None:
        try:
            async with asyncio.timeout(_HAND_BACK_SECONDS):
                await self._streams.hand_back(task.id, task.attempt)
        except (Unavailable, TimeoutError) as error:
            self._log.warning("hand_back_failed", reason=str(error))  # its sign of life grows old instead


def _trace_id(task: Task) -> str | None:
    return task.traceparent.split("-")[1] if task.traceparent else None
