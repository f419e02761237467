"""From the settings to what tells callers apart."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from sluiceway.process.logs import get_logger
from sluiceway.store.api_keys import ApiKeyStore

from gateway.callers.anonymous import AnonymousPeople
from gateway.callers.api_keys import ApiKeys
from gateway.callers.authenticator import Authenticator
from gateway.callers.jwks import ProviderKeys, Times
from gateway.callers.tokens import Expected, Tokens
from gateway.settings import Settings


@asynccontextmanager
async def open_authenticator(settings: Settings, keys: ApiKeyStore) -> AsyncIterator[Authenticator]:
    async with AsyncExitStack() as stack:
        provider = None
        if settings.jwks_url is not None or settings.oidc_issuer is not None:
            times = Times(max_age_seconds=settings.jwks_max_age_seconds, pause_seconds=settings.jwks_pause_seconds)
            opened = ProviderKeys.opened(settings.jwks_url, settings.oidc_issuer, times)
            provider = await stack.enter_async_context(opened)
        _say_what_is_off(settings)
        yield Authenticator(
            settings.auth_mode,
            settings.sign_in_required,
            _tokens(settings, provider),
            AnonymousPeople(settings.session_keys(), secure=settings.secure_cookies),
            ApiKeys(keys, [key.get_secret_value() for key in settings.api_keys]),
        )


def _tokens(settings: Settings, provider: ProviderKeys | None) -> Tokens | None:
    if not settings.has_tokens:
        return None
    expected = Expected(
        issuer=settings.issuer,
        audiences=settings.jwt_audience,
        authorized_parties=settings.jwt_authorized_parties,
        leeway_seconds=settings.jwt_leeway_seconds,
        user_claim=settings.jwt_user_claim,
        org_claim=settings.jwt_org_claim,
        roles_claim=settings.jwt_roles_claim,
    )
    secret = settings.jwt_secret.get_secret_value() if settings.jwt_secret is not None else None
    return Tokens(secret, provider, expected)


def _say_what_is_off(settings: Settings) -> None:
    if settings.auth_mode == "none":
        get_logger().warning(
            "authentication_is_off",
            detail="Whoever reaches this gateway is one and the same person, and sees everything. For local use only.",
            host=settings.host,
        )
