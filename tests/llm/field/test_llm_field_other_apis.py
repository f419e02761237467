"""What servers of the field answer that speak another API: its name is told, and what address to give."""

import pytest

from harness.model_server import ModelServer
from tests.llm.field.cases import D, bad, misread

pytestmark = pytest.mark.requirement("CH-25")

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
        ("DashScope's", "DashScope's own API", {"output": {"text": "a", "finish_reason": "stop"}}),
        ("Baidu's", "Baidu's own API", {"id": "x", "is_end": True, "result": "a"}),
        ("Cloudflare's", "Cloudflare's own API", {"response": "a", "p": "x"}, D),
    )
]


async def test_answers_of_other_apis_are_told_by_their_name_and_asked_for_once(model: ModelServer) -> None:
    assert not await misread(model, OTHERS)
