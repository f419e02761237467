"""Usage as servers tell it, under whatever names and wherever in a chunk. Nothing in it can fail an answer."""

from typing import Any

from sluiceway_llm.clean_text import count_of
from sluiceway_llm.model_events import Usage

_INPUT = ("prompt_tokens", "input_tokens", "prompt_eval_count", "promptTokens", "inputTokens", "promptTokenCount")
_OUTPUT = (
    *("completion_tokens", "output_tokens", "eval_count", "completionTokens", "outputTokens"),
    "candidatesTokenCount",
)
_TOTAL = ("total_tokens", "totalTokens", "totalTokenCount")
_NAMES = ("usage", "usageMetadata", "usage_metadata")
_INPUT_DETAILS = ("prompt_tokens_details", "input_tokens_details")
_OUTPUT_DETAILS = ("completion_tokens_details", "output_tokens_details")
_CACHED = ("prompt_cache_hit_tokens", "cached_tokens", "cache_read_input_tokens")


def usage_in(chunk: dict[str, Any]) -> Usage | None:
    """Of a chunk, or a whole completion: its own, that of a choice, or that of an extension."""
    for place in _places(chunk):
        for name in _NAMES:
            if isinstance(place, dict) and (usage := usage_of(place.get(name))) is not None:
                return usage
    return None


def usage_of(told: object) -> Usage | None:
    """None where nothing of it is a count."""
    if isinstance(told, list) and told:
        told = told[-1]
    if not isinstance(told, dict):
        return None
    usage = Usage(
        input_tokens=_first(told, _INPUT),
        output_tokens=_first(told, _OUTPUT),
        total_tokens=_first(told, _TOTAL),
        reasoning_tokens=_detail(told, _OUTPUT_DETAILS, ("reasoning_tokens",)),
        cached_input_tokens=_detail(told, _INPUT_DETAILS, _CACHED),
    )
    return usage if usage.as_dict() else None


def _places(chunk: dict[str, Any]) -> list[Any]:
    choices = chunk.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else choices
    within = [choice.get("delta"), choice.get("message")] if isinstance(choice, dict) else []
    return [chunk, choice, *within, chunk.get("x_groq"), chunk.get("message")]


def _first(told: dict[str, Any], names: tuple[str, ...]) -> int | None:
    return next((count for name in names if (count := count_of(told.get(name))) is not None), None)


def _detail(told: dict[str, Any], places: tuple[str, ...], names: tuple[str, ...]) -> int | None:
    for place in (*(told.get(name) for name in places), told):
        if isinstance(place, dict) and (count := _first(place, names)) is not None:
            return count
    return None
