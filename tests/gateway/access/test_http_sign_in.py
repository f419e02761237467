"""A browser signs in at an identity provider, and is a user by a cookie until it signs out or its time is over."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from gateway.api.problems import SignInFailed
from gateway.callers import discovery, sign_in
from gateway.callers.discovery import ProviderAnswerInvalid
from gateway.callers.sign_in import Client, SignIn
from gateway.callers.tokens import Expected, Tokens

from harness.processes.services import Service, Services
from harness.proxies.tls import Authority, tls_before
from harness.waiting import wait_until
from tests.gateway.callers import SECRET, SESSION_SECRETS, bearer
from tests.gateway.conftest import client_of
from tests.gateway.identity_provider import IdentityProvider, SigningKey

pytestmark = pytest.mark.requirement("GW-10", "GW-6")

_CLIENT = "chat-page"
# What browsers say that they want where somebody goes to an address.
_PERSON = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
async def provider() -> AsyncIterator[IdentityProvider]:
    async with IdentityProvider([SigningKey.make("first", "ES256")]) as running:
        yield running


@pytest.fixture
async def gateway(services: Services, provider: IdentityProvider) -> Service:
    return await services.gateway(
        OIDC_ISSUER=provider.issuer,
        OIDC_CLIENT_ID=_CLIENT,
        OIDC_CLIENT_SECRET="between the two",
        PUBLIC_URL="http://127.0.0.1:1",
        SESSION_SECRETS=SESSION_SECRETS,
    )


class Browser:
    """One browser: it keeps cookies, and follows no redirect by itself."""

    def __init__(self, http: httpx.AsyncClient, provider: IdentityProvider) -> None:
        self.http = http
        self._provider = provider

    async def begin(self, return_to: str = "/?session=s") -> dict[str, str]:
        """Go to the provider; what it is asked."""
        response = await self.http.get("/auth/login", params={"return_to": return_to})
        assert response.status_code == 303, response.text
        assert response.headers["location"].startswith(f"{self._provider.issuer}/authorize?tenant=1&")
        return {name: value for name, [value] in parse_qs(urlsplit(response.headers["location"]).query).items()}

    def consent(self, asked: dict[str, str], **claims: Any) -> dict[str, str]:
        """The provider lets the person in; what the browser brings back."""
        told = {"iss": self._provider.issuer, "aud": _CLIENT, "sub": "ada", "nonce": asked["nonce"], **claims}
        self._provider.codes["code-1"] = (asked["code_challenge"], self._provider.keys[0].sign(**told))
        return {"code": "code-1", "state": asked["state"]}

    async def come_back(self, query: dict[str, str]) -> httpx.Response:
        return await self.http.get("/auth/callback", params=query)


@pytest.fixture
async def browser(gateway: Service, provider: IdentityProvider) -> AsyncIterator[Browser]:
    async with client_of(gateway) as http:
        yield Browser(http, provider)


async def test_a_browser_signs_in_is_that_user_and_signs_out(browser: Browser, provider: IdentityProvider) -> None:
    http = browser.http
    assert (await http.get("/config")).json()["sign_in_url"] == "/auth/login"
    assert (await http.get("/api/chat/sessions")).status_code == 401
    asked = await browser.begin()
    assert asked["redirect_uri"] == "http://127.0.0.1:1/auth/callback"
    assert (asked["client_id"], asked["code_challenge_method"], asked["scope"]) == (_CLIENT, "S256", "openid profile")
    query = browser.consent(asked)
    back = await browser.come_back(query)
    assert (back.status_code, back.headers["location"]) == (303, "/?session=s"), back.text
    cookie = next(value for value in back.headers.get_list("set-cookie") if value.startswith("sluiceway-user="))
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= {flag.strip() for flag in cookie.split(";")}
    assert provider.asked_as[0].lower().startswith("authorization: basic ")
    assert (await http.post("/api/chat/sessions", json={"id": "s"})).status_code == 201
    # The user of the cookie is the user of the token.
    token = provider.keys[0].sign(iss=provider.issuer, aud=_CLIENT, sub="ada")
    by_token = await http.get("/api/chat/sessions/s", headers={"authorization": f"Bearer {token}"})
    assert by_token.status_code == 200
    page_elsewhere = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
    assert (await http.delete("/api/chat/sessions/s", headers=page_elsewhere)).status_code == 403
    assert (await http.delete("/api/auth/session", headers=page_elsewhere)).status_code == 403
    assert (await browser.come_back(query)).status_code == 400  # a code and its state are good once
    assert (await http.delete("/api/auth/session")).status_code == 204
    assert (await http.get("/api/chat/sessions")).status_code == 401


async def test_no_sign_in_of_another_s_making_comes_to_an_end(
    browser: Browser, gateway: Service, provider: IdentityProvider
) -> None:
    other = SigningKey.make("first", "ES256")
    wrong: dict[str, Any] = {
        "another nonce": {"nonce": "replayed"},
        "half of a character": {"nonce": "\ud800"},
        "another audience": {"aud": "another-client"},
        "another issuer": {"iss": "https://evil.example"},
        "expired": {"exp": int(time.time()) - 60},
        "a reserved name": {"sub": "service:billing"},
        "nobody": {"sub": None},
    }
    for name, claims in wrong.items():
        response = await browser.come_back(browser.consent(await browser.begin(), **claims))
        assert (response.status_code, response.json()["code"]) == (400, "SIGN_IN_FAILED"), name
    asked = await browser.begin()
    forged = browser.consent(asked)
    provider.codes["code-1"] = (asked["code_challenge"], other.sign(iss=provider.issuer, aud=_CLIENT, sub="ada"))
    assert (await browser.come_back(forged)).status_code == 400
    # Somebody sends a link with a code of his own, to have another work as him.
    async with client_of(gateway) as victim:
        brought = browser.consent(await browser.begin())
        assert (await victim.get("/auth/callback", params=brought)).status_code == 400
        begun = Browser(victim, provider)
        await begun.begin()
        assert (await begun.come_back(brought)).status_code == 400
        # The state alone is enough: nobody asked what the code is good for.
        assert brought["code"] in provider.codes
        assert (await victim.get("/api/chat/sessions")).status_code == 401
    for query in (
        {"error": "access_denied", "state": asked["state"]},
        {"code": "unknown", "state": asked["state"]},
        {},
    ):
        assert (await browser.come_back(query)).status_code == 400, query
        # A person reads a sentence, on the page.
        told = await browser.http.get("/auth/callback", params=query, headers=_PERSON)
        assert (told.status_code, told.headers["location"]) == (303, "/#/sign-in/refused"), query
    assert "sluiceway-user" not in browser.http.cookies


async def test_a_sign_in_leads_back_to_this_service_alone(browser: Browser) -> None:
    for return_to in (
        "https://evil.example/",
        "//evil.example",
        "/\\\\evil.example",
        "javascript:alert(1)",
        "/a\r\nb: c",
        "",
    ):
        back = await browser.come_back(browser.consent(await browser.begin(return_to)))
        assert (back.status_code, back.headers["location"]) == (303, "/"), return_to


async def test_while_the_provider_is_away_signing_in_waits_and_who_has_signed_in_stays(
    browser: Browser, gateway: Service, provider: IdentityProvider
) -> None:
    await browser.come_back(browser.consent(await browser.begin()))
    for _ in range(10):
        await browser.begin()
    assert len(provider.fetched) <= 5  # two documents, the keys and a code: not one more for each who comes
    await provider.go_away()
    # Its addresses are known for a while. Without its answer nobody gets in.
    late = await browser.come_back(browser.consent(await browser.begin()))
    assert (late.status_code, late.json()["code"]) == (503, "IDENTITY_PROVIDER_UNAVAILABLE")
    assert (await browser.http.get("/api/chat/sessions")).status_code == 200
    await gateway.restart("/healthz")
    away = await browser.http.get("/auth/login")
    assert (away.status_code, away.json()["code"]) == (503, "IDENTITY_PROVIDER_UNAVAILABLE")
    told = await browser.http.get("/auth/login", headers=_PERSON)
    assert (told.status_code, told.headers["location"]) == (303, "/#/sign-in/unavailable")
    assert (await browser.http.get("/api/chat/sessions")).status_code == 200


async def test_a_token_is_exchanged_for_a_cookie_that_ends_with_it(services: Services) -> None:
    gateway = await services.gateway(JWT_SECRET=SECRET, JWT_LEEWAY_SECONDS="0")
    async with client_of(gateway) as http:
        assert (await http.get("/auth/login")).json()["code"] == "SIGN_IN_NOT_SET_UP"
        assert (await http.post("/api/auth/session")).status_code == 401
        made = await http.post("/api/auth/session", headers=bearer("ada", exp=int(time.time()) + 6))
        assert (made.status_code, made.json()["user_id"]) == (201, "ada")
        value = http.cookies["sluiceway-user"]
        assert (await http.get("/api/chat/sessions")).status_code == 200
        forged = {"cookie": f"sluiceway-user={value[:-4]}AAAA"}
        async with client_of(gateway) as stranger:
            assert (await stranger.get("/api/chat/sessions", headers=forged)).status_code == 401
        async with client_of(gateway) as copied:
            copy = {"cookie": f"sluiceway-user={value}"}

            async def over() -> bool:
                return (await copied.get("/api/chat/sessions", headers=copy)).status_code == 401

            await wait_until(over, 30, "the copy of the cookie is worth nothing")


async def test_over_https_the_cookie_of_a_sign_in_that_was_begun_can_be_planted_by_no_other_host(
    provider: IdentityProvider,
) -> None:
    client = Client(provider.issuer, _CLIENT, None, "https://chat.example/auth/callback")
    tokens = Tokens(SECRET, None, Expected())
    async with httpx.AsyncClient(trust_env=False) as http:
        begun = await SignIn(http, client, tokens, [b"k" * 32], secure=True).begin("/")
    name, _, flags = begun.cookie.partition("=")
    assert name.startswith("__Host-")
    # What browsers want of a cookie with this prefix.
    assert {"Secure", "Path=/", "HttpOnly"} <= {flag.strip() for flag in flags.split(";")}


async def test_a_sign_in_that_was_begun_too_long_ago_is_not_finished(
    provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A browser forgets the cookie; whoever has taken it keeps it for as long as he likes."""
    monkeypatch.setattr(sign_in, "_SECONDS", 0)
    client = Client(provider.issuer, _CLIENT, None, "https://chat.example/auth/callback")
    async with httpx.AsyncClient(trust_env=False) as http:
        begun = SignIn(http, client, Tokens(SECRET, None, Expected()), [b"k" * 32], secure=True)
        redirect = await begun.begin("/")
        [state] = parse_qs(urlsplit(redirect.location).query)["state"]
        with pytest.raises(SignInFailed, match="too long ago"):
            await begun.finish("code-1", state, redirect.cookie)


