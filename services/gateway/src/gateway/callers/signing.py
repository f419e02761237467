"""Texts that only this service can have made: values of cookies, and stream tokens.

A text is a JSON value and its HMAC by one of the keys: the first signs, all are believed. Each use has a purpose, so
that what was made for one is worth nothing for another.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Any


class Signer:
    def __init__(self, keys: Sequence[bytes], purpose: str) -> None:
        self._keys = tuple(keys)
        self._purpose = f"sluiceway {purpose} v1\x00".encode()

    def sign(self, value: Any) -> str:
        body = json.dumps(value).encode()
        return f"{_text(body)}.{_text(self._signature(self._keys[0], body))}"

    def read(self, text: str) -> Any | None:
        """The value; None for whatever we did not sign."""
        body_text, _, signature = text.partition(".")
        try:
            body, shown = _bytes(body_text), _bytes(signature)
        except (binascii.Error, ValueError):
            return None
        fitting = [hmac.compare_digest(self._signature(key, body), shown) for key in self._keys]
        return json.loads(body) if any(fitting) else None

    def _signature(self, key: bytes, body: bytes) -> bytes:
        return hmac.digest(key, self._purpose + body, hashlib.sha256)


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
