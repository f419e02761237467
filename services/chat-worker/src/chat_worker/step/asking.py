"""What a step asks: one model call with its retries, its waits and what it has used.

Guarantees
- The upstream request is closed as soon as the turn is cancelled or lost.
- While a model is away, the browser is told (`data-status`), and the turn may be stopped.
- What a call has used is noted in the account, however it ends.
- Where the answer is to be a JSON object, that alone is shown of it.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sluiceway.process.logs import get_logger
from sluiceway.store.people.usage import CallOutcome
from sluiceway_llm.calling.model import Model
from sluiceway_llm.calling.retry import PutOff, stream_with_retries
from sluiceway_llm.model_errors import ModelError
from sluiceway_llm.model_events import (
    Finished,
    ModelEvent,
    ModelRequest,
    Reached,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)

from chat_worker.attempt import MODEL_CALLS, Attempt
from chat_worker.metrics import CallMeter
from chat_worker.step.object_alone import ObjectAlone
from chat_worker.step.offer import Offer, Tries
from chat_worker.step.room import Room
from chat_worker.step.showing import Showing


class Asking:
    """`reached`: how far the answer is at the server, where that keeps it. `heard`: the model has said something.
    `full`: its answer was cut where its room ended. `waited`: what the browser was told last of a model that is away.
    """

    def __init__(
        self, attempt: Attempt, showing: Showing, model: Model, request: ModelRequest, tries: Tries, offer: Offer
    ) -> None:
        attempt.facts[MODEL_CALLS] = int(attempt.facts.get(MODEL_CALLS, 0)) + 1
        self._attempt = attempt
        self._showing = showing
        self._model = model
        self._request = request
        self._tries = tries
        self._room = Room(offer.max_chars)
        self._alone = _object_alone(showing) if offer.form is not None else None
        self._call = attempt.meter.calls(request)
        self._away = _Away(self, showing, attempt, request, self._call, tries)
        self._said_before = showing.fold.said_chars
        self.reached: Reached | None = request.reached
        self.heard = False

    @property
    def full(self) -> bool:
        return self._room.full

    @property
    def waited(self) -> dict[str, Any]:
        return self._away.told

    async def answer(self) -> Finished | None:
        """What the call answers; None when the turn was cancelled meanwhile. Raises Fenced when it was lost, PutOff,
        ModelError."""
        outcome: CallOutcome = "stopped"
        usage: Usage | None = None
        with self._call:
            self._request = replace(self._request, traceparent=self._call.span.traceparent or self._request.traceparent)
            try:
                finished = await self._showing.unless_interrupted(self._follow())
            except PutOff:
                outcome = "failed"
                raise
            except ModelError as error:
                outcome, usage = "failed", error.usage
                raise
            else:
                if finished is not None:
                    outcome, usage = "answered", finished.usage
                    self._call.answered(finished)
                return finished
            finally:
                self.count(outcome, usage)

    def failed(self, error: ModelError) -> None:
        """It is not asked any more."""
        self._call.failed(error)

    async def abandon(self) -> None:
        """The step has ended before its answer had: that need not be made any more."""
        if self.reached is not None:
            await self._model.abandon(self.reached)

    def count(self, outcome: CallOutcome, used: Usage | None) -> None:
        """Add what a request has used to what those before have."""
        said = self._showing.fold.said_chars - self._said_before
        if used is not None:
            self._call.used(used)
        self._attempt.account.charge(self._request, outcome, used, said, step=self._showing.number)

    async def _follow(self) -> Finished:
        finished, tries = Finished(reason=None, usage=None, model=None), self._tries
        stream = stream_with_retries(
            self._model,
            self._request,
            attempts=tries.attempts,
            patience=tries.patience,
            on_retry=self._away.will_retry,
            must_say=True,
            longest_wait_seconds=tries.hold_seconds,
            tried=tries.waited.tried if tries.waited is not None else None,
        )
        try:
            async with stream as batches:
                async for batch in batches:
                    self._away.ends()
                    for event in batch:
                        if isinstance(event, Finished):
                            finished = event
                        else:
                            self._hear(self._room.fit(event))
                    if self._room.full:
                        return replace(finished, reason="length")
            return finished
        finally:
            self._show_held()

    def _hear(self, event: ModelEvent) -> None:
        if isinstance(event, Reached):
            self.reached = event
            self._showing.note(event)
            return
        if not self.heard:
            self._call.first_token(event)
            self.heard = True
        self._attempt.beside.heard.set()
        if self._alone is not None and isinstance(event, TextDelta):
            self._show(self._alone.feed(event.text))
            return
        if isinstance(event, RefusalDelta | ToolCallDelta):
            self._show_held()
        self._showing.say(event)

    def _show(self, text: str) -> None:
        if text:
            self._showing.text(text)

    def _show_held(self) -> None:
        if self._alone is not None:
            self._show(self._alone.rest())


def _object_alone(showing: Showing) -> ObjectAlone | None:
    """None: the step has a text that it does not continue as one."""
    shown = showing.fold.open_text
    return ObjectAlone(shown) if shown or "text" not in showing.fold.kinds_in_step else None


class _Away:
    """A model that is away: since when, as the browser and the log are told. `told`: the last that the browser was."""

    def __init__(
        self,
        asking: Asking,
        showing: Showing,
        attempt: Attempt,
        request: ModelRequest,
        call: CallMeter,
        tries: Tries,
    ) -> None:
        self._asking = asking
        self._showing = showing
        self._attempt = attempt
        self._request = request
        self._call = call
        self._since = tries.waited.since if tries.waited is not None else None
        self._log = get_logger()
        self.told: dict[str, Any] = {}

    def will_retry(self, error: ModelError, failures: int, delay_seconds: float) -> None:
        if error.usage is not None:
            self._asking.count("failed", error.usage)
        self._call.retries(error, delay_seconds)
        facts = {"attempt": self._attempt.task.attempt, "delay_seconds": round(delay_seconds, 2), **error.facts()}
        self._log.warning("model_retry", model=self._request.model, **facts)
        if delay_seconds <= 0:
            return
        now = datetime.now(UTC)
        self._since = self._since or now.isoformat(timespec="milliseconds")
        self.told = {
            "state": "waiting",
            "waitsFor": "model",
            "code": error.code,
            "message": error.while_asked_again,
            "since": self._since,
            "nextTryAt": (now + timedelta(seconds=delay_seconds)).isoformat(timespec="milliseconds"),
            "attempt": failures,
        }
        self._showing.status(self.told)

    def ends(self) -> None:
        if self._since is not None:
            self._since = None
            self._showing.status({"state": "running"})
