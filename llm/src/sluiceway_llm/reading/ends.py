"""How an answer may end. An end is good only if it is known to be good: the list is of the good ones."""

import re
from typing import Any

_GOOD = {
    "stop": ("stop", "stop_sequence", "end_turn", "end", "eos", "eos_token", "complete", "completed", "done", "finish"),
    "length": ("length", "max_tokens", "max_output_tokens", "model_length", "token_limit", "max_length"),
    "tool_calls": ("tool_calls", "tool_call", "tool_use", "function_call", "function_calls", "tools"),
    "content_filter": (
        *("content_filter", "safety", "sensitive", "refusal", "recitation", "blocklist"),
        *("prohibited_content", "spii", "image_safety", "content_filtered", "guardrail_intervened"),
    ),
}
_KNOWN = {alias: reason for reason, aliases in _GOOD.items() for alias in aliases}
_KNOWN["model_context_window_exceeded"] = "length"
# Some servers name the token that the model stopped at: <|im_end|>, </s>, <end_of_turn>.
_TOKEN = re.compile(r"</?[^<>\s]{1,40}>\Z")
_PREFIX = "finish_reason_"
_BAD = re.compile(r"error|malformed|fail", re.I)
_NOT_SAID = frozenset({"", "null", "none", "finish_reason_unspecified"})


def is_said(told: object) -> bool:
    """Whether this is a reason to end: some servers have a text in every chunk that means none."""
    return isinstance(told, str) and told.strip().lower() not in _NOT_SAID


def reason_in(choice: dict[str, Any]) -> str | None:
    """Why this choice ends, where it does, under whatever name. A provider's own word counts where it is a bad one:
    some proxies make `stop` of everything."""
    for name in ("finish_reason", "finishReason"):
        told = choice.get(name)
        told = told.get("type") or told.get("reason") if isinstance(told, dict) else told
        if is_said(told):
            own = choice.get("native_finish_reason")
            return str(own if isinstance(own, str) and _BAD.search(own) else told)
    told = choice.get("stop_reason")  # beside a finish_reason it is the text, or the token, that the model stopped at
    return told if isinstance(told, str) and good_end(told) else None


def good_end(told: str) -> str | None:
    """The reason under its own name; None where it is not known to be good."""
    reason = told.strip().lower().removeprefix(_PREFIX).replace("-", "_")
    return _KNOWN.get(reason) or ("stop" if _TOKEN.match(reason) else None)
