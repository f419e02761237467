"""Identifiers. What we make carries its kind and 128 random bits, so an id can be followed but not guessed.

Clients may choose the ids of their sessions and messages, in a charset that is safe in a URL path, in a Redis hash
tag (no braces) and in a log line.
"""

import re
import secrets
from urllib.parse import quote

CLIENT_ID_PATTERN = r"^[A-Za-z0-9._~:@-]{1,64}$"
# How the id of a person begins whom a gateway knows by a cookie alone. No token may name a user so.
ANONYMOUS_PREFIX = "anon:"
# How that of a person begins who came as one of an organisation: `org:ORG:USER`. No token may name a user so, either.
ORG_PREFIX = "org:"
_CLIENT_ID = re.compile(CLIENT_ID_PATTERN.replace("$", r"\Z"))


def is_client_id(text: str) -> bool:
    return _CLIENT_ID.match(text) is not None


def owner_in_org(org: str, user_id: str) -> str:
    """The name of what is a user's as one of that organisation. What he has as one of another is not his there."""
    return f"{ORG_PREFIX}{quote(org, safe='')}:{user_id}"


def org_of(owner: str | None) -> str:
    """The organisation in an owner's name, as it stands there; "" for who is in none. SQL's `org_of` is the same."""
    return owner.split(":", 2)[1] if owner is not None and owner.startswith(ORG_PREFIX) else ""


def user_of(owner: str) -> str:
    """An owner's name without his organisation."""
    return owner.split(":", 2)[2] if owner.startswith(ORG_PREFIX) else owner


def new_session_id() -> str:
    return f"ses_{secrets.token_hex(16)}"


def new_task_id() -> str:
    return f"task_{secrets.token_hex(16)}"


def new_message_id() -> str:
    return f"msg_{secrets.token_hex(16)}"


def new_operation_id() -> str:
    return f"op_{secrets.token_hex(16)}"


def new_tool_call_id() -> str:
    return f"call_{secrets.token_hex(12)}"


def new_file_id() -> str:
    return f"file_{secrets.token_hex(16)}"


def new_receipt_id() -> str:
    return f"erasure_{secrets.token_hex(16)}"


def new_approval_id() -> str:
    return f"apr_{secrets.token_hex(16)}"


def new_call_id() -> str:
    """Of a call of a model, as it is charged."""
    return f"use_{secrets.token_hex(16)}"
