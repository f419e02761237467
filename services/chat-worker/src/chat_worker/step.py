"""One step of a turn: one model call, streamed to the task's stream. Its tool calls become operations, and the turn
waits for them; without any, the turn ends, in Postgres and then in the stream.

Guarantees
- The answer is durable before `finish` is seen, and a call is durable before a runner can begin it.
- A call that cannot be run (unknown tool, bad arguments, too many) goes back to the model as an error.
- Cancelled or failed: what was shown is kept, and the stream ends with `abort` and `finish`, or with `error`.
- An answer that says nothing and calls nothing is told as an error. No call of an answer that was cut off is run; the
  model is told once, and the user when it happens again.
- While a model is away, the browser is told (`data-status`) and the turn may be stopped. A longer wait is spent without
  a worker, as long as nothing of the step was shown.
- An answer that never stops ends where the offer's room does, as one that reached the server's own limit.
- The upstream request is closed as soon as the turn is cancelled or lost.
- An attempt that was fenced writes nothing more, neither here nor there.
- What a call has used is durable with its step; of a call that became nothing it is left in the `account`.
"""

import asyncio
import sys
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeVar

from sluiceway.errors import Fenced, Forgotten
from sluiceway.process.logs import get_logger
from sluiceway.queue.worker import persistently
from sluiceway.store.ending import TurnEnd
from sluiceway.store.operations import NewOperation
from sluiceway.store.records import Task
from sluiceway.store.turns import Paused
from sluiceway.store.usage import CallOutcome
from sluiceway.turn.ending import TurnEnding
from sluiceway.turn.not_storable import NOT_STORABLE
from sluiceway.turn.pause import TurnPause
from sluiceway.wire.events import (
    Abort,
    Data,
    Error,
    Event,
    Finish,
    FinishReason,
    FinishStep,
    ReasoningDelta,
    ReasoningEnd,
    ReasoningStart,
    StartStep,
    TextDelta,
    TextEnd,
    TextStart,
)
from sluiceway.wire.message import MessageFold, Part, count_steps
from sluiceway.wire.task import EndStatus
from sluiceway.wire.tools import ToolSpec
from sluiceway_llm.clean_text import CleanText
from sluiceway_llm.model import Finished, Model, ModelEvent, ModelRequest, Provided, Reached, ToolCallDelta, Usage
from sluiceway_llm.model import ReasoningDelta as ModelReasoning
from sluiceway_llm.model import RefusalDelta as ModelRefusal
from sluiceway_llm.model import TextDelta as ModelText
from sluiceway_llm.model_errors import (
    ModelContentFiltered,
    ModelContextExceeded,
    ModelError,
    ModelLimitReached,
    ModelNotFound,
    ModelRejected,
    ModelUnavailable,
)
from sluiceway_llm.retry import Patience, PutOff, stream_with_retries

from chat_worker.account import COST, Account, added
from chat_worker.answering import Note
from chat_worker.beside import Beside
from chat_worker.calls import CUT, AskedCall, CallReader, to_operation
from chat_worker.flusher import StreamWriter
from chat_worker.metrics import CallMeter, TurnMeter
from chat_worker.model_wait import ModelWait
from chat_worker.prompt import keep_provided

TOOL_LIMIT = "TOOL_LIMIT"
_TOOL_LIMIT_MESSAGE = "The answer needed more tool calls than one turn may have. Ask for a smaller part of it."
# How often a model was asked, among the facts of a turn's attempt: what was asked may have to be paid.
MODEL_CALLS = "model_calls"
_CONTINUATION_ATTEMPTS = 4
_COST_DIGITS = 9
_UNFINISHED = "CANCELLED: The turn ended before the tool had."
_FINISH_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content-filter",
    "tool_calls": "tool-calls",
}


# How a step left its turn: ended; waiting, for operations or for its model; or still to be continued by this worker.
Outcome = EndStatus | Literal["waiting", "running"]
Awaited = TypeVar("Awaited")


@dataclass(frozen=True, slots=True)
class Offer:
    """What a step may use. `tools`: what the model is offered; none in the last round. `max_calls`: in this step.
    `max_chars`: of what the model says in it."""

    tools: Mapping[str, ToolSpec]
    max_calls: int
    last: bool = False
    max_chars: int = sys.maxsize


@dataclass(frozen=True, slots=True)
class Tries:
    """How a model that is away is tried again: so often, with the patience of the turn. A wait of more than
    `hold_seconds` is spent without a worker; None: with one. `waited`: what the step has gone through before."""

    attempts: int
    patience: Patience
    hold_seconds: float | None = None
    waited: ModelWait | None = None


