"""Every connection ends, and none holds more than its share: what is never finished, never read, never asked."""

import asyncio
import base64
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest
import uvicorn
from gateway.serving.protocol import BoundedProtocol
from gateway.serving.room import Room
from gateway.serving.unread import UnreadBodies
from gateway.settings import Settings
from redis.asyncio import Redis
from starlette.applications import Starlette
from uvicorn.server import ServerState

from harness.databases.database import Database
from harness.processes.services import Service, Services
from tests.gateway.conftest import client_of

_ASKED = b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"


@asynccontextmanager
async def _connected(gateway: Service) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    url = httpx.URL(gateway.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def _until_closed(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(10):
        return await reader.read()


@pytest.mark.requirement("SE-3")
async def test_what_trickles_in_after_an_answer_keeps_no_connection(services: Services) -> None:
    """A line end between two requests is nobody's request, and used to stop the clock."""
    gateway = await services.gateway(HEAD_TIMEOUT_SECONDS="1")
    for begun in (b"\r\n", b"\r\n\r\n", b"GET /heal", b""):
        async with _connected(gateway) as (reader, writer):
            writer.write(_ASKED + begun if begun else b"\r\n")
            closed = asyncio.create_task(_until_closed(reader))
            began = time.monotonic()
            while not closed.done() and time.monotonic() - began < 8:
                if begun.endswith(b"\n"):
                    writer.write(b"\r\n")
                await asyncio.wait({closed}, timeout=0.2)
            assert await closed == b"" if not begun else (await closed).count(b"HTTP/1.1 200") == 1


@pytest.mark.requirement("SE-3")
async def test_an_answer_that_comes_before_its_body_ends_the_connection_and_is_read_to_its_end(
    gateway: Service,
) -> None:
    for head, status in (
        (b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 50000000\r\n\r\n", 200),
        (b"PUT /api/chat HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 50000000\r\n\r\n", 405),
        (b"POST /api/chat HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 50000000\r\n\r\n", 413),
        (b"POST /nowhere HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n", 404),
    ):
        async with _connected(gateway) as (reader, writer):
            writer.write(head + b"0" * 100)
            answer = await _until_closed(reader)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert b"\r\nconnection: close\r\n" in answer
        assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.requirement("SE-3")
async def test_a_plain_answer_that_nobody_reads_is_given_up_and_its_bytes_with_it(
    services: Services, database: Database
) -> None:
    gateway = await services.gateway(WRITE_TIMEOUT_SECONDS="1", MAX_ANSWERS_BYTES="6000000")
    await database.execute("INSERT INTO sessions (id) VALUES ('long')")
    for number in range(8):
        await database.execute(
            "INSERT INTO messages (session_id, id, sequence, role, parts, done)"
            " VALUES ('long', $1, $2, 'user', $3, true)",
            f"m{number}",
            number,
            json.dumps([{"type": "text", "text": "x" * 1_000_000}]),
        )
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    url = httpx.URL(gateway.url)
    deaf.connect((url.host, url.port))
    deaf.sendall(b"GET /api/chat/sessions/long HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
    async with client_of(gateway) as http:
        statuses: set[int] = set()
        async with asyncio.timeout(15):
            while statuses != {503, 200}:
                answer = await http.get("/api/chat/sessions/long")
                statuses.add(answer.status_code)
                if answer.status_code == 503:
                    assert answer.json()["code"] == "OVERLOADED"
                    assert int(answer.headers["retry-after"]) > 0
                elif statuses == {200}:
                    statuses.clear()  # the deaf one's answer is not being sent yet
        assert (len(answer.json()["messages"]), answer.json()["has_more"]) == (4, True)  # a page is bounded, too
    deaf.settimeout(10)
    seen = 0
    try:
        while data := deaf.recv(1_000_000):
            seen += len(data)
    except ConnectionError:
        pass
    deaf.close()
    assert seen < 4_000_000


@pytest.mark.requirement("SE-3")
async def test_many_who_ask_for_readiness_at_once_share_the_checks(services: Services, redis: Redis) -> None:
    """Each check takes connections that messages need: six hundred of them at once turned it red."""
    gateway = await services.gateway(CHECK_TIMEOUT_SECONDS="15")
    async with client_of(gateway) as http:
        before = await _pings(redis)
        answers = await asyncio.gather(*(http.get("/readyz") for _ in range(200)))
        asked = await _pings(redis) - before
    for answer in answers:
        checks = answer.json()["checks"]
        assert checks["redis"]["ok"], checks
        assert checks["postgres"]["ok"], checks
    assert 1 <= asked <= 100


async def _pings(redis: Redis) -> int:
    stats = await redis.info("commandstats")
    return int(stats.get("cmdstat_ping", {"calls": 0})["calls"])


@pytest.mark.requirement("SE-3", "CH-24")
async def test_json_of_a_million_values_is_refused_before_it_is_parsed_and_long_texts_are_not(
    gateway: Service,
) -> None:
    async with client_of(gateway) as http:
        json_type = {"content-type": "application/json"}
        heavy = b'{"messages":[' + b"[]," * 1_000_000 + b"[]]}"
        refused = await http.post("/api/chat", content=heavy, headers=json_type)
        assert (refused.status_code, refused.json()["code"]) == (413, "TOO_MANY_VALUES")
        deep = b'{"messages":' + b"[" * 50_000 + b"]" * 50_000 + b"}"
        assert (await http.post("/api/chat", content=deep, headers=json_type)).status_code == 400
        told = {"id": "old", "role": "user", "parts": [{"type": "text", "text": 'a,"[{\\' * 200_000}]}
        empty = {"id": "new", "role": "user", "parts": []}
        taken = await http.post("/api/chat", json={"messages": [told, empty]})
        assert (taken.status_code, taken.json()["code"]) == (422, "EMPTY_MESSAGE")


@pytest.mark.requirement("SE-5", "GW-6")
async def test_nothing_private_is_kept_by_a_cache(gateway: Service) -> None:
    async with client_of(gateway) as http:
        await http.post("/api/chat/sessions", json={"id": "s"})
        for path in ("/api/chat/sessions", "/api/chat/sessions/s", "/api/chat/sessions/none", "/config", "/nowhere"):
            [told] = (await http.get(path)).headers.get_list("cache-control")
            assert "no-store" in told, path
        assert "no-cache" in (await http.get("/")).headers["cache-control"]


@pytest.mark.requirement("CH-24")
async def test_cursors_at_the_ends_of_time_and_odd_answers_to_approvals_are_refused(gateway: Service) -> None:
    async with client_of(gateway) as http:
        for time_text in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+00:00"):
            for session_id in ("s", "a\x00b", ""):
                text = base64.urlsafe_b64encode(f"{time_text} {session_id}".encode()).decode()
                answer = await http.get("/api/chat/sessions", params={"cursor": text})
                assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_CURSOR")
        for approved in ("y", "on", "true", 1, 1.0, None):
            answer = await http.post("/api/chat/tasks/t/approvals/c", json={"approved": approved})
            assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_BODY"), approved


class _Deaf(asyncio.Transport):
    """Its client has not taken the last bytes of an answer, which are too few for the buffer to be full."""

    def __init__(self) -> None:
        super().__init__()
        self.closing, self.cut = False, asyncio.Event()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 100

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.cut.set()


@pytest.mark.requirement("SE-3")
async def test_a_connection_that_was_closed_and_whose_client_does_not_read_is_cut() -> None:
    config = uvicorn.Config(Starlette(), log_config=None)
    config.load()
    kind = BoundedProtocol.bounded_by(Settings(write_timeout_seconds=0.01))
    protocol, transport = kind(config, ServerState(), {}), _Deaf()
    protocol.connection_made(transport)
    protocol.close()
    assert transport.closing
    async with asyncio.timeout(10):
        await transport.cut.wait()


class _Connection:
    def __init__(self, size: int) -> None:
        self.size = size

    def unread_bytes(self) -> int:
        return self.size


@pytest.mark.requirement("SE-3")
def test_what_waits_unread_in_all_connections_has_a_bound_and_what_was_taken_or_ended_counts_no_more() -> None:
    unread = UnreadBodies(100)
    first, second, third = _Connection(60), _Connection(60), _Connection(40)
    assert unread.note(first)
    assert not unread.note(second)
    first.size = 0  # its request has taken it, and does not tell
    assert unread.note(second)
    assert unread.note(third)
    first.size = 60
    assert not unread.note(first)
    unread.forget(second)
    assert unread.note(first)


class _Guest:
    def __init__(self) -> None:
        self.was_cut = False

    def cut(self) -> None:
        self.was_cut = True


@pytest.mark.requirement("SE-3")
def test_a_full_house_lets_in_who_comes_for_the_one_that_asked_for_nothing_for_longest() -> None:
    room = Room(3, 0)
    first, second, third, fourth, fifth = guests = [_Guest() for _ in range(5)]
    assert all(room.enter(guest, "127.0.0.1") for guest in (first, second, third))
    room.asks(first)
    assert room.enter(fourth, "127.0.0.1")
    assert [guest.was_cut for guest in guests] == [False, True, False, False, False]
    room.asks(third)
    room.asks(fourth)
    assert not room.enter(fifth, None), "all are being served"
    room.rests(fourth)
    room.rests(third)
    assert room.enter(fifth, None)
    assert [guest.was_cut for guest in guests] == [False, True, False, True, False]
    for guest in guests:
        room.leave(guest)
    assert all(room.enter(_Guest(), None) for _ in range(3))


@pytest.mark.requirement("SE-3")
def test_an_address_of_the_public_network_has_so_many_connections_and_a_private_one_is_anybodys() -> None:
    room = Room(0, 2)
    for address, same in (("203.0.114.7", "203.0.114.7"), ("2a00:1::1", "2a00:1::2")):
        guests = [_Guest(), _Guest()]
        assert all(room.enter(guest, address) for guest in guests)
        assert not room.enter(_Guest(), same)
        room.leave(guests[0])
        assert room.enter(_Guest(), same)
    assert all(room.enter(_Guest(), "10.0.0.1") for _ in range(20))


@pytest.mark.requirement("SE-3")
async def test_connections_that_say_nothing_keep_nobody_out(services: Services) -> None:
    gateway = await services.gateway(MAX_CONNECTIONS="8")
    async with AsyncExitStack() as stack:
        silent = [(await stack.enter_async_context(_connected(gateway)))[0] for _ in range(30)]
        for _ in range(3):
            async with client_of(gateway) as http:
                assert (await http.get("/healthz")).status_code == 200
        async with asyncio.timeout(10):
            # The first of them, long before their heads are late.
            assert [await reader.read() for reader in silent[:22]] == [b""] * 22
        assert not silent[-1].at_eof()
