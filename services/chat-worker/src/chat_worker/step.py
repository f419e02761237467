"""One step of a turn: one model call, streamed to the task's stream, ended in Postgres and then in the stream.

Guarantees
- The answer is durable before `finish` is seen.
- Cancelled or failed: what was shown is kept, and the stream ends with `abort` and `finish`, or with `error`.
- The upstream request is closed as soon as the turn is cancelled or lost.
- An attempt that was fenced writes nothing more, neither here nor there.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from sluiceway.errors import Fenced
from sluiceway.events import (
    Abort,
    Data,
    Error,
    Event,
    Finish,
    FinishReason,
    ReasoningDelta,
    ReasoningEnd,
    ReasoningStart,
    TextDelta,
    TextEnd,
    TextStart,
)
from sluiceway.flusher import StreamWriter
from sluiceway.message import MessageFold
from sluiceway.store.ending import TurnEnd
from sluiceway.store.records import Task
from sluiceway.task_stream import EndStatus
from sluiceway.turns import Turns
from sluiceway.worker import persistently

from chat_worker.llm import Finished, Model, ModelEvent, ModelRequest
from chat_worker.llm import ReasoningDelta as ModelReasoning
from chat_worker.llm import RefusalDelta as ModelRefusal
from chat_worker.llm import TextDelta as ModelText
from chat_worker.model_errors import ModelError
from chat_worker.retry import stream_with_retries

_FINISH_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content-filter",
    "tool_calls": "tool-calls",
}


class Step:
    """The state of one attempt at one step."""

    def __init__(self, task: Task, turns: Turns, writer: StreamWriter, fold: MessageFold) -> None:
        self._task = task
        self._turns = turns
        self._writer = writer
        self._fold = fold
        self._parts_begun = 0
        self._open: tuple[str, str] | None = None

    async def run(self, model: Model, request: ModelRequest, attempts: int) -> EndStatus:
        """Call the model and end the turn; how it ended. Raises Fenced when the task is another's now."""
        try:
            finished = await self._unless_interrupted(self._follow(model, request, attempts))
        except ModelError as error:
            return await self.fail(error.code, error.user_message)
        return await self.cancel() if finished is None else await self._complete(finished, request.model)

    async def cancel(self) -> EndStatus:
        """End the turn as cancelled, with what was shown so far."""
        return await self._end("cancelled", {}, [Abort(), Finish()])

    async def fail(self, code: str, message: str) -> EndStatus:
        """End the turn with a typed error, which stays in the history too."""
        self._close_open()
        self._emit(Data(type="data-error", data={"code": code, "message": message}))
        error = {"code": code, "message": message}
        return await self._end("failed", {"error": error}, [Error(error_text=message)], error=error)

    async def _unless_interrupted(self, following: Coroutine[None, None, Finished]) -> Finished | None:
        """What the call answers; None when the turn was cancelled meanwhile. Raises Fenced when it was lost.

        The call has ended, and its connection is closed, whichever way this returns.
        """
        call = asyncio.create_task(following, name="model-call")
        interrupted = asyncio.create_task(self._writer.interrupted(), name="interruption")
        try:
            await asyncio.wait((call, interrupted), return_when=asyncio.FIRST_COMPLETED)
        finally:
            interrupted.cancel()
            call.cancel()
            await asyncio.wait((call,))
        if not call.cancelled():
            return call.result()
        if self._writer.verdict != "cancelled":
            raise Fenced(f"task {self._task.id}: {self._writer.verdict}")
        return None

    async def _follow(self, model: Model, request: ModelRequest, attempts: int) -> Finished:
        finished = Finished(reason=None, usage=None, model=None)
        async with stream_with_retries(model, request, attempts=attempts) as batches:
            async for batch in batches:
                for event in batch:
                    if isinstance(event, Finished):
                        finished = event
                    else:
                        self._write(event)
        return finished

    def _write(self, event: ModelEvent) -> None:
        match event:
            case ModelText(text) | ModelRefusal(text):
                self._emit(TextDelta(id=self._part("text"), delta=text))
            case ModelReasoning(text):
                self._emit(ReasoningDelta(id=self._part("reasoning"), delta=text))
            case _:
                pass  # tools are offered to no model yet, so none is called

    def _part(self, kind: str) -> str:
        """The id of the open part of that kind, beginning one where another is open."""
        if self._open is not None and self._open[0] == kind:
            return self._open[1]
        self._close_open()
        part_id = str(self._parts_begun)
        self._parts_begun += 1
        self._open = (kind, part_id)
        self._emit(TextStart(id=part_id) if kind == "text" else ReasoningStart(id=part_id))
        return part_id

    def _close_open(self) -> None:
        if self._open is not None:
            kind, part_id = self._open
            self._emit(TextEnd(id=part_id) if kind == "text" else ReasoningEnd(id=part_id))
            self._open = None

    def _emit(self, event: Event) -> None:
        self._fold.add(event)
        self._writer.write(event)

    async def _complete(self, finished: Finished, asked_model: str) -> EndStatus:
        reason = _FINISH_REASONS.get(finished.reason or "", "other")
        usage = finished.usage.as_dict() if finished.usage is not None else None
        metadata: dict[str, Any] = {"model": finished.model or asked_model, "finishReason": reason}
        if usage is not None:
            metadata["usage"] = usage
        last = Finish(finish_reason=reason, message_metadata=metadata)
        return await self._end("completed", metadata, [last], usage=usage)

    async def _end(
        self,
        status: EndStatus,
        metadata: dict[str, Any],
        last: Sequence[Event],
        *,
        error: dict[str, Any] | None = None,
        usage: dict[str, Any] | None = None,
    ) -> EndStatus:
        """All shown text in Redis, then the answer in Postgres, then the end of the stream."""
        for event in self._fold.closers():
            self._emit(event)
        await self._writer.drained()
        end = TurnEnd(
            status=status,
            parts=self._fold.finished_parts(),
            metadata={"status": status, **metadata},
            error=error,
            usage=usage,
        )
        if not await persistently(lambda: self._turns.end(self._task, end, last)):
            raise Fenced(f"task {self._task.id}: ended or taken over by another")
        return status
