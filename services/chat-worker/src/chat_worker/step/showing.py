"""What a step shows: what its model says becomes events, in the message and in the task's stream.

Guarantees
- What is shown is in the message, in the same order; texts and reasoning that the open step has already are its
  beginning, and what is open of them continues.
- How long a reasoning took is told with its end, unless another worker has begun it.
- What others have to show beside the turn comes between the step's own events, also while the model is silent.
"""

import asyncio
import time
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from sluiceway.cancelling import cancelled
from sluiceway.wire.events import (
    Data,
    Event,
    MessageMetadata,
    ReasoningDelta,
    ReasoningEnd,
    ReasoningStart,
    StartStep,
    TextDelta,
    TextEnd,
    TextStart,
)
from sluiceway.wire.message import MessageFold, count_steps
from sluiceway_llm.model_events import Finished, ModelEvent, Reached, ToolCallDelta
from sluiceway_llm.model_events import ReasoningDelta as ModelReasoning
from sluiceway_llm.model_events import RefusalDelta as ModelRefusal
from sluiceway_llm.model_events import TextDelta as ModelText

from chat_worker.attempt import Attempt
from chat_worker.calls import AskedCall, CallReader
from chat_worker.step.note import Note

Awaited = TypeVar("Awaited")


class Showing:
    """`fold`: the message, which every event goes into."""

    def __init__(self, attempt: Attempt, fold: MessageFold) -> None:
        self.fold = fold
        self._writer = attempt.writer
        self._beside = attempt.beside
        self._calls = CallReader(fold.calls().keys())
        self._parts_begun = len(fold.kinds_in_step)
        self._open = fold.open_part
        self._reasoning_since: float | None = None

    @property
    def number(self) -> int:
        """Which step of the message it is."""
        return count_steps(self.fold.parts)

    @property
    def calls(self) -> Sequence[AskedCall]:
        """What the model called in this step."""
        return self._calls.calls

    def emit(self, event: Event) -> None:
        self.fold.add(event)
        self._writer.write(event)

    def begin(self) -> None:
        if not self.fold.step_open:
            self.emit(StartStep())

    def note(self, reached: Reached) -> None:
        """Keep for a successor how far the answer is at its server."""
        self._writer.note(Note(self.number, reached).format())

    def say(self, event: ModelEvent) -> None:
        """Show what the model says."""
        match event:
            case ModelText(text) | ModelRefusal(text):
                self.text(text)
            case ModelReasoning(text):
                self.emit(ReasoningDelta(id=self._part("reasoning"), delta=text))
            case ToolCallDelta():
                self.close_part()
                for shown in self._calls.read(event):
                    self.emit(shown)
            case Finished() | Reached():
                pass  # the caller's

    def text(self, text: str) -> None:
        self.emit(TextDelta(id=self._part("text"), delta=text))

    def status(self, status: dict[str, Any]) -> None:
        """Tell the browser how the turn stands; it is no part of the message."""
        self.emit(Data(type="data-status", data=status, transient=True))

    def context(self, data: dict[str, Any]) -> None:
        """How the conversation was made to fit. It stays with the message: what was left out of it is a fact of it.
        A later one takes the place of the one before."""
        if data:
            self.emit(Data(type="data-context", id="context", data=data))

    def close_part(self) -> None:
        """End the text or reasoning that is open."""
        if self._open is not None:
            kind, part_id = self._open
            self.emit(TextEnd(id=part_id) if kind == "text" else ReasoningEnd(id=part_id))
            self._open = None
            if kind == "reasoning" and self._reasoning_since is not None:
                self._tell_seconds(time.monotonic() - self._reasoning_since)

    def _tell_seconds(self, seconds: float) -> None:
        """By its place among those of the message. As metadata: a version before this one reads no more of the end."""
        place = sum(part["type"] == "reasoning" and part["text"] != "" for part in self.fold.parts) - 1
        self.emit(MessageMetadata(message_metadata={"reasoningSeconds": {str(place): round(seconds, 1)}}))

    def close(self, unfinished: str | None) -> None:
        """End all that is open, also the calls that have no end yet: with that sentence. None: these go on."""
        self.close_part()
        abandoned = self.fold.abandoned_calls(unfinished) if unfinished is not None else []
        for event in [*self._beside.take(), *abandoned, *self.fold.closers()]:
            self.emit(event)

    async def unless_interrupted(self, following: Coroutine[None, None, Awaited]) -> Awaited | None:
        """What the call answers; None when the turn was cancelled meanwhile. Raises Fenced when it was lost.

        The call has ended, and its connection is closed, whichever way this returns.
        """
        call = asyncio.create_task(following, name="model-call")
        interrupted = asyncio.create_task(self._writer.interrupted(), name="interruption")
        telling = asyncio.create_task(self._tell_news(), name="news")
        try:
            await asyncio.wait((call, interrupted), return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancelled([interrupted, telling, call])
        if not call.cancelled():
            return call.result()
        if self._writer.result != "cancelled":
            raise self._writer.loss()
        return None

    async def _tell_news(self) -> None:
        while True:
            for event in await self._beside.next():
                self.emit(event)

    def _part(self, kind: str) -> str:
        """The id of the open part of that kind, beginning one where another is open."""
        if self._open is not None and self._open[0] == kind:
            return self._open[1]
        self.close_part()
        part_id = str(self._parts_begun)
        self._parts_begun += 1
        self._open = (kind, part_id)
        if kind == "reasoning":
            self._reasoning_since = time.monotonic()
        self.emit(TextStart(id=part_id) if kind == "text" else ReasoningStart(id=part_id))
        return part_id
