"""What can go wrong between the worker and the model server.

ModelError                    `code` is stable; `user_message` says what to do, and holds no secret
├── RetryableModelError       the same request may do better in a while
│   ├── ModelRateLimited      429; `retry_after_seconds` when the server named a time
│   ├── ModelUnavailable      no connection, or a status ≥ 500
│   │   ├── ModelDropped      the connection was closed before an answer began
│   │   ├── ModelTimeout      silent for too long
│   │   └── ModelEndedBadly   the answer ended with something that is not known to be good
│   ├── ModelCut              the stream ended before the answer did
│   ├── ModelGarbage          what came is not a stream of chat chunks
│   ├── ModelEmpty            the answer ended well, and nothing was said in it
│   └── ModelCallFailed       the model wrote a call that its server could not read
└── ModelRejected             permanent: key, model, context length, content filter, quota, output limit, bad request

An answer that may have been paid for is asked for again only a few times: `most_requests`.

Log the `code`. A `user_message` may quote the server's own words, which may quote the conversation.
"""

import re
from typing import ClassVar

from sluiceway_llm.error_words import Told, told_of
from sluiceway_llm.model_events import Usage
from sluiceway_llm.windows import window_in_refusal

_QUOTED_CHARACTERS = 300
_WORDLESS = (
    "The model server says that there was an error, and not which one. Please send the message again in a moment, or "
    "choose another model."
)
_CONTEXT = re.compile(
    r"context.{0,3}(length|size|window|limit)|maximum (context|prompt|model|input) length|too many (input )?tokens"
    r"|(prompt|input|conversation|message)s? (is|are) too (long|large)"
    r"|exceed\w{0,9} the (maximum|limit|available|total).{0,40}(token|context)"
    r"|(prompt|input|request|messages?)\b.{0,40}exceed\w{0,9} (the |this )?(model'?s? )?(max\w{0,9}|token|allowed)"
    r".{0,12}(length|limit|tokens)"
    r"|exceed\w{0,9} (the )?model('s)? token limit|input tokens.{0,40}(cannot|must not|can't) exceed"
    r"|longer than the (maximum|model)|reduce (the|your) (length|size) of the (messages|prompt|input)"
    r"|inputs\W{0,3} (tokens|must have less than).{0,60}(<=|tokens)|range of input length"
    r"|string_above_max_length|messages.{0,10}: (array|string) too long|shorter or fewer inputs"
    r"|(request|body).too.large|context shift is disabled|input tokens exceed",
    re.I | re.S,
)
_TOO_LARGE = re.compile(r"(request|body|prompt|message) (is )?too large|tokens must be reduced", re.I)
_FILTER = re.compile(
    r"content.?(filter|policy|management)|responsible_?ai|moderation|flagged|data.?inspection|inappropriate content"
    r"|(input|output|content).{0,20}sensitive|content exists risk|敏感|不安全",
    re.I,
)
_QUOTA = re.compile(r"insufficient.?quota|billing|credit|balance|payment|arrear", re.I)
_SURELY_QUOTA = re.compile(
    r"insufficient.?(quota|credit|balance|fund)|exceeded your current quota|billing_(hard_limit|not_active)"
    r"|credit balance|payment required|no credits|out of credits|arrear|account is in good standing"
    r"|key limit exceeded|used all (available )?credits|spending limit|budget.{0,20}exceeded|余额不足|欠费",
    re.I,
)
_RATE = re.compile(
    r"rate.?limit|too.?many.?requests|throttl|request limit|resource.?exhausted|速率限制|过于频繁|^429$", re.I
)
_KEY = re.compile(r"api.?key|authentication|unauthorized|unauthenticated|permission|forbidden", re.I)
_SURELY_KEY = re.compile(
    r"(invalid|incorrect|wrong|missing|expired|no|bad).{0,20}api.?key"
    r"|(api.?key|access.?token).{0,30}(not valid|invalid|incorrect|expired|missing|required)"
    r"|authentication.?(error|failed)",
    re.I,
)
_NO_MODEL = re.compile(
    r"model.?not.?found|(unknown|invalid|unsupported).?model|\bnot_found(_error)?\b"
    r"|model .{1,100}(does not exist|not found|is not available)|not a valid model"
    r"|model .{0,100}\b(decommissioned|deprecated|retired)\b",
    re.I,
)
# The model's fault, which its server tells as one of the request (Groq).
_CALL_FAILED = re.compile(r"tool_use_failed|failed to call a function|failed_generation", re.I)
# Of a server that holds its model to a schema: it allows no token more (llama.cpp, in the middle of an answer).
_OUT_OF_FORM = re.compile(r"empty grammar stack", re.I)
_INVALID = re.compile(r"invalid.?(request|argument|parameter)|bad_?request|^4\d\d$", re.I)
_A_PROXYS = frozenset({401, 402, 403, 429})
"""What a proxy may tell of the server behind it, with a status of its own that says that it is at fault."""
_OVERLOADED = re.compile(r"overloaded|server_error|internal|unavailable|timeout|upstream", re.I)


