"""How many tokens a model takes in all, prompt and answer together: what a server tells, and what is known by name.

Servers tell it in different places: vLLM (`max_model_len`), OpenRouter (`context_length`, and that of the provider
which would answer), llama.cpp (`meta.n_ctx` of `/v1/models`, in older versions `/props`), Mistral, LiteLLM, LM Studio.
A refusal for length most often names the number too.
"""

import re
from collections.abc import Mapping
from typing import Any

LEAST = 256
_MOST = 100_000_000
# A server's own names, from what it would serve to what the model could do at most.
_NAMES = (
    "max_model_len",
    "loaded_context_length",
    "n_ctx",
    "context_length",
    "max_context_length",
    "context_window",
    "max_input_tokens",
)
_WITHIN = ("top_provider", "meta", "model_info", "default_generation_settings", "limits")
# What a model is trained for says nothing of how its server was started: only where nothing else is told.
_AT_MOST = ("n_ctx_train",)
_NUMBER = r"(?<!by )(\d[\d,_]{2,9})(?![\d,_]| ?\+)"
_LIMIT = re.compile(
    r"(?:maximum|\bmax|model'?s?|available|allowed|limit|window|only)[^.\d]{0,60}?"
    + _NUMBER
    + r"|(\d[\d,_]{2,9}) ?(?:tokens? )?(?:maximum|limit|max\b|context (?:length|window|size))"
    r"|(?:[<>]=? ?|less than |\[1, ?)(\d[\d,_]{2,9})",
    re.I,
)
# What stands in a refusal beside the window: the name of a parameter, what was asked for.
_BESIDE = re.compile(r"max_\w+|maximum output tokens|request \(\d+|array too long.*|string too long.*", re.I | re.S)
# By the beginning of its name, without the provider; the first that fits.
_KNOWN: tuple[tuple[str, int], ...] = (
    ("gpt-5", 400_000),
    ("gpt-4.1", 1_047_576),
    ("gpt-4o", 128_000),
    ("chatgpt-4o", 128_000),
    ("gpt-4.5", 128_000),
    ("gpt-4-turbo", 128_000),
    ("gpt-4-32k", 32_768),
    ("gpt-4", 8_192),
    ("gpt-3.5", 16_385),
    ("gpt-35", 16_385),
    ("gpt-oss", 131_072),
    ("o1-mini", 128_000),
    ("o1", 200_000),
    ("o3", 200_000),
    ("o4-mini", 200_000),
    ("claude", 200_000),
    ("gemini-1.5-pro", 2_097_152),
    ("gemini", 1_048_576),
    ("gemma-3", 131_072),
    ("gemma", 8_192),
    ("deepseek", 128_000),
    ("mistral-small", 128_000),
    ("mistral-medium", 128_000),
    ("mistral-large", 128_000),
    ("codestral", 256_000),
    ("magistral", 40_000),
    ("ministral", 128_000),
    ("mixtral", 32_768),
    ("mistral", 32_768),
    ("llama-4", 1_000_000),
    ("llama-3.1", 131_072),
    ("llama-3.2", 131_072),
    ("llama-3.3", 131_072),
    ("llama-3", 8_192),
    ("llama3.1", 131_072),
    ("llama3.2", 131_072),
    ("llama3.3", 131_072),
    ("qwen3", 131_072),
    ("qwen2.5", 32_768),
    ("qwen", 32_768),
    ("kimi-k2", 131_072),
    ("grok-4", 256_000),
    ("grok", 131_072),
    ("phi-4", 16_384),
    ("smollm2", 8_192),
    ("command-r", 128_000),
)


def window_by_name(model: str) -> int | None:
    """What is known of the model, whoever serves it. `openai/gpt-4.1:free` is the model behind the slash."""
    name = model.lower().rsplit("/", 1)[-1].removeprefix("ft:")
    return next((tokens for beginning, tokens in _KNOWN if name.startswith(beginning)), None)


def windows_told(body: object) -> dict[str, int]:
    """By model, what a server's list of models tells. Never raises."""
    told: dict[str, int] = {}
    for entry in _entries(body):
        tokens = window_told(entry)
        if tokens is None:
            continue
        names = [entry.get("id"), entry.get("name"), entry.get("model_name"), *_listed(entry.get("aliases"))]
        told |= {name: tokens for name in names if isinstance(name, str)}
    return told


def window_told(entry: Mapping[str, Any]) -> int | None:
    """The smallest of what is told: the server refuses what is beyond any of them."""
    objects = [entry, *(inner for name in _WITHIN if isinstance(inner := entry.get(name), dict))]
    for names in (_NAMES, _AT_MOST):
        found = [tokens for one in objects for name in names if (tokens := _tokens(one.get(name))) is not None]
        if found:
            return min(found)
    return None


def window_in_refusal(words: str, told: int | None = None) -> int | None:
    """The window that a refusal for length names, in a field of its own (`told`) or in words: the smallest of what may
    be meant."""
    if (tokens := _tokens(told)) is not None:
        return tokens
    found = (group for match in _LIMIT.finditer(_BESIDE.sub(" ", words)) for group in match.groups())
    numbers = [_tokens(int(re.sub(r"[,_]", "", group))) for group in found if group is not None]
    return min((tokens for tokens in numbers if tokens is not None), default=None)


def _entries(body: object) -> list[dict[str, Any]]:
    found = body.get("data") or body.get("models") if isinstance(body, dict) else body
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _tokens(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if LEAST <= value <= _MOST else None
