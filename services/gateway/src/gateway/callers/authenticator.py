"""Who calls: a user named by the `sub` of a bearer token (JWT, HS256), or nobody in particular.

Without a JWT_SECRET everybody is anonymous, which is for local use; the start says so loudly. A token that is bad,
expired or without a subject is refused even where none is needed: whoever sends one means to be somebody.
"""

from dataclasses import dataclass
from typing import Literal

import jwt
from sluiceway.process.logs import get_logger
from starlette.datastructures import Headers

from gateway.api.problems import Unauthenticated
from gateway.settings import Settings

AuthMode = Literal["none", "jwt"]
_LONGEST_USER_ID = 200


@dataclass(frozen=True, slots=True)
class Caller:
    """`user_id` is None for somebody anonymous. `trusted`: a program of ours, by its API key; it sees everything."""

    user_id: str | None
    trusted: bool = False


ANONYMOUS = Caller(None)
TRUSTED = Caller(None, trusted=True)


class Authenticator:
    """Tells from a request's headers who calls."""

    def __init__(self, jwt_secret: str | None, required: bool) -> None:
        self._secret = jwt_secret
        self._required = required

    @classmethod
    def from_settings(cls, settings: Settings) -> "Authenticator":
        if settings.jwt_secret is None:
            get_logger().warning(
                "authentication_is_off",
                detail="No JWT_SECRET: everybody is anonymous and sees every anonymous session. For local use only.",
            )
            return cls(None, required=False)
        return cls(settings.jwt_secret.get_secret_value(), settings.auth_required)

    @property
    def mode(self) -> AuthMode:
        return "none" if self._secret is None else "jwt"

    @property
    def required(self) -> bool:
        return self._required

    def identify(self, headers: Headers) -> Caller:
        """Raises Unauthenticated for a token that does not hold, and where one is needed and missing."""
        if self._secret is None:
            return ANONYMOUS
        authorization = headers.get("authorization")
        if authorization is None:
            if self._required:
                raise Unauthenticated
            return ANONYMOUS
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated("The Authorization header must be a bearer token.")
        return Caller(self._subject(token.strip(), self._secret))

    def _subject(self, token: str, secret: str) -> str:
        try:
            claims = jwt.decode(token, secret, algorithms=["HS256"], options={"require": ["sub"]})
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("The token has expired.") from None
        except (jwt.InvalidTokenError, ValueError):
            raise Unauthenticated("The token is not valid.") from None
        subject = claims["sub"]
        if not 0 < len(subject) <= _LONGEST_USER_ID or "\x00" in subject:
            raise Unauthenticated("The token's subject is not a user id.")
        return str(subject)
