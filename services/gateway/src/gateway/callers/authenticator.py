"""Tells from a request's headers who calls.

An API key comes first, then a bearer token, then the cookie of a user, then that of an anonymous person. Whoever shows
a key or a token means to be somebody: one that does not hold is refused, also where none is needed.

`none`: everybody is the one person of this machine. `anonymous`: each browser is a person of its own. `jwt`: users by
their tokens, and beside them, where AUTH_REQUIRED is off, anonymous people.
"""

from dataclasses import replace
from typing import Literal

from starlette.datastructures import Headers

from gateway.api.problems import Unauthenticated
from gateway.callers.anonymous import AnonymousPeople
from gateway.callers.api_keys import ApiKeys
from gateway.callers.caller import KEY_HEADER, LOCAL, Caller
from gateway.callers.tokens import Tokens
from gateway.callers.user_cookie import UserCookies

AuthMode = Literal["none", "anonymous", "jwt"]


class Authenticator:
    def __init__(
        self,
        mode: AuthMode,
        required: bool,
        tokens: Tokens | None,
        users: UserCookies,
        anonymous: AnonymousPeople,
        keys: ApiKeys,
    ) -> None:
        self.mode = mode
        self.required = required
        self._tokens = tokens
        self._users = users
        self._anonymous = anonymous
        self._keys = keys

    async def by_key(self, headers: Headers) -> Caller | None:
        """None where no key is shown. Raises InvalidApiKey, StoreUnavailable."""
        shown = headers.get(KEY_HEADER)
        return await self._keys.find(shown) if shown is not None else None

    async def identify(self, headers: Headers) -> Caller:
        """Raises Unauthenticated, IdentityProviderUnavailable."""
        if self.mode == "none":
            return LOCAL
        cookies = headers.get("cookie")
        user = await self._user(headers.get("authorization"), cookies)
        if user is not None:
            return replace(user, anonymous_id=self._anonymous.known(cookies))
        if self.required:
            raise Unauthenticated
        known = self._anonymous.known(cookies)
        return Caller(known, "anonymous") if known is not None else self.newcomer()

    def greeting(self, headers: Headers) -> str | None:
        """The cookie for somebody who will be an anonymous person here, and is not yet."""
        if self.mode == "none" or self.required or self._anonymous.known(headers.get("cookie")) is not None:
            return None
        return self.newcomer().cookie

    def newcomer(self) -> Caller:
        user_id, cookie = self._anonymous.new()
        return Caller(user_id, "anonymous", cookie=cookie)

    async def _user(self, authorization: str | None, cookies: str | None) -> Caller | None:
        if authorization is None:
            return self._users.user(cookies) if self.mode == "jwt" else None
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated("The Authorization header must be a bearer token.")
        if self._tokens is None:
            raise Unauthenticated("This gateway knows no issuer of tokens.")
        return await self._tokens.verify(token.strip())
