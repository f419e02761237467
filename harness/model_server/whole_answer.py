"""The answer to a request without `stream`: what the steps would have streamed, as one message. Waits are left out."""

from itertools import islice
from typing import Any

from harness.model_server.answers import CREATED, last_user_text, usage, words_of
from harness.model_server.plan import Step
from harness.model_server.record import Record


def whole_answer(record: Record, steps: list[Step]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": "", "refusal": None}
    finish_reason: str | None = "stop"
    for step in steps:
        for kind, text in _texts(step, record.body):
            message[kind] = (message.get(kind) or "") + text
            record.token_sent()
        if "tool_call" in step:
            _merge_tool_call(message.setdefault("tool_calls", []), step["tool_call"])
        if "finish" in step:
            finish_reason = step["finish"]
    return {
        "id": f"chatcmpl-{record.number}",
        "object": "chat.completion",
        "created": CREATED,
        "model": record.body.get("model") or "fake-model",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}],
        "usage": usage(record.body, record.tokens_sent),
    }


def _texts(step: Step, body: dict[str, Any]) -> list[tuple[str, str]]:
    if "tokens" in step:
        skip = int(step.get("skip", 0))
        words = islice(words_of(step.get("of") or last_user_text(body)), skip, skip + int(step["tokens"]))
        return [(step.get("kind", "content"), word) for word in words]
    kinds = {"text": "content", "reasoning": step.get("field", "reasoning_content"), "refusal": "refusal"}
    return [(kind, step[name]) for name, kind in kinds.items() if name in step]


def _merge_tool_call(calls: list[dict[str, Any]], fragment: dict[str, Any]) -> None:
    call = next((call for call in calls if call["index"] == fragment["index"]), None)
    if call is None:
        call = {"index": fragment["index"], "type": "function", "function": {"name": "", "arguments": ""}}
        calls.append(call)
    if fragment.get("id"):
        call["id"] = fragment["id"]
    for field, text in (fragment.get("function") or {}).items():
        call["function"][field] += text
