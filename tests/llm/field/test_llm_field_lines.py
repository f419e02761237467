"""Streams of the field that are lines of JSON: Ollama's own API, and chunks without events."""

import json
from typing import Any

import pytest
from sluiceway_llm.model_events import Usage

from harness.model_server import ModelServer
from tests.llm.field.cases import USED, Case, U, end, lines, misread, say

pytestmark = pytest.mark.requirement("CH-25")

NDJSON = "application/x-ndjson"
COUNTED = Usage(2, 3)


def ollama(done: bool = False, **fields: Any) -> dict[str, Any]:
    """A line of Ollama's own API."""
    ended = {"done_reason": "stop", "total_duration": 9, "prompt_eval_count": 2, "eval_count": 3} if done else {}
    return {"model": "q", "message": {"role": "assistant", "content": "", **fields}, "done": done, **ended}


def rows(*frames: Any, kind: str = NDJSON) -> dict[str, Any]:
    """A body of JSON, a line each, and of which type it says it is."""
    return {"body": "".join(f"{json.dumps(frame)}\n" for frame in frames), "content_type": kind}


LINES = [
    Case("Ollama's own", **rows(ollama(content="a"), ollama(content="b"), ollama(True)), text="ab", usage=COUNTED),
    Case(
        "Ollama's thoughts",
        **rows(ollama(thinking="Hm."), ollama(True, content="a")),
        reasoning="Hm.",
        text="a",
        usage=COUNTED,
    ),
    Case(
        "Ollama's calls",
        **rows(
            ollama(tool_calls=[{"function": {"name": "note", "arguments": {"text": "one"}}}]),
            ollama(tool_calls=[{"function": {"name": "note", "arguments": {"text": "two"}}}]),
            ollama(True),
        ),
        calls=[("note", '{"text": "one"}'), ("note", '{"text": "two"}')],
        usage=COUNTED,
    ),
    Case("Ollama's own, whole", **rows(ollama(True, content="a"), kind="application/json"), text="a", usage=COUNTED),
    Case("Ollama's own, as events", lines(ollama(content="a"), ollama(True)), text="a", usage=COUNTED),
    Case("Ollama's generate", **rows({"response": "a", "done": False}, {"response": "", "done": True}), text="a"),
    Case("Ollama's own, cut off", **rows(ollama(content="a")), text="a", error="MODEL_CUT"),
    Case(
        "Ollama's own, broken off",
        **rows(ollama(content="a"), {"error": "model runner has unexpectedly stopped"}),
        text="a",
        error="MODEL_UNAVAILABLE",
        says="unexpectedly stopped",
    ),
    Case(
        "Ollama's, only loaded", **rows({**ollama(True), "done_reason": "load"}), error="MODEL_UNAVAILABLE", attempts=1
    ),
    Case("no such model", **rows({"error": "model 'q' not found"}), error="MODEL_NOT_FOUND"),
    Case("chunks, a line each", **rows(say("a"), end("stop"), U), text="a", usage=USED),
    Case("chunks, a line each, said to be events", **rows(say("a"), end("stop"), kind="text/event-stream"), text="a"),
    Case("chunks, a line each, with [DONE]", rows(say("a"))["body"] + "[DONE]\n", text="a", reason=None),
    Case(
        "JSON text sequences",
        "\x1e" + rows(say("a"), end("stop"))["body"],
        text="a",
        content_type="application/json-seq",
    ),
]


async def test_lines_of_json_are_read_as_they_come(model: ModelServer) -> None:
    assert not await misread(model, LINES)
