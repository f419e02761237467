"""From chunks to the parts of a message and back: one fold for workers, recovery and tests.

Parts have the shape of the AI SDK's `UIMessage.parts`: `{"type": "text", "text": …, "state": "done"}`, likewise
`reasoning`; `{"type": "step-start"}`; a tool's `{"type": "tool-NAME", "toolCallId", "state", "input", …}`; sources and
files as their chunks are. What producers say of the message itself is its `metadata`.
"""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from typing import Any

from sluiceway.wire.events import (
    Data,
    Event,
    FileEvent,
    Finish,
    FinishStep,
    MessageMetadata,
    ReasoningDelta,
    ReasoningEnd,
    ReasoningStart,
    ResetStep,
    SourceDocument,
    SourceUrl,
    Start,
    StartStep,
    TextDelta,
    TextEnd,
    TextStart,
    ToolApprovalRequest,
    ToolInputAvailable,
    ToolInputError,
    ToolInputStart,
    ToolOutputAvailable,
    ToolOutputDenied,
    ToolOutputError,
    in_pieces,
)

Part = dict[str, Any]
_BEGINNING = {TextStart: "text", ReasoningStart: "reasoning"}
# Chunks that are parts as they are.
_WHOLE_PARTS: dict[str, type[Event]] = {"source-url": SourceUrl, "source-document": SourceDocument, "file": FileEvent}
_PREFIX = "tool-"
_ANSWERED = frozenset({"output-available", "output-error", "output-denied"})


