"""Counting: exactly where the encoding is known, and by an estimate whose error is measured here."""

import os
import socket
import time
from typing import Any

import pytest
import tiktoken
from chat_worker.context import tokens
from chat_worker.context.tokens import TokenCounter, encoding_name_of, estimate
from sluiceway.wire.token_estimate import estimated_tokens, least_tokens

from tests.chat_worker.context.texts import TEXTS

pytestmark = pytest.mark.requirement("CH-6")


@pytest.fixture(scope="module")
def encodings() -> dict[str, tiktoken.Encoding]:
    return {name: tokens._encoding(name) for name in ("cl100k_base", "o200k_base")}


def said(*texts: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text} for text in texts]


def test_the_encodings_are_shipped_and_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise AssertionError("a connection was made")

    monkeypatch.setattr(socket, "create_connection", no_network)
    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR", raising=False)
    tokens._encoding.cache_clear()
    tiktoken.registry.ENCODINGS.clear()

    assert tokens._encoding("cl100k_base").encode_ordinary("hello world") == [15339, 1917]
    assert tokens._encoding("o200k_base").encode_ordinary("hello world") == [24912, 2375]
    assert "TIKTOKEN_CACHE_DIR" not in os.environ
    assert {file.name for file in tokens.ENCODINGS.iterdir()} - {"README.md"} == set(tokens._SHIPPED.values())


@pytest.mark.parametrize("kind", TEXTS)
def test_the_estimate_is_no_further_off_than_is_said(kind: str, encodings: dict[str, tiktoken.Encoding]) -> None:
    text = TEXTS[kind]
    told = estimated_tokens(text)

    assert 0.95 <= told / len(encodings["cl100k_base"].encode_ordinary(text)) <= 2.3
    assert 1.0 <= told / len(encodings["o200k_base"].encode_ordinary(text)) <= 5.0


@pytest.mark.parametrize("kind", [*TEXTS, "run"])
def test_what_is_surely_too_much_is_more_than_any_encoding_counts(
    kind: str, encodings: dict[str, tiktoken.Encoding]
) -> None:
    text = TEXTS.get(kind, "=" * 5000)
    least = least_tokens(text)

    assert all(least < len(encoding.encode_ordinary(text)) for encoding in encodings.values())
    assert least * 5 > len(encodings["o200k_base"].encode_ordinary(text)) or kind in ("run", "spaces")


def test_the_estimate_is_quick() -> None:
    """It is made of the whole history before each call of the model."""
    text = TEXTS["english"] * 400  # 110 KB
    began = time.process_time()
    for _ in range(10):
        estimated_tokens(text)
    assert (time.process_time() - began) / 10 < 0.01


@pytest.mark.parametrize(
    ("model", "encoding"),
    [
        ("gpt-4.1-mini", "o200k_base"),
        ("gpt-4", "cl100k_base"),
        ("openai/gpt-4o-2024-11-20", "o200k_base"),
        ("gpt-oss-120b", "o200k_harmony"),
        ("llama-3.3-70b", None),
        ("text-davinci-003", None),
    ],
)
def test_models_are_known_by_their_names(model: str, encoding: str | None) -> None:
    assert encoding_name_of(model) == encoding


async def test_what_surely_fits_is_not_counted_exactly_and_what_may_not_is(
    encodings: dict[str, tiktoken.Encoding],
) -> None:
    counter, groups = TokenCounter("gpt-4.1"), [said(TEXTS["english"]), said(TEXTS["german"], TEXTS["json"])]

    assert await counter.count(groups, room=100_000) == [estimate(group) for group in groups]
    exact = encodings["o200k_base"].encode_ordinary
    assert await counter.count(groups, room=10) == [
        5 + len(exact(TEXTS["english"])),
        10 + len(exact(TEXTS["german"])) + len(exact(TEXTS["json"])),
    ]


async def test_a_model_without_a_known_encoding_is_estimated() -> None:
    counter = TokenCounter("some-model")
    await counter.load()

    assert not counter.exact
    assert await counter.count([said("hello")], room=0) == [estimate(said("hello"))]


async def test_calls_pictures_and_files_count_too() -> None:
    call = {"id": "c", "function": {"name": "weather", "arguments": '{"city": "Köln"}'}}
    plain = estimate([{"role": "assistant", "content": None}])

    assert estimate([{"role": "assistant", "content": None, "tool_calls": [call]}]) > plain + 10
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    parts = {"role": "user", "content": [{"type": "text", "text": "look"}, picture]}
    assert estimate([parts]) > estimate(said("look")) + 1000
    # In its place stands a sentence, for a model that takes none.
    assert estimate(said("look")) < estimate([parts], pictures=False) < estimate(said("look")) + 50
    assert await TokenCounter("gpt-4.1", lambda: False).count([[parts]], room=0) < [estimate(said("look")) + 50]


async def test_what_no_encoding_was_made_for_is_counted_all_the_same() -> None:
    counter = TokenCounter("gpt-4.1")
    for text in ("\ud800", "<|endoftext|>", "\x00", "a" * 200_000):
        (count,) = await counter.count([said(text)], room=0)
        assert count > 5
