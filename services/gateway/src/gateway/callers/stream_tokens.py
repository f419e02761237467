"""Stream tokens: a right to follow one task for some minutes, for clients that can send nothing but a URL.

EventSource cannot send a header. Its URL may end in logs and histories, so what stands there is good for one stream,
for its owner as he is when it is used, and not for long. A stream that was opened with one ends when the sign-in ends
from which it was made.
"""

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.api.problems import Unauthenticated
from gateway.callers.caller import Caller

_PURPOSE = b"sluiceway stream token v1\x00"
LONGEST_CHARS = 2000


@dataclass(frozen=True, slots=True)
class StreamToken:
    text: str
    expires_at: float


class StreamTokens:
    """`keys`: the first signs, all are believed."""

    def __init__(self, keys: Sequence[bytes], seconds: float) -> None:
        self._keys = tuple(keys)
        self._seconds = seconds

    def issue(self, task_id: str, user_id: str | None, until: float | None) -> StreamToken:
        """`user_id`: who follows; `until`: when his own sign-in ends."""
        expires_at = min(time.time() + self._seconds, until or float("inf"))
        body = json.dumps([task_id, user_id, expires_at, until]).encode()
        return StreamToken(f"{_text(body)}.{_text(_signature(self._keys[0], body))}", expires_at)

    def check(self, text: str, task_id: str) -> Caller:
        """Who follows. Raises Unauthenticated."""
        body_text, _, signature = text.partition(".")
        try:
            body, shown = _bytes(body_text), _bytes(signature)
        except (binascii.Error, ValueError):
            raise _invalid() from None
        if not any(hmac.compare_digest(_signature(key, body), shown) for key in self._keys):
            raise _invalid()
        named, user_id, expires_at, until = json.loads(body)
        if named != task_id:
            raise Unauthenticated("The stream token is for another task.")
        if time.time() >= expires_at:
            raise Unauthenticated("The stream token has expired.")
        return Caller(user_id, "local" if user_id is None else "user", expires_at=until)


def _invalid() -> Unauthenticated:
    return Unauthenticated("The stream token is not valid.")


def _signature(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, _PURPOSE + body, hashlib.sha256)


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