class MessageFold:
    """Fold a task's chunks, in order, into the parts of its assistant message.

    `before`: the parts that the message had when the turn began, where the turn continues a message.
    """

    def __init__(self, before: Sequence[Part] = ()) -> None:
        self.parts: list[Part] = deepcopy(list(before))
        self.metadata: dict[str, Any] = {}
        self.started = False
        self.steps = 0
        self.step_open = False
        # Calls whose end was told by these chunks.
        self.told: set[str] = set()
        self._open: dict[tuple[str, str], tuple[Part, list[str]]] = {}
        self._step_at = 0

    def add(self, event: Event) -> None:
        match event:
            case Start():
                self.started = True
                self._tell(event.message_metadata)
            case MessageMetadata() | Finish():
                self._tell(event.message_metadata)
            case StartStep():
                self.step_open = True
                self.steps += 1
                self._step_at = len(self.parts)
                self.parts.append({"type": "step-start"})
            case ResetStep():
                self.told -= calls_in(self.parts[self._step_at + 1 :]).keys()
                del self.parts[self._step_at + 1 :]
                self._open.clear()
                self.step_open = True
            case FinishStep():
                self.step_open = False
            case TextStart() | ReasoningStart():
                self._begin(_BEGINNING[type(event)], event.id)
            case TextDelta():
                self._open["text", event.id][1].append(event.delta)
            case ReasoningDelta():
                self._open["reasoning", event.id][1].append(event.delta)
            case TextEnd():
                self._end("text", event.id)
            case ReasoningEnd():
                self._end("reasoning", event.id)
            case Data() if not event.transient:
                self._data(event)
            case SourceUrl() | SourceDocument() | FileEvent():
                self.parts.append(event.model_dump(by_alias=True, exclude_none=True))
            case _:
                self._tool(event)

    @property
    def kinds_in_step(self) -> list[str]:
        """The types of the parts that the open step has."""
        return [part["type"] for part in self.parts[self._step_at + 1 :]] if self.step_open else []

    @property
    def open_part(self) -> tuple[str, str] | None:
        """Type and id of the text or reasoning that is open."""
        return next(reversed(self._open), None)

    @property
    def open_text(self) -> str:
        """What is said so far of the open step, where that is a text that is open too, and nothing else."""
        if self.kinds_in_step != ["text"] or not self._open:
            return ""
        [(_, texts)] = self._open.values()
        return "".join(texts)

    @property
    def said_chars(self) -> int:
        """How much a model has said: texts, reasoning, and what it called tools with."""
        parts = sum(len(part.get("text", "")) + _length_of(part.get("input")) for part in self.parts)
        return parts + sum(len(text) for _, texts in self._open.values() for text in texts)

    def closers(self) -> list[Event]:
        """The chunks that close what is open, as a client demands before a `finish`."""
        ends: list[Event] = [
            TextEnd(id=part_id) if kind == "text" else ReasoningEnd(id=part_id) for kind, part_id in self._open
        ]
        return [*ends, FinishStep()] if self.step_open else ends

    def abandoned_calls(self, error_text: str) -> list[Event]:
        """The chunks that end the calls that have no end yet, where their turn ends before them."""
        return [
            ToolOutputError(tool_call_id=call_id, error_text=error_text)
            for call_id, part in self.calls().items()
            if not is_answered(part)
        ]

    def adopt(self, parts: Iterable[Part]) -> None:
        """Take over what is known of calls beyond their chunks, such as why one was denied."""
        mine = self.calls()
        for call_id, part in calls_in(parts).items():
            if call_id in mine and is_answered(part):
                mine[call_id].clear()
                mine[call_id].update(deepcopy(part))

    def calls(self) -> dict[str, Part]:
        """The tool parts by the ids of their calls."""
        return calls_in(self.parts)

    def finished_parts(self) -> list[Part]:
        """The parts as they are stored: texts joined, empty ones left out, all done. Nothing shown: no parts."""
        for part, texts in self._open.values():
            part["text"] = "".join(texts)
            part["state"] = "done"
        return _stored(self.parts)

    def finished_steps(self) -> list[Part]:
        """The same without the step that is open."""
        return _stored(self.parts[: self._step_at] if self.step_open else self.parts)

    def _begin(self, kind: str, part_id: str) -> None:
        part: Part = {"type": kind, "text": "", "state": "streaming"}
        self.parts.append(part)
        self._open[kind, part_id] = (part, [])

    def _end(self, kind: str, part_id: str) -> None:
        part, texts = self._open.pop((kind, part_id))
        part["text"] = "".join(texts)
        part["state"] = "done"

    def _tell(self, metadata: dict[str, Any] | None) -> None:
        if metadata is not None:
            self.metadata = merged(self.metadata, metadata)

    def _data(self, event: Data) -> None:
        part = {"type": event.type, "data": event.data}
        if event.id is not None:
            part["id"] = event.id
            for known in self.parts:
                if known["type"] == event.type and known.get("id") == event.id:
                    known["data"] = event.data
                    return
        self.parts.append(part)

    def _tool(self, event: Event) -> None:
        match event:
            case ToolInputStart():
                self._call(event)
            case ToolInputAvailable():
                self._call(event).update(state="input-available", input=event.input)
            case ToolInputError():
                part = self._call(event)
                part.update(state="output-error", input=event.input, errorText=event.error_text)
                self.told.add(event.tool_call_id)
            case ToolApprovalRequest():
                self._change(event.tool_call_id, state="approval-requested", approval={"id": event.approval_id})
            case ToolOutputAvailable() if event.preliminary:
                # Progress that comes after the end changes nothing.
                if event.tool_call_id not in self.told:
                    self._change(event.tool_call_id, state="output-available", output=event.output, preliminary=True)
            case ToolOutputAvailable():
                self._answer(event.tool_call_id, state="output-available", output=event.output)
            case ToolOutputError():
                self._answer(event.tool_call_id, state="output-error", errorText=event.error_text)
            case ToolOutputDenied():
                self._answer(event.tool_call_id, state="output-denied")
            case _:
                pass

    def _call(self, event: ToolInputStart | ToolInputAvailable | ToolInputError) -> Part:
        part = self.calls().get(event.tool_call_id)
        if part is None:
            kind = f"{_PREFIX}{event.tool_name}"
            part = {"type": kind, "toolCallId": event.tool_call_id, "state": "input-streaming"}
            self.parts.append(part)
        if event.title is not None:
            part["title"] = event.title
        return part

    def _answer(self, call_id: str, **fields: Any) -> None:
        self.told.add(call_id)
        self._change(call_id, **fields)

    def _change(self, call_id: str, **fields: Any) -> None:
        part = self.calls().get(call_id)
        if part is not None:
            answer_call(part, **fields)


