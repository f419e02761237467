"""What one attempt at a turn asks of models: noted when a call ends, however it ends, and kept until it is durable.

Where the server tells no tokens (a call that was stopped, an answer that broke off, a server that never does) they are
an estimate, and marked so.
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from sluiceway.ids import new_call_id
from sluiceway.store.people.usage import CallOutcome, ModelCall
from sluiceway_llm.calling.charging import charged
from sluiceway_llm.model_events import ModelRequest, Usage
from sluiceway_llm.prices import Prices

COST = "cost"
ANSWER = "answer"
Counted = Callable[[str, str, Usage], None]


class Account:
    """`unwritten`: the calls that are not durable yet. `usage`: the tokens, and the cost, that servers told of all the
    turn's answers, as it is stored with it. `prompt`: what is written of the system prompt behind them. `counted`: is
    told of what servers told, with the model and the purpose."""

    def __init__(
        self, prices: Prices | None = None, usage: dict[str, Any] | None = None, counted: Counted | None = None
    ) -> None:
        self._prices = prices
        self._counted = counted
        self.usage = usage
        self.prompt: dict[str, Any] | None = None
        self.unwritten: list[ModelCall] = []

    def charge(
        self,
        request: ModelRequest,
        outcome: CallOutcome,
        told: Usage | None,
        said_chars: int,
        *,
        step: int = 0,
        purpose: str = ANSWER,
    ) -> None:
        """Note a call, if it was paid for; of an answer, what the server told of it counts to the turn's usage."""
        used = charged(request, told, said_chars, self._prices)
        if used is None:
            return
        if told is not None and self._counted is not None:
            self._counted(request.model, purpose, told)
        fields = {"step": step, "purpose": purpose, "model": request.model, "outcome": outcome}
        self.unwritten.append(ModelCall(id=new_call_id(), **fields, **asdict(used)))  # type: ignore[arg-type]
        if told is not None and purpose == ANSWER:
            cost = {COST: used.cost} if used.cost is not None else {}
            self.usage = _added(self.usage, told.as_dict() | cost)

    def written(self) -> None:
        """They are durable."""
        self.unwritten.clear()


def _added(usage: dict[str, Any] | None, more: dict[str, Any]) -> dict[str, Any] | None:
    if not more:
        return usage
    before = usage or {}
    return {name: before.get(name, 0) + more.get(name, 0) for name in {**before, **more}}
