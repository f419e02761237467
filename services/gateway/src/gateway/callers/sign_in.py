"""Signing in at an identity provider: OpenID Connect's authorization code flow, with PKCE, state and nonce.

What has to be known when the browser comes back is in a signed cookie of ten minutes: any gateway finishes what another
began, and a code that was not asked for by this very browser is refused (RFC 9700, 4.7).
"""

import base64
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote_plus, urlencode

import httpx
from starlette.requests import cookie_parser

from gateway.api.problems import IdentityProviderUnavailable, SignInFailed, Unauthenticated
from gateway.callers.caller import Caller
from gateway.callers.discovery import ProviderAnswerInvalid, ask_json, discover
from gateway.callers.signing import Signer
from gateway.callers.tokens import Tokens

LOGIN_PATH, CALLBACK_PATH = "/auth/login", "/auth/callback"
_SECONDS = 600
_PAUSE_SECONDS = 2
# A path of ours. Two slashes, or a backslash that browsers take for one, would lead elsewhere.
_LOCAL_PATH = re.compile(r"/(?![/\\])[!-\[\]-~]{0,500}")


@dataclass(frozen=True, slots=True)
class Client:
    """This service, as the provider knows it."""

    issuer: str
    client_id: str
    client_secret: str | None
    redirect_uri: str


@dataclass(frozen=True, slots=True)
class Redirect:
    """Where the browser goes next, with a cookie to be set."""

    location: str
    cookie: str


class SignIn:
    """`tokens` verifies ID tokens for this client."""

    def __init__(
        self, http: httpx.AsyncClient, client: Client, tokens: Tokens, keys: Sequence[bytes], *, secure: bool
    ) -> None:
        self._http = http
        self._client = client
        self._tokens = tokens
        self._signer = Signer(keys, "sign-in")
        self._addresses: dict[str, tuple[str, float]] = {}
        self._away_until = 0.0
        # With the prefix no other host of this domain, and no page without https, can plant one that it was given.
        self._name = "__Host-sluiceway-sign-in" if secure else "sluiceway-sign-in"
        self._flags = "; Path=/; HttpOnly; SameSite=Lax" + ("; Secure" if secure else "")

    async def begin(self, return_to: str) -> Redirect:
        """Raises IdentityProviderUnavailable."""
        address = await self._address("authorization_endpoint")
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        query = {
            "response_type": "code",
            "client_id": self._client.client_id,
            "redirect_uri": self._client.redirect_uri,
            "scope": "openid profile",
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        path = return_to if _LOCAL_PATH.fullmatch(return_to) else "/"
        value = self._signer.sign([state, nonce, verifier, path, time.time() + _SECONDS])
        separator = "&" if "?" in address else "?"
        cookie = f"{self._name}={value}; Max-Age={_SECONDS}{self._flags}"
        return Redirect(f"{address}{separator}{urlencode(query)}", cookie)

    async def finish(self, code: str, state: str, cookies: str | None) -> tuple[Caller, Redirect]:
        """Who has signed in, and where he wanted to go. Raises SignInFailed, IdentityProviderUnavailable."""
        told = self._signer.read(cookie_parser(cookies or "").get(self._name, ""))
        if told is None or not _same(state, told[0]) or time.time() >= told[4]:
            raise SignInFailed("This sign-in was not begun in this browser, or too long ago. Begin it again.")
        _, nonce, verifier, return_to, _ = told
        claims = await self._claims(await self._id_token(code, verifier))
        if not _same(str(claims.get("nonce", "")), nonce):
            raise SignInFailed
        try:
            user = self._tokens.caller_of(claims)
        except Unauthenticated as error:
            raise SignInFailed(error.detail) from None
        return user, Redirect(return_to, f"{self._name}=; Max-Age=0{self._flags}")

    async def _claims(self, id_token: str) -> dict[str, object]:
        try:
            return await self._tokens.claims(id_token)
        except Unauthenticated as error:
            raise SignInFailed(error.detail) from None

    async def _id_token(self, code: str, verifier: str) -> str:
        address = await self._address("token_endpoint")
        client = self._client
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": client.redirect_uri,
            "code_verifier": verifier,
            "client_id": client.client_id,
        }
        auth = _basic(client.client_id, client.client_secret) if client.client_secret else None
        try:
            answer = await ask_json(self._http, "POST", address, data=form, auth=auth)
        except ProviderAnswerInvalid:
            raise SignInFailed("The identity provider did not take the code.") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise IdentityProviderUnavailable(f"the exchange of the code: {error!r}") from None
        token = answer.get("id_token") if isinstance(answer, dict) else None
        if not isinstance(token, str):
            raise SignInFailed("The identity provider did not say who signed in.")
        return token

    async def _address(self, name: str) -> str:
        """Whoever wants to sign in, or pretends to, makes us ask the provider once in a while and no more."""
        address, good_until = self._addresses.get(name, ("", 0.0))
        if time.monotonic() < good_until:
            return address
        if time.monotonic() < self._away_until:
            raise IdentityProviderUnavailable("it was away a moment ago")
        try:
            [address] = await discover(self._http, self._client.issuer, name)
        except (httpx.HTTPError, httpx.InvalidURL, ProviderAnswerInvalid) as error:
            self._away_until = time.monotonic() + _PAUSE_SECONDS
            raise IdentityProviderUnavailable(f"its configuration: {error!r}") from None
        self._addresses[name] = address, time.monotonic() + _SECONDS
        return address


def _basic(client_id: str, secret: str) -> httpx.BasicAuth:
    """Encoded as a form is (RFC 6749, 2.3.1): a `+` in a secret would else be read as a blank."""
    return httpx.BasicAuth(quote_plus(client_id), quote_plus(secret))


def _same(shown: str, known: str) -> bool:
    """What is shown may have half of a character."""
    return hmac.compare_digest(shown.encode(errors="replace"), known.encode())
