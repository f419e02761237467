"""What a call of a model has used: by what the server told, else by an estimate, a token for four characters."""

import json
from dataclasses import dataclass

from sluiceway_llm.model_events import ModelRequest, Usage
from sluiceway_llm.prices import Prices

_CHARS_OF_A_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Charged:
    """`cost`: in USD; None: no price is known. `estimated`: the server told no tokens."""

    input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cached_tokens: int
    cost: float | None
    estimated: bool


def charged(request: ModelRequest, told: Usage | None, said_chars: int, prices: Prices | None) -> Charged | None:
    """None: it said nothing, and the server told of no tokens; such a call was not paid for."""
    if told is None and said_chars == 0:
        return None
    usage = told or _estimate(request, said_chars)
    return Charged(
        input_tokens=_input_of(usage),
        output_tokens=usage.output_tokens or 0,
        reasoning_tokens=usage.reasoning_tokens or 0,
        cached_tokens=usage.cached_input_tokens or 0,
        cost=prices.cost(request.model, usage) if prices is not None else None,
        estimated=told is None,
    )


def _input_of(usage: Usage) -> int:
    """What a server tells of a total alone counts as input."""
    if usage.input_tokens is not None:
        return usage.input_tokens
    return max(0, (usage.total_tokens or 0) - (usage.output_tokens or 0))


def estimated_input_tokens(request: ModelRequest) -> int:
    asked = sum(len(json.dumps(message, ensure_ascii=False, default=str)) for message in request.messages)
    return asked // _CHARS_OF_A_TOKEN


def _estimate(request: ModelRequest, said_chars: int) -> Usage:
    said = max(1, said_chars // _CHARS_OF_A_TOKEN)
    return Usage(input_tokens=estimated_input_tokens(request), output_tokens=said)