def merged(known: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    """Metadata with more metadata, as clients merge them: object by object, anything else is replaced."""
    return known | {name: _merged_value(known.get(name), value) for name, value in told.items()}


def _merged_value(known: Any, told: Any) -> Any:
    return merged(known, told) if isinstance(known, dict) and isinstance(told, dict) else told


def _stored(shown: Sequence[Part]) -> list[Part]:
    parts = [part for part in shown if part.get("text") != "" and part.get("state") != "input-streaming"]
    return parts if any(part["type"] != "step-start" for part in parts) else []


def calls_in(parts: Iterable[Part]) -> dict[str, Part]:
    """The tool parts of a message by the ids of their calls."""
    return {part["toolCallId"]: part for part in parts if "toolCallId" in part}


def is_answered(part: Part) -> bool:
    """Whether a tool part has its end."""
    return part["state"] in _ANSWERED and not part.get("preliminary")


def answer_call(part: Part, **fields: Any) -> None:
    """Change a tool part to its new state: what only its earlier states had goes."""
    for name in ("output", "preliminary", "errorText"):
        part.pop(name, None)
    if fields.get("state") != "output-denied" and (part.get("approval") or {}).get("approved") is False:
        # Of an elicitation: a call that was denied has no output, says the AI SDK's schema of messages.
        del part["approval"]
    part.update(fields)


def unanswered(part: Part) -> Part:
    """A tool part as one that runs: nobody is asked, and no end is known."""
    kept: Part = {name: part[name] for name in ("type", "toolCallId", "title", "input") if name in part}
    return {**kept, "state": "input-available"}


def _length_of(value: Any) -> int:
    return len(str(value)) if value is not None else 0


def tool_name_of(part: Part) -> str:
    return str(part["type"]).removeprefix(_PREFIX)


def output_of(part: Part) -> Event | None:
    """The chunk that tells how a call ended; None while it has not."""
    call_id = part["toolCallId"]
    match part["state"]:
        case "output-available" if not part.get("preliminary"):
            return ToolOutputAvailable(tool_call_id=call_id, output=part["output"])
        case "output-error":
            return ToolOutputError(tool_call_id=call_id, error_text=part["errorText"])
        case "output-denied":
            return ToolOutputDenied(tool_call_id=call_id)
        case _:
            return None


def text_of(parts: Iterable[Part]) -> str:
    """The text parts of a message, joined."""
    return "".join(part["text"] for part in parts if part["type"] == "text")


def steps_of(parts: Iterable[Part]) -> list[list[Part]]:
    """The parts of each step, without its beginning; first those that stand before any step."""
    steps: list[list[Part]] = [[]]
    for part in parts:
        if part["type"] == "step-start":
            steps.append([])
        else:
            steps[-1].append(part)
    return steps


def with_data(parts: Sequence[Part], shown: Iterable[Part]) -> list[Part]:
    """The parts with those data parts that they lack, behind the last call: what its tool has shown beside it."""
    known = {(part["type"], part.get("id")) for part in parts}
    lacking = [
        part for part in shown if part["type"].startswith("data-") and (part["type"], part.get("id")) not in known
    ]
    at = max((number for number, part in enumerate(parts, 1) if "toolCallId" in part), default=len(parts))
    return [*parts[:at], *lacking, *parts[at:]]


def count_steps(parts: Iterable[Part]) -> int:
    return sum(part["type"] == "step-start" for part in parts)


def replay_of(parts: Iterable[Part]) -> list[Event]:
    """The chunks, without `start` and the end, from which a client builds these parts: how a lost stream is rebuilt."""
    events: list[Event] = []
    step_open = False
    for number, part in enumerate(parts):
        if part["type"] == "step-start":
            if step_open:
                events.append(FinishStep())
            step_open = True
        events += _chunks_of(part, str(number))
    return [*events, FinishStep()] if step_open else events


def _chunks_of(part: Part, part_id: str) -> list[Event]:
    match part["type"]:
        case "step-start":
            return [StartStep()]
        case "text":
            text = TextDelta(id=part_id, delta=part["text"])
            return [TextStart(id=part_id), *in_pieces(text), TextEnd(id=part_id)]
        case "reasoning":
            thought = ReasoningDelta(id=part_id, delta=part["text"])
            return [ReasoningStart(id=part_id), *in_pieces(thought), ReasoningEnd(id=part_id)]
        case kind if kind in _WHOLE_PARTS:
            return [_whole_part(_WHOLE_PARTS[kind], part)]
        case kind if kind.startswith("data-"):
            return [Data(type=kind, data=part["data"], id=part.get("id"))]
        case _ if "toolCallId" in part:
            return _chunks_of_call(part)
        case _:
            return []


def _whole_part(model: type[Event], part: Part) -> Event:
    """A newer version may have stored fields that this one does not know."""
    names = {field.alias for field in model.model_fields.values()}
    return model.model_validate({name: value for name, value in part.items() if name in names})


def _chunks_of_call(part: Part) -> list[Event]:
    call_id = part["toolCallId"]
    events: list[Event] = [
        ToolInputAvailable(
            tool_call_id=call_id, tool_name=tool_name_of(part), input=part.get("input", {}), title=part.get("title")
        )
    ]
    if "approval" in part:
        events.append(ToolApprovalRequest(approval_id=part["approval"]["id"], tool_call_id=call_id))
    output = output_of(part)
    return [*events, output] if output is not None else events
