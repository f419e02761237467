"""What one attempt at a turn asks of models: noted when a call ends, however it ends, and kept until it is durable.

Where the server tells no tokens (a call that was stopped, an answer that broke off, a server that never does) they are
an estimate, a token for four characters, and marked so.
"""

import json
from typing import Any

from sluiceway.ids import new_call_id
from sluiceway.store.usage import CallOutcome, ModelCall
from sluiceway_llm.model import ModelRequest, Usage
from sluiceway_llm.prices import Prices

_CHARS_OF_A_TOKEN = 4
COST = "cost"


class Account:
    """`unwritten`: the calls that are not durable yet. `prompt`: what is written of the system prompt behind them."""

    def __init__(self, prices: Prices | None = None) -> None:
        self._prices = prices
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
        purpose: str = "answer",
    ) -> dict[str, Any]:
        """Note a call. Answers what the server told of it, and what that costs, as a turn's usage has it. A call that
        said nothing, and of which no tokens were told, was not paid for."""
        if told is None and said_chars == 0:
            return {}
        usage = told or _estimate(request, said_chars)
        cost = self._prices.cost(request.model, usage) if self._prices is not None else None
        call = ModelCall(
            id=new_call_id(),
            step=step,
            purpose=purpose,
            model=request.model,
            outcome=outcome,
            input_tokens=_input_of(usage),
            output_tokens=usage.output_tokens or 0,
            reasoning_tokens=usage.reasoning_tokens or 0,
            cached_tokens=usage.cached_input_tokens or 0,
            cost=cost,
            estimated=told is None,
        )
        self.unwritten.append(call)
        return {} if told is None else told.as_dict() | ({COST: cost} if cost is not None else {})

    def written(self) -> None:
        """They are durable."""
        self.unwritten.clear()


def added(usage: dict[str, Any] | None, more: dict[str, Any]) -> dict[str, Any] | None:
    """A turn's usage with that of another call."""
    if not more:
        return usage
    before = usage or {}
    return {name: before.get(name, 0) + more.get(name, 0) for name in {**before, **more}}


def _input_of(usage: Usage) -> int:
    """What a server tells of a total alone counts as input."""
    if usage.input_tokens is not None:
        return usage.input_tokens
    return max(0, (usage.total_tokens or 0) - (usage.output_tokens or 0))


def _estimate(request: ModelRequest, said_chars: int) -> Usage:
    asked = sum(len(json.dumps(message, ensure_ascii=False, default=str)) for message in request.messages)
    return Usage(input_tokens=asked // _CHARS_OF_A_TOKEN, output_tokens=max(1, said_chars // _CHARS_OF_A_TOKEN))
