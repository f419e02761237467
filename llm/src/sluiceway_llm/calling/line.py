"""The line before a model that may be asked only so often: a call's place in it.

Guarantees: a call that comes again, after a wait or a failure, keeps its place before those that came later. Waiting in
line costs no request, no try and no patience. Without limits nothing is asked, and nobody waits.
"""

import secrets
from dataclasses import dataclass
from typing import Protocol

from sluiceway_llm.calling.charging import estimated_input_tokens
from sluiceway_llm.model_errors import ModelError, ModelRateLimited
from sluiceway_llm.model_events import ModelRequest, Usage

_TICKET_BYTES = 8


class Budget(Protocol):
    """What all processes together may ask of each model in a minute. No method raises: without a count there is no
    limit. Times of arrival are µs of one clock."""

    def counts_tokens(self, model: str) -> bool: ...

    async def take(self, model: str, ticket: str, arrived: int, tokens: int) -> tuple[float, int, int] | None: ...

    async def hold_off(
        self, model: str, ticket: str, arrived: int, tokens: int, slice_: int, seconds: float, *, again: bool
    ) -> None: ...

    async def correct(self, model: str, slice_: int, difference: int) -> None: ...

    async def leave(self, model: str, ticket: str) -> None: ...


class InLine(ModelRateLimited):
    """Not asked: as much as may be asked of the model in a minute was. `retry_after_seconds`: when to come again."""

    code = "MODEL_IN_LINE"
    advice = "Many questions wait for this model. Yours is in line, and is asked when its time has come."


@dataclass(frozen=True, slots=True)
class Place:
    """For whoever asks the same again, in another process too. `arrived`: 0 while that is not known."""

    ticket: str
    arrived: int = 0


@dataclass(frozen=True, slots=True)
class _Counted:
    model: str
    slice_: int
    tokens: int


class Line:
    """Of one call, with all of its tries."""

    def __init__(self, budget: Budget | None, place: Place | None = None) -> None:
        self._budget = budget
        self._place = place or Place(secrets.token_hex(_TICKET_BYTES))
        self._waits_for: str | None = None
        self._counted: _Counted | None = None

    @property
    def place(self) -> Place | None:
        """None: there is no line, or it has not come to one."""
        return self._place if self._place.arrived else None

    async def enter(self, request: ModelRequest) -> None:
        """A request is about to be sent. Raises InLine."""
        budget, model = self._budget, request.model
        if budget is None or request.reached is not None:
            return
        if self._waits_for not in (None, model):
            await self.leave()
        tokens = tokens_asked_for(request) if budget.counts_tokens(model) else 0
        taken = await budget.take(model, self._place.ticket, self._place.arrived, tokens)
        self._waits_for = self._counted = None
        if taken is None:
            return
        seconds, arrived, slice_ = taken
        self._place = Place(self._place.ticket, arrived)
        if seconds > 0:
            self._waits_for = model
            raise InLine(retry_after_seconds=seconds)
        self._counted = _Counted(model, slice_, tokens)

    async def failed(self, error: ModelError, delay_seconds: float, *, again: bool) -> None:
        """The request failed. `again`: it will be sent again after that time."""
        counted = self._counted
        if self._budget is None or counted is None:
            return
        if not isinstance(error, ModelRateLimited):
            await self.used(Usage(0, 0) if error.usage is None and error.status is not None else error.usage)
            return
        self._counted = None
        place = self._place
        told = (counted.model, place.ticket, place.arrived, counted.tokens, counted.slice_, delay_seconds)
        await self._budget.hold_off(*told, again=again)
        self._waits_for = counted.model if again else None

    async def used(self, usage: Usage | None) -> None:
        """What the server says of the answer; None: nothing, so it stays with the estimate."""
        counted, self._counted = self._counted, None
        if self._budget is None or counted is None or usage is None or not self._budget.counts_tokens(counted.model):
            return
        tokens = usage.total_tokens or (usage.input_tokens or 0) + (usage.output_tokens or 0)
        if tokens != counted.tokens:
            await self._budget.correct(counted.model, counted.slice_, tokens - counted.tokens)

    async def leave(self) -> None:
        """It is given up, where it waits."""
        model, self._waits_for = self._waits_for, None
        if self._budget is not None and model is not None:
            await self._budget.leave(model, self._place.ticket)


def tokens_asked_for(request: ModelRequest) -> int:
    """As servers count before they know: the larger one of the prompt, by an estimate, and the answer's limit."""
    return max(1, estimated_input_tokens(request), request.max_tokens or 0)
