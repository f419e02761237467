"""Who may do what: tokens, anonymous people and their cookies, claims, and what a gateway does without users."""

import time
from typing import Any

import httpx
import jwt
import pytest

from harness.clients.sse import follow
from harness.processes.services import Service, Services
from tests.gateway.callers import COOKIE, SECRET, SESSION_SECRETS, anonymous, bearer
from tests.gateway.conftest import client_of
from tests.gateway.stand_in import StandIn

# Without an algorithm there is no key, which PyJWT's types do not know.
_UNSIGNED = jwt.encode({"sub": "alice", "exp": 9_999_999_999}, None, algorithm="none")  # type: ignore[arg-type]
ALICE = bearer("alice")
BOB = bearer("bob")


@pytest.fixture
async def gateway(services: Services) -> Service:
    return await services.gateway(JWT_SECRET=SECRET, AUTH_REQUIRED="false")


async def _turn(http: httpx.AsyncClient, headers: dict[str, str], session_id: str = "s") -> str:
    created = await http.post("/api/chat/sessions", json={"id": session_id}, headers=headers)
    assert created.status_code == 201, created.text
    path = f"/api/chat/sessions/{session_id}/messages"
    response = await http.post(path, json={"id": "m", "message": "hello"}, headers=headers)
    assert response.status_code == 202, response.text
    return str(response.json()["task_id"])


def _code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


async def _sessions(http: httpx.AsyncClient, headers: dict[str, str]) -> list[str]:
    return [session["id"] for session in (await http.get("/api/chat/sessions", headers=headers)).json()["sessions"]]


@pytest.mark.requirement("CH-1", "TS-4", "TS-7")
async def test_what_belongs_to_a_user_is_followed_by_nobody_else(http: httpx.AsyncClient, worker: StandIn) -> None:
    task_id = await _turn(http, ALICE)
    taken = await http.post("/api/chat/sessions", json={"id": "s"}, headers=BOB)
    assert _code(taken) == (409, "SESSION_EXISTS")
    await worker.answer(task_id, "for alice")
    for headers in (BOB, {}, await anonymous(http)):
        assert _code(await http.get(f"/api/chat/tasks/{task_id}/stream", headers=headers)) == (403, "ACCESS_DENIED")
    allowed = await http.get(f"/api/chat/tasks/{task_id}/stream", headers=ALICE)
    assert "for alice" in allowed.text


@pytest.mark.requirement("GW-6", "TS-4", "SE-1")
async def test_anonymous_people_are_told_apart_by_a_cookie_that_no_script_and_no_other_site_can_use(
    gateway: Service, http: httpx.AsyncClient, worker: StandIn
) -> None:
    other = await anonymous(http)
    task_id = await _turn(http, {})  # the client keeps the cookie that came with the first answer
    async with client_of(gateway) as newcomer:
        set_by = await newcomer.post("/api/chat/sessions", json={})
    flags = [flag.strip().lower() for flag in set_by.headers["set-cookie"].split(";")[1:]]
    assert {"httponly", "samesite=lax", "path=/"} <= set(flags)
    await worker.answer(task_id, "for one")
    assert await _sessions(http, {}) == ["s"]
    mine = await http.get(f"/api/chat/tasks/{task_id}/stream")
    assert "for one" in mine.text
    assert "set-cookie" not in mine.headers
    assert await _sessions(http, other) == []
    stolen = {"cookie": http.cookies[COOKIE].partition(".")[0]}
    for headers in (other, ALICE, stolen, {"cookie": f"{COOKIE}={http.cookies[COOKIE][:-2]}AA"}):
        async with client_of(gateway) as stranger:
            for path in ("/api/chat/sessions/s", f"/api/chat/tasks/{task_id}", f"/api/chat/tasks/{task_id}/stream"):
                assert _code(await stranger.get(path, headers=headers)) == (403, "ACCESS_DENIED"), path


@pytest.mark.requirement("CH-1", "SE-1")
async def test_an_anonymous_session_is_claimed_with_its_cookie_and_by_nobody_who_only_knows_its_id(
    http: httpx.AsyncClient, worker: StandIn
) -> None:
    me = await anonymous(http)
    task_id = await _turn(http, me)
    claim = "/api/chat/sessions/s/claim"
    assert _code(await http.post(claim, headers=me)) == (401, "UNAUTHENTICATED")
    assert _code(await http.post(claim, headers=BOB)) == (403, "ACCESS_DENIED")
    assert _code(await http.post(claim, headers={**BOB, **await anonymous(http)})) == (403, "ACCESS_DENIED")
    task = await worker.begin(task_id)
    for _ in range(2):
        claimed = await http.post(claim, headers={**ALICE, **me})
        assert (claimed.status_code, claimed.json()["id"]) == (200, "s")
    for headers in (me, BOB, {**BOB, **me}):
        assert _code(await http.get(f"/api/chat/tasks/{task_id}/stream", headers=headers)) == (403, "ACCESS_DENIED")
        assert _code(await http.get("/api/chat/sessions/s", headers=headers)) == (403, "ACCESS_DENIED")
    assert _code(await http.post(claim, headers={**BOB, **me})) == (403, "ACCESS_DENIED")
    await worker.finish(task)
    assert (await http.get(f"/api/chat/tasks/{task_id}/stream", headers=ALICE)).status_code == 200
    assert await _sessions(http, ALICE) == ["s"]
    missing = await http.post("/api/chat/sessions/nowhere/claim", headers=ALICE)
    assert _code(missing) == (404, "SESSION_NOT_FOUND")