class ModelError(Exception):
    """A model call that did not end with an answer. `retryable`: the same request may do better in a while."""

    code: ClassVar[str] = "MODEL_ERROR"
    retryable: ClassVar[bool] = False
    advice: ClassVar[str] = "The model could not answer."
    most_requests: ClassVar[int | None] = None
    """How often the same is asked for in all, however much time is left; None: as long as there is time."""

    def __init__(self, user_message: str | None = None, retry_after_seconds: float | None = None) -> None:
        self.user_message = user_message or self.advice
        self.retry_after_seconds = retry_after_seconds
        self.status: int | None = None
        self.reached = True
        """False: there was no connection to the server."""
        self.reason: str | None = None
        """Of that: why, for an operator."""
        self.request_id: str | None = None
        self.attempts = 1
        self.usage: Usage | None = None
        self.told = Told()
        super().__init__(self.code)

    @property
    def fault(self) -> str:
        """What is wrong, for an operator: without what a person is to do."""
        return self.user_message.partition(" Please ")[0]

    @property
    def while_asked_again(self) -> str:
        """What is wrong, for a person whose message is tried again by itself: without the advice to do something."""
        fault, advised, _ = self.user_message.partition(" Please ")
        return f"{fault} It is asked again by itself." if advised else self.user_message

    def facts(self) -> dict[str, str | int]:
        """What a log may have of it: never the server's words."""
        facts = {"code": self.code, "status": self.status, "request_id": self.request_id, "attempts": self.attempts}
        facts |= {"reason": self.reason}
        return {name: fact for name, fact in facts.items() if fact is not None}


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
    most_requests = 4
    advice = "The model server was silent for too long. Please send the message again."


class ModelEndedBadly(ModelUnavailable):
    """The server ended the answer with something that is not known to be good, nor to pass."""

    most_requests = 3


class ModelCut(RetryableModelError):
    code = "MODEL_CUT"
    most_requests = 4
    advice = "The model server broke off in the middle of the answer. Please send the message again."


class ModelGarbage(RetryableModelError):
    code = "MODEL_GARBAGE"
    most_requests = 2
    advice = (
        "The model server answered something that is not a chat stream. "
        "If this goes on, check OPENAI_BASE_URL: it usually ends in /v1."
    )


class ModelEmpty(RetryableModelError):
    code = "MODEL_EMPTY"
    most_requests = 2
    advice = "The model answered without saying anything. Please send the message again, or choose another model."


