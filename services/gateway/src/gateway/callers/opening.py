"""From the settings to what tells callers apart."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

import httpx
from sluiceway.process.interim_answers import bound_interim_answers
from sluiceway.process.logs import get_logger
from sluiceway.store.people.api_keys import ApiKeyStore

from gateway.callers.anonymous import AnonymousPeople
from gateway.callers.api_keys import ApiKeys
from gateway.callers.authenticator import Authenticator
from gateway.callers.jwks import ProviderKeys, Times
from gateway.callers.sign_in import CALLBACK_PATH, Client, SignIn
from gateway.callers.signed_out import SignedOut
from gateway.callers.tokens import Expected, Tokens
from gateway.callers.user_cookie import UserCookies
from gateway.settings import Settings

_PROVIDER_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Callers:
    """What tells callers apart, and lets them sign in where an identity provider is set up for that."""

    authenticator: Authenticator
    user_cookies: UserCookies
    sign_in: SignIn | None


@asynccontextmanager
async def open_callers(settings: Settings, keys: ApiKeyStore, ended: SignedOut) -> AsyncIterator[Callers]:
    async with AsyncExitStack() as stack:
        provider = None
        if settings.jwks_url is not None or settings.oidc_issuer is not None:
            times = Times(max_age_seconds=settings.jwks_max_age_seconds, pause_seconds=settings.jwks_pause_seconds)
            opened = ProviderKeys.opened(settings.jwks_url, settings.oidc_issuer, times)
            provider = await stack.enter_async_context(opened)
        _say_what_is_off(settings)
        session_keys, secure = settings.session_keys(), settings.secure_cookies
        users = UserCookies(session_keys, ended, secure=secure, seconds=settings.session_hours * 3600)
        bootstrap = [key.get_secret_value() for key in settings.api_keys]
        authenticator = Authenticator(
            settings.auth_mode,
            settings.sign_in_required,
            _tokens(settings, provider),
            users,
            AnonymousPeople(session_keys, secure=secure),
            ApiKeys(keys, bootstrap, orgs=settings.jwt_org_claim is not None),
        )
        client = _client(settings)
        sign_in = None
        if client is not None:
            http = await stack.enter_async_context(httpx.AsyncClient(timeout=_PROVIDER_SECONDS))
            bound_interim_answers(http)
            tokens = Tokens(None, provider, _expected_of_id_tokens(settings, client))
            sign_in = SignIn(http, client, tokens, session_keys, secure=secure)
        yield Callers(authenticator, users, sign_in)


def _tokens(settings: Settings, provider: ProviderKeys | None) -> Tokens | None:
    if not settings.has_tokens:
        return None
    secret = settings.jwt_secret.get_secret_value() if settings.jwt_secret is not None else None
    return Tokens(secret, provider, _expected(settings))


def _expected(settings: Settings) -> Expected:
    return Expected(
        issuer=settings.issuer,
        audiences=settings.audiences,
        authorized_parties=settings.jwt_authorized_parties,
        leeway_seconds=settings.jwt_leeway_seconds,
        user_claim=settings.jwt_user_claim,
        org_claim=settings.jwt_org_claim,
        roles_claim=settings.jwt_roles_claim,
    )


def _expected_of_id_tokens(settings: Settings, client: Client) -> Expected:
    return replace(_expected(settings), issuer=client.issuer, audiences=(client.client_id,), authorized_parties=())


def _client(settings: Settings) -> Client | None:
    if settings.oidc_issuer is None or settings.oidc_client_id is None or settings.public_url is None:
        return None
    secret = settings.oidc_client_secret
    return Client(
        settings.oidc_issuer,
        settings.oidc_client_id,
        secret.get_secret_value() if secret is not None else None,
        f"{settings.public_url.rstrip('/')}{CALLBACK_PATH}",
    )


def _say_what_is_off(settings: Settings) -> None:
    if settings.auth_mode == "none":
        get_logger().warning(
            "authentication_is_off",
            detail="Whoever reaches this gateway is one and the same person, and sees everything. For local use only.",
            host=settings.host,
        )
