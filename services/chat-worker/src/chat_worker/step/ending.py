"""How a step ends: with its turn, with calls that the turn waits for, or with a model that it waits for.

Guarantees
- The answer is durable before `finish` is seen, and a call is durable before a runner can begin it.
- A call that cannot be run (unknown tool, bad arguments, too many) goes back to the model as an error.
- Cancelled or failed: what was shown is kept, and the stream ends with `abort` and `finish`, or with `error`.
- An attempt that was fenced writes nothing more, neither here nor there.
- A turn with calls that do not block it goes into the background with its answer, and another brings their results:
  also where they have all ended before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sluiceway.errors import Fenced, NotStorable
from sluiceway.process.logs import get_logger
from sluiceway.queue.worker import persistently
from sluiceway.store.operations.operations import NewOperation
from sluiceway.store.records import BACKGROUND
from sluiceway.store.turns.ending import EndFacts, TurnEnd
from sluiceway.store.turns.turns import Paused
from sluiceway.turn.background import Answer
from sluiceway.turn.ending import TurnEnding
from sluiceway.turn.not_storable import NOT_STORABLE
from sluiceway.turn.pause import TurnPause
from sluiceway.turn.shown import told
from sluiceway.wire.events import Abort, Data, Error, Event, Finish, FinishReason, FinishStep
from sluiceway.wire.message import replay_of
from sluiceway.wire.task import EndStatus
from sluiceway_llm.calling.retry import Patience, PutOff
from sluiceway_llm.model_events import Finished, Provided

from chat_worker.account import COST
from chat_worker.attempt import Attempt
from chat_worker.calls import AskedCall, to_operation
from chat_worker.model_wait import ModelWait
from chat_worker.prompt.prompt import keep_provided
from chat_worker.steering import accepted_part
from chat_worker.step.offer import Offer, Outcome
from chat_worker.step.showing import Showing

_COST_DIGITS = 9
_UNFINISHED = "CANCELLED: The turn ended before the tool had."
_FINISH_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content-filter",
    "tool_calls": "tool-calls",
}


@dataclass(frozen=True, slots=True)
class Exits:
    """The ways in which a step lets go of its turn."""

    pause: TurnPause
    ending: TurnEnding


class StepEnding:
    def __init__(self, attempt: Attempt, showing: Showing, exits: Exits) -> None:
        self._attempt = attempt
        self._task = attempt.task
        self._showing = showing
        self._exits = exits
        self._told = ""
        self._log = get_logger()

    # With its turn. All raise Fenced.

    async def complete(self, finished: Finished, asked_model: str) -> Outcome:
        """The answer is whole."""
        reason = _FINISH_REASONS.get(finished.reason or "", "other")
        return await self._end("completed", {"model": finished.model or asked_model, "finishReason": reason}, reason)

    async def say(self, text: str) -> Outcome:
        """Answer with a text of ours, and end the turn."""
        self._showing.begin()
        self._showing.text(text)
        return await self._end("completed", {"finishReason": "stop"}, "stop")

    async def end_full(self, model: str) -> Outcome:
        """End a turn whose answer has no room left; the model is not asked any more."""
        return await self._end("completed", {"model": model, "finishReason": "length"}, "length")

    async def cancel(self) -> Outcome:
        """End the turn as cancelled, with what was shown so far."""
        return await self._end("cancelled", {}, None)

    async def fail(self, code: str, message: str, told: str | None = None) -> Outcome:
        """End the turn with a typed error, which stays in the history too. `told`: the message without what it quotes,
        for operators; None: it quotes nothing."""
        self._told = message if told is None else told
        facts = self._attempt.facts
        self._log.warning("turn_failed", attempt=self._task.attempt, **facts | {"code": code})
        facts["code"] = code
        self._showing.close_part()
        error = {"code": code, "message": message}
        self._showing.emit(Data(type="data-error", data=error))
        return await self._end("failed", {"error": error}, None, error=error)

    async def await_person(self) -> EndStatus | None:
        """End the turn, whose calls wait for a person: the answer continues it. None: it was given meanwhile."""
        metadata = self._metadata("completed", {"finishReason": "tool-calls"})
        last = [Finish(finish_reason="tool-calls", message_metadata=_shown(metadata))]
        return await self._write_end("completed", metadata, last, awaits=True)

    async def give_way(self, to: str) -> Outcome | None:
        """End the turn, between two steps, for the one that steers it. None: that one waits no more."""
        metadata = self._metadata("completed", {"finishReason": "other"})
        if self._attempt.background:
            return await self._step_back(metadata, replay_of([accepted_part(to)]), gives_way=to)
        last = [*replay_of([accepted_part(to)]), Finish(finish_reason="other", message_metadata=_shown(metadata))]
        return await self._write_end("completed", metadata, last, gives_way=to)

    # And its turn continues

    async def call(
        self, calls: Sequence[AskedCall], offer: Offer, *, provided: Provided | None = None, cut: bool = False
    ) -> Outcome:
        """With these calls: they are durable, and what can be run is queued; nothing of a `cut` answer."""
        showing = self._showing
        showing.begin()
        showing.close_part()
        operations: list[NewOperation] = []
        for place, call in enumerate(calls):
            too_many = place >= offer.max_calls
            operation, shown = to_operation(call, showing.number, offer.tools, too_many=too_many, cut=cut)
            operations.append(operation)
            if operation.background and operation.status == "pending":
                self._attempt.background.add(operation.tool_call_id)
            for event in shown:
                showing.emit(event)
        showing.emit(FinishStep())
        if provided is not None:
            parts_of_calls = showing.fold.calls()
            keep_provided([parts_of_calls[call.call_id] for call in calls], provided)
        return await self._pause(operations)

    async def wait_for_model(self, put_off: PutOff, patience: Patience, told: dict[str, Any]) -> Outcome:
        """Let the turn go until its model is to be asked again. Nothing of the step was shown."""
        waited = ModelWait.of(put_off, self._showing.number, patience.left_seconds, told)
        self._attempt.facts["retry_seconds"] = round(put_off.delay_seconds)
        writer, delay_seconds = self._attempt.writer, put_off.delay_seconds
        await writer.drained()
        stored, written, pause = waited.stored(), writer.written, self._exits.pause
        waits = await persistently(lambda: pause.wait_for_model(self._task, stored, delay_seconds, written=written))
        return await self.after(waits)

    async def begin_approved(self) -> Outcome:
        """Queue the calls that a person has approved, and wait for them."""
        writer, pause = self._attempt.writer, self._exits.pause
        await writer.drained()
        written = writer.written
        return await self.after(await persistently(lambda: pause.begin_approved(self._task, written=written)))

    async def block(self) -> Outcome:
        """Wait for the calls in the background as for any other: the turn is to ask its person."""
        writer, pause = self._attempt.writer, self._exits.pause
        await writer.drained()
        written = writer.written
        outcome = await self.after(await persistently(lambda: pause.block(self._task, written=written)))
        self._attempt.background.clear()
        return outcome

    async def after(self, paused: Paused) -> Outcome:
        """What follows from how a turn was let go. Raises Fenced."""
        if paused == "cancelled":
            return await self.cancel()
        if paused == "fenced":
            raise self._fenced()
        return paused

    async def _pause(self, operations: Sequence[NewOperation]) -> Outcome:
        attempt, account, fold = self._attempt, self._attempt.account, self._showing.fold
        await attempt.writer.drained()
        parts, written = fold.finished_parts(), attempt.writer.written
        background = {BACKGROUND: sorted(attempt.background)} if attempt.background else {}
        paused = await persistently(
            lambda: self._exits.pause.pause(
                self._task,
                parts,
                operations,
                account.usage,
                metadata=fold.metadata | background,
                calls=account.unwritten,
                prompt=account.prompt,
                written=written,
            )
        )
        if paused in ("waiting", "running"):
            account.written()
        return await self.after(paused)

    async def _end(
        self,
        status: EndStatus,
        metadata: dict[str, Any],
        reason: FinishReason | None,
        *,
        error: dict[str, Any] | None = None,
    ) -> Outcome:
        stored = self._metadata(status, metadata)
        if status == "completed" and self._attempt.background:
            stepped_back = await self._step_back(stored, [])
            if stepped_back is not None:
                return stepped_back
        self._showing.close(_UNFINISHED)
        ended = await self._write_end(status, stored, _last(status, reason, stored, error), error=error)
        if ended is None:
            raise self._fenced()
        if ended != status:
            self._attempt.facts["code"] = NOT_STORABLE
        return ended

    async def _step_back(
        self, metadata: dict[str, Any], last: Sequence[Event], *, gives_way: str | None = None
    ) -> Outcome | None:
        """Go into the background with the answer. None: Postgres refuses it; or the turn that it gives way to waits no
        more."""
        attempt, pause = self._attempt, self._exits.pause
        self._showing.close(None)
        await attempt.writer.drained()
        end = self._turn_end("completed", _shown(metadata), gives_way=gives_way)
        answer = Answer([*last, *told(_shown(metadata))], frozenset(self._showing.fold.told))
        written = attempt.writer.written
        try:
            paused = await persistently(lambda: pause.step_back(self._task, end, answer, written=written))
        except NotStorable:
            return None
        if paused == "waiting":
            attempt.account.written()
        return await self.after(paused) if paused != "running" else None

    def _turn_end(
        self,
        status: EndStatus,
        metadata: dict[str, Any],
        *,
        error: dict[str, Any] | None = None,
        awaits: bool = False,
        gives_way: str | None = None,
    ) -> TurnEnd:
        account, parts = self._attempt.account, self._showing.fold.finished_parts()
        facts: EndFacts | None = None
        if error is not None:
            facts = {**self._attempt.facts, "step": self._showing.number, "told": self._told}
        elif gives_way is not None:
            facts = {"by": "steer", "for": gives_way}
        return TurnEnd(
            status=status,
            parts=parts if gives_way is None else [*parts, accepted_part(gives_way)],
            metadata=metadata,
            error=error,
            usage=account.usage,
            awaits=awaits,
            calls=account.unwritten,
            prompt=account.prompt,
            gives_way=gives_way,
            facts=facts,
        )

    async def _write_end(
        self,
        status: EndStatus,
        metadata: dict[str, Any],
        last: Sequence[Event],
        *,
        error: dict[str, Any] | None = None,
        awaits: bool = False,
        gives_way: str | None = None,
    ) -> EndStatus | None:
        """All shown text in Redis, then the answer in Postgres, then the end of the stream. None: nothing was."""
        writer, account = self._attempt.writer, self._attempt.account
        await writer.drained()
        end = self._turn_end(status, metadata, error=error, awaits=awaits, gives_way=gives_way)
        written = writer.written
        ended = await persistently(lambda: self._exits.ending.end(self._task, end, last, written=written))
        if ended is not None:
            account.written()
        return ended

    def _metadata(self, status: EndStatus, metadata: dict[str, Any]) -> dict[str, Any]:
        used, usage = self._attempt.account.usage, dict[str, Any]()
        if used is not None:
            usage["usage"] = {name: count for name, count in used.items() if name != COST}
            if COST in used:
                usage[COST] = round(used[COST], _COST_DIGITS)
        return {**self._showing.fold.metadata, "status": status, "taskId": self._task.id, **metadata, **usage}

    def _fenced(self) -> Fenced:
        return Fenced(f"task {self._task.id}: ended or taken over by another")


def _shown(metadata: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metadata.items() if name != "status"}


def _last(
    status: EndStatus, reason: FinishReason | None, metadata: dict[str, Any], error: dict[str, Any] | None
) -> list[Event]:
    if error is not None:
        return [Error(error_text=error["message"])]
    if status == "cancelled":
        return [Abort(), Finish()]
    return [Finish(finish_reason=reason, message_metadata=_shown(metadata))]
