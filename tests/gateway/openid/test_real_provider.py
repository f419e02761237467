"""A real OpenID provider: people sign in through its pages, programs come with its tokens, its keys rotate."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from harness.processes.ports import free_port
from harness.processes.services import Service, Services
from harness.waiting import wait_until
from tests.gateway.callers import SESSION_SECRETS
from tests.gateway.conftest import client_of
from tests.gateway.identity_provider import SigningKey
from tests.gateway.openid.provider import AUDIENCE, CLIENT_ID, SECRET, OpenIdProvider

pytestmark = pytest.mark.requirement("GW-6", "GW-10", "SE-2")

_OLD = SigningKey.make("old", "ES256")


@pytest.fixture
async def provider(tmp_path: Path) -> AsyncIterator[OpenIdProvider]:
    running = OpenIdProvider(f"http://127.0.0.1:{free_port()}", tmp_path, {"roles": ["support"]})
    await running.start(_OLD)
    yield running
    running.end()


@pytest.fixture
async def gateway(services: Services, provider: OpenIdProvider) -> Service:
    return await services.gateway(
        PORT=provider.public_url.rpartition(":")[2],
        OIDC_ISSUER=provider.issuer,
        OIDC_CLIENT_ID=CLIENT_ID,
        OIDC_CLIENT_SECRET=SECRET,
        PUBLIC_URL=provider.public_url,
        JWT_AUDIENCE=f'["{AUDIENCE}"]',
        JWT_ROLES_CLAIM="roles",
        OPS_LOOK_ROLES='["support"]',
        SESSION_SECRETS=SESSION_SECRETS,
        JWKS_PAUSE_SECONDS="0.1",
        JWKS_MAX_AGE_SECONDS="1",
    )


def _bearing(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def _status(http: httpx.AsyncClient, token: str, path: str = "/api/chat/sessions") -> int:
    return (await http.get(path, headers=_bearing(token))).status_code


async def test_people_and_programs_come_in_by_a_real_provider_whose_keys_rotate(
    gateway: Service, provider: OpenIdProvider
) -> None:
    async with client_of(gateway) as http, client_of(gateway) as browser:
        await _signs_in(browser, provider)
        by_old_key = await provider.token()
        assert await _status(http, by_old_key) == 200
        assert await _status(http, by_old_key, "/api/ops/queues") == 200  # by its roles
        assert await _status(http, await provider.token("https://another.test")) == 401
        assert await _status(http, by_old_key[:-6] + "AAAAAA") == 401
        provider.end()
        assert await _status(http, by_old_key) == 200
        assert (await browser.get("/api/chat/sessions")).status_code == 200
        new = SigningKey.make("new", "RS256")
        await provider.start(new, _OLD)
        by_new_key = await provider.token()
        await wait_until(lambda: _is(http, by_new_key, 200), 20, "the new key is known")
        assert await _status(http, by_old_key) == 200
        provider.end()
        await provider.start(new)
        await wait_until(lambda: _is(http, by_old_key, 401), 20, "the key that was withdrawn is refused")
        assert await _status(http, by_new_key) == 200


async def _is(http: httpx.AsyncClient, token: str, status: int) -> bool:
    return await _status(http, token) == status


async def _signs_in(browser: httpx.AsyncClient, provider: OpenIdProvider) -> None:
    """With PKCE, which this provider insists on, and the secret in a Basic header."""
    begun = await browser.get("/auth/login", params={"return_to": "/?session=s"})
    async with httpx.AsyncClient(trust_env=False) as at_provider:
        back = await provider.let_in(at_provider, begun.headers["location"], "ada")
    done = await browser.get(back)
    assert (done.status_code, done.headers.get("location")) == (303, "/?session=s"), done.text
    made = await browser.post("/api/chat/sessions", json={"id": "s"})
    assert made.status_code == 201
    # A code is good once, also where its cookie is still there.
    assert (await browser.get(back)).status_code == 400
    assert (await browser.get("/api/chat/sessions/s")).status_code == 200
