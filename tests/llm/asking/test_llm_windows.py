"""How long a conversation may be: what servers tell before, and what they say when it is too long."""

import json
from pathlib import Path
from typing import Any

import pytest
from sluiceway_llm.model_errors import ModelContextExceeded, ModelRateLimited, error_in_stream, error_of_status
from sluiceway_llm.windows import window_by_name, windows_told

from harness.model_server import ModelServer
from tests.llm.llm_client import adapter

pytestmark = pytest.mark.requirement("CH-6")

# Status, body or sentence, and the window that it names.
REFUSALS: list[tuple[int, Any, int | None]] = json.loads(Path(__file__).with_name("refusals.json").read_text("utf-8"))


@pytest.mark.parametrize(("status", "told", "window"), REFUSALS)
def test_every_known_wording_of_a_refusal_for_length_is_known_with_its_number(
    status: int, told: Any, window: int | None
) -> None:
    body = {"error": told if isinstance(told, dict) else {"message": told}}
    error = error_of_status(status, body, "")

    assert isinstance(error, ModelContextExceeded)
    assert error.window_tokens == window
    if status not in (413, 429):
        assert isinstance(error_in_stream(body, ""), ModelContextExceeded)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (429, "Rate limit reached for gpt-4o on tokens per min (TPM): Limit 30000, Used 29000, Requested 2000."),
        (429, "Too many requests"),
    ],
)
def test_too_many_requests_are_no_refusal_for_length(status: int, message: str) -> None:
    assert isinstance(error_of_status(status, {"error": {"message": message}}, ""), ModelRateLimited)


@pytest.mark.parametrize(
    ("entry", "tokens"),
    [
        ({"id": "m", "object": "model", "max_model_len": 4096}, 4096),
        ({"id": "m", "context_length": 200000, "top_provider": {"context_length": 131072}}, 131072),
        ({"id": "m", "meta": {"n_ctx": 2048, "n_ctx_train": 8192}}, 2048),
        ({"id": "m", "meta": {"n_ctx_train": 8192}}, 8192),
        ({"id": "m", "max_context_length": 32768, "loaded_context_length": 4096}, 4096),
        ({"id": "m", "max_context_length": 128000, "capabilities": {"completion_chat": True}}, 128000),
    ],
)
def test_servers_tell_the_window_in_their_lists_of_models(entry: dict[str, Any], tokens: int) -> None:
    assert windows_told({"object": "list", "data": [entry]}) == {"m": tokens}


@pytest.mark.parametrize(
    "body",
    [None, "x", [], {}, {"data": None}, {"data": [None, 1, {"id": 3, "max_model_len": 4096}]}],
)
def test_lists_that_are_none_do_no_harm(body: Any) -> None:
    assert windows_told(body) == {}


@pytest.mark.parametrize("odd", [None, True, "4096", -1, 0, 1e300, [], {}])
def test_windows_that_are_no_numbers_do_no_harm(odd: Any) -> None:
    assert windows_told({"data": [{"id": "m", "max_model_len": odd}]}) == {}


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("gpt-4o-mini", 128_000),
        ("gpt-4", 8_192),
        ("openai/gpt-4.1-mini", 1_047_576),
        ("anthropic/claude-sonnet-4", 200_000),
        ("Qwen/Qwen2.5-7B-Instruct", 32_768),
        ("my-own", None),
    ],
)
def test_windows_of_well_known_models_are_known_by_name(model: str, tokens: int | None) -> None:
    assert window_by_name(model) == tokens


async def test_a_server_is_asked_for_its_windows(model: ModelServer) -> None:
    listed = {"object": "list", "data": [{"id": "fake", "max_model_len": 4096}]}
    await model.script({"status": 200, "body": json.dumps(listed)}, path="/models")

    async with adapter(model) as client:
        assert await client.windows() == {"fake": 4096}
        assert await client.windows() == {}
