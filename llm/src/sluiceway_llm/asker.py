"""For whom a model is asked, as its server is told: the user, the session, the trace.

Guarantees: a user's name (an e-mail address, often) leaves this system only where a setting says so. The hash is the
same for all requests of a user, as servers want for their limits and for finding abuse.
"""

import hashlib
from typing import Literal

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
