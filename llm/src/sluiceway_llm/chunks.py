"""One chunk of a chat stream → model events, for the dialects that OpenAI-compatible servers speak.

Known dialects: `reasoning_content` and `reasoning`; content as a list of parts; tool calls without an index; usage in
the last chunk, in one without choices, or in every chunk; error objects in the stream, wrapped or bare. Fields that
are not known are ignored. The shape is OpenAI's "chat completion chunk object".
"""

from typing import Any

import jiter

from sluiceway_llm.model_errors import ModelCut, ModelGarbage, error_in_stream
from sluiceway_llm.model_events import (
    Finished,
    ModelEvent,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)

_DONE = b"[DONE]"


class ChunkReader:
    """Reads the chunks of one answer. `over` after `[DONE]`; `complete` when the answer is known to be whole."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._reason: str | None = None
        self._usage: Usage | None = None
        self._model: str | None = None
        self._tool_ids: dict[int, str] = {}
        self._last_index = -1
        self.over = False
        self.seen_chunk = False

    @property
    def complete(self) -> bool:
        return self.over or self._reason is not None

    def read(self, data: bytes, events: list[ModelEvent]) -> None:
        """Appends what the chunk says. Raises ModelGarbage, or the error that the chunk tells of."""
        if data.startswith(_DONE):
            self.over = True
            return
        chunk = _decoded(data)
        choices = chunk.get("choices")
        if choices:
            self._read_choices(choices, events)
        elif "error" in chunk or chunk.get("object") == "error":
            raise error_in_stream(chunk, self._secret)
        if "choices" in chunk:
            self.seen_chunk = True
        if chunk.get("usage"):
            self._usage = _usage(chunk["usage"])
        if self._model is None:
            self._model = chunk.get("model") or None

    def finished(self) -> Finished:
        """The last event. Raises ModelCut when the answer is not known to be whole."""
        if not self.complete:
            raise ModelCut
        return Finished(self._reason, self._usage, self._model)

    def _read_choices(self, choices: Any, events: list[ModelEvent]) -> None:
        try:
            choice = choices[0]
            delta = choice.get("delta")
            if delta:
                self._read_delta(delta, events)
            if choice.get("finish_reason"):
                self._reason = str(choice["finish_reason"])
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise ModelGarbage from error

    def _read_delta(self, delta: dict[str, Any], events: list[ModelEvent]) -> None:
        get = delta.get
        if reasoning := get("reasoning_content") or get("reasoning"):
            events.append(ReasoningDelta(_text(reasoning)))
        if content := get("content"):
            if isinstance(content, str):
                events.append(TextDelta(content))
            else:
                events.extend(_parts(content))
        if refusal := get("refusal"):
            events.append(RefusalDelta(_text(refusal)))
        if calls := get("tool_calls"):
            events.extend(self._fragment(call) for call in calls)

    def _fragment(self, call: dict[str, Any]) -> ToolCallDelta:
        function = call.get("function") or {}
        call_id = call.get("id") or None
        index = call.get("index")
        if index is None:
            index = self._index_without_number(call_id)
        if call_id is not None:
            self._tool_ids[index] = call_id
        self._last_index = index
        arguments = function.get("arguments") or ""
        if not isinstance(arguments, str):
            raise TypeError("arguments of a tool call are not a string")
        return ToolCallDelta(int(index), call_id, function.get("name") or None, arguments)

    def _index_without_number(self, call_id: str | None) -> int:
        """Some servers do not number their calls: a new id begins a new call, anything else goes on with the last."""
        for index, known in self._tool_ids.items():
            if known == call_id:
                return index
        return max(self._tool_ids, default=-1) + 1 if call_id is not None else max(self._last_index, 0)


def _decoded(data: bytes) -> dict[str, Any]:
    try:
        chunk = jiter.from_json(data)
    except ValueError as error:
        raise ModelGarbage from error
    if not isinstance(chunk, dict):
        raise ModelGarbage
    return chunk


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a delta's text is not a string")
    return value


def _parts(parts: list[dict[str, Any]]) -> list[ModelEvent]:
    """Content as a list: text, and thinking that is a list of texts itself."""
    events: list[ModelEvent] = []
    for part in parts:
        if part["type"] == "text":
            events.append(TextDelta(part["text"]))
        elif part["type"] == "thinking":
            events += [ReasoningDelta(inner["text"]) for inner in part["thinking"]]
    return events


def _usage(told: dict[str, Any]) -> Usage | None:
    if not isinstance(told, dict):
        return None
    output_details = told.get("completion_tokens_details") or {}
    input_details = told.get("prompt_tokens_details") or {}
    return Usage(
        input_tokens=told.get("prompt_tokens"),
        output_tokens=told.get("completion_tokens"),
        total_tokens=told.get("total_tokens"),
        reasoning_tokens=output_details.get("reasoning_tokens"),
        cached_input_tokens=input_details.get("cached_tokens"),
    )
