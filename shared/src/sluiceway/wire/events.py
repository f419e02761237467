"""The events of a task's stream: UI message chunks of the AI SDK, the subset that its versions 6 and 7 both take.

A stored event is sent to browsers verbatim, and a bad one would break every replay at the same place. So what is
appended comes from these models and nowhere else: unknown keys are refused, None is left out, NaN and the key names
that clients reject never get in. Encoding never raises, and is one line for every reader: NUL and lone surrogates
become U+FFFD, and U+0085, U+2028 and U+2029 are escaped. Reading is tolerant: a type from a newer producer becomes
`UnknownEvent`.

Source: the chunk schema of the npm package `ai`, 7.0.173 and 6.0.326.
"""

import math
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from sluiceway.wire.json_values import UNWRITABLE, clean_json, may_have_nul, one_line

ProtocolVersion = Literal[6, 7]
FinishReason = Literal["stop", "length", "content-filter", "tool-calls", "error", "other"]


def _check_json(value: Any) -> Any:
    """Refuse what clients refuse anywhere inside a chunk."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("NaN and infinities are not JSON")
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "__proto__" or (key == "constructor" and isinstance(inner, dict) and "prototype" in inner):
                raise ValueError(f"the key {key!r} is refused by clients")
            _check_json(inner)
    elif isinstance(value, list):
        for inner in value:
            _check_json(inner)
    return value


Json = Annotated[Any, AfterValidator(_check_json)]
Metadata = Annotated[dict[str, Any], AfterValidator(_check_json)]


class Event(BaseModel):
    """One chunk. Python names are snake_case, the wire's are camelCase."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)

    type: str
    # The field whose value is somebody else's JSON, where null is a value as any other.
    carries: ClassVar[str | None] = None

    def encode(self) -> bytes:
        """The JSON that is stored and sent: UTF-8, no None but what it carries, fields in the order of the model."""
        try:
            raw = self._dumped()
        except UNWRITABLE:
            return one_line(self._cleaned()._dumped())
        return one_line(self._cleaned()._dumped() if may_have_nul(raw) else raw)

    def _dumped(self) -> bytes:
        raw = self.model_dump_json(by_alias=True, exclude_none=True).encode()
        if self.carries is not None and getattr(self, self.carries) is None:
            return b'%b,"%b":null}' % (raw[:-1], self.carries.encode())
        return raw

    def _cleaned(self) -> Self:
        return self.model_copy(update={name: clean_json(value) for name, value in self})


class Start(Event):
    type: Literal["start"] = "start"
    message_id: str
    message_metadata: Metadata | None = None


class StartStep(Event):
    type: Literal["start-step"] = "start-step"


class FinishStep(Event):
    type: Literal["finish-step"] = "finish-step"


class ResetStep(Event):
    """Only version 7 knows it: drop the parts since the last start-step, a retried step begins."""

    type: Literal["reset-step"] = "reset-step"


class TextStart(Event):
    type: Literal["text-start"] = "text-start"
    id: str


class TextDelta(Event):
    type: Literal["text-delta"] = "text-delta"
    id: str
    delta: str


class TextEnd(Event):
    type: Literal["text-end"] = "text-end"
    id: str


class ReasoningStart(Event):
    type: Literal["reasoning-start"] = "reasoning-start"
    id: str


class ReasoningDelta(Event):
    type: Literal["reasoning-delta"] = "reasoning-delta"
    id: str
    delta: str


class ReasoningEnd(Event):
    type: Literal["reasoning-end"] = "reasoning-end"
    id: str


class ToolInputStart(Event):
    type: Literal["tool-input-start"] = "tool-input-start"
    tool_call_id: str
    tool_name: str
    dynamic: bool | None = None
    title: str | None = None
    provider_executed: bool | None = None


class ToolInputDelta(Event):
    type: Literal["tool-input-delta"] = "tool-input-delta"
    tool_call_id: str
    input_text_delta: str


Delta = TextDelta | ReasoningDelta | ToolInputDelta
# What a reader of a stream may have to hold at once is an entry; so a text that comes as one is shown in pieces.
MAX_DELTA_CHARS = 8 * 1024


def in_pieces(delta: Delta) -> list[Event]:
    """The same text, no delta longer than MAX_DELTA_CHARS."""
    name = "input_text_delta" if isinstance(delta, ToolInputDelta) else "delta"
    text: str = getattr(delta, name)
    if len(text) <= MAX_DELTA_CHARS:
        return [delta]
    places = range(0, len(text), MAX_DELTA_CHARS)
    return [delta.model_copy(update={name: text[place : place + MAX_DELTA_CHARS]}) for place in places]


