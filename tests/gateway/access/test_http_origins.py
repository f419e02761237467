"""A page on the web cannot drive a gateway on somebody's machine: not by a request that needs no permission, not by a
name that was pointed at this machine, not with the cookie of who looks at it."""

import json

import httpx
import pytest

from harness.processes.services import Services
from tests.gateway.callers import SECRET, anonymous, bearer
from tests.gateway.conftest import client_of

pytestmark = pytest.mark.requirement("GW-10", "GW-6")

_EVIL = {"origin": "https://evil.example"}
_MESSAGE = {"id": "n", "role": "user", "parts": [{"type": "text", "text": "hi"}]}
_CHANGING = [
    ("POST", "/api/chat"),
    ("POST", "/api/chat/sessions"),
    ("DELETE", "/api/chat/sessions/s"),
    ("POST", "/api/chat/sessions/s/messages"),
    ("POST", "/api/chat/tasks/t/approvals/c"),
    ("POST", "/api/chat/tasks/t/cancel"),
    ("POST", "/api/chat/s/stop"),
    ("POST", "/api/chat/operations/op/complete"),
]


def _code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


async def test_a_page_of_another_site_changes_nothing_whatever_it_sends(http: httpx.AsyncClient) -> None:
    await http.post("/api/chat/sessions", json={"id": "s"})
    body = json.dumps({"id": "s", "messages": [_MESSAGE], "message": "hi"}).encode()
    types = ("text/plain;charset=UTF-8", "application/x-www-form-urlencoded", "application/json", None)
    same_site = {"origin": "http://localhost:3000", "sec-fetch-site": "same-site"}
    pages = [_EVIL, {**_EVIL, "sec-fetch-site": "cross-site"}, {"sec-fetch-site": "cross-site"}, same_site]
    for page in [*pages, {"origin": "null"}, {"origin": "http://127.0.0.1.evil.example"}, {"origin": "http://[::1"}]:
        for method, path in _CHANGING:
            for media_type in types:
                headers = {**page, **({"content-type": media_type} if media_type else {})}
                response = await http.request(method, path, content=body, headers=headers)
                assert _code(response) == (403, "ORIGIN_REFUSED"), (page, method, path, media_type)
    assert (await http.get("/api/chat/sessions/s")).json()["messages"] == []


async def test_its_own_page_and_programs_are_not_stopped(http: httpx.AsyncClient) -> None:
    own = str(http.base_url).rstrip("/")
    for headers in (
        {"origin": own},
        {"origin": own, "sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
        # A development server that passes requests on, under the name of its own.
        {"origin": "http://localhost:5173", "sec-fetch-site": "same-origin"},
        {},
    ):
        assert (await http.post("/api/chat/sessions", json={}, headers=headers)).status_code == 201, headers


async def test_a_name_that_was_pointed_here_is_not_served(http: httpx.AsyncClient) -> None:
    port = http.base_url.port
    for host in (
        "evil.example",
        f"evil.example:{port}",
        "localhost.evil.example",
        "0.0.0.0",
        "192.168.0.7",
        "[::2]:80",
        # No names of hosts, in which one reader finds ours and another one somebody else's.
        "localhost:80@evil.example",
        "[::1]evil.example",
        "localhost/evil.example",
        "localhost..",
        "[::1",
    ):
        for method, path in (("GET", "/api/chat/sessions"), ("GET", "/"), ("GET", "/openapi.json"), *_CHANGING):
            response = await http.request(method, path, headers={"host": host, "origin": f"http://{host}"})
            assert _code(response) == (421, "HOST_REFUSED"), (host, path)
    for host in (
        f"localhost:{port}",
        "LOCALHOST",
        "chat.localhost",
        "127.0.0.1",
        "127.9.9.9",
        f"[::1]:{port}",
        "localhost.",
    ):
        assert (await http.get("/api/chat/sessions", headers={"host": host})).status_code == 200, host
    # Probes know an address alone, and learn nothing of anybody.
    assert (await http.get("/healthz", headers={"host": "10.1.2.3:8000"})).status_code == 200


async def test_names_and_pages_that_the_settings_name_are_served(services: Services) -> None:
    named = {"ALLOWED_HOSTS": '["chat.example", "*.corp.example"]', "CORS_ORIGINS": '["https://app.example"]'}
    gateway = await services.gateway(**named)
    async with client_of(gateway) as http:
        for host, status in (
            ("chat.example", 200),
            ("a.corp.example:8000", 200),
            ("corp.example", 421),
            ("x.example", 421),
        ):
            assert (await http.get("/api/chat/sessions", headers={"host": host})).status_code == status, host
        page = {"origin": "https://app.example", "sec-fetch-site": "cross-site"}
        assert (await http.post("/api/chat/sessions", json={}, headers=page)).status_code == 201
        assert _code(await http.post("/api/chat/sessions", json={}, headers=_EVIL)) == (403, "ORIGIN_REFUSED")


async def test_with_users_a_page_elsewhere_has_no_use_of_a_cookie_or_a_token_and_any_name_will_do(
    services: Services,
) -> None:
    gateway = await services.gateway(HOST="0.0.0.0", JWT_SECRET=SECRET, AUTH_REQUIRED="false", COOKIE_SECURE="false")
    async with client_of(gateway) as http:
        me = await anonymous(http)
        for headers in (me, bearer("alice")):
            response = await http.post("/api/chat/sessions", json={}, headers={**headers, **_EVIL})
            assert _code(response) == (403, "ORIGIN_REFUSED")
            named = {**headers, "host": "chat.example", "origin": "https://chat.example"}
            assert (await http.post("/api/chat/sessions", json={}, headers=named)).status_code == 201


async def test_without_users_but_reachable_only_names_that_no_public_dns_gives_out_are_served(
    services: Services,
) -> None:
    gateway = await services.gateway(HOST="0.0.0.0", AUTH="none")
    async with client_of(gateway) as http:
        for host, status in (("gateway:8000", 200), ("192.168.0.7", 200), ("localhost", 200), ("evil.example", 421)):
            assert (await http.get("/api/chat/sessions", headers={"host": host})).status_code == status, host
