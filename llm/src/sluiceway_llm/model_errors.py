"""What can go wrong between the worker and the model server.

ModelError                    `code` is stable; `user_message` says what to do, and holds no secret
├── RetryableModelError       the same request may do better in a while
│   ├── ModelRateLimited      429; `retry_after_seconds` when the server named a time
│   ├── ModelUnavailable      no connection, or a status ≥ 500
│   │   ├── ModelDropped      the connection was closed before an answer began
│   │   └── ModelTimeout      silent for too long
│   ├── ModelCut              the stream ended before the answer did
│   └── ModelGarbage          what came is not a stream of chat chunks
└── ModelRejected             permanent: key, model, context length, content filter, quota, bad request

Log the `code`. A `user_message` may quote the server's own words, which may quote the conversation.
"""

import re
from typing import Any, ClassVar

_QUOTED_CHARACTERS = 300
_CONTEXT = re.compile(r"context.{0,3}(length|size|window)|maximum context|too many tokens|prompt is too long", re.I)
_FILTER = re.compile(r"content.?(filter|policy)|responsible_?ai", re.I)
_QUOTA = re.compile(r"insufficient_quota|billing|credit", re.I)
_RATE = re.compile(r"rate.?limit|too_many_requests|^429$", re.I)
_KEY = re.compile(r"api.?key|authentication|unauthorized|permission", re.I)
_NO_MODEL = re.compile(r"model.?not.?found|unknown.?model|invalid.?model", re.I)
_INVALID = re.compile(r"invalid_request|bad_request|^4\d\d$", re.I)


class ModelError(Exception):
    """A model call that did not end with an answer. `retryable`: the same request may do better in a while."""

    code: ClassVar[str] = "MODEL_ERROR"
    retryable: ClassVar[bool] = False
    advice: ClassVar[str] = "The model could not answer."

    def __init__(self, user_message: str | None = None, retry_after_seconds: float | None = None) -> None:
        self.user_message = user_message or self.advice
        self.retry_after_seconds = retry_after_seconds
        super().__init__(self.code)


class RetryableModelError(ModelError):
    retryable = True


class ModelRateLimited(RetryableModelError):
    code = "MODEL_RATE_LIMITED"
    advice = "The model server takes no more requests for now. Please send the message again in a moment."


class ModelUnavailable(RetryableModelError):
    code = "MODEL_UNAVAILABLE"
    advice = "The model server cannot be reached or has a fault. Please send the message again in a moment."


class ModelDropped(ModelUnavailable):
    """Most often a kept connection that the server had closed meanwhile. Servers that close behind every answer without
    saying so (llama.cpp does) make that common: the first time, another try needs no wait."""


class ModelTimeout(ModelUnavailable):
    code = "MODEL_TIMEOUT"
    advice = "The model server was silent for too long. Please send the message again."


class ModelCut(RetryableModelError):
    code = "MODEL_CUT"
    advice = "The model server broke off in the middle of the answer. Please send the message again."


class ModelGarbage(RetryableModelError):
    code = "MODEL_GARBAGE"
    advice = (
        "The model server answered something that is not a chat stream. "
        "If this goes on, check OPENAI_BASE_URL: it usually ends in /v1."
    )


class ModelRejected(ModelError):
    """The server understood and refused; asking again changes nothing."""

    code = "MODEL_BAD_REQUEST"
    advice = "The model server refused the request."


class ModelKeyRejected(ModelRejected):
    code = "MODEL_KEY_REJECTED"
    advice = "The model server refused the key. Set OPENAI_API_KEY to a key that is valid for OPENAI_BASE_URL."


class ModelNotFound(ModelRejected):
    code = "MODEL_NOT_FOUND"
    advice = "The model server does not know this model. Choose another one, or correct MODEL or OPENAI_BASE_URL."


class ModelContextExceeded(ModelRejected):
    code = "MODEL_CONTEXT_LENGTH_EXCEEDED"
    advice = "The conversation is too long for this model. Shorten the message or begin a new conversation."


class ModelContentFiltered(ModelRejected):
    code = "MODEL_CONTENT_FILTERED"
    advice = "The model server's content filter refused the conversation. Please word the message differently."


class ModelQuotaExhausted(ModelRejected):
    code = "MODEL_QUOTA_EXHAUSTED"
    advice = "The account at the model server has no credit left. Check its plan and billing."


class ModelWrongAddress(ModelRejected):
    code = "MODEL_WRONG_ADDRESS"
    advice = "OPENAI_BASE_URL is not the address of an OpenAI-compatible API. It usually ends in /v1."


def error_of_status(status: int, body: object, secret: str, retry_after_seconds: float | None = None) -> ModelError:
    """The error for a response with this status. `secret` is the key: it is never quoted."""
    words = _words_of(body)
    if status == 429 and not _QUOTA.search(words):
        return ModelRateLimited(retry_after_seconds=retry_after_seconds)
    if status in (408, 409, 425) or status >= 500:
        return ModelUnavailable(retry_after_seconds=retry_after_seconds)
    if status in (401, 403):
        return ModelKeyRejected()
    if status in (402, 429):
        return ModelQuotaExhausted()
    if status == 413 or _CONTEXT.search(words):
        return ModelContextExceeded()
    if _FILTER.search(words):
        return ModelContentFiltered()
    if status == 404 or _NO_MODEL.search(words):
        return ModelNotFound()
    return _bad_request(body, secret)


def error_in_stream(body: object, secret: str) -> ModelError:
    """The error for an error object inside a stream. What it does not explain may pass: it is retryable."""
    words = _words_of(body)
    kinds: list[tuple[re.Pattern[str], type[ModelError]]] = [
        (_QUOTA, ModelQuotaExhausted),
        (_CONTEXT, ModelContextExceeded),
        (_FILTER, ModelContentFiltered),
        (_NO_MODEL, ModelNotFound),
    ]
    for pattern, kind in kinds:
        if pattern.search(words):
            return kind()
    for label in _labels_of(body):
        if _RATE.search(label):
            return ModelRateLimited()
        if _KEY.search(label):
            return ModelKeyRejected()
        if _INVALID.search(label):
            return _bad_request(body, secret)
    return ModelUnavailable()


def _bad_request(body: object, secret: str) -> ModelRejected:
    quoted = _quoted(_message_of(body), secret)
    return ModelRejected(f"{ModelRejected.advice} It says: {quoted}" if quoted else None)


def _error_of(body: object) -> dict[str, Any]:
    """The error object: the body itself, or its `error`."""
    if not isinstance(body, dict):
        return {}
    inner = body.get("error", body)
    return inner if isinstance(inner, dict) else {"message": inner}


def _message_of(body: object) -> str:
    return str(_error_of(body).get("message") or "") if isinstance(body, dict) else ""


def _labels_of(body: object) -> list[str]:
    error = _error_of(body)
    return [str(error[name]) for name in ("code", "type", "status") if error.get(name)]


def _words_of(body: object) -> str:
    return " ".join([*_labels_of(body), _message_of(body)])


def _quoted(message: str, secret: str) -> str:
    """One line of the server's words, without the key."""
    if secret:
        message = message.replace(secret, "…")
    return " ".join(message.split())[:_QUOTED_CHARACTERS]
