"""The Responses API: a chat request as it wants it, and the events of its stream → model events.

Events that are not known are passed over; their numbers count. An answer is whole when one of `response.completed`,
`response.incomplete` and `response.failed` has come, of which the last is an error. Source: OpenAI's API reference,
"streaming events" of responses.
"""

from typing import Any

import jiter

from sluiceway_llm.model_errors import ModelCut, ModelGarbage, error_in_stream
from sluiceway_llm.model_events import (
    Finished,
    ModelEvent,
    ModelRequest,
    Reached,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)

_INCOMPLETE = {"max_output_tokens": "length", "content_filter": "content_filter"}
_PARAGRAPH = "\n\n"


def to_responses(request: ModelRequest) -> dict[str, Any]:
    """The JSON of a request that runs in the background and is streamed meanwhile."""
    optional = {
        "tools": [_tool(tool["function"]) for tool in request.tools] if request.tools is not None else None,
        "tool_choice": request.tool_choice,
        "user": request.user,
        "temperature": request.temperature,
        "max_output_tokens": request.max_tokens,
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
    said = [{"role": message["role"], "content": message["content"]}] if message.get("content") else []
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


class ResponseReader:
    """Reads the events of one response, over one connection or several. `over` when it has ended. `reached`: the last
    event that was read; never the one that ends it, so that who goes on behind it gets to know of the end.
    """

    def __init__(self, secret: str, reached: Reached | None = None) -> None:
        self._secret = secret
        self._calls = False
        self._end: dict[str, Any] | None = None
        self.reached = reached
        self.seen_chunk = False

    @property
    def over(self) -> bool:
        return self._end is not None

    complete = over

    def read(self, data: bytes, events: list[ModelEvent]) -> None:
        """Appends what the event says. Raises ModelGarbage, or the error that the event tells of."""
        event = _decoded(data)
        try:
            number = event.get("sequence_number")
            self._read(event, events)
            if "response" in event and self.reached is None:
                self.reached = Reached(event["response"]["id"], -1)
                events.append(self.reached)
            if self.reached is not None and number is not None and not self.over:
                self.reached = Reached(self.reached.response_id, int(number))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ModelGarbage from error
        self.seen_chunk = True

    def finished(self) -> Finished:
        """The last event. Raises ModelCut when the answer is not known to be whole."""
        if self._end is None:
            raise ModelCut
        reason = "tool_calls" if self._calls else "stop"
        if self._end.get("status") == "incomplete":
            told = (self._end.get("incomplete_details") or {}).get("reason")
            reason = _INCOMPLETE.get(str(told), str(told))
        return Finished(reason, _usage(self._end.get("usage")), self._end.get("model"))

    def _read(self, event: dict[str, Any], events: list[ModelEvent]) -> None:
        match event["type"]:
            case "response.output_text.delta" if event["delta"]:
                events.append(TextDelta(event["delta"]))
            case "response.refusal.delta" if event["delta"]:
                events.append(RefusalDelta(event["delta"]))
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" if event["delta"]:
                events.append(ReasoningDelta(event["delta"]))
            case "response.reasoning_summary_part.added" if event["summary_index"] > 0:
                events.append(ReasoningDelta(_PARAGRAPH))
            case "response.output_item.added" if event["item"]["type"] == "function_call":
                self._calls = True
                item = event["item"]
                call = ToolCallDelta(event["output_index"], item["call_id"], item["name"], item.get("arguments") or "")
                events.append(call)
            case "response.function_call_arguments.delta":
                events.append(ToolCallDelta(event["output_index"], None, None, event["delta"]))
            case "response.completed" | "response.incomplete":
                self._end = event["response"]
            case "response.failed":
                raise error_in_stream({"error": event["response"].get("error") or {}}, self._secret)
            case "error":
                raise error_in_stream({"error": event.get("error") or event}, self._secret)
            case _:
                pass


def _decoded(data: bytes) -> dict[str, Any]:
    try:
        event = jiter.from_json(data)
    except ValueError as error:
        raise ModelGarbage from error
    if not isinstance(event, dict) or "type" not in event:
        raise ModelGarbage
    return event


def _usage(told: Any) -> Usage | None:
    if not isinstance(told, dict):
        return None
    return Usage(
        input_tokens=told.get("input_tokens"),
        output_tokens=told.get("output_tokens"),
        total_tokens=told.get("total_tokens"),
        reasoning_tokens=(told.get("output_tokens_details") or {}).get("reasoning_tokens"),
        cached_input_tokens=(told.get("input_tokens_details") or {}).get("cached_tokens"),
    )