class NotContinued(Exception):
    """The server did not go on with an answer that was begun. It says the error's code."""


class TooLong(Exception):
    """The server refused the request for its length, before it said anything. Nothing is changed."""

    def __init__(self, error: ModelContextExceeded) -> None:
        self.error = error
        super().__init__(error.code)


class Step:
    """The state of one attempt at one step. `usage`: the tokens, and the cost, of the steps before. `account`: what the
    attempt asked of models and is not durable yet. `beside`: what others have to show in its stream.

    `facts`: why the turn failed, and how often a model was called, is noted there, for the log.

    Texts and reasoning that the open step of `fold` has already are its beginning: what is open goes on.
    """

    def __init__(
        self,
        task: Task,
        pause: TurnPause,
        ending: TurnEnding,
        writer: StreamWriter,
        fold: MessageFold,
        meter: TurnMeter,
        usage: dict[str, Any] | None = None,
        facts: dict[str, str | int] | None = None,
        account: Account | None = None,
        beside: Beside | None = None,
    ) -> None:
        self._task = task
        self._pause = pause
        self._ending = ending
        self._writer = writer
        self._fold = fold
        self.usage = usage
        self._account = account or Account()
        self._beside = beside or Beside()
        self._said_before = 0
        self._calls = CallReader(fold.calls().keys())
        self._parts_begun = len(fold.kinds_in_step)
        self._open = fold.open_part
        self._reached: Reached | None = None
        self._log = get_logger()
        self._said_more = False
        self._facts = facts if facts is not None else {}
        self._meter = meter
        self._call: CallMeter | None = None
        self._room = sys.maxsize
        self._full = False

    @property
    def task_attempt(self) -> int:
        return self._task.attempt

    @property
    def reached(self) -> Reached | None:
        """The answer that is being made at the server, where that keeps it."""
        return self._reached

    async def run(self, model: Model, request: ModelRequest, tries: Tries, offer: Offer) -> Outcome:
        """Call the model; end the turn, or wait for its tools, or for the model itself. Raises TooLong; Fenced when the
        task is another's now; NotContinued when the server did not go on with what the request says was had of the
        answer already: nothing is changed then."""
        self.begin()
        self._reached = request.reached
        self._room = offer.max_chars
        self._facts[MODEL_CALLS] = int(self._facts.get(MODEL_CALLS, 0)) + 1
        if request.prefix or request.reached:
            # Beginning anew is better than waiting.
            tries = replace(tries, attempts=min(tries.attempts, _CONTINUATION_ATTEMPTS), hold_seconds=None)
        self._call = call = self._meter.calls(request.model)
        wait = _Wait(self, request, call, tries.waited)
        try:
            finished = await self._called(model, request, tries, wait, call)
        except PutOff as put_off:
            return await self._wait_for_model(put_off, tries.patience, wait.told)
        except Forgotten:
            # Whoever begins anew does not know of it.
            await self._abandon(model)
            raise
        except ModelError as error:
            if (request.prefix or request.reached) and not self._said_more and _may_be_a_refusal(error):
                raise NotContinued(error.code) from error
            call.failed(error)
            if isinstance(error, ModelContextExceeded) and not self._said_more and request.reached is None:
                raise TooLong(error) from error
            self._log.warning("model_failed", model=request.model, attempt=self._task.attempt, **error.facts())
            self._facts.update(
                {"model_status" if name == "status" else name: fact for name, fact in error.facts().items()}
            )
            outcome: Outcome = await self.fail(error.code, error.user_message)
            await self._abandon(model)
            return outcome
        if finished is None:
            outcome = await self.cancel()
            await self._abandon(model)
            return outcome
        if self._full:
            self._log.warning("answer_cut", model=request.model, max_chars=offer.max_chars)
            await self._abandon(model)
        if not self._calls.calls:
            return await self._complete(finished, request.model)
        if finished.reason == "content_filter":
            return await self.fail(ModelContentFiltered.code, ModelContentFiltered.advice)
        if offer.last:
            return await self.fail(TOOL_LIMIT, _TOOL_LIMIT_MESSAGE)
        cut = finished.reason == "length"
        if cut and self._was_cut_before():
            return await self.fail(ModelLimitReached.code, ModelLimitReached.advice)
        return await self.call(self._calls.calls, offer, provided=finished.provided, cut=cut)

    def begin(self) -> None:
        if not self._fold.step_open:
            self._emit(StartStep())

    async def say(self, text: str) -> EndStatus:
        """Answer with a text of ours, and end the turn."""
        self.begin()
        self._emit(TextDelta(id=self._part("text"), delta=text))
        metadata = {"finishReason": "stop"}
        return await self._end("completed", metadata, "stop")

    async def end_full(self, model: str) -> EndStatus:
        """End a turn whose answer has no room left; the model is not asked any more."""
        return await self._end("completed", {"model": model, "finishReason": "length"}, "length")

    async def call(
        self, calls: Sequence[AskedCall], offer: Offer, *, provided: Provided | None = None, cut: bool = False
    ) -> Outcome:
        """End the step with these calls: they are durable, and what can be run is queued; nothing of a `cut` answer."""
        self.begin()
        self._close_open()
        step = count_steps(self._fold.parts)
        operations: list[NewOperation] = []
        for place, call in enumerate(calls):
            operation, shown = to_operation(call, step, offer.tools, too_many=place >= offer.max_calls, cut=cut)
            operations.append(operation)
            for event in shown:
                self._emit(event)
        self._emit(FinishStep())
        if provided is not None:
            parts_of_calls = self._fold.calls()
            keep_provided([parts_of_calls[call.call_id] for call in calls], provided)
        await self._writer.drained()
        parts = self._fold.finished_parts()
        written = self._writer.written
        paused = await persistently(
            lambda: self._pause.pause(
                self._task,
                parts,
                operations,
                self.usage,
                metadata=self._fold.metadata,
                calls=self._account.unwritten,
                prompt=self._account.prompt,
                written=written,
            )
        )
        if paused in ("waiting", "running"):
            self._account.written()
        return await self.after(paused)

    async def after(self, paused: Paused) -> Outcome:
        """What follows from how a turn was let go. Raises Fenced."""
        if paused == "cancelled":
            return await self.cancel()
        if paused == "fenced":
            raise Fenced(f"task {self._task.id}: ended or taken over by another")
        return paused

    async def await_person(self) -> EndStatus | None:
        """End the turn, whose calls wait for a person: the answer goes on with it. None: it was given meanwhile."""
        metadata = self._metadata("completed", {"finishReason": "tool-calls"})
        last = [Finish(finish_reason="tool-calls", message_metadata=self._shown(metadata))]
        return await self._write_end("completed", metadata, last, awaits=True)

    async def cancel(self) -> EndStatus:
        """End the turn as cancelled, with what was shown so far."""
        return await self._end("cancelled", {}, None)

    async def fail(self, code: str, message: str) -> EndStatus:
        """End the turn with a typed error, which stays in the history too."""
        self._log.warning("turn_failed", attempt=self._task.attempt, **self._facts | {"code": code})
        self._facts["code"] = code
        self._close_open()
        self._emit(Data(type="data-error", data={"code": code, "message": message}))
        error = {"code": code, "message": message}
        return await self._end("failed", {"error": error}, None, error=error)

    async def _called(
        self, model: Model, request: ModelRequest, tries: Tries, wait: "_Wait", call: CallMeter
    ) -> Finished | None:
        """What the call answers, as `unless_interrupted`; what it has used is noted, however it ends."""
        outcome: CallOutcome = "stopped"
        usage: Usage | None = None
        self._said_before = self._fold.said_chars
        with call:
            request = replace(request, traceparent=call.span.traceparent or request.traceparent)
            try:
                finished = await self.unless_interrupted(self._follow(model, request, tries, wait, call))
            except PutOff:
                outcome = "failed"
                raise
            except ModelError as error:
                outcome, usage = "failed", error.usage
                raise
            else:
                if finished is not None:
                    outcome, usage = "answered", finished.usage
                    call.answered(finished)
                return finished
            finally:
                self.count(request, outcome, usage)

    async def unless_interrupted(self, following: Coroutine[None, None, Awaited]) -> Awaited | None:
        """What the call answers; None when the turn was cancelled meanwhile. Raises Fenced when it was lost.

        The call has ended, and its connection is closed, whichever way this returns.
        """
        call = asyncio.create_task(following, name="model-call")
        interrupted = asyncio.create_task(self._writer.interrupted(), name="interruption")
        telling = asyncio.create_task(self._tell_what_comes(), name="news")
        try:
            await asyncio.wait((call, interrupted), return_when=asyncio.FIRST_COMPLETED)
        finally:
            interrupted.cancel()
            telling.cancel()
            call.cancel()
            await asyncio.wait((call,))
        if not call.cancelled():
            return call.result()
        if self._writer.result != "cancelled":
            raise self._writer.loss()
        return None

    async def _wait_for_model(self, put_off: PutOff, patience: Patience, told: dict[str, Any]) -> Outcome:
        """Let the turn go until its model is to be asked again. Nothing of the step was shown."""
        waited = ModelWait.of(put_off, count_steps(self._fold.parts), patience.left_seconds, told)
        self._facts["retry_seconds"] = round(put_off.delay_seconds)
        await self._writer.drained()
        stored, written = waited.stored(), self._writer.written
        return await self.after(
            await persistently(
                lambda: self._pause.wait_for_model(self._task, stored, put_off.delay_seconds, written=written)
            )
        )

    async def _follow(
        self, model: Model, request: ModelRequest, tries: Tries, wait: "_Wait", call: CallMeter
    ) -> Finished:
        finished = Finished(reason=None, usage=None, model=None)
        stream = stream_with_retries(
            model,
            request,
            attempts=tries.attempts,
            patience=tries.patience,
            on_retry=wait.will_retry,
            must_say=True,
            longest_wait_seconds=tries.hold_seconds,
            tried=tries.waited.tried if tries.waited is not None else None,
        )
        async with stream as batches:
            async for batch in batches:
                wait.ends()
                for event in batch:
                    if isinstance(event, Finished):
                        finished = event
                    else:
                        self._write(self._within_room(event))
                if self._full:
                    return replace(finished, reason="length")
        return finished

    def _within_room(self, event: ModelEvent) -> ModelEvent:
        """The event, or as much of it as there is room for; then nothing more is read."""
        match event:
            case ModelText(text) | ModelRefusal(text) | ModelReasoning(text):
                left = self._take(text)
                return event if left == text else replace(event, text=left)
            case ToolCallDelta():
                left = self._take(event.arguments)
                return event if left == event.arguments else replace(event, arguments=left)
            case _:
                return event

    def _take(self, text: CleanText) -> CleanText:
        taken = text if len(text) <= self._room else CleanText(text[: self._room])
        self._full = self._full or len(taken) < len(text)
        self._room -= len(taken)
        return taken

    async def _abandon(self, model: Model) -> None:
        """The step has ended before its answer had: that need not be made any more."""
        if self._reached is not None:
            await model.abandon(self._reached)

    def _write(self, event: ModelEvent) -> None:
        if isinstance(event, Reached):
            self._reached = event
            self._writer.note(Note(count_steps(self._fold.parts), event).format())
            return
        if not self._said_more and self._call is not None:
            self._call.first_token()
        self._said_more = True
        self._beside.heard.set()
        match event:
            case ModelText(text) | ModelRefusal(text):
                self._emit(TextDelta(id=self._part("text"), delta=text))
            case ModelReasoning(text):
                self._emit(ReasoningDelta(id=self._part("reasoning"), delta=text))
            case ToolCallDelta():
                self._close_open()
                for shown in self._calls.read(event):
                    self._emit(shown)
            case Finished() | Reached():
                pass  # the caller's

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

    async def _tell_what_comes(self) -> None:
        """Also while the model is silent."""
        while True:
            for event in await self._beside.next():
                self._emit(event)

    def _tell_news(self) -> None:
        for event in self._beside.take():
            self._emit(event)

    def show(self, status: dict[str, Any]) -> None:
        """Tell the browser how the turn stands; it is no part of the message."""
        self._emit(Data(type="data-status", data=status, transient=True))

    def tell_context(self, data: dict[str, Any]) -> None:
        """How the conversation was made to fit. It stays with the message: what was left out of it is a fact of it."""
        self._emit(Data(type="data-context", id="context", data=data))

    def _was_cut_before(self) -> bool:
        """Whether the step before this one was cut off in its calls, too."""
        steps: list[list[Part]] = [[]]
        for part in self._fold.parts:
            if part["type"] == "step-start":
                steps.append([])
            else:
                steps[-1].append(part)
        before = steps[-2] if len(steps) > 1 else []
        return any(str(part.get("errorText", "")).startswith(f"{CUT}:") for part in before)

    def count(self, request: ModelRequest, outcome: CallOutcome, used: Usage | None) -> None:
        """Add what a call has used to what the calls before have."""
        said = self._fold.said_chars - self._said_before
        if used is not None and self._call is not None:
            self._call.used(used)
        told = self._account.charge(request, outcome, used, said, step=count_steps(self._fold.parts))
        self.usage = added(self.usage, told)

    async def _complete(self, finished: Finished, asked_model: str) -> EndStatus:
        reason = _FINISH_REASONS.get(finished.reason or "", "other")
        metadata: dict[str, Any] = {"model": finished.model or asked_model, "finishReason": reason}
        return await self._end("completed", metadata, reason)

    async def _end(
        self,
        status: EndStatus,
        metadata: dict[str, Any],
        reason: FinishReason | None,
        *,
        error: dict[str, Any] | None = None,
    ) -> EndStatus:
        """End the turn. Raises Fenced."""
        self._tell_news()
        for event in [*self._fold.abandoned_calls(_UNFINISHED), *self._fold.closers()]:
            self._emit(event)
        stored = self._metadata(status, metadata)
        ended = await self._write_end(status, stored, self._last(status, reason, stored, error), error=error)
        if ended is None:
            raise Fenced(f"task {self._task.id}: ended or taken over by another")
        if ended != status:
            self._facts["code"] = NOT_STORABLE
        return ended

    async def _write_end(
        self,
        status: EndStatus,
        metadata: dict[str, Any],
        last: Sequence[Event],
        *,
        error: dict[str, Any] | None = None,
        awaits: bool = False,
    ) -> EndStatus | None:
        """All shown text in Redis, then the answer in Postgres, then the end of the stream. None: nothing was."""
        await self._writer.drained()
        end = TurnEnd(
            status=status,
            parts=self._fold.finished_parts(),
            metadata=metadata,
            error=error,
            usage=self.usage,
            awaits=awaits,
            calls=self._account.unwritten,
            prompt=self._account.prompt,
        )
        written = self._writer.written
        ended = await persistently(lambda: self._ending.end(self._task, end, last, written=written))
        if ended is not None:
            self._account.written()
        return ended

    def _metadata(self, status: EndStatus, metadata: dict[str, Any]) -> dict[str, Any]:
        usage: dict[str, Any] = {}
        if self.usage is not None:
            usage["usage"] = {name: count for name, count in self.usage.items() if name != COST}
            if COST in self.usage:
                usage[COST] = round(self.usage[COST], _COST_DIGITS)
        return {**self._fold.metadata, "status": status, "taskId": self._task.id, **metadata, **usage}

    @staticmethod
    def _shown(metadata: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in metadata.items() if name != "status"}

    def _last(
        self, status: EndStatus, reason: FinishReason | None, metadata: dict[str, Any], error: dict[str, Any] | None
    ) -> list[Event]:
        if error is not None:
            return [Error(error_text=error["message"])]
        if status == "cancelled":
            return [Abort(), Finish()]
        return [Finish(finish_reason=reason, message_metadata=self._shown(metadata))]