class ToolInputAvailable(Event):
    type: Literal["tool-input-available"] = "tool-input-available"
    tool_call_id: str
    tool_name: str
    input: Json
    carries: ClassVar[str | None] = "input"
    dynamic: bool | None = None
    title: str | None = None


class ToolInputError(Event):
    type: Literal["tool-input-error"] = "tool-input-error"
    tool_call_id: str
    tool_name: str
    input: Json
    carries: ClassVar[str | None] = "input"
    error_text: str
    dynamic: bool | None = None
    title: str | None = None


class ToolApprovalRequest(Event):
    type: Literal["tool-approval-request"] = "tool-approval-request"
    approval_id: str
    tool_call_id: str


class ToolOutputAvailable(Event):
    type: Literal["tool-output-available"] = "tool-output-available"
    tool_call_id: str
    output: Json
    carries: ClassVar[str | None] = "output"
    preliminary: bool | None = None
    dynamic: bool | None = None


class ToolOutputError(Event):
    type: Literal["tool-output-error"] = "tool-output-error"
    tool_call_id: str
    error_text: str


class ToolOutputDenied(Event):
    type: Literal["tool-output-denied"] = "tool-output-denied"
    tool_call_id: str


class SourceUrl(Event):
    type: Literal["source-url"] = "source-url"
    source_id: str
    url: str
    title: str | None = None


class SourceDocument(Event):
    type: Literal["source-document"] = "source-document"
    source_id: str
    media_type: str
    title: str


class FileEvent(Event):
    type: Literal["file"] = "file"
    url: str
    media_type: str


class Data(Event):
    """A `data-NAME` part. Transient ones are shown while they happen and are not part of the message."""

    type: str = Field(pattern=r"^data-[a-z0-9-]+$")
    data: Json
    carries: ClassVar[str | None] = "data"
    id: str | None = None
    transient: bool | None = None


class MessageMetadata(Event):
    type: Literal["message-metadata"] = "message-metadata"
    message_metadata: Metadata


class Finish(Event):
    type: Literal["finish"] = "finish"
    finish_reason: FinishReason | None = None
    message_metadata: Metadata | None = None


class Abort(Event):
    """The turn was cancelled. A `Finish` follows: by itself an abort changes nothing in the client."""

    type: Literal["abort"] = "abort"
    reason: str | None = None


class Error(Event):
    """The turn failed. The client reads no more after it."""

    type: Literal["error"] = "error"
    error_text: str


class UnknownEvent(BaseModel):
    """An event of a type that this version does not know, or of a shape that it does not expect: kept as it came."""

    model_config = ConfigDict(frozen=True)

    type: str
    raw: bytes

    def encode(self) -> bytes:
        return self.raw


TypedEvent = Annotated[
    Start
    | StartStep
    | FinishStep
    | ResetStep
    | TextStart
    | TextDelta
    | TextEnd
    | ReasoningStart
    | ReasoningDelta
    | ReasoningEnd
    | ToolInputStart
    | ToolInputDelta
    | ToolInputAvailable
    | ToolInputError
    | ToolApprovalRequest
    | ToolOutputAvailable
    | ToolOutputError
    | ToolOutputDenied
    | SourceUrl
    | SourceDocument
    | FileEvent
    | MessageMetadata
    | Finish
    | Abort
    | Error,
    Field(discriminator="type"),
]
_TYPED: TypeAdapter[Event] = TypeAdapter(TypedEvent)

TERMINAL_TYPES = frozenset({"finish", "error"})
# Its turn went into the background: the rest of the stream is about its operations alone; see turn/background.py.
BACKGROUND_TYPE = "data-background"
# Of `data-*` types any name may come; they are known by their prefix.
KNOWN_TYPES = frozenset(
    str(model.model_fields["type"].default) for model in Event.__subclasses__() if model is not Data
)


def is_known(event_type: str) -> bool:
    return event_type in KNOWN_TYPES or event_type.startswith("data-")


def decode(event_type: str, raw: bytes) -> Event | UnknownEvent:
    """The model of a stored event; never raises: what cannot be read is an UnknownEvent."""
    try:
        if event_type.startswith("data-"):
            return Data.model_validate_json(raw)
        return _TYPED.validate_json(raw)
    except ValidationError:
        return UnknownEvent(type=event_type, raw=raw)
