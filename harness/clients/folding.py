"""What a client makes of the chunks of a turn, by the rules that the stock AI SDK client forces.

Stricter than a browser: whatever a real client would throw at, or would silently show wrong, is an AssertionError here.
It knows protocol 7 (`reset-step`) and refuses it where it says that it speaks 6.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from harness.clients.sse import Chunk, Event

TERMINAL = frozenset({"finish", "error"})
_STREAMED = ("text", "reasoning")


@dataclass
class Part:
    kind: str
    text: str = ""
    open: bool = True


@dataclass
class Message:
    """The assistant message as a client shows it. Steps are lists of parts."""

    id: str | None = None
    steps: list[list[Part]] = field(default_factory=list)
    finish: Chunk | None = None
    error: str | None = None
    aborted: bool = False
    resets: int = 0
    data: list[Chunk] = field(default_factory=list)
    # By the ids of their calls, what a client has of the message's tools.
    tools: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return self._joined("text")

    @property
    def reasoning(self) -> str:
        return self._joined("reasoning")

    @property
    def last_step_text(self) -> str:
        return "".join(part.text for part in self.steps[-1] if part.kind == "text")

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata of `finish`: usage, model."""
        assert self.finish is not None
        return dict(self.finish.get("messageMetadata") or {})

    @property
    def ended(self) -> bool:
        return self.finish is not None or self.error is not None

    def _joined(self, kind: str) -> str:
        return "".join(part.text for step in self.steps for part in step if part.kind == kind)


class _Folder:
    def __init__(self, protocol: int) -> None:
        self.message = Message()
        self._protocol = protocol
        self._open: dict[tuple[str, str], Part] = {}
        self._calls_of_step: list[str] = []

    def take(self, chunk: Chunk) -> None:
        kind = chunk["type"]
        assert not self.message.ended, f"{kind} came after the terminal event"
        # What is told in passing comes before there is a message, too.
        stands = chunk.get("transient") or (kind == "start") == (self.message.id is None)
        assert stands, f"{kind} where the message {self.message.id} stands"
        streamed, _, part_of = kind.rpartition("-")
        if streamed in _STREAMED:
            self._streamed(streamed, part_of, chunk)
        elif kind.startswith("data-"):
            self.message.data.append(chunk)
        else:
            getattr(self, "_" + kind.replace("-", "_"))(chunk)

    def _start(self, chunk: Chunk) -> None:
        self.message.id = chunk.get("messageId", "")

    def _start_step(self, chunk: Chunk) -> None:
        self.message.steps.append([])
        self._calls_of_step.clear()

    def _finish_step(self, chunk: Chunk) -> None:
        assert not self._open, f"a step ended while {list(self._open)} were open"

    def _reset_step(self, chunk: Chunk) -> None:
        assert self._protocol >= 7, "reset-step was sent to a client of protocol 6"
        self.message.steps[-1].clear()
        self.message.resets += 1
        self._open.clear()
        for call_id in self._calls_of_step:
            self.message.tools.pop(call_id)
        self._calls_of_step.clear()

    def _tool_input_start(self, chunk: Chunk) -> None:
        self._call(chunk)

    def _tool_input_delta(self, chunk: Chunk) -> None:
        self._known(chunk)["arguments"] += chunk["inputTextDelta"]

    def _tool_input_available(self, chunk: Chunk) -> None:
        self._call(chunk).update(state="input-available", input=chunk["input"])

    def _tool_input_error(self, chunk: Chunk) -> None:
        self._call(chunk).update(state="output-error", input=chunk["input"], error=chunk["errorText"])

    def _tool_approval_request(self, chunk: Chunk) -> None:
        self._known(chunk).update(state="approval-requested", approval_id=chunk["approvalId"])

    def _tool_output_available(self, chunk: Chunk) -> None:
        part = self._known(chunk)
        assert part["state"] != "output-available" or part["preliminary"], "a tool ended twice"
        preliminary = chunk.get("preliminary", False)
        part.update(state="output-available", output=chunk["output"], preliminary=preliminary)

    def _tool_output_error(self, chunk: Chunk) -> None:
        self._known(chunk).update(state="output-error", error=chunk["errorText"])

    def _tool_output_denied(self, chunk: Chunk) -> None:
        self._known(chunk).update(state="output-denied")

    def _call(self, chunk: Chunk) -> dict[str, Any]:
        assert self.message.steps, f"{chunk['type']} outside of a step"
        if chunk["toolCallId"] not in self.message.tools:
            self._calls_of_step.append(chunk["toolCallId"])
        fresh = {"name": chunk["toolName"], "state": "input-streaming", "arguments": "", "preliminary": False}
        return self.message.tools.setdefault(chunk["toolCallId"], fresh)

    def _known(self, chunk: Chunk) -> dict[str, Any]:
        assert chunk["toolCallId"] in self.message.tools, f"{chunk['type']} of a call that is not known"
        return self.message.tools[chunk["toolCallId"]]

    def _message_metadata(self, chunk: Chunk) -> None:
        pass

    def _abort(self, chunk: Chunk) -> None:
        assert not self._open, f"abort while {list(self._open)} were open"
        self.message.aborted = True

    def _finish(self, chunk: Chunk) -> None:
        assert not self._open, f"finish while {list(self._open)} were open"
        self.message.finish = chunk

    def _error(self, chunk: Chunk) -> None:
        self.message.error = chunk["errorText"]

    def _streamed(self, kind: str, event: str, chunk: Chunk) -> None:
        key = (kind, chunk["id"])
        assert self.message.steps, f"{chunk['type']} outside of a step"
        if event == "start":
            assert key not in self._open, f"{key} was started twice"
            self._open[key] = Part(kind)
            self.message.steps[-1].append(self._open[key])
            return
        assert key in self._open, f"{chunk['type']} of {key}, which is not open"
        if event == "delta":
            self._open[key].text += chunk["delta"]
        else:
            self._open.pop(key).open = False


def fold(events: Iterable[Event] | Iterable[Chunk], protocol: int = 6, before: Message | None = None) -> Message:
    """The message that a client of that protocol shows after these events, [DONE] included or not.

    `before`: the message as the client has it, where the stream goes on with one.
    """
    folder = _Folder(protocol)
    if before is not None:
        folder.message.tools = {call_id: dict(part) for call_id, part in before.tools.items()}
    for event in events:
        chunk = event.chunk if isinstance(event, Event) and event.type != "[DONE]" else event
        if isinstance(chunk, dict):
            folder.take(chunk)
    return folder.message
