"""Who may do what: tokens, owners, anonymous sessions and their claim."""

import time
from typing import Any

import httpx
import jwt
import pytest

from harness.services import Service, Services
from tests.gateway.conftest import client_of
from tests.gateway.stand_in import StandIn

SECRET = "a secret that is long enough for HS256"


# Without an algorithm there is no key, which PyJWT's types do not know.
_UNSIGNED = jwt.encode({"sub": "alice"}, None, algorithm="none")  # type: ignore[arg-type]


def _token(secret: str = SECRET, algorithm: str = "HS256", **claims: Any) -> dict[str, str]:
    return {"authorization": f"Bearer {jwt.encode(claims, secret, algorithm=algorithm)}"}


ALICE = _token(sub="alice")
BOB = _token(sub="bob")


@pytest.fixture
async def gateway(services: Services) -> Service:
    return await services.gateway(JWT_SECRET=SECRET)


async def _turn(http: httpx.AsyncClient, headers: dict[str, str], session_id: str = "s") -> str:
    created = await http.post("/api/chat/sessions", json={"id": session_id}, headers=headers)
    assert created.status_code == 201, created.text
    path = f"/api/chat/sessions/{session_id}/messages"
    response = await http.post(path, json={"id": "m", "message": "hello"}, headers=headers)
    assert response.status_code == 202, response.text
    return str(response.json()["task_id"])


@pytest.mark.requirement("CH-1", "TS-4", "TS-7")
async def test_what_belongs_to_a_user_is_closed_to_everybody_else(http: httpx.AsyncClient, worker: StandIn) -> None:
    task_id = await _turn(http, ALICE)
    message = {"id": "x", "messages": [{"id": "n", "role": "user", "parts": [{"type": "text", "text": "hi"}]}]}
    attempts: list[tuple[str, str, Any]] = [
        ("GET", "/api/chat/sessions/s", None),
        ("PATCH", "/api/chat/sessions/s", {"title": "mine"}),
        ("DELETE", "/api/chat/sessions/s", None),
        ("POST", "/api/chat/sessions/s/messages", {"message": "hello"}),
        ("POST", "/api/chat/sessions/s/stream", {"message": "hello"}),
        ("GET", "/api/chat/sessions/s/stream", None),
        ("GET", f"/api/chat/tasks/{task_id}", None),
        ("GET", f"/api/chat/tasks/{task_id}/stream", None),
        ("POST", f"/api/chat/tasks/{task_id}/cancel", None),
        ("POST", "/api/chat", {**message, "id": "s"}),
        ("GET", "/api/chat/s/stream", None),
        ("GET", f"/api/chat/{task_id}/stream", None),
        ("POST", "/api/chat/s/stop", None),
    ]
    for headers in (BOB, {}):
        for method, path, body in attempts:
            response = await http.request(method, path, json=body, headers=headers)
            assert (response.status_code, response.json()["code"]) == (403, "ACCESS_DENIED"), (method, path)
    claim = await http.post("/api/chat/sessions/s/claim", headers=BOB)
    assert (claim.status_code, claim.json()["code"]) == (403, "ACCESS_DENIED")
    taken = await http.post("/api/chat/sessions", json={"id": "s"}, headers=BOB)
    assert (taken.status_code, taken.json()["code"]) == (409, "SESSION_EXISTS")
    await worker.answer(task_id, "for alice")
    denied = await http.get(f"/api/chat/tasks/{task_id}/stream", headers=BOB)
    assert denied.status_code == 403
    allowed = await http.get(f"/api/chat/tasks/{task_id}/stream", headers=ALICE)
    assert "for alice" in allowed.text


@pytest.mark.requirement("TS-4")
async def test_an_anonymous_turn_is_followed_by_whoever_has_its_id(http: httpx.AsyncClient, worker: StandIn) -> None:
    task_id = await _turn(http, {})
    await worker.answer(task_id, "for all")
    for headers in ({}, ALICE, BOB):
        stream = await http.get(f"/api/chat/tasks/{task_id}/stream", headers=headers)
        assert stream.status_code == 200
        assert "for all" in stream.text


