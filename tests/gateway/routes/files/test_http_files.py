"""Files over HTTP: uploaded as they come, given out safely, named by messages, and refused with a clear word."""

import asyncio
import base64
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest
from gateway.api.problems import TooManyAtOnce
from gateway.uploads import Uploads

from harness.databases.database import Database
from harness.processes.services import Service, Services
from harness.waiting import wait_until
from tests.gateway.callers import SECRET, bearer
from tests.gateway.conftest import client_of

pytestmark = pytest.mark.requirement("CH-17")

PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 64
DATA_URL = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
HOSTILE = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"


@pytest.fixture
async def gateway(services: Services, tmp_path: Path) -> Service:
    limits = {"MAX_FILE_BYTES": "200000", "MAX_FILES_PER_MESSAGE": "2", "BODY_TIMEOUT_SECONDS": "2"}
    return await services.gateway(FILES_URL=f"file:{tmp_path}/kept", JWT_SECRET=SECRET, AUTH_REQUIRED="false", **limits)


@pytest.fixture
async def http(gateway: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(gateway) as client:
        client.headers.update(bearer("ada"))
        yield client


async def upload(http: httpx.AsyncClient, content: bytes = PNG, name: str = "a.png", **headers: str) -> httpx.Response:
    return await http.post(f"/api/chat/files?name={quote(name)}", content=content, headers=headers)


async def uploaded(http: httpx.AsyncClient) -> dict[str, Any]:
    response = await upload(http)
    assert response.status_code == 201, response.text
    assert response.headers["location"] == response.json()["url"]
    return dict(response.json())


def code(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code, response.json()["code"]


def message(*files: dict[str, Any], text: str | None = "see") -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"type": "file", **file} for file in files]
    return {"id": "m", "role": "user", "parts": [*parts, *([{"type": "text", "text": text}] if text else [])]}