class _Wait:
    """A model that is away: since when, as the browser and the log are told. `told`: the last that the browser was."""

    def __init__(self, step: Step, request: ModelRequest, call: CallMeter, waited: ModelWait | None) -> None:
        self._step = step
        self._request = request
        self._call = call
        self._since = waited.since if waited is not None else None
        self._log = get_logger()
        self.told: dict[str, Any] = {}

    def will_retry(self, error: ModelError, failures: int, delay_seconds: float) -> None:
        if error.usage is not None:
            self._step.count(self._request, "failed", error.usage)
        self._call.retries(error, delay_seconds)
        facts = {"attempt": self._step.task_attempt, "delay_seconds": round(delay_seconds, 2), **error.facts()}
        self._log.warning("model_retry", model=self._request.model, **facts)
        if delay_seconds <= 0:
            return
        now = datetime.now(UTC)
        self._since = self._since or now.isoformat(timespec="milliseconds")
        self.told = {
            "state": "waiting",
            "waitsFor": "model",
            "code": error.code,
            "message": error.user_message,
            "since": self._since,
            "nextTryAt": (now + timedelta(seconds=delay_seconds)).isoformat(timespec="milliseconds"),
            "attempt": failures,
        }
        self._step.show(self.told)

    def ends(self) -> None:
        if self._since is not None:
            self._since = None
            self._step.show({"state": "running"})


def _may_be_a_refusal(error: ModelError) -> bool:
    """A bad request; an answer that is not kept any more; or a server error, which is what llama.cpp answers when the
    model's template raises. What else has a class of its own (the key, the quota, a silent server) would be the same
    for a request that begins anew."""
    return type(error) in (ModelRejected, ModelNotFound, ModelUnavailable)
