"""What a model says while it answers, and what it is asked. No trace of a provider's SDK."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class TextDelta:
    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    text: str


@dataclass(frozen=True, slots=True)
class RefusalDelta:
    text: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A fragment of the call number `index`. Id and name come once, most often with its first fragment; the arguments
    are JSON when all fragments of that index are joined. Fragments of several calls may come in any order."""

    index: int
    id: str | None
    name: str | None
    arguments: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Counted by the server, in tokens; None: not told."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_input_tokens: int | None = None

    def as_dict(self) -> dict[str, int]:
        """What was told, under the names of the AI SDK."""
        names = {
            "input_tokens": "inputTokens",
            "output_tokens": "outputTokens",
            "total_tokens": "totalTokens",
            "reasoning_tokens": "reasoningTokens",
            "cached_input_tokens": "cachedInputTokens",
        }
        return {names[name]: count for name, count in asdict(self).items() if count is not None}


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of every answer. `reason` is None when the server ended the stream without naming one."""

    reason: str | None
    usage: Usage | None
    model: str | None


@dataclass(frozen=True, slots=True)
class Reached:
    """How far an answer was told that the server keeps: up to the event of this number. -1: nothing of it."""

    response_id: str
    sequence: int


ModelEvent: TypeAlias = TextDelta | ReasoningDelta | RefusalDelta | ToolCallDelta | Reached | Finished


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One model call. `messages` and `tools` have the OpenAI shapes; what is None is not sent.

    `headers` are sent along (trace ids, the session's id); `extra_body` is merged into the request's JSON for servers
    that know more fields. `prefix`: how the answer begins; only what follows it is told (where `Model.continues`).
    `reached`: an answer that the server has begun; only what comes behind that is told (where `Model.reattaches`).
    """

    model: str
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    user: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    prefix: str = ""
    reached: Reached | None = None