@pytest.mark.requirement("SE-4", "SE-1")
async def test_a_file_is_given_out_to_its_owner_as_what_it_is_and_nothing_in_it_is_run(
    http: httpx.AsyncClient,
) -> None:
    file = await uploaded(http)
    assert (file["media_type"], file["size"], file["name"]) == ("image/png", len(PNG), "a.png")
    page = (await upload(http, HOSTILE, 'größe "x".svg\r\nx: y', **{"content-type": "image/svg+xml"})).json()

    picture, text = await http.get(file["url"]), await http.get(page["url"])

    assert picture.content == PNG
    assert picture.headers["content-type"] == "image/png"
    assert picture.headers["content-disposition"].startswith("inline;")
    assert text.content == HOSTILE
    assert text.headers["content-type"] == "text/plain; charset=utf-8"
    assert text.headers["content-disposition"] == "attachment; filename*=UTF-8''gr%C3%B6%C3%9Fe%20%22x%22.svgx%3A%20y"
    for response in (picture, text):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in response.headers["content-security-policy"]
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert response.headers["cache-control"] == "private, max-age=60"
        assert response.headers["cross-origin-resource-policy"] == "same-origin"
    known = await http.get(file["url"], headers={"if-none-match": picture.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    assert (await http.head(file["url"])).headers["etag"] == picture.headers["etag"]
    for method in ("GET", "DELETE"):
        assert code(await http.request(method, file["url"], headers=bearer("bob"))) == (403, "ACCESS_DENIED")
    assert (await http.delete(file["url"])).status_code == 204
    assert code(await http.get(file["url"])) == (404, "FILE_NOT_FOUND")


async def test_what_is_too_large_lies_or_stops_half_way_is_refused_and_leaves_nothing(
    gateway: Service, http: httpx.AsyncClient, database: Database, tmp_path: Path
) -> None:
    assert code(await upload(http, b"<html>", "a.png")) == (415, "FILE_TYPE_REFUSED")
    assert code(await upload(http, PNG, "a.txt")) == (415, "FILE_TYPE_REFUSED")
    assert code(await upload(http, b"MZ" + b"\x00" * 300, "a.exe")) == (415, "FILE_TYPE_REFUSED")
    assert code(await http.post("/api/chat/files", files={"file": PNG})) == (415, "FILE_TYPE_REFUSED")

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(300):
            yield b"x" * 1000

    assert code(await http.post("/api/chat/files", content=endless())) == (413, "FILE_TOO_LARGE")
    # A gigabyte, of which nothing comes.
    announced = await _raw(gateway, b"content-length: 1073741824\r\n", PNG)
    assert b"413" in announced.split(b"\r\n")[0]
    assert b"FILE_TOO_LARGE" in announced
    stalled = await _raw(gateway, b"content-length: 100000\r\n", PNG)
    assert b"408" in stalled.split(b"\r\n")[0]
    await _raw(gateway, b"content-length: 100000\r\n", PNG, hang_up=True)

    await wait_until(lambda: _nothing_left(database, tmp_path), what="nothing of it is left")
    assert [line for line in gateway.log_lines if line["level"] == "error"] == []


@pytest.mark.requirement("SE-3")
async def test_files_that_one_sends_at_once_come_one_after_the_other(services: Services, tmp_path: Path) -> None:
    room = {"MAX_FILE_BYTES": "3000000", "MAX_BODIES_BYTES": str(4 * 1024 * 1024)}
    gateway = await services.gateway(FILES_URL=f"file:{tmp_path}/kept", JWT_SECRET=SECRET, **room)
    async with client_of(gateway) as http:
        large = PNG + b"\x00" * 2_500_000
        people = [*["ada"] * 6, "bob", "eve"]
        sent = await asyncio.gather(*(upload(http, large, **bearer(who)) for who in people))
    assert [response.status_code for response in sent] == [201] * 8, "one of each has room: a folder takes small parts"


async def test_a_file_waits_for_those_of_its_caller_so_long_and_for_no_others() -> None:
    uploads = Uploads(patience_seconds=0.05)
    async with uploads.turn("ada"), uploads.turn("bob"):
        with pytest.raises(TooManyAtOnce):
            async with uploads.turn("ada"):
                pytest.fail("it did not wait")
    async with uploads.turn("ada"):
        pass


async def _nothing_left(database: Database, tmp_path: Path) -> bool:
    kept = list((tmp_path / "kept").iterdir()) if (tmp_path / "kept").exists() else []
    return not kept and await database.fetchval("SELECT count(*) FROM files") == 0


async def _raw(gateway: Service, head: bytes, body: bytes, *, hang_up: bool = False) -> bytes:
    """What is answered to an upload of which only so much comes."""
    address, token = urlsplit(gateway.url), bearer("ada")["authorization"].encode()
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    named = b"POST /api/chat/files?name=a.png HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: " + token + b"\r\n"
    writer.write(named + b"content-type: image/png\r\n" + head + b"\r\n" + body)
    await writer.drain()
    if hang_up:
        made = writer.get_extra_info("socket")
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        writer.close()
        return b""
    try:
        return await asyncio.wait_for(reader.read(), 20)
    finally:
        writer.close()


@pytest.mark.requirement("GW-2")
async def test_messages_name_files_that_were_uploaded_and_bring_others_along(
    http: httpx.AsyncClient, database: Database
) -> None:
    file = await uploaded(http)
    elsewhere = {"mediaType": "image/png", "url": f"https://chat.example{file['url']}", "filename": "renamed.png"}
    brought = {"mediaType": "image", "url": DATA_URL, "filename": "b.png"}
    body = {"id": "s", "messages": [message(elsewhere, brought, text=None)]}

    async def send() -> str:
        async with http.stream("POST", "/api/chat", json=body) as response:
            assert response.status_code == 200, await response.aread()
            return str(response.headers["x-workflow-run-id"])

    turn = await send()
    assert await send() == turn  # the same message again is the same turn, with the same files

    assert await database.fetchval("SELECT count(*) FROM files") == 2
    said = (await http.get("/api/chat/sessions/s")).json()["messages"][0]
    assert [part["type"] for part in said["parts"]] == ["file", "file"]
    first, second = said["parts"]
    assert first == {"type": "file", "mediaType": "image/png", "filename": "a.png", "url": file["url"]}
    assert (second["mediaType"], second["filename"]) == ("image/png", "b.png")
    assert (await http.get(second["url"])).content == PNG
    # A message of files alone that never arrived: its client asks for the answer "again".
    lost = {**message(brought, text=None), "id": "m-lost"}
    again = {"id": "again", "trigger": "regenerate-message", "messages": [lost]}
    async with http.stream("POST", "/api/chat", json=again) as response:
        assert response.status_code == 200, await response.aread()
    [arrived] = (await http.get("/api/chat/sessions/again")).json()["messages"]
    assert (arrived["id"], [part["type"] for part in arrived["parts"]]) == ("m-lost", ["file"])
    plain = {"id": "p", "message": "", "files": [{"url": DATA_URL, "name": "c.png"}]}
    await http.post("/api/chat/sessions", json={"id": "plain"})
    assert (await http.post("/api/chat/sessions/plain/messages", json=plain)).status_code == 202
    assert (await http.post("/api/chat/sessions/plain/messages", json=plain)).status_code == 202
    otherwise = {**plain, "files": [{"url": DATA_URL.replace("AAAA", "AAAB", 1), "name": "c.png"}]}
    refused = await http.post("/api/chat/sessions/plain/messages", json=otherwise)
    assert code(refused) == (409, "MESSAGE_ID_CONFLICT")

    assert (await http.delete("/api/chat/sessions/s")).status_code == 204
    assert code(await http.get(file["url"])) == (404, "FILE_NOT_FOUND")


async def test_files_that_a_message_may_not_have_are_refused_before_anything_is_stored(
    http: httpx.AsyncClient, database: Database
) -> None:
    mine, named = {"url": DATA_URL, "mediaType": "image/png"}, (await uploaded(http))["url"]
    foreign = {"url": named, "mediaType": "image/png"}
    cases: list[tuple[list[dict[str, Any]], int, str]] = [
        ([mine, mine, mine], 422, "TOO_MANY_FILES"),
        ([{"url": "http://169.254.169.254/latest", "mediaType": "image/png"}], 422, "FILE_URL_REFUSED"),
        ([{"url": "file:///etc/passwd", "mediaType": "text/plain"}], 422, "FILE_URL_REFUSED"),
        ([{"url": "data:image/png;base64,%%%", "mediaType": "image/png"}], 422, "FILE_URL_REFUSED"),
        ([{"mediaType": "image/png"}], 422, "FILE_URL_REFUSED"),
        ([{**mine, "mediaType": "application/pdf"}], 415, "FILE_TYPE_REFUSED"),
        ([{"url": "data:text/html,<b>x", "mediaType": "image/png"}], 415, "FILE_TYPE_REFUSED"),
        ([{"url": "data:text/plain," + "x" * 200_001}], 413, "FILE_TOO_LARGE"),
        ([{"url": "/api/chat/files/file_" + "0" * 32}], 404, "FILE_NOT_FOUND"),
    ]
    for files, status, expected in cases:
        sent = await http.post("/api/chat", json={"id": "s", "messages": [message(*files)]})
        assert code(sent) == (status, expected), files
        plain = {
            "message": "see",
            "files": [{"url": one.get("url", ""), "media_type": one.get("mediaType")} for one in files],
        }
        await http.post("/api/chat/sessions", json={"id": "p"})
        if all("url" in one for one in files):
            assert code(await http.post("/api/chat/sessions/p/messages", json=plain)) == (status, expected), files
    bob = await http.post("/api/chat", json={"id": "b", "messages": [message(foreign)]}, headers=bearer("bob"))
    assert code(bob) == (404, "FILE_NOT_FOUND")
    empty = await http.post("/api/chat", json={"id": "s", "messages": [message(text=" ")]})
    assert code(empty) == (422, "EMPTY_MESSAGE")
    assert await database.fetchval("SELECT count(*) FROM tasks") == 0


async def test_a_gateway_without_a_place_for_files_says_so(services: Services) -> None:
    gateway = await services.gateway(FILES_URL="")
    async with client_of(gateway) as http:
        assert (await http.get("/config")).json()["file_types"] == []
        assert code(await upload(http)) == (422, "FILES_NOT_SET_UP")
        sent = await http.post("/api/chat", json={"id": "s", "messages": [message({"url": DATA_URL})]})
        assert code(sent) == (422, "FILES_NOT_SET_UP")
