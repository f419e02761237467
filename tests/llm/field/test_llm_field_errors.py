"""Errors in the words of servers of the field: status, body, what it is, and when to come again."""

from typing import Any

import pytest
from sluiceway_llm.model_errors import error_in_stream, error_of_status

pytestmark = pytest.mark.requirement("CH-25", "CH-7")

# The words are the servers' own, in their languages.
STATUSES: list[tuple[int, Any, str, float | None]] = [
    (
        400,
        {
            "error": {
                "message": "Failed to call a function. Please adjust your prompt. See 'failed_generation'.",
                "type": "invalid_request_error",
                "code": "tool_use_failed",
                "failed_generation": "<function=note>",
            }
        },
        "MODEL_BAD_REQUEST",
        None,
    ),
    (
        429,
        {
            "error": {
                "message": "Rate limit reached for model `x` on tokens per day. Please try again in 7m12s.",
                "code": "rate_limit_exceeded",
            }
        },
        "MODEL_RATE_LIMITED",
        432,
    ),
    (
        429,
        {
            "error": {
                "message": "You exceeded your current quota, please check your plan and billing details.",
                "type": "insufficient_quota",
                "code": "insufficient_quota",
            }
        },
        "MODEL_QUOTA_EXHAUSTED",
        None,
    ),
    (429, {"message": "Requests rate limit exceeded"}, "MODEL_RATE_LIMITED", None),
    (400, {"error": {"message": "x is not a valid model ID", "code": 400}}, "MODEL_NOT_FOUND", None),
    (410, {"error": {"message": "The model has been deprecated"}}, "MODEL_NOT_FOUND", None),
    (400, {"error": {"message": "The model `x` has been decommissioned."}}, "MODEL_NOT_FOUND", None),
    (500, {"error": {"code": 500, "message": "context shift is disabled"}}, "MODEL_CONTEXT_LENGTH_EXCEEDED", None),
    (
        400,
        {"error": {"message": "Input tokens exceed the configured limit of 272000 tokens."}},
        "MODEL_CONTEXT_LENGTH_EXCEEDED",
        None,
    ),
    (
        403,
        {"code": "The caller does not have permission", "error": "Your team has used all available credits"},
        "MODEL_QUOTA_EXHAUSTED",
        None,
    ),
    (400, {"error": {"message": "Budget has been exceeded! Current cost: 1.0"}}, "MODEL_QUOTA_EXHAUSTED", None),
    (
        429,
        {
            "error": {
                "code": "429",
                "message": "Requests have exceeded token rate limit. Please retry after 26 seconds.",
            }
        },
        "MODEL_RATE_LIMITED",
        26,
    ),
    (
        429,
        {
            "error": {
                "message": "engine_overloaded_error: The engine is currently overloaded, please try again later",
                "type": "engine_overloaded_error",
            }
        },
        "MODEL_RATE_LIMITED",
        None,
    ),
    (
        429,
        {
            "error": {
                "message": "Your account x request reached max concurrency: 1, please try again after 1 seconds",
                "type": "rate_limit_reached_error",
            }
        },
        "MODEL_RATE_LIMITED",
        1,
    ),
    (
        429,
        {
            "error": {
                "message": "suspended, please check your plan and billing details",
                "type": "exceeded_current_quota_error",
            }
        },
        "MODEL_QUOTA_EXHAUSTED",
        None,
    ),
    (
        403,
        {
            "error": {
                "code": "unsupported_country_region_territory",
                "message": "Country, region, or territory not supported",
            }
        },
        "MODEL_KEY_REJECTED",
        None,
    ),
    (
        404,
        {
            "error": {
                "message": "The model `gpt-9` does not exist or you do not have access to it.",
                "code": "model_not_found",
            }
        },
        "MODEL_NOT_FOUND",
        None,
    ),
    (404, "404 page not found", "MODEL_NOT_FOUND", None),
    (405, {"detail": "Method Not Allowed"}, "MODEL_WRONG_ADDRESS", None),
    (400, {"error": {"message": "Unsupported model: x"}}, "MODEL_NOT_FOUND", None),
    (
        400,
        {"object": "error", "message": "The model `x` does not exist.", "type": "NotFoundError", "code": 404},
        "MODEL_NOT_FOUND",
        None,
    ),
    (
        400,
        {
            "error": {
                "message": "Invalid model name passed in model=x. Call `/v1/models`.",
                "code": "400",
            }
        },
        "MODEL_NOT_FOUND",
        None,
    ),
    (400, {"message": "invalid_model: Invalid model: x", "code": "1500"}, "MODEL_NOT_FOUND", None),
    (
        400,
        {
            "error": {
                "message": "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens",
                "code": "context_length_exceeded",
            }
        },
        "MODEL_CONTEXT_LENGTH_EXCEEDED",
        None,
    ),
    (
        400,
        {
            "type": "error",
            "error": {"type": "invalid_request_error", "message": "prompt is too long: 205000 tokens > 200000 maximum"},
        },
        "MODEL_CONTEXT_LENGTH_EXCEEDED",
        None,
    ),
    (
        400,
        {
            "error": {
                "code": 400,
                "message": "The input token count (1100000) exceeds the maximum number of tokens allowed (1048576).",
                "status": "INVALID_ARGUMENT",
            }
        },
        "MODEL_CONTEXT_LENGTH_EXCEEDED",
        None,
    ),
    (
        400,
        {"error": {"message": "Requested token count exceeds the model's maximum context length of 32768 tokens."}},
        "MODEL_CONTEXT_LENGTH_EXCEEDED",
        None,
    ),
    (
        400,
        {
            "error": {
                "message": "request (9000 tokens) exceeds the available context size (4096 tokens), try increasing it",
                "type": "exceed_context_size_error",
                "n_ctx": 4096,
            }
        },
        "MODEL_CONTEXT_LENGTH_EXCEEDED",
        None,
    ),
    (
        400,
        {"error": {"message": "The model is loaded with context length of only 4096 tokens"}},
        "MODEL_CONTEXT_LENGTH_EXCEEDED",
        None,
    ),
    (
        400,
        {"error": {"message": "Input length 5000 exceeds the maximum allowed length"}},
        "MODEL_CONTEXT_LENGTH_EXCEEDED",
        None,
    ),
    (
        422,
        {"error": {"message": "Prompt contains 40000 tokens, too large for model with 32768 maximum context length"}},
        "MODEL_CONTEXT_LENGTH_EXCEEDED",
        None,
    ),
    (
        400,
        {
            "error": {
                "message": "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 30720]",
                "code": "invalid_parameter_error",
            }
        },
        "MODEL_CONTEXT_LENGTH_EXCEEDED",
        None,
    ),
    (
        413,
        {
            "error": {
                "message": "Request too large for model `x` on tokens per minute (TPM): Limit 6000, Requested 9000",
                "code": "rate_limit_exceeded",
            }
        },
        "MODEL_CONTEXT_LENGTH_EXCEEDED",
        None,
    ),
    (
        400,
        {"error": {"code": "1301", "message": "系统检测到输入或生成内容可能包含不安全或敏感内容"}},
        "MODEL_CONTENT_FILTERED",
        None,
    ),
    (
        400,
        {"error": {"message": "Content Exists Risk", "type": "invalid_request_error"}},
        "MODEL_CONTENT_FILTERED",
        None,
    ),
    (
        400,
        {
            "error": {
                "message": "Your request was rejected as a result of our safety system.",
                "code": "content_policy_violation",
            }
        },
        "MODEL_CONTENT_FILTERED",
        None,
    ),
    (
        400,
        {
            "error": {
                "message": "Invalid prompt: your prompt was flagged as potentially violating our usage policy.",
                "code": "invalid_prompt",
            }
        },
        "MODEL_CONTENT_FILTERED",
        None,
    ),
    (401, {"error": {"message": "No auth credentials found", "code": 401}}, "MODEL_KEY_REJECTED", None),
    (
        400,
        {
            "error": {
                "message": "API key expired. Please renew the API key.",
                "status": "INVALID_ARGUMENT",
                "details": [{"reason": "API_KEY_INVALID"}],
            }
        },
        "MODEL_KEY_REJECTED",
        None,
    ),
    (
        402,
        {"error": {"message": "This request requires more credits, or fewer max_tokens."}},
        "MODEL_QUOTA_EXHAUSTED",
        None,
    ),
    (
        400,
        {
            "error": {
                "message": "Your credit balance is too low to access the Anthropic API.",
                "type": "invalid_request_error",
            }
        },
        "MODEL_QUOTA_EXHAUSTED",
        None,
    ),
    (
        403,
        {
            "error": {
                "message": "Key limit exceeded (total limit). Manage it using https://openrouter.ai/settings/keys",
                "code": 403,
            }
        },
        "MODEL_QUOTA_EXHAUSTED",
        None,
    ),
    (503, {"error": {"message": "Service temporarily unavailable", "retry_after": 3}}, "MODEL_UNAVAILABLE", 3),
    (500, {"error": "llama runner process has terminated: exit status 2"}, "MODEL_UNAVAILABLE", None),
    (
        500,
        {"error": {"message": "model requires more system memory (8 GiB) than is available (4 GiB)"}},
        "MODEL_UNAVAILABLE",
        None,
    ),
    (424, {"error": "Model too busy, unable to get response in less than 60 second(s)"}, "MODEL_UNAVAILABLE", None),
    (499, "", "MODEL_UNAVAILABLE", None),
    (418, "I'm a teapot", "MODEL_BAD_REQUEST", None),
    (520, "<html>", "MODEL_UNAVAILABLE", None),
    (524, "", "MODEL_UNAVAILABLE", None),
    (529, "", "MODEL_UNAVAILABLE", None),
    (
        503,
        {"error": {"code": "model_not_found", "message": "No available channel for model x under group default"}},
        "MODEL_NOT_FOUND",
        None,
    ),
]
IN_STREAMS: list[tuple[Any, str]] = [
    ({"error": {"message": "Upstream idle timeout exceeded", "code": 504}}, "MODEL_UNAVAILABLE"),
    ({"error": {"message": "Too many requests", "type": "rate_limit_error"}}, "MODEL_RATE_LIMITED"),
    ({"error": {"type": "overloaded_error", "message": "Overloaded"}}, "MODEL_UNAVAILABLE"),
    (
        {
            "error": {
                "message": "The server had an error while processing your request. Sorry about that!",
                "type": "server_error",
                "code": None,
            }
        },
        "MODEL_UNAVAILABLE",
    ),
    (
        {
            "error": {
                "message": "Failed to call a function. See 'failed_generation'.",
                "type": "invalid_request_error",
                "code": "tool_use_failed",
                "failed_generation": "<tool>",
            }
        },
        "MODEL_BAD_REQUEST",
    ),
    (
        {"error": {"message": "EngineCore encountered an issue", "type": "InternalServerError", "code": 500}},
        "MODEL_UNAVAILABLE",
    ),
    ({"error": "an error was encountered while running the model: unexpected EOF"}, "MODEL_UNAVAILABLE"),
    ({"error": {"message": "context length exceeded"}}, "MODEL_CONTEXT_LENGTH_EXCEEDED"),
    ({"error": {"code": "content_filter", "message": "x"}}, "MODEL_CONTENT_FILTERED"),
    ({"code": 1302, "message": "您的账户已达到速率限制"}, "MODEL_RATE_LIMITED"),
    ({"error": {"code": "1113", "message": "余额不足或无可用资源包,请充值。"}}, "MODEL_QUOTA_EXHAUSTED"),
    ({"error": {"message": "Budget has been exceeded!", "type": "budget_exceeded"}}, "MODEL_QUOTA_EXHAUSTED"),
    ({"error": {"code": "1302", "message": "rate limit"}}, "MODEL_RATE_LIMITED"),
    ({"type": "error", "error": {"type": "authentication_error", "message": "x"}}, "MODEL_KEY_REJECTED"),
    ({"type": "error", "error": {"type": "not_found_error", "message": "model: x"}}, "MODEL_NOT_FOUND"),
    (
        {"type": "error", "error": {"type": "request_too_large", "message": "Request exceeds the maximum size"}},
        "MODEL_CONTEXT_LENGTH_EXCEEDED",
    ),
]


@pytest.mark.parametrize(("status", "body", "code", "seconds"), STATUSES)
def test_a_refusal_is_known_by_its_status_and_its_words(
    status: int, body: Any, code: str, seconds: float | None
) -> None:
    error = error_of_status(status, body, "sk-of-the-test")
    assert (error.code, error.retry_after_seconds) == (code, seconds)


@pytest.mark.parametrize(("body", "code"), IN_STREAMS)
def test_an_error_in_a_stream_is_known_by_its_words(body: Any, code: str) -> None:
    assert error_in_stream(body, "sk-of-the-test").code == code
