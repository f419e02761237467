"""What servers of the field answer instead of a stream: whole completions, errors, something else."""

import json
from typing import Any

import pytest
from sluiceway_llm.model_events import Usage

from harness.model_server import ModelServer
from tests.llm.field.cases import ONE, USED, Case, D, U, answered, bad, end, good, lines, misread, once, say

pytestmark = pytest.mark.requirement("CH-25")

COMPLETION = {
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}],
    "usage": U["usage"],
}
CALLING = {
    "choices": [
        {
            "message": {"content": None, "tool_calls": [{"id": "a", "function": {"name": "note", "arguments": ONE}}]},
            "finish_reason": "tool_calls",
        }
    ]
}
NDJSON = "application/x-ndjson"


def ollama(done: bool = False, **fields: Any) -> dict[str, Any]:
    """A line of Ollama's own API."""
    ended = {"done_reason": "stop", "total_duration": 9, "prompt_eval_count": 2, "eval_count": 3} if done else {}
    return {"model": "q", "message": {"role": "assistant", "content": "", **fields}, "done": done, **ended}


def rows(*frames: Any, kind: str = NDJSON) -> dict[str, Any]:
    """A body of JSON, a line each, and of which type it says it is."""
    return {"body": "".join(f"{json.dumps(frame)}\n" for frame in frames), "content_type": kind}


