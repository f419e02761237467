"""The Responses API: a chat request as it wants it, and the events of its stream → model events.

Events that are not known are passed over; their numbers count; side fields of whatever type fail nothing. A whole
response, read without a stream, is told from where its text and thoughts were told before. An answer is whole when one
of `response.completed`, `response.incomplete` and `response.failed` has come, of which the last is an error. Source:
OpenAI's API reference, "streaming events" of responses.
"""

from typing import Any

import jiter

from sluiceway_llm.asking.answer_format import text_format
from sluiceway_llm.clean_text import MAX_ID_CHARS, MAX_NAME_CHARS, CleanText, TextJoiner, cleaned, label_of
from sluiceway_llm.error_words import is_error
from sluiceway_llm.model_errors import ModelCut, ModelError, ModelGarbage, error_in_stream
from sluiceway_llm.model_events import (
    Finished,
    ModelEvent,
    ModelRequest,
    Provided,
    Reached,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
)
from sluiceway_llm.reading.loose_json import NotJson, loose_values
from sluiceway_llm.reading.sse_lines import ErrorEvent
from sluiceway_llm.reading.usage import usage_of

_INCOMPLETE = {"max_output_tokens": "length", "content_filter": "content_filter"}
_PARAGRAPH = "\n\n"


def to_responses(request: ModelRequest) -> dict[str, Any]:
    """The JSON of a request that runs in the background and is streamed meanwhile. Its messages fit already."""
    optional = {
        "tools": [_tool(tool["function"]) for tool in request.tools] if request.tools is not None else None,
        "tool_choice": request.tool_choice,
        "user": request.user,
        "temperature": request.temperature,
        "max_output_tokens": request.max_tokens,
        "text": text_format(request.answer_format),
    }
    return {
        "model": request.model,
        "input": [item for message in request.messages for item in _items(message)],
        "background": True,
        "stream": True,
        "store": True,
        **{name: value for name, value in optional.items() if value is not None},
        **request.extra_body,
    }


def _tool(function: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "strict": False, **function}


def _items(message: dict[str, Any]) -> list[dict[str, Any]]:
    if message["role"] == "tool":
        return [{"type": "function_call_output", "call_id": message["tool_call_id"], "output": message["content"]}]
    said = [{"role": message["role"], "content": _content(message["content"])}] if message.get("content") else []
    calls = [
        {
            "type": "function_call",
            "call_id": call["id"],
            "name": call["function"]["name"],
            "arguments": call["function"]["arguments"],
        }
        for call in message.get("tool_calls", ())
    ]
    return [*said, *calls]


def _content(content: Any) -> Any:
    """Text, or parts under the names that this API has for them."""
    return [_content_part(part) for part in content] if isinstance(content, list) else content


def _content_part(part: dict[str, Any]) -> dict[str, Any]:
    if part.get("type") == "image_url":
        return {"type": "input_image", "image_url": part["image_url"]["url"]}
    return {"type": "input_text", "text": part["text"]} if part.get("type") == "text" else part


