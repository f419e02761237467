"""Usage and names as servers of the field tell them, wherever they stand."""

import pytest
from sluiceway_llm.model_events import Usage

from harness.model_server import ModelServer
from tests.llm.field.cases import USED, D, U, end, good, misread, say

pytestmark = pytest.mark.requirement("CH-25")

COUNTS = [
    good(
        "usage that ends with nothing",
        say("a"),
        end("stop", usage=U["usage"]),
        {"choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}},
        D,
        text="a",
        usage=USED,
    ),
    good(
        "usage in the choice",
        say("a"),
        {"choices": [{"delta": {}, "finish_reason": "stop", "usage": U["usage"]}]},
        D,
        text="a",
        usage=USED,
    ),
    good("usage of Groq", say("a"), end("stop", x_groq={"id": "x", "usage": U["usage"]}), D, text="a", usage=USED),
    good(
        "usage in every chunk",
        {**say("a"), "usage": {"prompt_tokens": 2, "completion_tokens": 1}},
        end("stop", usage=U["usage"]),
        D,
        text="a",
        usage=USED,
    ),
    good(
        "usage under other names",
        say("a"),
        end("stop", usage={"input_tokens": 2, "output_tokens": 3, "total_tokens": 5}),
        text="a",
        usage=USED,
    ),
    good("usage that is a text", say("a"), end("stop"), {"choices": [], "usage": "5 tokens"}, D, text="a"),
    good("usage that is null", say("a"), end("stop"), {"choices": [], "usage": None}, D, text="a"),
    good(
        "usage beyond all bounds",
        say("a"),
        end("stop"),
        'data: {"choices":[],"usage":{"prompt_tokens":1e999}}\n\n',
        D,
        text="a",
    ),
    good(
        "usage with odd counts",
        say("a"),
        end("stop"),
        {
            "choices": [],
            "usage": {
                "prompt_tokens": "2",
                "completion_tokens": 3.0,
                "total_tokens": 5,
                "prompt_tokens_details": 7,
                "completion_tokens_details": [1],
            },
        },
        D,
        text="a",
        usage=USED,
    ),
    good("usage below nothing", say("a"), end("stop"), {"choices": [], "usage": {"prompt_tokens": -1}}, D, text="a"),
    good("a model that is no text", {**say("a"), "model": {"x": 1}}, {**end("stop"), "model": 7}, text="a"),
    good(
        "Infinity usage",
        say("a"),
        end("stop"),
        'data: {"choices":[],"usage":{"prompt_tokens":Infinity,"completion_tokens":3}}\n\n',
        D,
        text="a",
        usage=Usage(output_tokens=3),
    ),
    good(
        "usage negative & null details",
        say("a"),
        end("stop"),
        {"choices": [], "usage": {**U["usage"], "prompt_tokens_details": None, "completion_tokens_details": None}},
        D,
        text="a",
        usage=USED,
    ),
    good("usage list", say("a"), end("stop"), {"choices": [], "usage": [U["usage"]]}, D, text="a", usage=USED),
    good(
        "usage in delta",
        say("a"),
        {"choices": [{"delta": {"usage": U["usage"]}, "finish_reason": "stop"}]},
        D,
        text="a",
        usage=USED,
    ),
    good("usage with data first", U, say("a"), end("stop"), D, text="a", usage=USED),
    good(
        "usageMetadata gemini",
        say("a"),
        end("stop", usageMetadata={"promptTokenCount": 2, "candidatesTokenCount": 3, "totalTokenCount": 5}),
        D,
        text="a",
        usage=USED,
    ),
    good(
        "usage_metadata",
        say("a"),
        end("stop", usage={"promptTokens": 2, "completionTokens": 3, "totalTokens": 5}),
        D,
        text="a",
        usage=USED,
    ),
    good("timings llamacpp", say("a"), end("stop", timings={"prompt_n": 2, "predicted_n": 3}), D, text="a"),
    good("x_groq null", say("a"), end("stop", x_groq=None), D, text="a"),
    good(
        "cost frames",
        say("a"),
        end("stop"),
        {"choices": [], "usage": {**U["usage"], "cost": 0.1, "cost_details": {}}},
        {"choices": [], "cost": "0"},
        D,
        text="a",
        usage=USED,
    ),
]


async def test_what_was_used_is_found_wherever_it_stands(model: ModelServer) -> None:
    assert not await misread(model, COUNTS)
