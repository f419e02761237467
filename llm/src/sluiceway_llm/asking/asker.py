"""For whom a model is asked, as its server is told: the user, the session, the trace.

Guarantees: a user's name (an e-mail address, often) leaves this system only where a setting says so. The hash is the
same for all requests of a user, as servers want for their limits and for finding abuse.

Gateways want it under names of their own: headers and fields of the settings may say `{user}`, `{session_id}` and
`{trace_id}`, which are filled in; what says one that is not known, or that fits no header, is left out.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

from sluiceway_llm.model_events import ModelRequest

UserAs = Literal["hash", "raw", "none"]

SESSION = "x-session-id"
TRACE = "traceparent"
_HASH_CHARS = 32


def named(user: str | None, how: UserAs) -> str | None:
    """None: the server is not told."""
    if user is None or how == "none":
        return None
    return user if how == "raw" else hashlib.sha256(f"sluiceway user {user}".encode()).hexdigest()[:_HASH_CHARS]


def trace_id_of(traceparent: str | None) -> str | None:
    """Of a W3C trace context: `00-TRACE-SPAN-FLAGS`."""
    parts = (traceparent or "").split("-")
    return parts[1] if len(parts) == 4 else None


def headers_for(headers: Mapping[str, str], request: ModelRequest) -> dict[str, str]:
    """Headers of the settings, without those whose value is not known, or is none for a header."""
    values = {name: _filled(value, _known(request)) for name, value in headers.items()}
    return {name: value for name, value in values.items() if value is not None and fits_header(value)}


def filled(value: Any, request: ModelRequest) -> Any:
    """Fields of the settings, at any depth."""
    return _deep(value, _known(request))


def _deep(value: Any, known: Mapping[str, str | None]) -> Any:
    if isinstance(value, str):
        return _filled(value, known)
    if isinstance(value, list):
        return [_deep(each, known) for each in value]
    if isinstance(value, dict):
        found = {name: _deep(each, known) for name, each in value.items()}
        return {name: each for name, each in found.items() if each is not None or value[name] is None}
    return value


def _filled(text: str, known: Mapping[str, str | None]) -> str | None:
    for name, value in known.items():
        if (place := f"{{{name}}}") in text:
            if value is None:
                return None
            text = text.replace(place, value)
    return text


def _known(request: ModelRequest) -> dict[str, str | None]:
    return {
        "user": request.user,
        "session_id": request.session_id,
        "trace_id": trace_id_of(request.traceparent),
    }


def fits_header(value: str) -> bool:
    """What has others would be refused by the HTTP client, and its call would fail."""
    return all(" " <= letter <= "~" for letter in value)
