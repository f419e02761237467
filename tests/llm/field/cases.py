"""How answers of servers of the field are written down, and what a turn makes of one: for `test_llm_field_*.py`.

A case is the body of a response: `data:` lines that are written short (D is `[DONE]`), or something else altogether;
and what is to be made of it. All are read over HTTP, with retries as a turn has them.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from sluiceway_llm.calling.model import Model
from sluiceway_llm.calling.retry import Patience, stream_with_retries
from sluiceway_llm.model_errors import ModelError
from sluiceway_llm.model_events import ModelEvent, ModelRequest, Usage

from harness.model_server import ModelServer
from tests.llm.llm_client import adapter, calls_of, finished, reasoning_of, refusal_of, text_of

NAMES = ("note", "clear", "list_all", "note_all")
TOOLS = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in NAMES]
ONE, TWO = '{"text":"one"}', '{"text":"two"}'
U: dict[str, Any] = {"choices": [], "usage": {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}}
USED = Usage(2, 3, 5)
D = "[DONE]"


def delta(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": None}]}


def say(text: Any) -> dict[str, Any]:
    return delta(content=text)


def end(reason: Any, **beside: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}], **beside}


def piece(arguments: Any = None, name: Any = None, **fields: Any) -> dict[str, Any]:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return delta(tool_calls=[{**fields, "function": function}])


def call(name: str, arguments: Any, **fields: Any) -> dict[str, Any]:
    return {**fields, "function": {"name": name, "arguments": arguments}}


def call_of(name: str, arguments: Any, **fields: Any) -> dict[str, Any]:
    return delta(tool_calls=[call(name, arguments, **fields)])


def in_one(*calls: dict[str, Any], **choice: Any) -> dict[str, Any]:
    """Whole calls in one chunk."""
    return {"choices": [{"index": 0, "delta": {"tool_calls": list(calls)}, "finish_reason": None, **choice}]}


def lines(*frames: Any) -> str:
    """Each frame as an event; a text that is not `[DONE]` stands there as it is."""
    written = (
        f"data: {frame}\n\n" if frame == D else frame if isinstance(frame, str) else f"data: {json.dumps(frame)}\n\n"
        for frame in frames
    )
    return "".join(written)


@dataclass(frozen=True)
class Case:
    """`calls`: name and arguments of each. `error`: its code; None: the answer is good. `requests`: how many."""

    name: str
    body: Any
    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)
    reason: str | None = "stop"
    usage: Usage | None = None
    error: str | None = None
    says: str = ""
    requests: int = 1
    attempts: int = 20
    status: int = 200
    content_type: str = "text/event-stream"

    def expected(self) -> dict[str, Any]:
        return {
            "said": (self.text, self.reasoning, self.refusal, self.calls),
            "end": (self.reason, self.usage) if self.error is None else None,
            "error": self.error,
            "says": True,
        }


def good(name: str, *frames: Any, **expected: Any) -> Case:
    return Case(name, lines(*frames), **expected)


def one(name: str, *frames: Any) -> Case:
    """A stream that ends well, and was meant as one note."""
    return good(name, *frames, end("stop"), calls=[("note", ONE)])


def two(name: str, *frames: Any) -> Case:
    return good(name, *frames, end("stop"), calls=[("note", ONE), ("note", TWO)])


def bad(name: str, *frames: Any, error: str = "MODEL_UNAVAILABLE", **expected: Any) -> Case:
    return Case(name, lines(*frames), error=error, **expected)


def answered(name: str, body: Any, error: str, status: int = 200, **expected: Any) -> Case:
    kind = "text/plain" if isinstance(body, str) else "application/json"
    return Case(name, body, error=error, status=status, content_type=kind, **expected)


def once(name: str, body: Any, error: str, status: int = 200, **expected: Any) -> Case:
    """An error that may pass, asked for once."""
    return answered(name, body, error, status, attempts=1, **expected)


def asked() -> ModelRequest:
    return ModelRequest(model="fake", messages=[{"role": "user", "content": "Go"}], tools=TOOLS)


async def misread(model: ModelServer, cases: list[Case]) -> str:
    """What is made of cases otherwise than it should be. Opening a client takes longer than a case: all share one."""
    wrong = []
    async with adapter(model) as llm:
        for case in cases:
            await model.reset()
            await model.script({"status": case.status, "body": case.body, "content_type": case.content_type}, times=100)
            seen = await read(llm, case)
            expected = case.expected()
            if seen != expected or len(await model.requests()) != case.requests:
                wrong.append((case.name, seen, expected, len(await model.requests()), case.requests))
    return "\n".join(str(fault) for fault in wrong)


async def read(llm: Model, case: Case) -> dict[str, Any]:
    """What a turn makes of it, in the shape of `Case.expected`."""
    events: list[ModelEvent] = []
    error: ModelError | None = None
    stream = stream_with_retries(
        llm, asked(), attempts=case.attempts, patience=Patience(20), first_seconds=0.001, must_say=True
    )
    try:
        async with stream as batches:
            async for batch in batches:
                events += batch
    except ModelError as told:
        error = told
    # In the order in which they are told, which is that of the tool parts of a message.
    called = [(name, arguments) for _, name, arguments in calls_of(events).values()]
    return {
        "said": (text_of(events), reasoning_of(events), refusal_of(events), called),
        "end": (finished(events).reason, finished(events).usage) if error is None else None,
        "error": error.code if error is not None else None,
        "says": error is None or case.says in error.user_message,
    }
