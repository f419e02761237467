"""Errors that servers of the field answer instead of a stream, with whatever status, and in whatever shape."""

import json

import pytest

from harness.model_server import ModelServer
from tests.llm.field.cases import Case, answered, bad, lines, misread, once

pytestmark = pytest.mark.requirement("CH-25")

ERRORS = [
    answered(
        "no credit, with 200",
        {"error": {"code": 402, "message": "Insufficient credits"}},
        "MODEL_QUOTA_EXHAUSTED",
        says="credit",
    ),
    answered(
        "a wrong key, in a list",
        [{"error": {"code": 400, "message": "API key not valid", "status": "INVALID_ARGUMENT"}}],
        "MODEL_KEY_REJECTED",
        status=400,
    ),
    answered(
        "a list with a reason",
        [{"error": {"code": 400, "message": "Bad field x"}}],
        "MODEL_BAD_REQUEST",
        status=400,
        says="Bad field x",
    ),
    answered(
        "a call that the server could not read",
        {"error": {"message": "Failed to call a function.", "code": "tool_use_failed", "failed_generation": "<x>"}},
        "MODEL_BAD_REQUEST",
        status=400,
        requests=2,
        says="Failed to call a function.",
    ),
    answered("detail", {"detail": "Bad field x"}, "MODEL_BAD_REQUEST", status=422, says="Bad field x"),
    answered(
        "details",
        {"detail": [{"loc": ["body", "x"], "msg": "Bad field x"}]},
        "MODEL_BAD_REQUEST",
        status=422,
        says="Bad field x",
    ),
    answered("message", {"message": "Bad field x"}, "MODEL_BAD_REQUEST", status=400, says="Bad field x"),
    answered("error as a text", {"error": "Bad field x"}, "MODEL_BAD_REQUEST", status=400, says="Bad field x"),
    answered("plain text", "Bad field x", "MODEL_BAD_REQUEST", status=400, says="Bad field x"),
    answered(
        "an error within an error",
        {
            "error": {
                "message": "Provider returned error",
                "code": 400,
                "metadata": {"raw": '{"error": {"message": "Bad field x"}}'},
            }
        },
        "MODEL_BAD_REQUEST",
        status=400,
        says="Bad field x",
    ),
    answered("detail, with 200", {"detail": "Invalid API key"}, "MODEL_KEY_REJECTED"),
    answered(
        "a code of its own, with 200", {"code": 400, "message": "Bad field x"}, "MODEL_BAD_REQUEST", says="Bad field x"
    ),
    answered(
        "MiniMax's, with 200",
        {"base_resp": {"status_code": 1004, "status_msg": "invalid api key"}},
        "MODEL_KEY_REJECTED",
    ),
    answered(
        "Groq's, with 200",
        {"x_groq": {"error": {"message": "no", "type": "invalid_request_error"}}},
        "MODEL_BAD_REQUEST",
    ),
    answered("no money", {"error": {"message": "Insufficient Balance"}}, "MODEL_QUOTA_EXHAUSTED", status=402),
    answered(
        "no credit, as a bad request",
        {"error": {"message": "Your credit balance is too low"}},
        "MODEL_QUOTA_EXHAUSTED",
        status=400,
    ),
    answered(
        "too long, as a fault",
        {"error": {"message": "the request exceeds the available context size"}},
        "MODEL_CONTEXT_LENGTH_EXCEEDED",
        status=500,
    ),
    answered(
        "moderated", {"error": {"message": "flagged for violence", "code": 403}}, "MODEL_CONTENT_FILTERED", status=403
    ),
    answered("nothing at all", "", "MODEL_BAD_REQUEST", status=400),
    answered("a page", "<html>Bad Gateway</html>", "MODEL_GARBAGE", requests=2),
    Case(
        "llama.cpp's errors",
        'error: {"code": 400, "message": "Bad field x", "type": "invalid_request_error"}\n\n',
        error="MODEL_BAD_REQUEST",
        says="Bad field x",
    ),
    bad(
        "vLLM's errors",
        {"object": "error", "message": "Bad field x", "code": 400},
        error="MODEL_BAD_REQUEST",
        says="Bad field x",
    ),
    answered(
        "LM Studio's, with 200",
        {"error": "Unexpected endpoint or method."},
        "MODEL_UNAVAILABLE",
        requests=3,
        says="Unexpected endpoint",
    ),
    answered("a greeting, with 200", {"message": "Welcome"}, "MODEL_UNAVAILABLE", requests=3),
    answered("nothing, with 200", "", "MODEL_CUT", requests=4),
    Case("an error without data:", '{"error": {"message": "Invalid API key"}}\n', error="MODEL_KEY_REJECTED"),
    answered("error string 200", {"error": "model 'x' not found, try pulling it first"}, "MODEL_NOT_FOUND"),
    answered(
        "ollama not found 404",
        {
            "error": {
                "message": 'model "x" not found, try pulling it first',
                "type": "api_error",
                "param": None,
                "code": None,
            }
        },
        "MODEL_NOT_FOUND",
        status=404,
    ),
    answered("success false", {"success": False, "message": "Invalid API key"}, "MODEL_KEY_REJECTED"),
    answered("success false msg", {"success": False, "msg": "无权限", "code": 401}, "MODEL_KEY_REJECTED"),
    answered("errors list 200", {"errors": [{"message": "Invalid API key"}]}, "MODEL_KEY_REJECTED"),
    answered(
        "cloudflare",
        {"success": False, "errors": [{"code": 10000, "message": "Authentication error"}], "result": None},
        "MODEL_KEY_REJECTED",
    ),
    once("aws", {"__type": "ThrottlingException", "message": "Too many requests"}, "MODEL_RATE_LIMITED"),
    answered(
        "aws validation",
        {"__type": "ValidationException", "message": "Input is too long for requested model."},
        "MODEL_CONTEXT_LENGTH_EXCEEDED",
        status=400,
    ),
    answered("aws Message", {"Message": "User is not authorized"}, "MODEL_KEY_REJECTED", status=403),
    once("error in choices 200", {"choices": [{"error": {"code": 502, "message": "gone"}}]}, "MODEL_UNAVAILABLE"),
    answered("error 200 code str", {"error": {"code": "402", "message": "pay"}}, "MODEL_QUOTA_EXHAUSTED"),
    once(
        "error_msg baidu", {"error_code": 17, "error_msg": "Open api daily request limit reached"}, "MODEL_RATE_LIMITED"
    ),
    answered(
        "error_msg baidu key",
        {"error_code": 110, "error_msg": "Access token invalid or no longer valid"},
        "MODEL_KEY_REJECTED",
    ),
    answered(
        "dashscope",
        {"code": "InvalidApiKey", "message": "Invalid API-key provided.", "request_id": "x"},
        "MODEL_KEY_REJECTED",
    ),
    answered(
        "dashscope status",
        {
            "code": "DataInspectionFailed",
            "message": "Output data may contain inappropriate content.",
            "request_id": "x",
        },
        "MODEL_CONTENT_FILTERED",
        status=400,
    ),
    answered(
        "dashscope 200 arrears",
        {
            "code": "Arrearage",
            "message": "Access denied, please make sure your account is in good standing.",
            "request_id": "x",
        },
        "MODEL_QUOTA_EXHAUSTED",
    ),
    answered(
        "json text in string", json.dumps({"error": {"message": "Invalid API key", "code": 401}}), "MODEL_KEY_REJECTED"
    ),
    answered(
        "json string json",
        json.dumps(json.dumps({"error": {"message": "Invalid API key", "code": 401}})),
        "MODEL_KEY_REJECTED",
    ),
    answered("python repr error", "Error code: 401 - {'error': {'message': 'Invalid API key'}}", "MODEL_KEY_REJECTED"),
    answered("html 200 login", "<!doctype html><html><title>Login</title></html>", "MODEL_GARBAGE", requests=2),
    once("html 502", "<html><title>502 Bad Gateway</title></html>", "MODEL_UNAVAILABLE", status=502),
    answered("html 404", "<html>404</html>", "MODEL_NOT_FOUND", status=404),
    once("522", "", "MODEL_UNAVAILABLE", status=522),
    once(
        "529",
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        "MODEL_UNAVAILABLE",
        status=529,
    ),
    answered("402", "", "MODEL_QUOTA_EXHAUSTED", status=402),
    answered("301 redirect", "", "MODEL_WRONG_ADDRESS", status=301),
    answered(
        "azure filter",
        {
            "error": {
                "message": "The response was filtered",
                "type": None,
                "param": "prompt",
                "code": "content_filter",
                "status": 400,
                "innererror": {
                    "code": "ResponsibleAIPolicyViolation",
                    "content_filter_result": {"jailbreak": {"filtered": True, "detected": True}},
                },
            }
        },
        "MODEL_CONTENT_FILTERED",
        status=400,
    ),
    answered(
        "azure deployment",
        {"error": {"code": "DeploymentNotFound", "message": "The API deployment for this resource does not exist."}},
        "MODEL_NOT_FOUND",
        status=404,
    ),
    answered(
        "azure 401",
        {"statusCode": 401, "message": "Unauthorized. Access token is missing, invalid"},
        "MODEL_KEY_REJECTED",
        status=401,
    ),
    once(
        "gemini quota 429",
        [
            {
                "error": {
                    "code": 429,
                    "message": "You exceeded your current quota, please check your plan and billing details.",
                    "status": "RESOURCE_EXHAUSTED",
                    "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.001s"}],
                }
            }
        ],
        "MODEL_RATE_LIMITED",
        status=429,
    ),
    once(
        "gemini overloaded",
        [
            {
                "error": {
                    "code": 503,
                    "message": "The model is overloaded. Please try again later.",
                    "status": "UNAVAILABLE",
                }
            }
        ],
        "MODEL_UNAVAILABLE",
        status=503,
    ),
    once(
        "gemini overloaded in 200",
        [
            {
                "error": {
                    "code": 503,
                    "message": "The model is overloaded. Please try again later.",
                    "status": "UNAVAILABLE",
                }
            }
        ],
        "MODEL_UNAVAILABLE",
    ),
    answered(
        "openai insufficient quota in 200",
        {"error": {"type": "insufficient_quota", "message": "You exceeded your current quota"}},
        "MODEL_QUOTA_EXHAUSTED",
    ),
    once("RESOURCE_EXHAUSTED 200", {"error": {"status": "RESOURCE_EXHAUSTED", "message": "x"}}, "MODEL_RATE_LIMITED"),
    answered("UNAUTHENTICATED 200", {"error": {"status": "UNAUTHENTICATED", "message": "x"}}, "MODEL_KEY_REJECTED"),
    answered("PERMISSION_DENIED 200", {"error": {"status": "PERMISSION_DENIED", "message": "x"}}, "MODEL_KEY_REJECTED"),
    answered("NOT_FOUND 200", {"error": {"status": "NOT_FOUND", "message": "x"}}, "MODEL_NOT_FOUND"),
    once("INTERNAL 200", {"error": {"status": "INTERNAL", "message": "x"}}, "MODEL_UNAVAILABLE"),
    answered(
        "openrouter moderation",
        {"error": {"code": 403, "message": "x", "metadata": {"reasons": ["violence"], "flagged_input": "y"}}},
        "MODEL_CONTENT_FILTERED",
        status=403,
    ),
    answered(
        "openrouter no endpoints",
        {"error": {"code": 404, "message": "No endpoints found for x/y."}},
        "MODEL_NOT_FOUND",
        status=404,
    ),
    answered(
        "litellm nested",
        {
            "error": {
                "message": 'litellm.BadRequestError: OpenAIException - {"error":{"message":"Bad field x"}}',
                "type": None,
                "param": None,
                "code": "400",
            }
        },
        "MODEL_BAD_REQUEST",
        status=400,
        says="Bad field x",
    ),
    once(
        "litellm ratelimit as 500",
        {"error": {"message": "litellm.RateLimitError: AnthropicException", "type": "None", "code": "429"}},
        "MODEL_RATE_LIMITED",
        status=500,
    ),
    answered(
        "500 with auth",
        {"error": {"message": "litellm.AuthenticationError: invalid api key", "code": "401"}},
        "MODEL_KEY_REJECTED",
        status=500,
    ),
    answered(
        "context 500 vllm",
        {"object": "error", "message": "This model's maximum context length is 4096 tokens.", "code": 400},
        "MODEL_CONTEXT_LENGTH_EXCEEDED",
        status=400,
    ),
    answered(
        "tgi 422",
        {
            "error": "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens",
            "error_type": "validation",
        },
        "MODEL_CONTEXT_LENGTH_EXCEEDED",
        status=422,
    ),
    once(
        "tgi overloaded 429",
        {"error": "Model is overloaded", "error_type": "overloaded"},
        "MODEL_RATE_LIMITED",
        status=429,
    ),
    answered(
        "lmstudio no model",
        {
            "error": {
                "message": "No models loaded. Please load a model in the developer page or use the 'lms load' command.",
                "type": "invalid_request_error",
                "param": "model",
                "code": "model_not_found",
            }
        },
        "MODEL_NOT_FOUND",
        status=404,
    ),
    once(
        "llama loading",
        {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}},
        "MODEL_UNAVAILABLE",
        status=503,
    ),
    once("hf loading 200", {"error": "Model x is currently loading", "estimated_time": 0.001}, "MODEL_UNAVAILABLE"),
    once("kong", {"message": "API rate limit exceeded"}, "MODEL_RATE_LIMITED", status=429),
    once("kong 200", {"message": "API rate limit exceeded"}, "MODEL_RATE_LIMITED"),
    answered("kong no key", {"message": "No API key found in request"}, "MODEL_KEY_REJECTED", status=401),
    Case("data: error: prefix", 'data: error: {"message":"Invalid API key"}\n\n', error="MODEL_KEY_REJECTED"),
    Case("status_code frame", lines({"status_code": 429, "message": "slow"}), error="MODEL_RATE_LIMITED", attempts=1),
    Case(
        "message 'Internal Server Error' 200",
        json.dumps({"message": "Internal Server Error"}),
        error="MODEL_UNAVAILABLE",
        content_type="application/json",
        attempts=1,
    ),
]


async def test_an_error_is_told_by_what_it_is_wherever_its_body_says_so(model: ModelServer) -> None:
    assert not await misread(model, ERRORS)
