"""The settings about who calls: how people sign in, whose pages may ask, how much each may have.

What is dangerous has to be said. Without users a gateway serves the machine that it runs on and nothing else, unless
AUTH=none is in its environment.
"""

import hashlib
import hmac
import ipaddress
import secrets
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator
from sluiceway.process.settings import CommonSettings

# An HMAC key shorter than its hash is guessed faster than the hash is broken (RFC 7518, 3.2).
_SHORTEST_SECRET_BYTES = 32
_SHORTEST_API_KEY_CHARS = 16
_DERIVED = b"sluiceway session v1\x00"
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


class CallerSettings(CommonSettings):
    host: str = "127.0.0.1"

    auth: Literal["none", "anonymous", "jwt"] | None = Field(default=None, description="by default what is set up")
    auth_required: bool | None = Field(default=None, description="by default true where tokens are set up")
    jwt_secret: SecretStr | None = Field(default=None, description="of tokens that we or a service of ours sign, HS256")
    oidc_issuer: str | None = Field(default=None, description="an identity provider: its keys are found through this")
    oidc_client_id: str | None = Field(default=None, description="this service there, where browsers sign in by it")
    oidc_client_secret: SecretStr | None = None
    public_url: str | None = Field(default=None, description="of this gateway, as browsers see it")
    session_hours: float = Field(default=12, gt=0, le=24 * 90, description="how long a sign-in of a browser lasts")
    jwks_url: str | None = Field(default=None, description="its keys, where they are not found through the issuer")
    jwt_issuer: str | None = Field(default=None, description="`iss` of a token; by default OIDC_ISSUER")
    jwt_audience: tuple[str, ...] = Field(default=(), description="`aud` of a token is one of these, as JSON")
    jwt_authorized_parties: tuple[str, ...] = Field(default=(), description="and `azp` one of these, as JSON")
    jwt_leeway_seconds: float = Field(default=30, ge=0, le=300)
    jwt_user_claim: str = Field(default="sub", min_length=1)
    jwt_org_claim: str | None = None
    jwt_roles_claim: str | None = None
    ops_look_roles: tuple[str, ...] = Field(default=(), description="roles that may look at the system, as JSON")
    ops_act_roles: tuple[str, ...] = Field(default=(), description="roles that may act on it, as JSON")
    jwks_max_age_seconds: float = Field(default=600, ge=1)
    jwks_pause_seconds: float = Field(default=30, ge=0.1, description="between two fetches of keys")
    session_secrets: tuple[SecretStr, ...] = Field(default=(), description="sign cookies and stream tokens, as JSON")
    cookie_secure: bool | None = Field(default=None, description="by default true but on a loopback address")
    stream_token_seconds: float = Field(default=300, ge=1, le=3600)
    claim_unowned: bool = Field(default=False, description="sessions from before there were users, by their id")
    jobs_open: bool = Field(default=False, description="events of outside jobs and agents are for whoever knows the id")

    api_keys: tuple[SecretStr, ...] = Field(default=(), description="of programs, as JSON; see sluicewayctl keys")
    cors_origins: tuple[str, ...] = Field(default=(), description="origins of pages elsewhere, as JSON")
    allowed_hosts: tuple[str, ...] = Field(default=(), description="names that this gateway goes by, as JSON")

    @property
    def has_tokens(self) -> bool:
        return bool(self.jwt_secret or self.jwks_url or self.oidc_issuer)

    @property
    def auth_mode(self) -> Literal["none", "anonymous", "jwt"]:
        if self.auth is not None:
            return self.auth
        if self.has_tokens:
            return "jwt"
        return "anonymous" if self.session_secrets else "none"

    @property
    def sign_in_required(self) -> bool:
        return self.auth_mode == "jwt" if self.auth_required is None else self.auth_required

    def operator_roles(self, scope: str) -> frozenset[str]:
        """The roles of a token that stand for a key with this scope."""
        return frozenset({"ops:look": self.ops_look_roles, "ops:act": self.ops_act_roles}.get(scope, ()))

    @property
    def issuer(self) -> str | None:
        return self.jwt_issuer or self.oidc_issuer

    @property
    def audiences(self) -> tuple[str, ...]:
        """Where nothing else is said, tokens are for this service as the provider knows it."""
        if self.jwt_audience or self.jwt_authorized_parties or self.oidc_client_id is None:
            return self.jwt_audience
        return (self.oidc_client_id,)

    @property
    def on_loopback(self) -> bool:
        return is_loopback_address(self.host)

    @property
    def secure_cookies(self) -> bool:
        return not self.on_loopback if self.cookie_secure is None else self.cookie_secure

    @property
    def host_policy(self) -> Literal["loopback", "private", "any"]:
        if self.on_loopback:
            return "loopback"
        return "private" if self.auth_mode == "none" else "any"

    def session_keys(self) -> tuple[bytes, ...]:
        """What signs cookies and stream tokens. Without users nothing of the kind outlives the process."""
        if self.session_secrets:
            return tuple(secret.get_secret_value().encode() for secret in self.session_secrets)
        if self.jwt_secret is not None:
            return (hmac.digest(self.jwt_secret.get_secret_value().encode(), _DERIVED, hashlib.sha256),)
        return (secrets.token_bytes(32),)

    @model_validator(mode="after")
    def _callers_are_told_apart(self) -> Self:
        self._check_mode()
        self._check_provider()
        for name, values in (("JWT_SECRET", [self.jwt_secret]), ("SESSION_SECRETS", self.session_secrets)):
            if any(value and len(value.get_secret_value().encode()) < _SHORTEST_SECRET_BYTES for value in values):
                raise ValueError(f"{name} must have at least {_SHORTEST_SECRET_BYTES} bytes")
        if any(len(key.get_secret_value()) < _SHORTEST_API_KEY_CHARS for key in self.api_keys):
            raise ValueError(f"each of API_KEYS must have at least {_SHORTEST_API_KEY_CHARS} characters")
        return self

    def _check_mode(self) -> None:
        if self.auth_mode == "jwt" and not self.has_tokens:
            raise ValueError("AUTH=jwt needs a JWT_SECRET, an OIDC_ISSUER or a JWKS_URL")
        if self.auth_mode != "jwt" and self.has_tokens:
            raise ValueError(f"AUTH={self.auth_mode} contradicts JWT_SECRET, OIDC_ISSUER or JWKS_URL")
        if self.auth_required and not self.has_tokens:
            raise ValueError("AUTH_REQUIRED needs a JWT_SECRET, an OIDC_ISSUER or a JWKS_URL, or nobody could come in")
        if self.auth_mode == "none" and self.auth is None and not self.on_loopback:
            raise ValueError(
                "whoever reaches HOST could read and change everything: set up JWT_SECRET or OIDC_ISSUER for users, or"
                " SESSION_SECRETS for anonymous people; or listen on 127.0.0.1; or say AUTH=none, if that is meant"
            )
        if self.auth_mode != "none" and self.jwt_secret is None and not self.session_secrets:
            raise ValueError("SESSION_SECRETS is needed to sign cookies and stream tokens, such as of openssl rand")

    def _check_provider(self) -> None:
        if self.jwks_url is None and self.oidc_issuer is None:
            return
        for name, url in (("OIDC_ISSUER", self.oidc_issuer), ("JWKS_URL", self.jwks_url)):
            if url is not None and urlsplit(url).scheme not in ("http", "https"):
                raise ValueError(f"{name} must be an http or https URL")
        if self.oidc_client_id is not None and (self.oidc_issuer is None or self.public_url is None):
            raise ValueError("OIDC_CLIENT_ID needs OIDC_ISSUER and PUBLIC_URL, or nobody could come back")
        if self.issuer is None:
            raise ValueError("JWKS_URL needs a JWT_ISSUER: the provider's keys sign tokens for others, too")
        if not self.audiences and not self.jwt_authorized_parties:
            raise ValueError(
                "an identity provider signs tokens for other services, too: JWT_AUDIENCE or JWT_AUTHORIZED_PARTIES must"
                " say which are for this one"
            )


def is_loopback_address(host: str) -> bool:
    if host in _LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
