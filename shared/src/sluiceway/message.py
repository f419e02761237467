"""From chunks to the parts of a message and back: one fold for workers, recovery and tests.

Parts have the shape of the AI SDK's `UIMessage.parts`: `{"type": "text", "text": …, "state": "done"}`, likewise
`reasoning`, and `{"type": "step-start"}`.
"""

from collections.abc import Iterable
from typing import Any

from sluiceway.events import (
    Data,
    Event,
    FinishStep,
    ReasoningDelta,
    ReasoningEnd,
    ReasoningStart,
    ResetStep,
    Start,
    StartStep,
    TextDelta,
    TextEnd,
    TextStart,
)

Part = dict[str, Any]
_BEGINNING = {TextStart: "text", ReasoningStart: "reasoning"}


class MessageFold:
    """Fold a task's chunks, in order, into the parts of its assistant message."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.started = False
        self.step_open = False
        self._open: dict[tuple[str, str], tuple[Part, list[str]]] = {}
        self._step_at = 0

    def add(self, event: Event) -> None:
        match event:
            case Start():
                self.started = True
            case StartStep():
                self.step_open = True
                self._step_at = len(self.parts)
                self.parts.append({"type": "step-start"})
            case ResetStep():
                del self.parts[self._step_at + 1 :]
                self._open.clear()
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
            case _:
                pass

    def closers(self) -> list[Event]:
        """The chunks that close what is open, as a client demands before a `finish`."""
        ends: list[Event] = [
            TextEnd(id=part_id) if kind == "text" else ReasoningEnd(id=part_id) for kind, part_id in self._open
        ]
        return [*ends, FinishStep()] if self.step_open else ends

    def finished_parts(self) -> list[Part]:
        """The parts as they are stored: texts joined, empty ones left out, all done. Nothing shown: no parts."""
        for part, texts in self._open.values():
            part["text"] = "".join(texts)
            part["state"] = "done"
        parts = [part for part in self.parts if part.get("text") != ""]
        return parts if any(part["type"] != "step-start" for part in parts) else []

    def _begin(self, kind: str, part_id: str) -> None:
        part: Part = {"type": kind, "text": "", "state": "streaming"}
        self.parts.append(part)
        self._open[kind, part_id] = (part, [])

    def _end(self, kind: str, part_id: str) -> None:
        part, texts = self._open.pop((kind, part_id))
        part["text"] = "".join(texts)
        part["state"] = "done"

    def _data(self, event: Data) -> None:
        part = {"type": event.type, "data": event.data}
        if event.id is not None:
            part["id"] = event.id
            for known in self.parts:
                if known["type"] == event.type and known.get("id") == event.id:
                    known["data"] = event.data
                    return
        self.parts.append(part)


def text_of(parts: Iterable[Part]) -> str:
    """The text parts of a message, joined."""
    return "".join(part["text"] for part in parts if part["type"] == "text")


def replay_of(parts: Iterable[Part]) -> list[Event]:
    """The chunks, without `start` and the end, from which a client builds these parts: how a lost stream is rebuilt."""
    events: list[Event] = []
    step_open = False
    for number, part in enumerate(parts):
        part_id = str(number)
        match part["type"]:
            case "step-start":
                if step_open:
                    events.append(FinishStep())
                events.append(StartStep())
                step_open = True
            case "text":
                events += [TextStart(id=part_id), TextDelta(id=part_id, delta=part["text"]), TextEnd(id=part_id)]
            case "reasoning":
                events += [
                    ReasoningStart(id=part_id),
                    ReasoningDelta(id=part_id, delta=part["text"]),
                    ReasoningEnd(id=part_id),
                ]
            case kind if kind.startswith("data-"):
                events.append(Data(type=kind, data=part["data"], id=part.get("id")))
            case _:
                pass
    return [*events, FinishStep()] if step_open else events