COUNTED = Usage(2, 3)
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
OTHERS = [
    bad(name, *frames, error="MODEL_WRONG_ADDRESS", says=says)
    for name, says, *frames in (
        (
            "Anthropic's events",
            "Anthropic's Messages API",
            {"type": "message_start", "message": {"role": "assistant", "content": []}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}},
            {"type": "message_stop"},
        ),
        ("Anthropic's message", "Anthropic's", {"type": "message", "content": [{"type": "text", "text": "a"}]}),
        ("Gemini's", "Gemini's own API", {"candidates": [{"content": {"parts": [{"text": "a"}]}}]}),
        ("responses", "Responses API", {"type": "response.output_text.delta", "delta": "a"}),
        (
            "Cohere's",
            "Cohere's own API",
            {"type": "content-delta", "delta": {"message": {"content": {"text": "a"}}}},
            D,
        ),
        ("TGI's", "Text Generation Inference's", {"token": {"id": 1, "text": "a"}, "generated_text": None}),
        ("llama.cpp's", "llama.cpp's own API", {"content": "a", "stop": False}, {"content": "", "stop": True}),
        ("Cloudflare's", "Cloudflare's own API", {"response": "a", "p": "x"}, D),
    )
]
WHOLES = [
    Case("a whole completion", COMPLETION, text="a", usage=USED, content_type="application/json"),
    Case(
        "a whole completion over several lines",
        json.dumps(COMPLETION, indent=2),
        text="a",
        usage=USED,
        content_type="application/json",
    ),
    Case(
        "a whole completion without a reason",
        {"choices": [{"message": {"content": "a"}}]},
        text="a",
        reason=None,
        content_type="application/json",
    ),
    Case(
        "a whole completion with calls",
        CALLING,
        calls=[("note", ONE)],
        reason="tool_calls",
        content_type="application/json",
    ),
    Case(
        "a whole completion with its calls in a choice of their own",
        {"choices": [{"message": {"content": "Look:"}, "finish_reason": "tool_calls"}, CALLING["choices"][0]]},
        text="Look:",
        calls=[("note", ONE)],
        reason="tool_calls",
        content_type="application/json",
    ),
    good("a whole completion as an event", COMPLETION, D, text="a", usage=USED),
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
        "an error as an event's type",
        'event: error\ndata: {"message": "invalid api key"}\n\n',
        error="MODEL_KEY_REJECTED",
    ),
    Case(
        "an error as an event's type, in words",
        "event: error\ndata: no credits left\n\n",
        error="MODEL_QUOTA_EXHAUSTED",
    ),
    Case(
        "llama.cpp's errors",
        'error: {"code": 400, "message": "Bad field x", "type": "invalid_request_error"}\n\n',
        error="MODEL_BAD_REQUEST",
        says="Bad field x",
    ),
    bad("TGI's errors", say("Some"), {"error": "Too many", "error_type": "overloaded"}, text="Some"),
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
    bad("an error that is a text", say("Some"), {"error": "Bad"}, text="Some"),
    bad(
        "an error in a list",
        say("Some"),
        [{"error": {"code": 400, "message": "Bad"}}],
        text="Some",
        error="MODEL_BAD_REQUEST",
    ),
    bad(
        "a complaint instead of an end",
        say("Some"),
        {"detail": "Invalid API key"},
        text="Some",
        error="MODEL_KEY_REJECTED",
    ),
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
        "openrouter 200 whole w/ error choice",
        {
            "choices": [
                {"message": {"content": "Some"}, "finish_reason": "error", "error": {"code": 502, "message": "gone"}}
            ]
        },
        "MODEL_UNAVAILABLE",
        text="Some",
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
    Case(
        "whole completion, BOM",
        "\ufeff" + json.dumps({"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}),
        text="a",
        content_type="application/json",
    ),
    Case(
        "whole completion, trailing newline/garbage",
        json.dumps({"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}) + "\n\n\n",
        text="a",
        content_type="application/json",
    ),
    Case(
        "whole completion in list",
        json.dumps([{"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}]),
        text="a",
        content_type="application/json",
    ),
    Case(
        "whole completion wrapped in data",
        json.dumps({"data": {"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}}),
        text="a",
        content_type="application/json",
    ),
    Case(
        "chunks then JSON error no data",
        lines(say("Some")) + json.dumps({"error": {"code": 502, "message": "gone"}}) + "\n",
        text="Some",
        error="MODEL_UNAVAILABLE",
    ),
    Case("chunks then html", lines(say("Some")) + "<html>502</html>\n", text="Some", error="MODEL_CUT"),
    Case(
        "chunks then plain words",
        lines(say("Some")) + "upstream connect error\n",
        text="Some",
        error="MODEL_UNAVAILABLE",
    ),
    Case(
        "chunk then data: error words",
        lines(say("Some")) + "data: upstream connect error or disconnect\n\n",
        text="Some",
        error="MODEL_CUT",
    ),
    Case("data: error: prefix", 'data: error: {"message":"Invalid API key"}\n\n', error="MODEL_KEY_REJECTED"),
    Case("data: [ERROR] words", lines(say("Some")) + "data: [ERROR] gone\n\n", text="Some", error="MODEL_UNAVAILABLE"),
    Case(
        "event error after text then DONE",
        lines(say("Some"))
        + 'event: error\ndata: {"error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'
        + lines(D),
        text="Some",
        error="MODEL_UNAVAILABLE",
    ),
    Case(
        "event: error no data",
        lines(say("Some")) + "event: error\n\n" + lines(D),
        text="Some",
        error="MODEL_UNAVAILABLE",
    ),
    Case(
        "anthropic error object",
        lines(say("Some"), {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
        text="Some",
        error="MODEL_UNAVAILABLE",
    ),
    Case(
        "error w/o DONE then close",
        lines(say("Some"), {"error": {"message": "x", "type": "server_error"}}),
        text="Some",
        error="MODEL_UNAVAILABLE",
    ),
    Case("status_code frame", lines({"status_code": 429, "message": "slow"}), error="MODEL_RATE_LIMITED", attempts=1),
    Case(
        "detail as end", lines(say("Some"), {"detail": "Internal Server Error"}), text="Some", error="MODEL_UNAVAILABLE"
    ),
    Case(
        "message 'Internal Server Error' 200",
        json.dumps({"message": "Internal Server Error"}),
        error="MODEL_UNAVAILABLE",
        content_type="application/json",
        attempts=1,
    ),
    Case("code 0 message ok", lines({"code": 0, "message": "success"}, say("a"), end("stop"), D), text="a"),
    Case(
        "wrapped stream code 0 data choices",
        lines({"code": 0, "message": "success", "choices": [{"delta": {"content": "a"}}]}, end("stop"), D),
        text="a",
    ),
]


async def test_what_is_no_stream_is_read_as_what_it_is(model: ModelServer) -> None:
    assert not await misread(model, WHOLES)


async def test_lines_of_json_are_read_as_they_come(model: ModelServer) -> None:
    assert not await misread(model, LINES)


async def test_answers_of_other_apis_are_told_by_their_name_and_asked_for_once(model: ModelServer) -> None:
    assert not await misread(model, OTHERS)