class ResponseReader:
    """Reads the events of one response, over one connection or several. `over` when it has ended. `reached`: the
    last event that was read, and how much was told; never the one that ends it, so that who goes on behind it gets to
    know of the end.
    """

    def __init__(self, secret: str, reached: Reached | None = None, by: str = "") -> None:
        self._secret = secret
        self._by = by
        self._calls: dict[str, tuple[int, CleanText | None]] = {}
        self._argued: set[str] = set()
        """The calls of whose arguments something was told."""
        self._end: dict[str, Any] | None = None
        self._text, self._reasoning = TextJoiner(), TextJoiner()
        self._told_text = reached.text_chars if reached is not None else 0
        self._told_reasoning = reached.reasoning_chars if reached is not None else 0
        self._from_beginning = reached is None or reached.sequence < 0
        self.reached = reached
        self.seen_chunk = False

    @property
    def over(self) -> bool:
        return self._end is not None

    complete = over

    def read(self, data: bytes, events: list[ModelEvent]) -> None:
        """Appends what the event says. Raises ModelGarbage, or the error that the event tells of."""
        if self.over:
            return
        event = _decoded(data)
        if type(data) is ErrorEvent:
            raise error_in_stream(event, self._secret)
        if event is None:
            return
        self._read(event, events)
        response, number = event.get("response"), event.get("sequence_number")
        if self.reached is None and isinstance(response, dict):
            response_id = label_of(response.get("id"), MAX_ID_CHARS)
            if response_id is not None:
                events.append(self._reach(response_id, -1))
        if self.reached is not None and isinstance(number, int) and not self.over:
            self._reach(self.reached.response_id, number)
        self.seen_chunk = True

    def read_body(self, body: bytes, events: list[ModelEvent]) -> None:
        """What came outside of events: an error, or a whole response."""
        try:
            values = loose_values(body) if body.strip() and not self.over else []
        except NotJson:
            return
        for value in values:
            if isinstance(value, dict) and is_error(value.get("error")):
                raise error_in_stream(value, self._secret)
            if isinstance(value, dict) and isinstance(value.get("output"), list):
                self.read_whole(value, events)

    def read_whole(self, response: dict[str, Any], events: list[ModelEvent]) -> None:
        """A response that has ended, without what was told of it already. Raises what it failed with."""
        if response.get("status") in ("failed", "cancelled"):
            raise error_in_stream({"error": response.get("error") or {}}, self._secret)
        text, thoughts = "", ""
        output = response.get("output")
        for place, item in enumerate(output if isinstance(output, list) else []):
            match item:
                case {"type": "message", "content": list(parts)}:
                    text += "".join(_text_in(part) for part in parts)
                case {"type": "reasoning", "summary": list(parts)} if parts:
                    thoughts += _PARAGRAPH.join(_text_in(part) for part in parts)
                case {"type": "reasoning", "content": list(parts)}:
                    thoughts += "".join(_text_in(part) for part in parts)
                case {"type": "function_call"}:
                    self._whole_call(place, item, events)
        told: list[ModelEvent] = []
        if thought := cleaned(thoughts)[self._told_reasoning :]:
            told.append(ReasoningDelta(CleanText(thought)))
        if said := cleaned(text)[self._told_text :]:
            told.append(TextDelta(CleanText(said)))
        events[:0] = told
        self._end = response

    def unended(self, otherwise: ModelError) -> ModelError:
        return otherwise

    def let_go(self, events: list[ModelEvent]) -> None:
        """Half a character at the end."""
        if rest := self._reasoning.rest():
            events.append(ReasoningDelta(rest))
        if rest := self._text.rest():
            events.append(TextDelta(rest))

    def finished(self) -> Finished:
        """The last event. Raises ModelCut when the answer is not known to be whole."""
        if self._end is None:
            raise ModelCut
        reason = "tool_calls" if self._calls else "stop"
        if self._end.get("status") == "incomplete":
            details = self._end.get("incomplete_details")
            told = details.get("reason") if isinstance(details, dict) else None
            reason = _INCOMPLETE.get(str(told), "length")
        provided = None
        if self._calls:
            calls = [{"id": call_id} if call_id else {} for _, call_id in self._calls.values()]
            provided = Provided(self._by, calls=calls)
        model = label_of(self._end.get("model"), MAX_NAME_CHARS)
        return Finished(reason, usage_of(self._end.get("usage")), model, provided)

    def _reach(self, response_id: str, number: int) -> Reached:
        self.reached = Reached(response_id, number, self._told_text, self._told_reasoning)
        return self.reached

    def _read(self, event: dict[str, Any], events: list[ModelEvent]) -> None:
        delta = event.get("delta")
        match event.get("type"):
            case "response.output_text.delta" if isinstance(delta, str):
                self._say(delta, events)
            case "response.refusal.delta" if isinstance(delta, str):
                if delta:
                    self._told_text += len(delta)
                    events.append(RefusalDelta(cleaned(delta)))
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" if isinstance(delta, str):
                self._think(delta, events)
            case "response.reasoning_summary_part.added" if event.get("summary_index") not in (0, None):
                self._think(_PARAGRAPH, events)
            case "response.output_item.added":
                item = event.get("item")
                if isinstance(item, dict) and item.get("type") == "function_call":
                    self._call(event.get("output_index"), item, events)
            case "response.function_call_arguments.delta" if isinstance(delta, str) and delta:
                self._argue(event.get("output_index"), delta, events)
            case "response.output_item.done":
                item = event.get("item")
                if isinstance(item, dict) and item.get("type") == "function_call":
                    self._whole_call(event.get("output_index"), item, events)
            case "response.completed" | "response.incomplete":
                self._complete(event.get("response"), events)
            case "response.failed" | "response.cancelled":
                response = event.get("response")
                told = response.get("error") if isinstance(response, dict) else None
                raise error_in_stream({"error": told or {}}, self._secret)
            case "error":
                raise error_in_stream({"error": event.get("error") or event}, self._secret)
            case _:
                pass

    def _complete(self, response: Any, events: list[ModelEvent]) -> None:
        """Told is what no other event had: some servers say all of it at the end."""
        response = response if isinstance(response, dict) else {}
        if self._told_text or self._calls or not self._from_beginning:
            response = {**response, "output": None}
        self.read_whole(response, events)

    def _say(self, text: str, events: list[ModelEvent]) -> None:
        if clean := self._text.feed(text):
            self._told_text += len(clean)
            events.append(TextDelta(clean))

    def _think(self, text: str, events: list[ModelEvent]) -> None:
        if clean := self._reasoning.feed(text):
            self._told_reasoning += len(clean)
            events.append(ReasoningDelta(clean))

    def _call(self, place: Any, item: dict[str, Any], events: list[ModelEvent]) -> None:
        call_id, name = label_of(item.get("call_id"), MAX_ID_CHARS), label_of(item.get("name"), MAX_NAME_CHARS)
        number = len(self._calls)
        self._calls[str(place)] = (number, call_id)
        arguments = item.get("arguments")
        if arguments:
            self._argued.add(str(place))
        events.append(ToolCallDelta(number, call_id, name, cleaned(arguments if isinstance(arguments, str) else "")))

    def _argue(self, place: Any, arguments: str, events: list[ModelEvent]) -> None:
        self._argued.add(str(place))
        number, _ = self._calls.get(str(place), (0, None))
        events.append(ToolCallDelta(number, None, None, cleaned(arguments)))

    def _whole_call(self, place: Any, item: dict[str, Any], events: list[ModelEvent]) -> None:
        """What was not told of it in pieces."""
        arguments = item.get("arguments")
        if str(place) not in self._calls:
            self._call(place, item, events)
        elif isinstance(arguments, str) and arguments and str(place) not in self._argued:
            self._argue(place, arguments, events)


def _text_in(part: Any) -> str:
    told = (part.get("text") or part.get("refusal")) if isinstance(part, dict) else None
    return told if isinstance(told, str) else ""


def _decoded(data: bytes) -> dict[str, Any] | None:
    """None: a frame that says nothing, such as `[DONE]` or a keep-alive."""
    try:
        event = jiter.from_json(data)
    except ValueError:
        try:
            values = loose_values(data)
        except NotJson as error:
            if error.begun:
                raise ModelGarbage from error
            return None
        event = values[0] if values else None
    return event if isinstance(event, dict) else None
