"""What a model says while it answers, and what it is asked. No trace of a provider's SDK."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

from sluiceway_llm.clean_text import CleanText


@dataclass(frozen=True, slots=True)
class TextDelta:
    text: CleanText


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    text: CleanText


@dataclass(frozen=True, slots=True)
class RefusalDelta:
    text: CleanText


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A fragment of the call number `index`. Id and name come once, with its first fragment; the arguments are JSON,
    if the model is right, when all fragments of that index are joined. Fragments of several calls may come in any
    order."""

    index: int
    id: CleanText | None
    name: CleanText | None
    arguments: CleanText


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
class Provided:
    """What a server gave with its message, and wants to have back with it. Nobody but `history.py` looks into it.

    `by`: which server and model. `fields`: of the message; `calls`: of each of its calls, in their order;
    `reasoning_field`: the name under which the thoughts came, whose text is not repeated here. All of it is JSON.
    """

    by: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    calls: Sequence[Mapping[str, Any]] = ()
    reasoning_field: str = ""


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of every answer. `reason` is None when the server ended the stream without naming one, else one of
    `stop`, `length`, `tool_calls`, `content_filter`. `provided`: where there are calls."""

    reason: str | None
    usage: Usage | None
    model: CleanText | None
    provided: Provided | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Reached:
    """How far an answer was told that the server keeps: up to the event of this number. -1: nothing of it."""

    response_id: str
    sequence: int
    text_chars: int = 0
    """How many characters of its text, and of its thoughts, were told: the rest can be told of a whole answer."""
    reasoning_chars: int = 0


ModelEvent: TypeAlias = TextDelta | ReasoningDelta | RefusalDelta | ToolCallDelta | Reached | Finished


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One model call. `messages` and `tools` have the OpenAI shapes; what is None is not sent.

    An assistant message, and each of its calls, may have a `provider`: what `Provided` said of it (see history.py).
    `answer_format`: {name, schema, strict} of a JSON object that the answer is to be, for servers that can see to it.
    `tool_messages`: False tells of calls and results as text, for models that know no tools.
    `user`, `session_id`, `traceparent` (W3C): for whom it is; see asker.py. `headers` are sent along; `extra_body` is
    merged into the request's JSON for servers that know more fields. `prefix`: how the answer begins; only what follows
    it is told (where `Model.continues`). `reached`: an answer that the server has begun; only what comes behind that is
    told (where `Model.reattaches`).
    """

    model: str
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    user: str | None = None
    session_id: str | None = None
    traceparent: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    prefix: str = ""
    reached: Reached | None = None
    tool_messages: bool = True
    answer_format: Mapping[str, Any] | None = None
