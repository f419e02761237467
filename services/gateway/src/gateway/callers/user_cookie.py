"""The cookie of a user who signed in: for EventSource, and for pages, which would keep a token where scripts read it.

It says who he is and until when, signed; HttpOnly, SameSite=Lax, over https Secure and for this host alone. Signing out
takes it from the browser, and ends it wherever it was copied to: see `signed_out`.
"""

import secrets
import time
from collections.abc import Sequence
from dataclasses import replace

from sluiceway.ids import org_of
from starlette.requests import cookie_parser

from gateway.callers.caller import Caller
from gateway.callers.signed_out import SignedOut
from gateway.callers.signing import Signer


class UserCookies:
    def __init__(self, keys: Sequence[bytes], ended: SignedOut, *, secure: bool, seconds: float) -> None:
        self._ended = ended
        self._signer = Signer(keys, "user")
        self._flags = "; Path=/; HttpOnly; SameSite=Lax" + ("; Secure" if secure else "")
        self._name = "__Host-sluiceway-user" if secure else "sluiceway-user"
        self._seconds = seconds

    def user(self, cookies: str | None) -> Caller | None:
        """None: nobody, or somebody whose time is over."""
        value = cookie_parser(cookies).get(self._name) if cookies else None
        told = self._signer.read(value) if value else None
        if told is None:
            return None
        user_id, expires_at, org, roles = told
        if time.time() >= expires_at or (org or "") != org_of(user_id):  # from before he was one of it
            return None
        if self._ended.has(user_id, expires_at):
            return None
        return Caller(user_id, "user", expires_at=expires_at, roles=frozenset(roles), by_cookie=True)

    def lasting(self, user: Caller) -> Caller:
        """The user for as long as a cookie may last, which may be longer or shorter than the token he came with."""
        return replace(user, expires_at=time.time() + self._seconds)

    def begun(self, user: Caller) -> Caller:
        """The user of a token whose browser signs in by it, until a moment before the token ends, which no other such
        sign-in has: by that it is told from them."""
        end = user.expires_at or time.time() + self._seconds
        return replace(user, expires_at=end - (1 + secrets.randbelow(10**6)) / 10**6)

    def set(self, user: Caller) -> str:
        """The Set-Cookie header for a user, until his `expires_at`."""
        expires_at = user.expires_at or time.time() + self._seconds
        value = self._signer.sign([user.user_id, expires_at, user.org, sorted(user.roles)])
        return f"{self._name}={value}; Max-Age={max(0, int(expires_at - time.time()))}{self._flags}"

    def clear(self) -> str:
        return f"{self._name}=; Max-Age=0{self._flags}"
