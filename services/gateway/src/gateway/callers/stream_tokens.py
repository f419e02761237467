"""Stream tokens: a right to follow one task for some minutes, for clients that can send nothing but a URL.

EventSource cannot send a header. Its URL may end in logs and histories, so what stands there is good for one stream,
for its owner as he is when it is used, and not for long. A stream that was opened with one ends when the sign-in ends
from which it was made.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.api.problems import Unauthenticated
from gateway.callers.caller import Caller
from gateway.callers.signed_out import SignedOut
from gateway.callers.signing import Signer

LONGEST_CHARS = 2000


@dataclass(frozen=True, slots=True)
class StreamToken:
    text: str
    expires_at: float


class StreamTokens:
    def __init__(self, keys: Sequence[bytes], seconds: float, ended: SignedOut) -> None:
        self._ended = ended
        self._signer = Signer(keys, "stream token")
        self._seconds = seconds

    def issue(self, task_id: str, user_id: str | None, until: float | None) -> StreamToken:
        """`user_id`: who follows; `until`: when his own sign-in ends."""
        expires_at = min(time.time() + self._seconds, until or float("inf"))
        return StreamToken(self._signer.sign([task_id, user_id, expires_at, until]), expires_at)

    def check(self, text: str, task_id: str) -> Caller:
        """Who follows. Raises Unauthenticated."""
        told = self._signer.read(text)
        if told is None:
            raise Unauthenticated("The stream token is not valid.")
        named, user_id, expires_at, until = told
        if named != task_id:
            raise Unauthenticated("The stream token is for another task.")
        if time.time() >= expires_at:
            raise Unauthenticated("The stream token has expired.")
        if self._ended.has(user_id, until):
            raise Unauthenticated("The sign-in that the stream token was made from has ended.")
        return Caller(user_id, "local" if user_id is None else "user", expires_at=until)
