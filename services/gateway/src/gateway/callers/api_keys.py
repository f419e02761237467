"""Trusted callers: programs inside the cluster that show one of the keys in API_KEYS as `x-api-key`."""

import hashlib
import hmac
from collections.abc import Iterable

from gateway.api.problems import InvalidApiKey

HEADER = "x-api-key"


class ApiKeys:
    """The keys that are believed. Without any, nobody is."""

    def __init__(self, keys: Iterable[str]) -> None:
        # Of one length, so that comparing takes the same time for every guess.
        self._digests = [_digest(key.encode()) for key in keys]

    def check(self, key: str) -> None:
        """`key` as Starlette reads a header. Raises InvalidApiKey."""
        if not self._digests:
            raise InvalidApiKey("This gateway was given no API_KEYS, so it believes none.")
        shown = _digest(key.encode("latin-1", errors="replace"))
        if not any(hmac.compare_digest(shown, known) for known in self._digests):
            raise InvalidApiKey


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
