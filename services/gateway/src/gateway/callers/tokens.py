"""Bearer tokens: JWTs (RFC 7519) that a secret of ours signed (HS256), or an identity provider (RS256, ES256, EdDSA).

Guarantees: the algorithm goes with the key and never the other way round, so a public key is no HMAC secret; `exp` must
be there and hold, `nbf` and `iat` hold where they are; `iss`, `aud` and `azp` must be there and fit where the settings
name them. Whatever is wrong with a token ends as Unauthenticated, with a reason that repeats nothing of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import jwt
from sluiceway.ids import owner_in_org

from gateway.api.problems import Unauthenticated
from gateway.callers.caller import RESERVED_PREFIXES, Caller
from gateway.callers.jwks import ALGORITHMS, ProviderKeys

_LONGEST_USER_ID = 200
# As it stands in an owner's name, percent-encoded.
_LONGEST_ORG = 200
_MOST_ROLES = 100
# A year that no clock reaches and that a date can still have (9891), as seconds.
_FOR_EVER = 250_000_000_000


@dataclass(frozen=True, slots=True)
class Expected:
    """What a token must say, and which of its claims say who it is. Empty or None: it is not looked at."""

    issuer: str | None = None
    audiences: Sequence[str] = ()
    authorized_parties: Sequence[str] = ()
    leeway_seconds: float = 30
    user_claim: str = "sub"
    org_claim: str | None = None
    roles_claim: str | None = None


class Tokens:
    def __init__(self, secret: str | None, keys: ProviderKeys | None, expected: Expected) -> None:
        self._secret = secret
        self._keys = keys
        self._expected = expected

    async def verify(self, token: str) -> Caller:
        """Raises Unauthenticated, IdentityProviderUnavailable."""
        return self.caller_of(await self.claims(token))

    async def claims(self, token: str) -> dict[str, Any]:
        """What a token says that holds. Raises as `verify`."""
        key, algorithm = await self._key_of(token)
        return self._checked(token, key, algorithm)

    def caller_of(self, claims: dict[str, Any]) -> Caller:
        """Who that is. Raises Unauthenticated."""
        expected = self._expected
        user_id, org = _user_id(claim(claims, expected.user_claim)), _org(claim(claims, expected.org_claim))
        return Caller(
            user_id if org is None else owner_in_org(org, user_id),
            "user",
            expires_at=min(int(claims["exp"]), _FOR_EVER) + expected.leeway_seconds,
            roles=_roles(claim(claims, expected.roles_claim)),
        )

    async def _key_of(self, token: str) -> tuple[Any, str]:
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.InvalidTokenError, ValueError):
            raise _invalid() from None
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(kid, str | None):
            raise _invalid()
        if algorithm == "HS256" and self._secret is not None:
            return self._secret, "HS256"
        if self._keys is not None and algorithm in ALGORITHMS:
            key = await self._keys.find(kid, algorithm)
            if key is not None:
                return key, algorithm
            raise Unauthenticated("The token was signed with a key that is not known.")
        raise Unauthenticated("The token was signed in a way that is not accepted.")

    def _checked(self, token: str, key: Any, algorithm: str) -> dict[str, Any]:
        expected = self._expected
        required = ["exp", *(["iss"] if expected.issuer else []), *(["aud"] if expected.audiences else [])]
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                issuer=expected.issuer,
                audience=list(expected.audiences) or None,
                leeway=expected.leeway_seconds,
                options={"require": required, "verify_aud": bool(expected.audiences), "verify_sub": False},
            )
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("The token has expired.") from None
        except jwt.ImmatureSignatureError:
            raise Unauthenticated("The token is not good yet.") from None
        except (jwt.InvalidIssuerError, jwt.InvalidAudienceError):
            raise Unauthenticated("The token is not for this service.") from None
        except jwt.MissingRequiredClaimError as error:
            raise Unauthenticated(f"The token has no `{error.claim}`.") from None
        except (jwt.InvalidTokenError, jwt.InvalidKeyError, ValueError, TypeError, OverflowError):
            raise _invalid() from None
        if expected.authorized_parties and claims.get("azp") not in expected.authorized_parties:
            raise Unauthenticated("The token is not for this service.")
        return claims


def claim(claims: dict[str, Any], name: str | None) -> Any:
    """By its name, or by its path (`realm_access.roles`); a name with dots in it is tried first."""
    if name is None or name in claims:
        return claims.get(name) if name is not None else None
    found: Any = claims
    for step in name.split("."):
        found = found.get(step) if isinstance(found, dict) else None
    return found


def _user_id(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_USER_ID or not value.isprintable():
        raise Unauthenticated("The token's subject is not a user id.")
    if value.startswith(RESERVED_PREFIXES):
        raise Unauthenticated("The token's subject is a name that this service gives itself.")
    return value


def _org(value: Any) -> str | None:
    """A claim that is there and says nothing that can be one is not the same as none: he would be somebody else."""
    if value is None:
        return None
    if not isinstance(value, str) or not is_org(value):
        raise Unauthenticated("The token's organisation is not the name of one.")
    return value


def is_org(name: str) -> bool:
    return name.isprintable() and 0 < len(quote(name, safe="")) <= _LONGEST_ORG


def _roles(value: Any) -> frozenset[str]:
    """A list, or words with spaces between, as `scope` is written."""
    listed = value.split() if isinstance(value, str) else value
    if not isinstance(listed, list):
        return frozenset()
    return frozenset(role for role in listed[:_MOST_ROLES] if isinstance(role, str))


def _invalid() -> Unauthenticated:
    return Unauthenticated("The token is not valid.")