class ModelCallFailed(RetryableModelError):
    """The model wrote a call of a tool that its server could not read, which the server tells as a fault of the request
    (Groq). The next time it most often does better."""

    code = "MODEL_BAD_REQUEST"
    most_requests = 2
    advice = (
        "The model wrote a tool call that the model server could not read. Please send the message again, or choose "
        "another model."
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


class ModelOutOfForm(ModelRejected):
    """Asked again for the same, it ends there again."""

    code = "MODEL_OUT_OF_FORM"
    advice = "Nothing that the model could say next fits the schema of the answer."


class ModelContextExceeded(ModelRejected):
    code = "MODEL_CONTEXT_LENGTH_EXCEEDED"
    advice = "The conversation is too long for this model. Shorten the message or begin a new conversation."

    @property
    def window_tokens(self) -> int | None:
        """How much the model takes, where the server said so."""
        return window_in_refusal(self.told.words, self.told.window_tokens)


class ModelContentFiltered(ModelRejected):
    code = "MODEL_CONTENT_FILTERED"
    advice = "The model server's content filter refused the conversation. Please word the message differently."


class ModelLimitReached(ModelRejected):
    code = "MODEL_OUTPUT_LIMIT"
    advice = (
        "The answer reached its limit before there was anything to show or to do. "
        "Ask for something shorter, or raise MAX_OUTPUT_TOKENS."
    )


class ModelQuotaExhausted(ModelRejected):
    code = "MODEL_QUOTA_EXHAUSTED"
    advice = "The account at the model server has no credit left. Check its plan and billing."


class ModelWrongAddress(ModelRejected):
    code = "MODEL_WRONG_ADDRESS"
    advice = "OPENAI_BASE_URL is not the address of an OpenAI-compatible API. It usually ends in /v1."


def error_of_status(status: int, body: object, secret: str, retry_after_seconds: float | None = None) -> ModelError:
    """The error for a response with this status. `secret` is the key: it is never quoted."""
    told = told_of(body)
    error = _by_status(status, told, secret)
    error.status, error.told = status, told
    if error.retryable:
        error.retry_after_seconds = told.retry_after_seconds if retry_after_seconds is None else retry_after_seconds
    return error


def error_in_stream(body: object, secret: str) -> ModelError:
    """The error for an error object inside a stream. What it does not explain may pass: it is retryable."""
    told = told_of(body)
    error = _by_status(told.status, told, secret) if told.status is not None else _by_words(told, secret)
    error.status, error.told = told.status, told
    if error.retryable:
        error.retry_after_seconds = told.retry_after_seconds
    return error


def _by_status(status: int, told: Told, secret: str) -> ModelError:
    words = told.words
    if _CALL_FAILED.search(words):
        return _call_failed(told, secret)
    if _OUT_OF_FORM.search(words):
        return ModelOutOfForm()
    if status >= 500 and told.status in _A_PROXYS:
        status = told.status
    if status == 402 or (status < 500 and _SURELY_QUOTA.search(words) and told.retry_after_seconds is None):
        return ModelQuotaExhausted()
    if status == 429 and _TOO_LARGE.search(words):
        return ModelContextExceeded()  # more than a minute's tokens at once: it never does better
    if status in (429, 498):  # Groq's for its flexible tier
        in_vain = _QUOTA.search(words) and told.retry_after_seconds is None
        return ModelQuotaExhausted() if in_vain else ModelRateLimited()
    if status in (408, 409, 424, 425, 499):
        return ModelUnavailable()
    if status == 413 or _CONTEXT.search(words):
        return ModelContextExceeded()
    if status >= 500:
        return ModelNotFound() if "model_not_found" in told.labels else ModelUnavailable()
    if status in (400, 403, 422) and _FILTER.search(words):
        return ModelContentFiltered()
    if status in (401, 403) or _SURELY_KEY.search(words):
        return ModelKeyRejected()
    if _FILTER.search(words):
        return ModelContentFiltered()
    if 300 <= status < 400 or status == 405:
        return ModelWrongAddress()
    if status == 404 or _NO_MODEL.search(words):
        return ModelNotFound()
    return _bad_request(told, secret)


def _by_words(told: Told, secret: str) -> ModelError:
    kinds: list[tuple[re.Pattern[str], type[ModelError]]] = [
        (_SURELY_QUOTA, ModelQuotaExhausted),
        (_CONTEXT, ModelContextExceeded),
        (_FILTER, ModelContentFiltered),
        (_NO_MODEL, ModelNotFound),
        (_SURELY_KEY, ModelKeyRejected),
    ]
    if _CALL_FAILED.search(told.words):
        return _call_failed(told, secret)
    for pattern, kind in kinds:
        if pattern.search(told.words):
            return kind()
    for label in told.labels:
        if _RATE.search(label):
            return ModelRateLimited()
        if _OVERLOADED.search(label):
            return ModelUnavailable()
        if _KEY.search(label):
            return ModelKeyRejected()
        if _INVALID.search(label):
            return _bad_request(told, secret)
    if _RATE.search(told.message):
        return ModelRateLimited()
    if _OVERLOADED.search(told.message):
        return ModelUnavailable()
    if not told.words:
        # It is there, took the request, and may have charged for it: so this is no server that is away.
        return ModelEndedBadly(_WORDLESS)
    return ModelEndedBadly(f"The model server says: {_quoted(told.message or told.words, secret)}")


def _bad_request(told: Told, secret: str) -> ModelRejected:
    quoted = _quoted(told.message or " ".join(told.labels), secret)
    return ModelRejected(f"{ModelRejected.advice} It says: {quoted}" if quoted else None)


def _call_failed(told: Told, secret: str) -> ModelCallFailed:
    return ModelCallFailed(f"{ModelCallFailed.advice} It says: {_quoted(told.message or told.words, secret)}")


def _quoted(message: str, secret: str) -> str:
    """One line of the server's words, without the key."""
    if secret:
        message = message.replace(secret, "…")
    return " ".join(message.split())[:_QUOTED_CHARACTERS]
