"""How much one caller may have: told by /config, refused with 429, counted by caller and by address."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from gateway.api.problems import StorageFull
from gateway.callers.addresses import Addresses
from gateway.callers.stored import StoredBytes
from gateway.rates import Limit, LocalCounts, Rates, SharedCounts
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from harness.clients.sse import follow
from harness.databases.database import Database
from harness.databases.valkey import Valkey
from harness.processes.services import Services
from harness.waiting import wait_until
from tests.gateway.callers import SECRET, add_key, bearer
from tests.gateway.conftest import client_of

_PROXIES = {"TRUSTED_PROXIES": '["127.0.0.0/8"]', "AUTH_REQUIRED": "false"}


def _code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def _refused(response: httpx.Response, code: str) -> None:
    assert _code(response) == (429, code), response.text
    assert int(response.headers["retry-after"]) > 0
    if code == "TOO_MANY_REQUESTS":
        told = [response.headers.get_list(f"ratelimit-{name}") for name in ("limit", "remaining", "reset")]
        assert told == [[str(response.json()["limit"])], ["0"], [response.headers["retry-after"]]]


@pytest.mark.requirement("SE-3", "CH-14", "GW-6")
async def test_requests_are_counted_for_each_caller_and_address_and_told(
    services: Services, database: Database, valkey: Valkey
) -> None:
    few = {"MAX_REQUESTS_PER_MINUTE": "5", "MAX_REQUESTS_PER_MINUTE_PER_ADDRESS": "20", "MAX_NEWCOMERS_PER_HOUR": "2"}
    first = await services.gateway(JWT_SECRET=SECRET, **_PROXIES, **few)
    second = await services.gateway(JWT_SECRET=SECRET, **_PROXIES, **few)
    async with client_of(first) as http, client_of(second) as other:
        limits = (await http.get("/config")).json()["limits"]
        assert (limits["max_requests_per_minute"], limits["max_requests_per_minute_per_address"]) == (5, 20)
        found = [await client.get("/api/chat/sessions", headers=bearer("ada")) for client in (http, other) * 3]
        assert [response.status_code for response in found] == [200] * 5 + [429]
        assert [response.headers["ratelimit-remaining"] for response in found[:5]] == ["4", "3", "2", "1", "0"]
        assert {response.headers["ratelimit-limit"] for response in found[:5]} == {"5"}
        _refused(found[5], "TOO_MANY_REQUESTS")
        assert (await http.get("/api/chat/sessions", headers=bearer("grace"))).status_code == 200
        program = await add_key(database, "program", ["turns"])
        assert [(await http.get("/api/chat/tools", headers=program)).status_code for _ in range(8)] == [200] * 8
        # What is shown does not matter: tokens are guessed from one address, and what it forwards is its own word.
        for number in range(21):
            # Some proxies write on in the caller's line, others add a line of their own.
            told = f"8.8.8.8, 9.9.9.{number}", "203.0.113.7"
            lines = [("x-forwarded-for", line) for line in (told if number % 2 else [", ".join(told)])]
            headers = [*lines, *bearer("x", "y" * 32).items()]
            guess = await http.get("/api/chat/sessions", headers=headers)
        _refused(guess, "TOO_MANY_REQUESTS")
        assert "address" in guess.json()["detail"]
        newcomers = [await _begin_as_somebody_new(first.url, "203.0.113.8") for _ in range(3)]
        assert newcomers == [201, 201, 429]
        # Without Redis each gateway counts for itself.
        valkey.stop()
        found = [await http.get("/api/chat/sessions", headers=bearer("eve")) for _ in range(6)]
        assert [response.status_code for response in found] == [200] * 5 + [429]


async def _begin_as_somebody_new(url: str, address: str) -> int:
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as fresh:
        return (await fresh.post("/api/chat/sessions", json={}, headers={"x-forwarded-for": address})).status_code


@pytest.mark.requirement("SE-3", "CH-14")
async def test_turns_sessions_and_open_streams_of_one_caller_are_bounded(
    services: Services, database: Database
) -> None:
    few = {"MAX_TURNS_PER_USER": "4", "MAX_SESSIONS_PER_HOUR": "6", "MAX_STREAMS_PER_USER": "2"}
    few["MAX_MESSAGES_PER_DAY"] = "8"
    gateway = await services.gateway(JWT_SECRET=SECRET, **few)
    ada, grace = bearer("ada"), bearer("grace")
    async with client_of(gateway) as http:

        async def say(session: str, headers: dict[str, str] = ada, **more: Any) -> httpx.Response:
            return await http.post(
                f"/api/chat/sessions/{session}/messages", json={"message": "x", **more}, headers=headers
            )

        for number in range(6):
            created = await http.post("/api/chat/sessions", json={"id": f"s{number}"}, headers=ada)
            assert created.status_code == 201
        _refused(await http.post("/api/chat/sessions", json={}, headers=ada), "TOO_MANY_SESSIONS")
        again = await http.post("/api/chat/sessions", json={"id": "s0"}, headers=ada)
        assert again.status_code == 200
        message = {"id": "n", "role": "user", "parts": [{"type": "text", "text": "hi"}]}
        new = await http.post("/api/chat", json={"id": "s7", "messages": [message]}, headers=ada)
        _refused(new, "TOO_MANY_SESSIONS")
        # Many at once, in sessions of their own, that nothing else keeps apart.
        sent = await asyncio.gather(*(say(f"s{number}") for number in range(6)))
        assert sorted(response.status_code for response in sent) == [202] * 4 + [429] * 2
        for response in sent:
            if response.status_code == 429:
                _refused(response, "TOO_MANY_TASKS")
        assert await database.fetchval("SELECT count(*) FROM tasks") == 4
        await http.post("/api/chat/sessions", json={"id": "g"}, headers=grace)
        assert (await say("g", grace)).status_code == 202
        accepted = [response.json()["task_id"] for response in sent if response.status_code == 202]
        path = f"{gateway.url}/api/chat/tasks/{accepted[0]}/stream"
        async with AsyncExitStack() as stack:
            opened = await asyncio.gather(*(stack.enter_async_context(follow(path, headers=ada)) for _ in range(8)))
            assert sorted(stream.status for stream in opened) == [200] * 2 + [429] * 6
            _refused(await http.get(path, headers=ada), "TOO_MANY_STREAMS")
        for _ in range(100):
            async with follow(path, headers=ada) as third:
                if third.status == 200:
                    break
            await asyncio.sleep(0.05)
        assert third.status == 200
        # A turn that ends makes room.
        assert (await http.post(f"/api/chat/tasks/{accepted[0]}/cancel", headers=ada)).status_code == 202
        free = next(f"s{number}" for number, response in enumerate(sent) if response.status_code == 429)
        assert (await say(free)).status_code == 202
        told = (await http.get("/config")).json()["limits"]
        assert (told["max_messages_per_day"], told["max_turns_per_user"]) == (8, 4)
        # One for the AI SDK's route, six at once, and the last: what was refused for another reason counts, too.
        ninth = await say(free)
        _refused(ninth, "TOO_MANY_REQUESTS")
        assert "day" in ninth.json()["detail"]
        assert int(ninth.headers["retry-after"]) > 3600
        assert (await say("g", grace)).status_code == 202


@pytest.mark.requirement("SE-3")
async def test_who_has_stored_as_much_as_he_may_is_refused_and_nobody_else(
    services: Services, database: Database
) -> None:
    gateway = await services.gateway(JWT_SECRET=SECRET, MAX_STORED_BYTES_PER_USER="2000")
    async with client_of(gateway) as http:
        for user in ("ada", "grace"):
            await http.post("/api/chat/sessions", json={"id": f"of-{user}"}, headers=bearer(user))
        await database.execute(
            "INSERT INTO messages (session_id, id, sequence, role, parts, done)"
            " VALUES ('of-ada', 'm', 1, 'user', jsonb_build_array(jsonb_build_object('type', 'text', 'text',"
            "  (SELECT string_agg(md5(n::text), '') FROM generate_series(1, 200) n))), true)"
        )
        for path in ("/api/chat/sessions/of-ada/messages", "/api/chat/sessions/of-ada/stream"):
            full = await http.post(path, json={"message": "more"}, headers=bearer("ada"))
            assert _code(full) == (403, "STORAGE_FULL")
            assert full.json()["stored_bytes"] >= full.json()["max_stored_bytes"] == 2000
        theirs = "/api/chat/sessions/of-grace/messages"
        assert (await http.post(theirs, json={"message": "more"}, headers=bearer("grace"))).status_code == 202
    assert await database.fetchval("SELECT count(*) FROM tasks WHERE user_id = 'ada'") == 0


async def test_what_is_stored_is_counted_once_a_minute_and_again_after_that() -> None:
    now, stored, asked = 0.0, 5, 0

    async def count(_: str) -> int:
        nonlocal asked
        asked += 1
        return stored

    bytes_of = StoredBytes(10, count, clock=lambda: now)
    await bytes_of.check(None)
    await bytes_of.check("ada")
    stored = 10
    await bytes_of.check("ada")
    assert asked == 1
    now = 61
    for _ in range(2):
        with pytest.raises(StorageFull):
            await bytes_of.check("ada")
    assert asked == 2
    now, stored = 122, 3
    await bytes_of.check("ada")
    assert asked == 3


@pytest.mark.requirement("SE-3")
async def test_on_a_machine_of_one_person_nothing_is_counted(services: Services) -> None:
    few = {"MAX_REQUESTS_PER_MINUTE": "1", "MAX_TURNS_PER_USER": "1", "MAX_SESSIONS_PER_HOUR": "1"}
    async with client_of(await services.gateway(**few)) as http:
        for number in range(3):
            created = await http.post("/api/chat/sessions", json={"id": f"s{number}"})
            assert (created.status_code, "ratelimit-limit" in created.headers) == (201, False)
            sent = await http.post(f"/api/chat/sessions/s{number}/messages", json={"message": "x"})
            assert sent.status_code == 202


@pytest.mark.requirement("SE-3")
async def test_a_window_slides_and_says_when_one_more_is_allowed(redis: Redis) -> None:
    rates, limit = Rates(redis), Limit("test", 4, 1)
    refused = None
    while refused is None:
        taken = await rates.take(limit, "ada")
        refused = None if taken.allowed else taken
    assert (refused.limit, refused.remaining) == (4, 0)
    await asyncio.sleep(refused.seconds)
    assert (await rates.take(limit, "ada")).allowed


@pytest.mark.requirement("SE-3", "WH-3")
async def test_who_only_looks_learns_the_same_and_counts_nothing(redis: Redis) -> None:
    counts, limit = SharedCounts(redis, 5), Limit("test", 2, 3600)
    for left in (1, 0):
        for _ in range(3):
            looked = await counts.look(limit, "ada")
            assert (looked.allowed, looked.remaining) == (True, left + 1)
        taken = await counts.take(limit, "ada")
        assert (taken.allowed, taken.remaining) == (True, left)
    looked, refused = await counts.look(limit, "ada"), await counts.take(limit, "ada")
    assert (looked.allowed, refused.allowed) == (False, False)
    assert 0 < looked.seconds <= 2 * limit.seconds


@pytest.mark.requirement("SE-3")
@given(limit=st.integers(1, 20), steps=st.lists(st.integers(0, 700), max_size=100), start=st.integers(0, 10**6))
def test_however_they_come_about_the_limit_are_allowed_and_the_wait_is_enough(
    limit: int, steps: list[int], start: int
) -> None:
    counts, now, allowed = LocalCounts(), float(start), list[float]()
    for step in steps:
        now += step
        taken, remaining, wait = counts.take("ada", limit, 1000, now)
        if taken:
            allowed.append(now)
            assert 0 <= remaining < limit
        else:
            assert counts.take("ada", limit, 1000, now + wait + 1)[0] == 1
            allowed.append(now + wait + 1)
            now += wait + 1
        # In a window of the clock no more than the limit; in any window, as two of those touch it, less than twice.
        assert sum(moment // 1000 == now // 1000 for moment in allowed) <= limit
        assert sum(moment > now - 1000 for moment in allowed) < 2 * limit + 1


@pytest.mark.requirement("SE-3")
def test_an_address_is_the_callers_or_none() -> None:
    direct, behind = Addresses(()), Addresses(("10.0.0.0/8", "fd00::/8"))
    for addresses, peer, forwarded, expected in (
        (direct, "8.8.4.4", None, "8.8.4.4"),
        (direct, "8.8.4.4", "1.1.1.1", "8.8.4.4"),
        (direct, "10.0.0.1", "1.1.1.1", None),
        (direct, "127.0.0.1", None, None),
        (direct, "2a00:1450:4001:81b::200e", None, "2a00:1450:4001:81b::/64"),
        (direct, "::ffff:8.8.4.4", None, "8.8.4.4"),
        (direct, None, None, None),
        (behind, "10.0.0.1", "1.1.1.1", "1.1.1.1"),
        (behind, "10.0.0.1", "6.6.6.6, 1.1.1.1, 10.2.2.2", "1.1.1.1"),
        (behind, "10.0.0.1", None, None),
        (behind, "10.0.0.1", "nonsense", None),
        (behind, "10.0.0.1", "10.0.0.2, 10.0.0.3", None),
        (behind, "8.8.4.4", "1.1.1.1", "8.8.4.4"),
        (behind, "fd00::1", "192.168.1.5", "192.168.1.5"),
        (behind, "10.0.0.1", "6.6.6.6,1.1.1.1:4711", "1.1.1.1"),
        (behind, "10.0.0.1", "[2a00:1450:4001:81b::200e]:4711", "2a00:1450:4001:81b::/64"),
        (behind, "10.0.0.1", "[2a00:1450:4001:81b::200e]", "2a00:1450:4001:81b::/64"),
        (behind, "10.0.0.1", "1.1.1.1:", None),
        (behind, "10.0.0.1", "1.1.1.1, []", None),
    ):
        assert addresses.of(peer, forwarded) == expected, (peer, forwarded)


@pytest.mark.requirement("SE-3")
async def test_slow_bodies_of_one_caller_that_fill_the_room_of_all_make_room_for_others(services: Services) -> None:
    sizes = {"MAX_BODY_BYTES": "60000", "MAX_WEBHOOK_BYTES": "60000", "MAX_MESSAGE_CHARS": "1000"}
    gateway = await services.gateway(JWT_SECRET=SECRET, MAX_BODIES_BYTES="100000", **sizes)
    url, eve = httpx.URL(gateway.url), bearer("eve")["authorization"]
    head = f"POST /api/chat HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: {eve}\r\ncontent-type: application/json\r\n"
    held = [await asyncio.open_connection(url.host, url.port) for _ in range(2)]
    for _, writer in held:
        writer.write(f"{head}content-length: 60000\r\n\r\n".encode() + b" " * 49_000)
    body = b" " * 4000 + b"{}"
    async with client_of(gateway) as http:

        async def made(user: str) -> int:
            headers = {**bearer(user), "content-type": "application/json"}
            return (await http.post("/api/chat/sessions", content=body, headers=headers)).status_code

        async def full() -> bool:
            return await made("eve") == 503

        await wait_until(full, what="the room is full, and her own others are not cut for her")
        assert [await made(user) for user in ("ada", "bob")] == [201, 201]
    reading = [asyncio.create_task(reader.readline()) for reader, _ in held]
    done, _ = await asyncio.wait(reading, timeout=20, return_when=asyncio.FIRST_COMPLETED)
    assert [b" 503 " in one.result() for one in done] == [True]
    for _, writer in held:
        writer.close()
    await asyncio.wait(reading)
