"""One step of a turn: one model call, streamed to the task's stream. Its tool calls become operations, and the turn
waits for them; without any, the turn ends, in Postgres and then in the stream.

Guarantees, beside those of what it asks, shows and ends with
- An answer that says nothing and calls nothing is told as an error. No call of an answer that was cut off is run; the
  model is told once, and the user when it happens again.
- A longer wait for a model is spent without a worker, as long as nothing of the step was shown.
- An answer that never stops ends where the offer's room does, as one that reached the server's own limit.
- A text that its server broke off is continued where it stopped, by a server that can do that, a few times.
- What a call has used is durable with its step; of a call that became nothing it is left in the account.
"""

from dataclasses import replace

from sluiceway.errors import Forgotten
from sluiceway.process.logs import get_logger
from sluiceway.wire.message import MessageFold, steps_of, text_of
from sluiceway_llm.calling.model import Model
from sluiceway_llm.calling.retry import PutOff
from sluiceway_llm.model_errors import (
    ModelContentFiltered,
    ModelContextExceeded,
    ModelCut,
    ModelError,
    ModelLimitReached,
    ModelNotFound,
    ModelOutOfForm,
    ModelRejected,
    ModelTimeout,
    ModelUnavailable,
)
from sluiceway_llm.model_events import Finished, ModelRequest, Reached

from chat_worker.attempt import Attempt
from chat_worker.calls import CUT
from chat_worker.context.context import Prepared
from chat_worker.step.asking import Asking
from chat_worker.step.ending import Exits, StepEnding
from chat_worker.step.offer import BrokeOff, NotContinued, Offer, Outcome, TooLong, Tries, Unfit
from chat_worker.step.showing import Showing

TOOL_LIMIT = "TOOL_LIMIT"
_TOOL_LIMIT_MESSAGE = "The answer needed more tool calls than one turn may have. Ask for a smaller part of it."
_CONTINUATION_ATTEMPTS = 4


class Step:
    """One step of an attempt, in the message so far. `showing`, `ending`: what it shows, and how it ends, for whoever
    has something to say without its model."""

    def __init__(self, attempt: Attempt, fold: MessageFold, exits: Exits) -> None:
        self._attempt = attempt
        self.showing = Showing(attempt, fold)
        self.ending = StepEnding(attempt, self.showing, exits)
        self._asking: Asking | None = None
        self._log = get_logger()

    @property
    def reached(self) -> Reached | None:
        """The answer that is being made at the server, where that keeps it."""
        return self._asking.reached if self._asking is not None else None

    async def run(
        self, model: Model, request: ModelRequest, tries: Tries, offer: Offer, sent: Prepared | None = None
    ) -> Outcome:
        """Call the model; end the turn, or wait for its tools, or for the model itself. Raises TooLong; Fenced when the
        task is another's now; Unfit; BrokeOff; NotContinued when the server did not continue what the request says was
        had of the answer already: nothing is changed then."""
        self.showing.begin()
        if _continues(request):
            # Beginning anew is better than waiting.
            tries = replace(tries, attempts=min(tries.attempts, _CONTINUATION_ATTEMPTS), hold_seconds=None)
        self._asking = asking = Asking(self._attempt, self.showing, model, request, tries, offer)
        try:
            finished = await asking.answer()
        except PutOff as put_off:
            return await self.ending.wait_for_model(put_off, tries.patience, asking.waited)
        except Forgotten:
            # Whoever begins anew does not know of it.
            await asking.abandon()
            raise
        except ModelError as error:
            return await self._failed(asking, request, tries, offer, error)
        if finished is None:
            outcome = await self.ending.cancel()
            await asking.abandon()
            return outcome
        if asking.full:
            self._log.warning("answer_cut", model=request.model, max_chars=offer.max_chars)
            await asking.abandon()
        if sent is not None:
            used = finished.usage.input_tokens if finished.usage is not None else None
            self.showing.context(sent.counted(used))
        return await self._answered(finished, request, offer)

    async def _failed(
        self, asking: Asking, request: ModelRequest, tries: Tries, offer: Offer, error: ModelError
    ) -> Outcome:
        if _continues(request) and not asking.heard and _may_be_a_refusal(error):
            raise NotContinued(error.code) from error
        asking.failed(error)
        if tries.breaks > 0 and isinstance(error, ModelCut | ModelTimeout) and self.showing.fold.open_text.strip():
            raise BrokeOff(error.code) from error
        if isinstance(error, ModelOutOfForm) and offer.form is not None:
            raise Unfit(self.showing.fold.open_text, "nothing more fits the schema") from error
        if isinstance(error, ModelContextExceeded) and not asking.heard and request.reached is None:
            raise TooLong(error) from error
        facts = error.facts()
        self._log.warning("model_failed", model=request.model, attempt=self._attempt.task.attempt, **facts)
        self._attempt.facts.update({"model_status" if name == "status" else name: facts[name] for name in facts})
        outcome = await self.ending.fail(error.code, error.user_message, error.advice)
        await asking.abandon()
        return outcome

    async def _answered(self, finished: Finished, request: ModelRequest, offer: Offer) -> Outcome:
        calls, ending = self.showing.calls, self.ending
        if not calls:
            self._check(offer)
            return await ending.complete(finished, request.model)
        if finished.reason == "content_filter":
            return await ending.fail(ModelContentFiltered.code, ModelContentFiltered.advice)
        if offer.last:
            return await ending.fail(TOOL_LIMIT, _TOOL_LIMIT_MESSAGE)
        cut = finished.reason == "length"
        if cut and self._was_cut_before():
            return await ending.fail(ModelLimitReached.code, ModelLimitReached.advice)
        return await ending.call(calls, offer, provided=finished.provided, cut=cut)

    def _check(self, offer: Offer) -> None:
        """Raises Unfit."""
        if offer.form is None:
            return
        *_, said = steps_of(self.showing.fold.finished_parts())
        answer = text_of(said)
        if (problem := offer.form.problem(answer)) is not None:
            raise Unfit(answer, problem)

    def _was_cut_before(self) -> bool:
        """Whether the step before this one was cut off in its calls, too."""
        *_, before, _ = steps_of(self.showing.fold.parts)
        return any(str(part.get("errorText", "")).startswith(f"{CUT}:") for part in before)


def _continues(request: ModelRequest) -> bool:
    """Whether the model is to continue an answer that was begun."""
    return bool(request.prefix or request.reached)


def _may_be_a_refusal(error: ModelError) -> bool:
    """A bad request; an answer that is not kept any more; or a server error, which is what llama.cpp answers when the
    model's template raises. What else has a class of its own (the key, the quota, a silent server) would be the same
    for a request that begins anew."""
    return type(error) in (ModelRejected, ModelNotFound, ModelUnavailable)