@pytest.mark.requirement("CH-1", "SE-1")
async def test_the_first_message_of_a_user_claims_what_he_began_before_he_signed_in(http: httpx.AsyncClient) -> None:
    me = await anonymous(http)
    await http.post("/api/chat/sessions", json={"id": "s"}, headers=me)
    message = {"message": "now with a name"}
    assert (await http.post("/api/chat/sessions/s/messages", json=message, headers=BOB)).status_code == 403
    sent = await http.post("/api/chat/sessions/s/messages", json=message, headers={**ALICE, **me})
    assert sent.status_code == 202, sent.text
    assert _code(await http.get("/api/chat/sessions/s", headers=me)) == (403, "ACCESS_DENIED")
    assert await _sessions(http, ALICE) == ["s"]


@pytest.mark.requirement("CH-1", "SE-1")
async def test_who_makes_a_guessable_session_before_its_user_does_reads_nothing_of_his(http: httpx.AsyncClient) -> None:
    await http.post("/api/chat/sessions", json={"id": "chat-of-alice"}, headers=await anonymous(http))
    message = {"id": "n", "role": "user", "parts": [{"type": "text", "text": "secret"}]}
    sent = await http.post("/api/chat", json={"id": "chat-of-alice", "messages": [message]}, headers=ALICE)
    assert _code(sent) == (403, "ACCESS_DENIED")


@pytest.mark.requirement("SE-2", "TS-4", "GW-7")
async def test_a_token_that_does_not_hold_is_refused_also_where_none_is_needed(http: httpx.AsyncClient) -> None:
    now = int(time.time())
    bad = [
        bearer("alice", exp=now - 60),
        bearer("alice", exp=None),
        bearer("alice", exp="tomorrow"),
        bearer("alice", nbf=now + 3600),
        bearer("alice", iat=now + 3600),
        bearer("alice", "another secret that is long enough"),
        bearer("alice", "x" * 64, "HS512"),
        bearer(name="alice"),
        bearer(""),
        bearer("x" * 201),
        bearer("a\u0000b"),
        bearer("anon:someone"),
        bearer("service:billing"),
        bearer(sub=7),
        {"authorization": f"Bearer {_UNSIGNED}"},
        {"authorization": "Bearer"},
        {"authorization": "Bearer a.b.c"},
        {"authorization": "Bearer \xff\xfe"},
        {"authorization": "Basic YWxpY2U6"},
        {"authorization": ""},
    ]
    for headers in bad:
        raw = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
        response = await http.get("/api/chat/sessions/s", headers=raw)
        assert _code(response) == (401, "UNAUTHENTICATED"), headers
        assert response.headers["www-authenticate"] == "Bearer"
    # One that is good for ever, as some services make them, is good for everything that has a date.
    for path in ("/api/auth/session", "/api/chat/sessions"):
        assert (await http.post(path, json={}, headers=bearer("alice", exp=1 << 62))).status_code == 201, path
    # Within the leeway, and with an audience that nobody was told to look at.
    for headers in (bearer("alice", exp=now - 10), bearer("alice", aud="chat", iss="https://anybody.example")):
        assert (await http.get("/api/chat/sessions", headers=headers)).status_code == 200


