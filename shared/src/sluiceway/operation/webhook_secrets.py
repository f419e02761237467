"""The secrets of webhooks: each operation has its own, derived from a root secret and stored nowhere.

One operation's secret speaks for that operation alone. Roots are rotated by putting a new one first: it
signs from then on, while operations that were handed out under the others are still believed until those are removed.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, SecretStr

PREFIX = "whsec_"
# An HMAC key shorter than its hash is guessed faster than the hash is broken (RFC 2104, 3).
_SHORTEST_ROOT_BYTES = 32
# Tells this use of a root from every other that it may be put to.
_PURPOSE = b"sluiceway operation webhook v1\x00"


def _long_enough(roots: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    if any(len(root.get_secret_value().encode()) < _SHORTEST_ROOT_BYTES for root in roots):
        raise ValueError(f"each of WEBHOOK_SECRETS must have at least {_SHORTEST_ROOT_BYTES} bytes")
    return roots


# The type of the setting WEBHOOK_SECRETS, a JSON list: the first signs, all verify.
WebhookRoots = Annotated[tuple[SecretStr, ...], AfterValidator(_long_enough)]


def operation_key(root: str, operation_id: str) -> bytes:
    """The 32 bytes that sign an operation's webhooks."""
    return hmac.digest(root.encode(), _PURPOSE + operation_id.encode(), hashlib.sha256)


def operation_secret(root: str, operation_id: str) -> str:
    """The same as Standard Webhooks write it, for the service that is to sign: whsec_ and base64."""
    return PREFIX + base64.b64encode(operation_key(root, operation_id)).decode()


def operation_keys(roots: Sequence[SecretStr], operation_id: str) -> list[bytes]:
    """By every root that is believed."""
    return [operation_key(root.get_secret_value(), operation_id) for root in roots]
