"""Errors of servers of the field that come within a stream: between its events, as one, or instead of its end."""

import json

import pytest

from harness.model_server import ModelServer
from tests.llm.field.cases import Case, D, answered, bad, lines, misread, say

pytestmark = pytest.mark.requirement("CH-25")

ERRORS = [
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
    bad("TGI's errors", say("Some"), {"error": "Too many", "error_type": "overloaded"}, text="Some"),
    bad(
        "an error in a wrapper",
        say("Some"),
        {"data": {"error": {"code": 401, "message": "No"}}},
        text="Some",
        error="MODEL_KEY_REJECTED",
    ),
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
    Case(
        "detail as end", lines(say("Some"), {"detail": "Internal Server Error"}), text="Some", error="MODEL_UNAVAILABLE"
    ),
]


async def test_an_error_within_a_stream_is_told_behind_what_was_said(model: ModelServer) -> None:
    assert not await misread(model, ERRORS)
