"""From the stored conversation to what the model is sent."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sluiceway.message import text_of
from sluiceway.store.records import Message

DEFAULT_SYSTEM_PROMPT = "You are a helpful assistant. Answer clearly and briefly."


def load_system_prompt(file: Path | None) -> str:
    """The file's text, or the default. Raises OSError, UnicodeDecodeError: better at the start than in a turn."""
    return DEFAULT_SYSTEM_PROMPT if file is None else file.read_text("utf-8").strip()


def to_model_messages(system_prompt: str, history: Sequence[Message]) -> list[dict[str, Any]]:
    """Chat messages in the OpenAI shape. Reasoning is left out, and so is an answer that has no text."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": system_prompt}] if system_prompt else []
    for message in history:
        text = text_of(message.parts)
        if text:
            messages.append({"role": message.role, "content": text})
    return messages
