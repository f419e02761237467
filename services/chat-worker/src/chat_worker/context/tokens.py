"""Counting tokens: with tiktoken where it knows the model's encoding, else by an estimate that errs upwards.

Guarantees
- Nothing is fetched: the encodings lie beside this module, and tiktoken checks their digests.
- The event loop is not held: texts are counted exactly in a thread, and only where the estimate says that it matters.
- What was counted is remembered by length and hash, not with its text.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import tiktoken
from sluiceway.wire.token_estimate import estimated_tokens

ENCODINGS = Path(__file__).parent / "encodings"
_SHIPPED = {
    "cl100k_base": "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
    "o200k_base": "fb374d419588a4632f3f557e76b4b70aebbca790",
    "o200k_harmony": "fb374d419588a4632f3f557e76b4b70aebbca790",
}
_CACHE = "TIKTOKEN_CACHE_DIR"
# Of a message: its role and what stands around it. Of a picture or a file that goes along as such.
_MESSAGE_TOKENS = 5
_ATTACHED_TOKENS = 1500
# Of the sentence that stands in the place of a picture, for a model that takes none.
_UNSHOWN_TOKENS = 25
_REMEMBERED = 50_000
_MOST_USED = "o200k_base"
_loading = threading.Lock()


def encoding_name_of(model: str) -> str | None:
    """The encoding of an OpenAI model, also with its provider before it (`openai/gpt-4.1`); None: not known."""
    name = model.rsplit("/", 1)[-1]
    try:
        encoding = tiktoken.encoding_name_for_model(name)
    except KeyError:
        return None
    return encoding if encoding in _SHIPPED else None


@cache
def _encoding(name: str) -> tiktoken.Encoding:
    """It takes most of a second, and 80 MB. Raises OSError where the file is missing: tiktoken would fetch it."""
    (ENCODINGS / _SHIPPED[name]).stat()
    with _loading:
        before = os.environ.get(_CACHE)
        os.environ[_CACHE] = str(ENCODINGS)
        try:
            return tiktoken.get_encoding(name)
        finally:
            if before is None:
                del os.environ[_CACHE]
            else:
                os.environ[_CACHE] = before


def texts_of(message: Mapping[str, Any], *, pictures: bool = True) -> tuple[list[str], int]:
    """The texts of a message, and the tokens of what is none: its frame, pictures, files. `pictures`: the model takes
    them."""
    content = message.get("content")
    texts, beside = [], _MESSAGE_TOKENS
    if isinstance(content, str):
        texts.append(content)
    for part in content if isinstance(content, list) else ():
        if isinstance(part.get("text"), str):
            texts.append(part["text"])
        else:
            unshown = part.get("type") == "image_url" and not pictures
            beside += _UNSHOWN_TOKENS if unshown else _ATTACHED_TOKENS
    for call in message.get("tool_calls") or ():
        texts += [call["function"]["name"], call["function"]["arguments"]]
        beside += _MESSAGE_TOKENS
    return texts, beside


def estimate(messages: Iterable[Mapping[str, Any]], *, pictures: bool = True) -> int:
    total = 0
    for message in messages:
        texts, beside = texts_of(message, pictures=pictures)
        total += beside + sum(map(estimated_tokens, texts))
    return total


class TokenCounter:
    """Counts for one model. `exact`: by its own encoding. `pictures`: whether it takes them, which may be learned."""

    def __init__(self, model: str, pictures: Callable[[], bool] = lambda: True) -> None:
        self._pictures = pictures
        self._encoding = encoding_name_of(model)
        self._known: dict[tuple[int, int], int] = {}

    @property
    def exact(self) -> bool:
        return self._encoding is not None

    async def load(self) -> None:
        """Read the encoding now, so that no turn waits for it."""
        if self._encoding is not None:
            await asyncio.to_thread(_encoding, self._encoding)

    async def count(self, groups: Sequence[Sequence[Mapping[str, Any]]], room: int) -> list[int]:
        """The tokens of each group of messages. Where all of them fit into `room` by the estimate, that is what is
        told: it is too high rather than too low."""
        estimates = [estimate(group, pictures=self._pictures()) for group in groups]
        if self._encoding is None or sum(estimates) <= room:
            return estimates
        return await asyncio.to_thread(self._exactly, groups)

    def _exactly(self, groups: Sequence[Sequence[Mapping[str, Any]]]) -> list[int]:
        return [sum(self._message(message) for message in group) for group in groups]

    def _message(self, message: Mapping[str, Any]) -> int:
        texts, beside = texts_of(message, pictures=self._pictures())
        return beside + sum(map(self._text, texts))

    def _text(self, text: str) -> int:
        key = (len(text), hash(text))
        if key not in self._known:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[key] = len(_encoding(self._encoding or _MOST_USED).encode_ordinary(text))
        return self._known[key]
