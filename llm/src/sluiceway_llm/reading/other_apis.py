"""Frames of other providers' own APIs, which are not ours to read: so that it can be said which one answers."""

from typing import Any

_ANTHROPIC = frozenset({"message_start", "content_block_start", "content_block_delta", "message_delta", "message"})
_COHERE = frozenset({"content-delta", "content-start", "message-end", "text-generation", "stream-end"})


def other_api_of(frame: dict[str, Any]) -> str | None:
    """Whose API this frame without choices is of; None: of none that is known."""
    kind = frame.get("type") or frame.get("event_type")
    kind = kind if isinstance(kind, str) else ""
    if kind in _ANTHROPIC and (kind != "message" or isinstance(frame.get("content"), list)):
        return "Anthropic's Messages API"
    if isinstance(frame.get("candidates"), list):
        return "Gemini's own API"
    if kind.startswith("response.") or frame.get("object") == "response":
        return "OpenAI's Responses API"
    if kind in _COHERE:
        return "Cohere's own API"
    if isinstance(frame.get("token"), dict) and "generated_text" in frame:
        return "Text Generation Inference's own API"
    if isinstance(frame.get("content"), str) and isinstance(frame.get("stop"), bool):
        return "llama.cpp's own API"
    if isinstance(frame.get("response"), str):
        return "Cloudflare's own API"
    return None


def advice_of(api: str) -> str:
    return (
        f"The model server answers in the form of {api}. "
        "Set OPENAI_BASE_URL to the address of its OpenAI-compatible API: it usually ends in /v1."
    )
