"""What servers of the field answer instead of a stream: whole completions, errors, something else."""

import json

import pytest

from harness.model_server import ModelServer
from tests.llm.field.cases import ONE, USED, Case, D, U, answered, bad, good, misread, say

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
]


async def test_what_is_no_stream_is_read_as_what_it_is(model: ModelServer) -> None:
    assert not await misread(model, WHOLES)