@pytest.mark.requirement("CH-1")
async def test_an_anonymous_session_is_claimed_by_a_user_once(http: httpx.AsyncClient) -> None:
    await http.post("/api/chat/sessions", json={"id": "s"})
    nobody = await http.post("/api/chat/sessions/s/claim")
    assert (nobody.status_code, nobody.json()["code"]) == (401, "UNAUTHENTICATED")
    assert (await http.get("/api/chat/sessions", headers=ALICE)).json()["sessions"] == []
    for _ in range(2):
        claimed = await http.post("/api/chat/sessions/s/claim", headers=ALICE)
        assert (claimed.status_code, claimed.json()["id"]) == (200, "s")
    late = await http.post("/api/chat/sessions/s/claim", headers=BOB)
    assert (late.status_code, late.json()["code"]) == (403, "ACCESS_DENIED")
    assert (await http.get("/api/chat/sessions/s")).status_code == 403
    mine = (await http.get("/api/chat/sessions", headers=ALICE)).json()["sessions"]
    assert [session["id"] for session in mine] == ["s"]
    missing = await http.post("/api/chat/sessions/nowhere/claim", headers=ALICE)
    assert (missing.status_code, missing.json()["code"]) == (404, "SESSION_NOT_FOUND")


@pytest.mark.requirement("CH-1", "TS-4")
async def test_the_turns_of_a_claimed_session_are_closed_to_others_too(
    http: httpx.AsyncClient, worker: StandIn
) -> None:
    task_id = await _turn(http, {})
    task = await worker.begin(task_id)
    await http.post("/api/chat/sessions/s/claim", headers=ALICE)
    assert (await http.get(f"/api/chat/tasks/{task_id}", headers=BOB)).status_code == 403
    assert (await http.get(f"/api/chat/tasks/{task_id}/stream", headers=BOB)).status_code == 403
    await worker.finish(task)
    assert (await http.get(f"/api/chat/tasks/{task_id}/stream")).status_code == 403
    assert (await http.get(f"/api/chat/tasks/{task_id}/stream", headers=ALICE)).status_code == 200


@pytest.mark.requirement("CH-1")
async def test_only_a_user_has_a_list_of_sessions_where_there_are_users(http: httpx.AsyncClient) -> None:
    await http.post("/api/chat/sessions", json={"id": "s"})
    response = await http.get("/api/chat/sessions")
    assert (response.status_code, response.json()["code"]) == (401, "UNAUTHENTICATED")
    assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.requirement("TS-4", "GW-7")
async def test_a_token_that_does_not_hold_is_refused_also_where_none_is_needed(http: httpx.AsyncClient) -> None:
    bad = [
        _token(sub="alice", exp=int(time.time()) - 60),
        _token(sub="alice", nbf=int(time.time()) + 3600),
        _token("another secret that is long enough", sub="alice"),
        _token("x" * 64, "HS512", sub="alice"),
        _token(name="alice"),
        _token(sub=""),
        _token(sub="x" * 201),
        _token(sub="a\u0000b"),
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
        assert (response.status_code, response.json()["code"]) == (401, "UNAUTHENTICATED"), headers


@pytest.mark.requirement("TS-4")
async def test_where_a_token_is_required_nothing_is_done_without_one(services: Services) -> None:
    gateway = await services.gateway(JWT_SECRET=SECRET, AUTH_REQUIRED="true")
    async with client_of(gateway) as http:
        for method, path in (("POST", "/api/chat/sessions"), ("POST", "/api/chat"), ("GET", "/api/chat/s/stream")):
            response = await http.request(method, path, json={})
            assert (response.status_code, response.json()["code"]) == (401, "UNAUTHENTICATED"), path
        assert (await http.post("/api/chat/sessions", json={}, headers=ALICE)).status_code == 201
        assert (await http.get("/healthz")).status_code == 200
        assert (await http.get("/config")).json()["auth_required"] is True


@pytest.mark.requirement("TS-13")
async def test_a_gateway_without_a_secret_says_loudly_that_everybody_is_anonymous(services: Services) -> None:
    gateway = await services.gateway()
    warnings = [line for line in gateway.log_lines if line["event"] == "authentication_is_off"]
    assert [line["level"] for line in warnings] == ["warning"]
