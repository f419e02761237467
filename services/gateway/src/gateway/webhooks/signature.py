"""Whether a webhook comes from whom an operation was handed to, as Standard Webhooks say.

Source: the Standard Webhooks specification, version 1, symmetric signatures: `v1,` and the base64 of the HMAC-SHA256 of
`{webhook-id}.{webhook-timestamp}.{body}`. The check is over the bytes as they came. (The published package decodes them
first, and stops at the first signature that it cannot read, where a later one may hold; it is the tests' other side.)
"""

import base64
import binascii
import hashlib
import hmac
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import SecretStr
from sluiceway.operation.webhook_secrets import operation_keys

from gateway.api.problems import InvalidSignature

TOLERANCE_SECONDS = 5 * 60
WEBHOOK_ID_PATTERN = "^[!-~]{1,256}$"
_VERSION = "v1"
_WEBHOOK_ID = re.compile(WEBHOOK_ID_PATTERN.replace("$", r"\Z"))
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_DIGEST_BYTES = hashlib.sha256().digest_size
# Each has to be compared, with each secret; two of each are a rotation on both sides.
_MOST_SIGNATURES = 16


@dataclass(frozen=True, slots=True)
class Seal:
    """The three headers; None: it is missing."""

    webhook_id: str | None
    timestamp: str | None
    signature: str | None


@dataclass(frozen=True, slots=True)
class Judged:
    """Headers that could be right. `shown`: the signatures in them."""

    webhook_id: str
    timestamp: str
    shown: list[bytes]


class Signatures:
    """Checks webhooks against the secrets of their operations, which come from any of the roots."""

    def __init__(self, roots: Sequence[SecretStr]) -> None:
        self._roots = tuple(roots)

    def judge(self, seal: Seal) -> "Judged":
        """Look at the headers alone. Raises InvalidSignature where no body could make them right."""
        if not self._roots:
            raise InvalidSignature("This gateway was given no WEBHOOK_SECRETS, so no signature can hold.")
        if not seal.webhook_id or not seal.timestamp or not seal.signature:
            raise InvalidSignature("Sign it: webhook-id, webhook-timestamp and webhook-signature are needed.")
        if not is_webhook_id(seal.webhook_id):
            raise InvalidSignature("The webhook-id must be 1 to 256 visible ASCII characters.")
        _check_time(seal.timestamp)
        shown = _shown(seal.signature)
        if not shown:
            raise InvalidSignature("The webhook-signature has none of the version v1 that can be read.")
        return Judged(seal.webhook_id, seal.timestamp, shown)

    def check(self, operation_id: str, seal: Seal, body: bytes) -> str:
        """The webhook's id. Raises InvalidSignature for whatever does not hold, however malformed."""
        judged = self.judge(seal)
        signed = f"{judged.webhook_id}.{judged.timestamp}.".encode() + body
        expected = [hmac.digest(key, signed, hashlib.sha256) for key in operation_keys(self._roots, operation_id)]
        if not any(hmac.compare_digest(one, other) for one in expected for other in judged.shown):
            raise InvalidSignature
        return judged.webhook_id


def is_webhook_id(text: str) -> bool:
    return _WEBHOOK_ID.match(text) is not None


def _check_time(timestamp: str) -> None:
    if not _TIMESTAMP.fullmatch(timestamp):
        raise InvalidSignature("The webhook-timestamp must be whole seconds since 1970.")
    if abs(time.time() - int(timestamp)) > TOLERANCE_SECONDS:
        raise InvalidSignature("The webhook-timestamp is more than five minutes from now.")


def _shown(header: str) -> list[bytes]:
    """The signatures of a version that we know, in so far as they can be read."""
    found: list[bytes] = []
    for versioned in header.split(" ")[:_MOST_SIGNATURES]:
        version, _, encoded = versioned.partition(",")
        if version == _VERSION:
            try:
                decoded = base64.b64decode(encoded, validate=True)
            except (binascii.Error, ValueError):
                continue
            if len(decoded) == _DIGEST_BYTES:
                found.append(decoded)
    return found
