"""Events of the Responses API as servers give them that leave some of them out."""

import json
from typing import Any

import pytest
from sluiceway_llm.calling.responses import ResponseReader
from sluiceway_llm.model_errors import ModelError
from sluiceway_llm.model_events import ModelEvent

from tests.llm.llm_client import calls_of, reasoning_of, text_of

pytestmark = pytest.mark.requirement("CH-25")

ARGUMENTS = '{"text":"one"}'
CALL = {"type": "function_call", "call_id": "c1", "name": "note"}
TEXT = {"type": "message", "content": [{"type": "output_text", "text": "Hello."}]}
THOUGHT = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]}


def ended(*output: dict[str, Any], **beside: Any) -> dict[str, Any]:
    return {"type": "response.completed", "response": {"id": "r", "status": "completed", "output": output, **beside}}


def added(**item: Any) -> dict[str, Any]:
    return {"type": "response.output_item.added", "output_index": 0, "item": {**CALL, **item}}


def done(**item: Any) -> dict[str, Any]:
    return {"type": "response.output_item.done", "output_index": 0, "item": {**CALL, **item}}


def piece(arguments: str) -> dict[str, Any]:
    return {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": arguments}


def said(text: str) -> dict[str, Any]:
    return {"type": "response.output_text.delta", "delta": text}


def read(*frames: dict[str, Any]) -> tuple[list[ModelEvent], ResponseReader]:
    reader, events = ResponseReader("sk-of-the-test"), list[ModelEvent]()
    for frame in frames:
        reader.read(json.dumps(frame).encode(), events)
    return events, reader


WHOLE = {**CALL, "arguments": ARGUMENTS}


@pytest.mark.parametrize(
    "frames",
    [
        [added(arguments=""), piece('{"text":'), piece('"one"}'), done(arguments=ARGUMENTS), ended(WHOLE)],
        [added(arguments=""), done(arguments=ARGUMENTS), ended(WHOLE)],
        [added(arguments=ARGUMENTS), done(arguments=ARGUMENTS), ended(WHOLE)],
        [done(arguments=ARGUMENTS), ended(WHOLE)],
        [ended(WHOLE)],
    ],
)
def test_a_call_is_told_once_and_whole_whichever_of_its_events_there_are(frames: list[dict[str, Any]]) -> None:
    events, reader = read(*frames)
    assert calls_of(events) == {0: ("c1", "note", ARGUMENTS)}
    assert reader.finished().reason == "tool_calls"


@pytest.mark.parametrize("frames", [[said("Hel"), said("lo."), ended(THOUGHT, TEXT)], [ended(THOUGHT, TEXT)]])
def test_a_text_is_told_once_also_where_it_comes_at_the_end(frames: list[dict[str, Any]]) -> None:
    events, reader = read(*frames)
    assert text_of(events) == "Hello."
    assert reader.finished().reason == "stop"


def test_a_whole_response_where_a_stream_should_be_is_read() -> None:
    reader, events = ResponseReader("sk-of-the-test"), list[ModelEvent]()
    body = {"id": "r", "object": "response", "status": "completed", "output": [THOUGHT, TEXT], "error": None}
    reader.read_body(json.dumps(body).encode(), events)
    assert (reasoning_of(events), text_of(events), reader.finished().reason) == ("Hm.", "Hello.", "stop")


def test_one_that_is_completed_and_failed_has_failed() -> None:
    with pytest.raises(ModelError) as raised:
        read(ended(status="failed", error={"code": "rate_limit_exceeded", "message": "x"}))
    assert raised.value.code == "MODEL_RATE_LIMITED"
