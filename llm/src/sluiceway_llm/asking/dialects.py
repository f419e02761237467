"""What is known of the servers of the field: which parameters they take, and what they want to have back.

A dialect is chosen by setting, by the server's host, or by what its answers' headers say; of a server that is not known
nothing is assumed that a strict one would refuse. What a server refuses all the same is learned (lessons.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

Name = Literal[
    "generic",
    "openai",
    "azure",
    "gemini",
    "anthropic",
    "mistral",
    "deepseek",
    "kimi",
    "ollama",
    "llama.cpp",
    "vllm",
    "openrouter",
    "groq",
    "litellm",
]
Schemas = Literal["whole", "inlined", "bare"]
Ids = Literal["own", "nine"]
Tracing = Literal["headers", "metadata", "session_id"]


@dataclass(frozen=True, slots=True)
class Dialect:
    """`limit_name`: how the limit of an answer is called. `drops`: parameters that it refuses. `schemas`: of tools, see
    tool_schemas.py. `returns`: which fields it takes back with a message; None: all that it gave. `ids`: whether calls
    may have whatever short id, or nine letters and digits. `tracing`: where it looks for the session and the trace,
    beside the headers, which all are sent. `turns`: whether it refuses a user's message that follows results."""

    name: Name
    limit_name: str = "max_tokens"
    drops: frozenset[str] = frozenset()
    schemas: Schemas = "inlined"
    returns: frozenset[str] | None = None
    ids: Ids = "own"
    tracing: Tracing = "headers"
    turns: bool = False


_NOTHING = frozenset[str]()
_THOUGHTS = frozenset({"reasoning_content", "reasoning"})
_KNOWN = (
    Dialect("generic"),
    Dialect("openai", limit_name="max_completion_tokens", schemas="whole", returns=_NOTHING),
    Dialect("azure", limit_name="max_completion_tokens", schemas="whole", returns=_NOTHING),
    Dialect("gemini", drops=frozenset({"user"}), schemas="bare", returns=frozenset({"extra_content"})),
    Dialect("anthropic", returns=frozenset({"extra_content", "thinking_blocks"})),
    Dialect("mistral", drops=frozenset({"user", "stream_options"}), returns=_NOTHING, ids="nine", turns=True),
    Dialect("deepseek", returns=frozenset({"reasoning_content"})),
    Dialect("kimi", returns=frozenset({"reasoning_content"})),
    Dialect("ollama", returns=_THOUGHTS),
    Dialect("llama.cpp", returns=_THOUGHTS),
    Dialect("vllm", returns=_THOUGHTS),
    Dialect("openrouter", tracing="session_id"),
    Dialect("groq", returns=frozenset({"reasoning"})),
    Dialect("litellm", tracing="metadata"),
)
DIALECTS: Mapping[str, Dialect] = {dialect.name: dialect for dialect in _KNOWN}
GENERIC = DIALECTS["generic"]
_HOSTS = (
    ("openai.azure.com", "azure"),
    ("azure.com", "azure"),
    ("openai.com", "openai"),
    ("googleapis.com", "gemini"),
    ("anthropic.com", "anthropic"),
    ("mistral.ai", "mistral"),
    ("deepseek.com", "deepseek"),
    ("moonshot.ai", "kimi"),
    ("moonshot.cn", "kimi"),
    ("kimi.com", "kimi"),
    ("openrouter.ai", "openrouter"),
    ("groq.com", "groq"),
)
_OLLAMA_PORT = 11434


def dialect_of_host(base_url: str) -> Dialect:
    """By the address; `generic` where it says nothing."""
    try:
        parts = urlsplit(base_url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        return GENERIC
    for known, name in _HOSTS:
        if host == known or host.endswith(f".{known}"):
            return DIALECTS[name]
    return DIALECTS["ollama"] if port == _OLLAMA_PORT or "ollama" in host else GENERIC


def dialect_of_answer(headers: Mapping[str, str]) -> Dialect | None:
    """By the headers of an answer; None where they say nothing."""
    names = {name.lower() for name in headers}
    server = headers.get("server", "").lower()
    if any(name.startswith("x-litellm-") for name in names):
        return DIALECTS["litellm"]
    if "x-groq-region" in names:
        return DIALECTS["groq"]
    return DIALECTS["llama.cpp"] if "llama.cpp" in server else None