@pytest.mark.parametrize(
    ("head", "most_bytes", "refusal"),
    [
        ("200 X", 100_000, httpx.ReadTimeout),
        ("200 X", 0, ProviderAnswerInvalid),
        ("200 X\r\ncontent-encoding: gzip", 100_000, ProviderAnswerInvalid),
        ("302 X\r\nlocation: /", 100_000, ProviderAnswerInvalid),
    ],
    ids=["never ends", "too large", "compressed", "elsewhere"],
)
async def test_a_provider_whose_answer_is_no_end_too_much_or_elsewhere_is_given_up(
    head: str, most_bytes: int, refusal: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where each byte comes in time, a sign-in held its browser, and the gateway's connection, for minutes."""
    monkeypatch.setattr(discovery, "_MOST_SECONDS", 0.3)
    monkeypatch.setattr(discovery, "_MOST_BYTES", most_bytes)

    async def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {head}\r\ncontent-length: 100000\r\n\r\n ".encode())
        await reader.readuntil(b"\r\n\r\n")
        await reader.read()
        writer.close()
        await writer.wait_closed()
        left.set()

    left = asyncio.Event()
    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, httpx.AsyncClient(trust_env=False, timeout=None) as http:
        with pytest.raises(refusal):
            await discovery.ask_json(http, "GET", f"http://127.0.0.1:{port}/")
        await left.wait()


async def test_an_issuer_behind_tls_leads_to_no_address_without(provider: IdentityProvider, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    trusting = ssl.create_default_context(cafile=str(authority.ca))
    trusting.load_cert_chain(*authority.certified("client"))
    async with tls_before(provider.port, authority) as port, httpx.AsyncClient(verify=trusting) as client:
        issuer = f"https://127.0.0.1:{port}"
        provider.body = json.dumps({"issuer": issuer, "safe": f"{issuer}/a", "open": "http://127.0.0.1/b"}).encode()
        assert await discovery.discover(client, issuer, "safe") == [f"{issuer}/a"]
        with pytest.raises(ProviderAnswerInvalid, match="not https"):
            await discovery.discover(client, issuer, "safe", "open")