@pytest.mark.requirement("SE-2", "GW-6")
async def test_where_users_are_set_up_a_token_is_required_and_must_be_for_this_service(services: Services) -> None:
    named = {"JWT_ISSUER": "https://id.example/", "JWT_AUDIENCE": '["chat"]', "JWT_AUTHORIZED_PARTIES": '["web"]'}
    gateway = await services.gateway(JWT_SECRET=SECRET, **named)
    right: dict[str, Any] = {"iss": "https://id.example/", "aud": ["other", "chat"], "azp": "web"}
    async with client_of(gateway) as http:
        for method, path in (("POST", "/api/chat/sessions"), ("POST", "/api/chat"), ("GET", "/api/chat/s/stream")):
            response = await http.request(method, path, json={}, headers=await _nobody(http))
            assert _code(response) == (401, "UNAUTHENTICATED"), path
            assert "set-cookie" not in response.headers
        assert (await http.post("/api/chat/sessions", json={}, headers=bearer("alice", **right))).status_code == 201
        for wrong in ({"iss": "https://evil.example/"}, {"iss": None}, {"aud": "other"}, {"aud": None}, {"azp": "cli"}):
            response = await http.get("/api/chat/sessions", headers=bearer("alice", **{**right, **wrong}))
            assert _code(response) == (401, "UNAUTHENTICATED"), wrong
        assert (await http.get("/healthz")).status_code == 200
        config = (await http.get("/config")).json()
        assert (config["auth"], config["auth_required"]) == ("jwt", True)


async def _nobody(http: httpx.AsyncClient) -> dict[str, str]:
    """Somebody whose cookie would be good where nobody has to sign in."""
    return {"cookie": f"{COOKIE}={'a' * 43}.{'b' * 43}"}


@pytest.mark.requirement("GW-6", "GW-10")
async def test_an_open_stream_ends_when_the_token_does_and_a_url_of_minutes_follows_one_task(
    gateway: Service, http: httpx.AsyncClient, worker: StandIn
) -> None:
    task_id, other_id = await _turn(http, ALICE), await _turn(http, ALICE, "s2")
    path = f"/api/chat/tasks/{task_id}/stream-token"
    assert _code(await http.post(path, headers=BOB)) == (403, "ACCESS_DENIED")
    made = await http.post(path, headers=ALICE)
    assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
    token, url = made.json()["token"], made.json()["stream_url"]
    await worker.answer(task_id, "by its URL")
    assert "by its URL" in (await http.get(url)).text
    for wrong in (f"/api/chat/tasks/{other_id}/stream?token={token}", f"{url[:-3]}AAA", f"{url}&x=1".replace(".", "")):
        assert _code(await http.get(wrong)) == (401, "UNAUTHENTICATED"), wrong
    assert _code(await http.get(f"/api/chat/tasks/{task_id}?token={token}")) == (403, "ACCESS_DENIED")
    assert (await http.post(f"/api/chat/tasks/{task_id}/cancel?token={token}")).status_code == 403
    # The leeway counts for a stream, too: it ends thirty seconds after its token.
    short = bearer("alice", exp=int(time.time()) - 28)
    begun = time.monotonic()
    async with follow(f"{gateway.url}/api/chat/tasks/{other_id}/stream", headers=short) as stream:
        assert stream.status == 200
        await stream.read_to_end(timeout=15)
        assert stream.end == "broken"
    assert time.monotonic() - begun < 10


@pytest.mark.requirement("GW-6", "TS-4")
async def test_without_users_a_gateway_on_loopback_takes_everybody_for_one_person_and_says_so_loudly(
    services: Services, worker: StandIn
) -> None:
    gateway = await services.gateway()
    async with client_of(gateway) as one, client_of(gateway) as two:
        task_id = await _turn(one, {})
        await worker.answer(task_id, "for whoever has its id")
        for http, headers in ((one, {}), (two, {}), (two, ALICE)):
            stream = await http.get(f"/api/chat/tasks/{task_id}/stream", headers=headers)
            assert "for whoever has its id" in stream.text
            assert "set-cookie" not in stream.headers
        assert await _sessions(two, {}) == ["s"]
    warnings = [line for line in gateway.log_lines if line["event"] == "authentication_is_off"]
    assert [line["level"] for line in warnings] == ["warning"]


@pytest.mark.requirement("GW-6")
async def test_without_a_secret_a_gateway_that_others_can_reach_starts_only_when_that_is_said(
    services: Services,
) -> None:
    with pytest.raises(AssertionError) as refused:
        await services.gateway(HOST="0.0.0.0")
    assert "AUTH=none" in str(refused.value)
    assert await services.all[0].exited() != 0
    said = await services.gateway(HOST="0.0.0.0", AUTH="none")
    people = await services.gateway(HOST="0.0.0.0", SESSION_SECRETS=SESSION_SECRETS, COOKIE_SECURE="false")
    async with client_of(said) as one, client_of(people) as mine, client_of(people) as other:
        assert (await one.get("/config")).json()["auth"] == "none"
        assert (await mine.get("/config")).json()["auth"] == "anonymous"
        await mine.post("/api/chat/sessions", json={"id": "s"})
        assert await _sessions(mine, {}) == ["s"]
        assert await _sessions(other, {}) == []
        assert _code(await other.get("/api/chat/sessions/s")) == (403, "ACCESS_DENIED")
        assert _code(await other.get("/api/chat/sessions", headers=ALICE)) == (401, "UNAUTHENTICATED")
