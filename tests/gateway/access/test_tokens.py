"""Tokens of identity providers: as Auth0, Keycloak, Entra, Supabase and Clerk write them, and as an attacker does.

The provider is a server that publishes keys of ours; the tokens have the shapes of the real ones.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from gateway.api.problems import IdentityProviderUnavailable, Unauthenticated
from gateway.callers.caller import Caller
from gateway.callers.jwks import ProviderKeys, Times
from gateway.callers.tokens import Expected, Tokens
from jwt.warnings import InsecureKeyLengthWarning

from harness.waiting import wait_until
from tests.gateway.identity_provider import IdentityProvider, SigningKey

pytestmark = pytest.mark.requirement("SE-2")

_SECRET = "a secret that is long enough for HS256"
_QUICK = Times(max_age_seconds=60, pause_seconds=0.2, timeout_seconds=1)
_ISSUER, _AUDIENCE = "https://id.example/", "chat"


@pytest.fixture
async def provider() -> AsyncIterator[IdentityProvider]:
    async with IdentityProvider([SigningKey.make("first")]) as running:
        yield running


@pytest.fixture
async def keys(provider: IdentityProvider) -> AsyncIterator[ProviderKeys]:
    async with ProviderKeys.opened(provider.jwks_url, None, _QUICK) as opened:
        yield opened


def _tokens(keys: ProviderKeys | None, secret: str | None = None, **expected: Any) -> Tokens:
    return Tokens(secret, keys, Expected(**{"issuer": _ISSUER, "audiences": (_AUDIENCE,), **expected}))


def _good(key: SigningKey, **claims: Any) -> str:
    return key.sign(**{"iss": _ISSUER, "aud": _AUDIENCE, "sub": "ada", **claims})


async def _user(tokens: Tokens, token: str) -> str | None:
    return (await tokens.verify(token)).user_id


# What each of them puts into an access or session token, and the settings that fit it.
_TENANT = "9122040d-6c67-4c5b-b112-36a304b66dad"
SHAPES: dict[str, tuple[str, dict[str, Any], dict[str, Any], Caller]] = {
    "Auth0": (
        "RS256",
        {
            "iss": "https://tenant.eu.auth0.com/",
            "sub": "auth0|64f1c0a1",
            "aud": ["https://api.example.com", "https://tenant.eu.auth0.com/userinfo"],
            "azp": "client",
            "scope": "openid profile",
            "org_id": "org_9ybsU1dN2dKfDkBi",
            "https://example.com/roles": ["admin"],
        },
        {
            "audiences": ("https://api.example.com",),
            "org_claim": "org_id",
            "roles_claim": "https://example.com/roles",
        },
        Caller("org:org_9ybsU1dN2dKfDkBi:auth0|64f1c0a1", "user", roles=frozenset({"admin"})),
    ),
    "Keycloak": (
        "RS256",
        {
            "iss": "https://sso.example.com/realms/main",
            "sub": "f3b6c5d2-8f5e-4d1a-9c55-0b4e8b3c7a10",
            "aud": "account",
            "typ": "Bearer",
            "azp": "chat-page",
            "realm_access": {"roles": ["ops", "offline_access"]},
            "resource_access": {"account": {"roles": ["view-profile"]}},
            "preferred_username": "ada",
        },
        {"audiences": (), "authorized_parties": ("chat-page",), "roles_claim": "realm_access.roles"},
        Caller("f3b6c5d2-8f5e-4d1a-9c55-0b4e8b3c7a10", "user", roles=frozenset({"ops", "offline_access"})),
    ),
    "Entra": (
        "RS256",
        {
            "iss": f"https://login.microsoftonline.com/{_TENANT}/v2.0",
            "sub": "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ",
            "oid": "00000000-0000-0000-66f3-3332eca7ea81",
            "tid": _TENANT,
            "aud": "6cb04018-a3f5-46a7-b995-940c78f5aef3",
            "scp": "access_as_user",
            "roles": ["Chat.Admin"],
            "nbf": 1_700_000_000,
            "ver": "2.0",
        },
        {
            "audiences": ("6cb04018-a3f5-46a7-b995-940c78f5aef3",),
            "user_claim": "oid",
            "org_claim": "tid",
            "roles_claim": "roles",
        },
        Caller(f"org:{_TENANT}:00000000-0000-0000-66f3-3332eca7ea81", "user", roles=frozenset({"Chat.Admin"})),
    ),
    "Supabase": (
        "ES256",
        {
            "iss": "https://abcdefgh.supabase.co/auth/v1",
            "sub": "2b7a4fd5-9cf1-4c13-8f8b-6a1f3f5c2f11",
            "aud": "authenticated",
            "role": "authenticated",
            "aal": "aal1",
            "session_id": "6c3c",
            "app_metadata": {"provider": "email", "roles": ["editor"]},
        },
        {"audiences": ("authenticated",), "roles_claim": "app_metadata.roles"},
        Caller("2b7a4fd5-9cf1-4c13-8f8b-6a1f3f5c2f11", "user", roles=frozenset({"editor"})),
    ),
    "Clerk": (
        "RS256",
        {
            "iss": "https://clerk.example.com",
            "sub": "user_2TnTuY",
            "azp": "https://app.example.com",
            "sid": "sess_2TnT",
            "o": {"id": "org_2TnU", "rol": "admin"},
            "nbf": 1_700_000_000,
        },
        {
            "audiences": (),
            "authorized_parties": ("https://app.example.com",),
            "org_claim": "o.id",
            "roles_claim": "o.rol",
        },
        Caller("org:org_2TnU:user_2TnTuY", "user", roles=frozenset({"admin"})),
    ),
}


@pytest.mark.parametrize("maker", SHAPES)
async def test_a_token_as_the_provider_writes_it_says_who_calls(maker: str) -> None:
    algorithm, claims, settings, expected = SHAPES[maker]
    key = SigningKey.make("k1", algorithm)
    expires = int(time.time()) + 60
    async with (
        IdentityProvider([key]) as provider,
        ProviderKeys.opened(provider.jwks_url, None, _QUICK) as keys,
    ):
        tokens = _tokens(keys, **{"issuer": claims["iss"], **settings})
        found = await tokens.verify(key.sign(**claims, iat=int(time.time()), exp=expires))
    assert (found.user_id, found.kind, found.org, found.roles) == (
        expected.user_id,
        "user",
        expected.org,
        expected.roles,
    )
    assert found.expires_at == expires + 30


async def test_every_algorithm_is_taken_from_the_key_set_and_a_secret_beside_it(provider: IdentityProvider) -> None:
    made = [SigningKey.make(algorithm, algorithm) for algorithm in ("RS256", "ES256", "EdDSA")]
    provider.keys = made
    async with ProviderKeys.opened(provider.jwks_url, None, _QUICK) as keys:
        tokens = _tokens(keys, _SECRET)
        for key in made:
            assert await _user(tokens, _good(key)) == "ada"
        claims = {"iss": _ISSUER, "aud": _AUDIENCE, "sub": "ada", "exp": time.time() + 60}
        assert await _user(tokens, jwt.encode(claims, _SECRET, "HS256")) == "ada"
    assert provider.fetched == ["/keys"]


async def test_an_issuer_is_enough_to_find_its_keys(provider: IdentityProvider) -> None:
    async with ProviderKeys.opened(None, provider.issuer, _QUICK) as keys:
        assert await _user(_tokens(keys), _good(provider.keys[0])) == "ada"
    assert provider.fetched == ["/.well-known/openid-configuration", "/keys"]


async def test_another_s_discovery_document_is_not_believed(provider: IdentityProvider) -> None:
    provider.body = json.dumps({"issuer": "https://evil.example", "jwks_uri": provider.jwks_url}).encode()
    async with ProviderKeys.opened(None, provider.issuer, _QUICK) as keys:
        with pytest.raises(IdentityProviderUnavailable):
            await _tokens(keys).verify(_good(provider.keys[0]))


def _encoded(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _signed_with_the_public_key(key: SigningKey) -> str:
    """The classic: the public key, which everybody has, as the secret of an HMAC."""
    public = key.private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    claims = {"iss": _ISSUER, "aud": _AUDIENCE, "sub": "ada", "exp": int(time.time()) + 60}
    signed = f"{_encoded({'alg': 'HS256', 'typ': 'JWT', 'kid': key.kid})}.{_encoded(claims)}"
    digest = hmac.digest(public, signed.encode(), hashlib.sha256)
    return f"{signed}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


async def test_no_token_of_an_attacker_comes_in(provider: IdentityProvider, keys: ProviderKeys) -> None:
    key, now = provider.keys[0], int(time.time())
    own = SigningKey("first", "RS256", rsa.generate_private_key(65537, 2048))
    good = _good(key)
    head, body, signature = good.split(".")
    bad = {
        "signed by another key of the same id": _good(own),
        "with a key of its own in its header": own.sign(
            header={"jwk": own.jwk, "jku": "https://evil.example/keys"}, iss=_ISSUER, aud=_AUDIENCE, sub="ada"
        ),
        "the public key as a secret": _signed_with_the_public_key(key),
        "no algorithm": f"{_encoded({'alg': 'none', 'kid': 'first'})}.{body}.",
        "another algorithm of the same key": jwt.encode(
            {"iss": _ISSUER, "aud": _AUDIENCE, "sub": "ada", "exp": now + 60}, key.private, "RS512", {"kid": "first"}
        ),
        "another subject": f"{head}.{_encoded({'sub': 'root', 'exp': now + 60})}.{signature}",
        "no signature": f"{head}.{body}.",
        "a critical extension": key.sign(header={"crit": ["x"], "x": 1}, iss=_ISSUER, aud=_AUDIENCE, sub="ada"),
        "a key id that is a number": f"{_encoded({'alg': 'RS256', 'kid': 1})}.{body}.{signature}",
        "expired": _good(key, exp=now - 31),
        "no expiry": _good(key, exp=None),
        "not good yet": _good(key, nbf=now + 60),
        "another issuer": _good(key, iss=_ISSUER.rstrip("/")),
        "no issuer": _good(key, iss=None),
        "another audience": _good(key, aud=["chat.evil"]),
        "no audience": _good(key, aud=None),
        "a subject that is reserved": _good(key, sub="anon:x"),
        "a subject that names an organisation": _good(key, sub="org:acme:x"),
        "no subject": _good(key, sub=None),
        "half of a character as the subject": _good(key, sub="\ud800"),
        "a line end in the subject": _good(key, sub="eve\nroot"),
        "a sign that reorders in the subject": _good(key, sub="eve\u202e"),
        "nothing": "",
        "no token": "a.b.c",
        "a very long one": "a" * 20_000,
    }
    tokens = _tokens(keys)
    assert await _user(tokens, good) == "ada"
    for name, token in bad.items():
        with pytest.raises(Unauthenticated) as refused:
            await tokens.verify(token)
        assert "ada" not in str(refused.value), name


async def test_symmetric_private_and_short_keys_of_a_key_set_are_not_used(provider: IdentityProvider) -> None:
    good = provider.keys[0]
    weak = SigningKey("weak", "RS256", rsa.generate_private_key(65537, 1024))
    private = jwt.get_algorithm_by_name("RS256").to_jwk(good.private, as_dict=True)
    shared = {"kty": "oct", "kid": "shared", "k": base64.urlsafe_b64encode(_SECRET.encode()).decode(), "alg": "HS256"}
    listed = [
        weak.jwk,
        {**private, "kid": "private"},
        shared,
        {"kty": "RSA"},
        7,
        {**good.jwk, "kid": "enc", "use": "enc"},
    ]
    provider.body = json.dumps({"keys": [*listed, good.jwk]}).encode()
    async with ProviderKeys.opened(provider.jwks_url, None, _QUICK) as keys:
        tokens = _tokens(keys)
        assert await _user(tokens, _good(good)) == "ada"
        claims = {"iss": _ISSUER, "aud": _AUDIENCE, "sub": "ada", "exp": int(time.time()) + 60}
        as_secret = jwt.encode(claims, _SECRET, "HS256", {"kid": "shared"})
        with pytest.warns(InsecureKeyLengthWarning):
            by_weak = _good(weak)
        named = [SigningKey(kid, "RS256", good.private) for kid in ("private", "enc")]
        for token in (as_secret, by_weak, *(_good(key) for key in named)):
            with pytest.raises(Unauthenticated):
                await tokens.verify(token)


async def test_a_rotated_key_is_known_with_the_first_token_that_it_signed(
    provider: IdentityProvider, keys: ProviderKeys
) -> None:
    old, new = provider.keys[0], SigningKey.make("second")
    tokens = _tokens(keys)
    assert await _user(tokens, _good(old)) == "ada"
    provider.keys = [new, old]
    await asyncio.sleep(_QUICK.pause_seconds)
    assert [await _user(tokens, _good(key)) for key in (new, old)] == ["ada", "ada"]
    provider.keys = [new]
    await asyncio.sleep(_QUICK.pause_seconds)
    with pytest.raises(Unauthenticated):  # somebody names a key that nobody has: now the old one is gone, too
        await tokens.verify(_good(SigningKey("third", "RS256", new.private)))
    with pytest.raises(Unauthenticated):
        await tokens.verify(_good(old))


async def test_a_flood_of_unknown_key_ids_causes_one_fetch(provider: IdentityProvider) -> None:
    key = provider.keys[0]
    async with ProviderKeys.opened(provider.jwks_url, None, Times(pause_seconds=60, timeout_seconds=5)) as keys:
        tokens = _tokens(keys)
        assert await _user(tokens, _good(key)) == "ada"
        forged = [_good(SigningKey(f"unknown-{n}", "RS256", key.private)) for n in range(50)]
        refused = await asyncio.gather(*(tokens.verify(token) for token in forged), return_exceptions=True)
        assert all(isinstance(error, Unauthenticated) for error in refused)
    assert provider.fetched == ["/keys"]


async def test_many_first_tokens_wait_for_one_fetch_and_the_loop_continues(provider: IdentityProvider) -> None:
    provider.hold = asyncio.Event()
    async with ProviderKeys.opened(provider.jwks_url, None, Times(timeout_seconds=10)) as keys:
        tokens = _tokens(keys)
        waiting = [asyncio.create_task(_user(tokens, _good(provider.keys[0]))) for _ in range(20)]
        await wait_until(lambda: len(provider.fetched) == 1, what="the keys are asked for")
        waiting[0].cancel()  # who asked first goes away, which is nothing to the others
        provider.hold.set()
        assert await asyncio.gather(*waiting[1:]) == ["ada"] * 19
    assert provider.fetched == ["/keys"]


async def test_while_the_provider_is_away_or_answers_nonsense_its_last_keys_stay_good(
    provider: IdentityProvider,
) -> None:
    key = provider.keys[0]
    times = Times(max_age_seconds=0.05, pause_seconds=0.05, timeout_seconds=1)
    async with ProviderKeys.opened(provider.jwks_url, None, times) as keys:
        tokens = _tokens(keys)
        assert await _user(tokens, _good(key)) == "ada"
        for body in (b"", b"not json", b'{"keys": []}', b'{"keys": [{"kty": "oct"}]}', b"[]", b"x" * 600_000):
            provider.body, seen = body, len(provider.fetched)
            await asyncio.sleep(0.1)
            assert await _user(tokens, _good(key)) == "ada"
            await wait_until(lambda: len(provider.fetched) > seen, what="the keys are asked for again")  # noqa: B023
        await provider.go_away()
        for _ in range(3):
            await asyncio.sleep(0.1)
            assert await _user(tokens, _good(key)) == "ada"


async def test_without_keys_nobody_is_refused_who_may_be_right(provider: IdentityProvider) -> None:
    provider.status = 500
    async with ProviderKeys.opened(provider.jwks_url, None, _QUICK) as keys:
        tokens = _tokens(keys)
        for _ in range(20):
            with pytest.raises(IdentityProviderUnavailable):
                await tokens.verify(_good(provider.keys[0]))
        assert len(provider.fetched) <= 3
        provider.status = 200
        await asyncio.sleep(_QUICK.pause_seconds)
        assert await _user(tokens, _good(provider.keys[0])) == "ada"


@pytest.mark.requirement("SE-1")
async def test_an_organisation_is_part_of_who_somebody_is_and_is_never_guessed(provider: IdentityProvider) -> None:
    key = provider.keys[0]
    async with ProviderKeys.opened(provider.jwks_url, None, _QUICK) as keys:
        tokens = _tokens(keys, org_claim="org")
        told = {None: "ada", "acme": "org:acme:ada", "a:b/c": "org:a%3Ab%2Fc:ada", "münchen": "org:m%C3%BCnchen:ada"}
        for org, owner in told.items():
            assert await _user(tokens, _good(key, org=org)) == owner
        for wrong in ("", 7, ["acme"], {"id": "acme"}, "a\n", "a" * 201, "🦜" * 17):
            with pytest.raises(Unauthenticated):
                await tokens.verify(_good(key, org=wrong))
