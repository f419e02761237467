"""Whatever is wrong with a request, the answer is problem+json with a code; and what every answer carries."""

import asyncio
import contextlib
import json
import re
from pathlib import Path

import httpx
import pytest

from harness.processes.services import Service, Services
from tests.gateway.conftest import client_of

ROOT = Path(__file__).parents[3]


async def _raw(gateway: Service, *pieces: bytes) -> bytes:
    """Send bytes on a bare connection, piece by piece, and read until the server closes it, however it does."""
    url = httpx.URL(gateway.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    answer = b""
    with contextlib.suppress(ConnectionError):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(10):
            while piece := await reader.read(65536):
                answer += piece
    writer.close()
    return answer


def _head_and_body(answer: bytes) -> tuple[int, dict[str, object]]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    return int(head.split(b" ")[1]), json.loads(body)


@pytest.mark.requirement("GW-7")
async def test_what_the_framework_refuses_looks_like_every_other_problem(http: httpx.AsyncClient) -> None:
    refused: list[tuple[str, str, dict[str, object], int, str]] = [
        ("GET", "/nowhere", {}, 404, "ROUTE_NOT_FOUND"),
        ("GET", "/static/nothing.js", {}, 404, "ROUTE_NOT_FOUND"),
        ("GET", "/static/..%2f..%2f__main__.py", {}, 404, "ROUTE_NOT_FOUND"),
        ("GET", "/static/%00", {}, 404, "ROUTE_NOT_FOUND"),
        ("POST", "/static/icon.svg", {}, 405, "METHOD_NOT_ALLOWED"),
        ("PUT", "/api/chat", {}, 405, "METHOD_NOT_ALLOWED"),
        ("TRACE", "/healthz", {}, 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/api/chat/sessions", {"content": b"{}", "headers": {"content-type": "text/plain"}}, 415, ""),
        ("POST", "/api/chat/sessions", {"data": {"a": "b"}}, 415, ""),
    ]
    for method, path, options, status, code in refused:
        response = await http.request(method, path, **options)  # type: ignore[arg-type]
        problem = response.json()
        assert (response.status_code, problem["code"]) == (status, code or "UNSUPPORTED_MEDIA_TYPE"), path
        assert response.headers["content-type"] == "application/problem+json"
        assert set(problem) == {"type", "title", "status", "code", "detail", "request_id"}
        assert problem["request_id"] == response.headers["x-request-id"]
    allowed = (await http.put("/api/chat/sessions/s")).headers["allow"]
    assert set(allowed.split(", ")) == {"GET", "HEAD", "PATCH", "DELETE", "OPTIONS"}
    asked = await http.options("/api/chat/sessions/s")
    assert (asked.status_code, asked.headers["allow"]) == (204, allowed)


@pytest.mark.requirement("GW-7")
async def test_json_is_taken_with_any_of_its_media_types_and_never_without_one(http: httpx.AsyncClient) -> None:
    for media_type in ("application/json", "Application/JSON; charset=utf-8", "application/problem+json"):
        response = await http.post("/api/chat/sessions", content=b"{}", headers={"content-type": media_type})
        assert response.status_code == 201, media_type
    untyped = await http.post("/api/chat/sessions", content=b"{}")
    assert (untyped.status_code, untyped.json()["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert (await http.post("/api/chat/sessions")).status_code == 201


@pytest.mark.requirement("CH-14")
async def test_a_body_that_is_too_large_is_refused_while_it_is_still_coming(services: Services) -> None:
    gateway = await services.gateway(MAX_BODY_BYTES="2048", MAX_MESSAGE_CHARS="100")
    request = b"POST /api/chat/sessions HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n"
    announced = await _raw(gateway, request + b"content-length: 1000000\r\n\r\n")
    assert _head_and_body(announced)[1]["code"] == "BODY_TOO_LARGE"
    chunks = [b"400\r\n" + b" " * 1024 + b"\r\n"] * 3
    streamed = await _raw(gateway, request + b"transfer-encoding: chunked\r\n\r\n", *chunks)
    assert _head_and_body(streamed)[0] == 413


@pytest.mark.requirement("CH-14")
async def test_a_body_that_does_not_come_is_given_up(services: Services) -> None:
    gateway = await services.gateway(BODY_TIMEOUT_SECONDS="0.3")
    request = b"POST /api/chat/sessions HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{"
    status, problem = _head_and_body(await _raw(gateway, request))
    assert (status, problem["code"]) == (408, "BODY_TOO_SLOW")


@pytest.mark.requirement("CH-14", "GW-7")
async def test_a_head_that_is_no_http_or_has_no_end_is_refused(gateway: Service, http: httpx.AsyncClient) -> None:
    begun = b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n"
    twice = (b"host", b"authorization", b"x-api-key", b"origin", b"sec-fetch-site", b"content-type")
    ambiguous = [begun + b"%b: a\r\n%b: b\r\n\r\n" % (name, name) for name in twice]
    elsewhere = b"GET http://evil.example/healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
    refused = [
        ((b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",), 400, "MALFORMED_REQUEST"),
        ((b"GET /\xff HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",), 400, "MALFORMED_REQUEST"),
        ((begun + b"x-long: " + b"x" * 40_000 + b"\r\n\r\n",), 431, "HEAD_TOO_LARGE"),
        ((begun, *[b"x-many: " + b"y" * 1000 + b"\r\n"] * 33), 431, "HEAD_TOO_LARGE"),
        ((begun + b"x-endless: ", *[b"x" * 8000] * 5), 431, "HEAD_TOO_LARGE"),
        ((b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",), 431, "HEAD_TOO_LARGE"),
        *(((head,), 400, "MALFORMED_REQUEST") for head in [*ambiguous, elsewhere]),
    ]
    for pieces, status, code in refused:
        answered, problem = _head_and_body(await _raw(gateway, *pieces))
        assert (answered, problem["code"]) == (status, code), pieces[0][:80]
    whole = b"GET http://127.0.0.1/healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"
    assert (await _raw(gateway, whole)).startswith(b"HTTP/1.1 200")
    assert (await http.get("/healthz", headers={"x-large": "x" * 16_000})).status_code == 200


_POST = b"POST /api/chat HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
_CHUNKED = _POST + b"transfer-encoding: chunked\r\n\r\n"


@pytest.mark.requirement("CH-14", "GW-7", "SE-3")
async def test_a_body_whose_framing_is_broken_is_a_400_at_once_and_nothing_is_done(
    gateway: Service, http: httpx.AsyncClient
) -> None:
    chunks = [b"zz\r\n", b"-5\r\nhello\r\n", b"0x5\r\nhello\r\n", b"f" * 20 + b"\r\n", b"5\nhello\n", b"1\r\n{XX"]
    codings = [b"xchunked", b"gzip, chunked", b"chunked, gzip", b"identity", b"chunked\r\ntransfer-encoding: chunked"]
    body = b"2\r\n{}\r\n0\r\n\r\n"
    pieces = [
        *((_CHUNKED + chunk,) for chunk in chunks),
        *((_CHUNKED, b"1\r\n{\r\n", chunk) for chunk in chunks),
        *((_POST + b"transfer-encoding: " + coding + b"\r\n\r\n" + body,) for coding in codings),
        *((_POST + b"content-length: " + length + b"\r\n\r\n{}",) for length in (b"+2", b"-2", b"2, 2", b"9" * 30)),
        (_POST.replace(b"1.1", b"1.0") + b"transfer-encoding: chunked\r\n\r\n" + body,),
        (_CHUNKED + b"2\r\n{}\r\n0\r\nno trailer\r\n\r\n",),
    ]
    before = (await http.get("/api/chat/sessions")).json()
    for each in pieces:
        async with asyncio.timeout(2):
            answered, problem = _head_and_body(await _raw(gateway, *each))
        assert (answered, problem["code"]) == (400, "MALFORMED_REQUEST"), each
    assert (await http.get("/api/chat/sessions")).json() == before


@pytest.mark.requirement("GW-7")
async def test_a_whole_request_is_answered_whatever_follows_it_and_its_trailers_are_no_headers(
    gateway: Service,
) -> None:
    """A client that tells its length in characters instead of bytes sends a few too many."""
    asked = _POST.replace(b"/api/chat ", b"/api/chat/tasks/none/cancel ") + b"content-length: 2\r\n\r\n{}"
    for rest in (b"}}", b"\x16\x03"):
        answer = await _raw(gateway, asked + rest)
        assert answer.count(b"HTTP/1.1 ") == 1
        assert not answer.startswith(b"HTTP/1.1 400")
        assert b"\r\nconnection: close\r\n" in answer
    trailers = b"x-api-key: wrong\r\nauthorization: Bearer wrong\r\nhost: evil.example\r\norigin: null\r\n"
    body = b'{"id":"trailed","message":{}}'
    answer = await _raw(
        gateway, _CHUNKED + b"%x\r\n%b\r\n0\r\n" % (len(body), body) + trailers + b"\r\n", b"GET\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 422"), answer


@pytest.mark.requirement("SE-3")
async def test_of_requests_that_are_sent_without_waiting_a_few_are_answered_and_the_connection_ends(
    gateway: Service,
) -> None:
    """Each that waits costs kilobytes: one connection that sent ten thousand of them cost 10 MB."""
    asked = b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
    for sent in (asked * 5000, _POST + b"content-length: 2\r\n\r\n{}" + asked * 5000):
        answers = await _raw(gateway, sent)
        assert 1 < answers.count(b"HTTP/1.1 ") < 50
        assert b"\r\nconnection: close\r\n" in answers
    few = await _raw(gateway, asked * 10 + asked.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
    assert few.count(b"HTTP/1.1 200") == 11


@pytest.mark.requirement("GW-7")
async def test_a_request_id_comes_back_when_it_is_one_and_is_made_when_it_is_not(http: httpx.AsyncClient) -> None:
    given = await http.get("/nowhere", headers={"x-request-id": "abc.DEF-123_4"})
    assert given.headers["x-request-id"] == given.json()["request_id"] == "abc.DEF-123_4"
    for odd in ("short", "x" * 65, "with space in it", "forged\tline"):
        made = await http.get("/nowhere", headers={"x-request-id": odd})
        assert made.headers["x-request-id"].startswith("req_")


@pytest.mark.requirement("GW-6")
async def test_every_answer_has_the_security_headers(http: httpx.AsyncClient) -> None:
    for path in ("/healthz", "/nowhere", "/api/chat/sessions", "/", "/docs", "/static/icon.svg"):
        headers = (await http.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        policy = headers.get_list("content-security-policy")
        assert len(policy) == 1
        assert policy[0].startswith("default-src 'none'")
        assert "unsafe" not in policy[0]
    drawing = (await http.get("/static/diagram.html")).headers
    assert drawing.get_list("x-frame-options") == ["SAMEORIGIN"]
    [policy_of_drawing] = drawing.get_list("content-security-policy")
    assert policy_of_drawing.startswith("default-src 'none'; script-src 'self'; ")
    assert "; sandbox allow-scripts; " in policy_of_drawing


@pytest.mark.requirement("GW-6")
async def test_pages_of_other_origins_may_ask_what_the_settings_say(services: Services) -> None:
    gateway = await services.gateway(CORS_ORIGINS='["https://chat.example"]')
    async with client_of(gateway) as http:
        preflight = {
            "access-control-request-method": "POST",
            # What the AI SDK, fetch-event-source and the fetch of web/ send.
            "access-control-request-headers": "authorization,content-type,last-event-id,user-agent,"
            "x-ui-message-stream-version",
        }
        allowed = await http.options("/api/chat", headers={"origin": "https://chat.example", **preflight})
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == "https://chat.example"
        refused = await http.options("/api/chat", headers={"origin": "https://other.example", **preflight})
        assert (refused.status_code, refused.json()["code"]) == (400, "CORS_REFUSED")
        missing = await http.get("/nowhere", headers={"origin": "https://chat.example"})
        assert missing.headers["access-control-allow-origin"] == "https://chat.example"
        readable = set(missing.headers["access-control-expose-headers"].split(", "))
        assert {"x-workflow-run-id", "x-resumable-stream-id", "x-error-code", "retry-after"} <= readable
        task = await http.post("/api/chat/sessions", json={"id": "s"}, headers={"origin": "https://other.example"})
        assert "access-control-allow-origin" not in task.headers


@pytest.mark.requirement("TS-13")
async def test_a_request_is_logged_by_its_route_and_never_with_its_text(
    gateway: Service, http: httpx.AsyncClient
) -> None:
    await http.post("/api/chat/sessions", json={"id": "s"})
    accepted = await http.post("/api/chat/sessions/s/messages", json={"message": "a very private question"})
    lines = [line for line in gateway.log_lines if line.get("request_id") == accepted.headers["x-request-id"]]
    [line] = [line for line in lines if line["event"] == "http_request"]
    assert line["component"] == "gateway"
    assert (line["method"], line["route"], line["status"]) == ("POST", "/api/chat/sessions/{session_id}/messages", 202)
    assert line["duration_ms"] > 0
    assert "private" not in gateway.output


@pytest.mark.requirement("OP-5")
def test_whoever_says_that_a_part_is_away_says_why_for_the_log() -> None:
    silent = re.compile(
        r"raise (?:Redis|Store|Files|IdentityProvider)Unavailable(?:\(\))?(?: from \w+)?$", re.MULTILINE
    )
    code = [path for room in ("services", "shared") for path in (ROOT / room).glob("**/src/**/*.py")]
    assert len(code) > 100
    assert [str(path) for path in code if silent.search(path.read_text())] == []
