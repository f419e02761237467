"""What the model says: words and the bytes of chunks. The same question always gets the same words."""

import json
import re
from collections.abc import Iterator
from itertools import cycle, islice
from typing import Any

TAGS = re.compile(r"\[\[(.*?)\]\]", re.DOTALL)
MULTIBYTE_WORDS = ("größer", "naïve", "Ωμέγα", "東京", "한국어", "👩‍🚀", "🌊", "मानक")
CREATED = 1_760_000_000


def last_user_text(body: dict[str, Any]) -> str:
    """The text of the newest user message, whether it is a string or a list of parts."""
    for message in reversed(body.get("messages") or []):
        if message.get("role") == "user":
            content = message.get("content") or ""
            return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
    return ""


def without_tags(text: str) -> str:
    return TAGS.sub("", text).strip()


def words_of(text: str) -> Iterator[str]:
    """The words of `text` over and over, each with a blank behind it."""
    return cycle([f"{word} " for word in without_tags(text).split()] or ["hello "])


def answer_to(text: str, tokens: int = 40) -> str:
    """What the server answers to a user message: for tests that compare the whole answer."""
    return "".join(islice(words_of(text), tokens))


def as_json(value: Any) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # half a character, which only an escape can say
        return json.dumps(value, separators=(",", ":")).encode()


def chunk(request_id: str, model: str, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return chunk_without_choices(request_id, model) | {"choices": [choice]}


def chunk_without_choices(request_id: str, model: str) -> dict[str, Any]:
    return {
        "id": request_id,
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": model,
        "system_fingerprint": "fp_fake",
        "choices": [],
    }


def usage(body: dict[str, Any], tokens: int) -> dict[str, Any]:
    prompt = sum(len(str(message.get("content") or "").split()) for message in body.get("messages") or [])
    return {"prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": prompt + tokens}


ERRORS: dict[str, tuple[int, dict[str, Any]]] = {
    "400": (400, {"message": "Invalid value for 'messages'.", "type": "invalid_request_error", "code": None}),
    "401": (401, {"message": "Incorrect API key provided: sk-wrong.", "code": "invalid_api_key"}),
    "403": (403, {"message": "Country not supported.", "code": "unsupported_country_region_territory"}),
    "404": (404, {"message": "The model does not exist.", "code": "model_not_found"}),
    "429": (429, {"message": "Rate limit reached.", "type": "requests", "code": "rate_limit_exceeded"}),
    "500": (500, {"message": "The server had an error.", "type": "server_error", "code": None}),
    "503": (503, {"message": "The engine is overloaded.", "type": "server_error", "code": None}),
    "context": (400, {"message": "Maximum context length is 8192 tokens.", "code": "context_length_exceeded"}),
    "filter": (400, {"message": "The prompt was filtered.", "code": "content_filter"}),
}


def error_response(name: str) -> tuple[int, dict[str, Any]]:
    """Status and body of an error as the OpenAI API words it; `name` is a status or a key of ERRORS."""
    status, error = ERRORS.get(name) or (int(name), {"message": f"Status {name}.", "code": None})
    return status, {"error": {"type": "invalid_request_error", "param": None} | error}
