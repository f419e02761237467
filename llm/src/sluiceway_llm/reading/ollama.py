"""Ollama's own chunks (POST /api/chat and /api/generate), which some proxies hand on, as chunks of the chat API."""

from typing import Any


def chunk_of_ollama(frame: dict[str, Any]) -> dict[str, Any] | None:
    """None where it is none. Its usage stands beside the message, as numbers of their own."""
    if not isinstance(frame.get("done"), bool) or frame.get("error"):
        return None
    message = frame.get("message")
    if not isinstance(message, dict):
        message = {"content": frame.get("response"), "thinking": frame.get("thinking")}
    choice: dict[str, Any] = {"delta": message, "finish_reason": None}
    chunk: dict[str, Any] = {"choices": [choice], "model": frame.get("model")}
    if frame["done"]:
        choice["finish_reason"] = frame.get("done_reason") or "stop"
        chunk["usage"] = {name: frame[name] for name in ("prompt_eval_count", "eval_count") if name in frame}
    return chunk
