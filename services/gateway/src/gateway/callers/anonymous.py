"""Anonymous people, each known by a cookie of his own where nobody has to sign in.

The cookie is 256 random bits, signed; the owner of what he makes is named by a hash of them. So whoever learns the
owner's name, or the id of a conversation, is not its owner. HttpOnly: no script reads it. SameSite=Lax: no other
site's page sends it along with a POST. A cookie that does not hold is as good as none.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence

from sluiceway.ids import ANONYMOUS_PREFIX
from starlette.requests import cookie_parser

_PURPOSE = b"sluiceway anonymous v1\x00"
_VALUE = re.compile(r"([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]{43})")
_MAX_AGE_SECONDS = 400 * 24 * 3600  # what browsers keep at most


class AnonymousPeople:
    """`keys`: the first signs, all are believed. `secure`: over https alone, and for this host alone."""

    def __init__(self, keys: Sequence[bytes], *, secure: bool) -> None:
        self._keys = tuple(keys)
        self._secure = secure
        self._name = cookie_name(secure=secure)

    def known(self, cookies: str | None) -> str | None:
        """Whose request it is, by its Cookie header."""
        value = cookie_parser(cookies).get(self._name, "") if cookies else ""
        found = _VALUE.fullmatch(value)
        if found is None:
            return None
        fitting = [hmac.compare_digest(_signature(key, found[1]), found[2]) for key in self._keys]
        return _owner(found[1]) if any(fitting) else None

    def new(self) -> tuple[str, str]:
        """Somebody who was not here before, and the Set-Cookie header for him."""
        name = secrets.token_urlsafe(32)
        value = f"{name}.{_signature(self._keys[0], name)}"
        flags = "; Secure" if self._secure else ""
        cookie = f"{self._name}={value}; Path=/; Max-Age={_MAX_AGE_SECONDS}; HttpOnly; SameSite=Lax{flags}"
        return _owner(name), cookie


def cookie_name(*, secure: bool) -> str:
    """Browsers take the prefix only for a cookie of this very host, over https."""
    return "__Host-sluiceway" if secure else "sluiceway"


def _owner(name: str) -> str:
    return ANONYMOUS_PREFIX + _text(hashlib.sha256(_PURPOSE + name.encode()).digest())


def _signature(key: bytes, name: str) -> str:
    return _text(hmac.digest(key, _PURPOSE + name.encode(), hashlib.sha256))


def _text(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
