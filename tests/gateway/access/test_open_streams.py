"""An open stream outlives nothing that it was opened by: neither a key, nor a sign-in, nor who owned what it shows."""

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from gateway.callers.signed_out import SignedOut
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.redis.client import open_redis

from harness.clients.sse import SseStream, follow
from harness.databases.database import Database
from harness.databases.valkey import Valkey
from harness.processes.services import Services
from tests.gateway.callers import SECRET, add_key, anonymous, bearer
from tests.gateway.conftest import client_of
from tests.gateway.stand_in import StandIn

pytestmark = pytest.mark.requirement("SE-2", "TS-4", "GW-10")

Headers = dict[str, str]


async def _turn(http: httpx.AsyncClient, session: str, headers: Headers) -> str:
    http.cookies.clear()
    assert (await http.post("/api/chat/sessions", json={"id": session}, headers=headers)).status_code == 201
    sent = await http.post(f"/api/chat/sessions/{session}/messages", json={"message": "hi"}, headers=headers)
    assert sent.status_code == 202, sent.text
    return str(sent.json()["task_id"])


async def _sign_in(http: httpx.AsyncClient, headers: Headers) -> Headers:
    made = await http.post("/api/auth/session", headers=headers)
    assert made.status_code == 201, made.text
    return {"cookie": made.headers["set-cookie"].partition(";")[0]}


async def test_a_stream_is_broken_off_soon_after_its_caller_may_follow_it_no_more(
    services: Services, database: Database, worker: StandIn
) -> None:
    settings = {"JWT_SECRET": SECRET, "AUTH_REQUIRED": "false"}
    one, two = await services.gateway(**settings), await services.gateway(**settings)
    async with client_of(one) as http, client_of(two) as other, AsyncExitStack() as stack:
        alice, key, anon = bearer("alice"), await add_key(database, "billing", ["turns"]), await anonymous(http)
        cookie, kept_cookie = await _sign_in(http, alice), await _sign_in(http, alice)
        tasks = {
            "key": await _turn(http, "of-key", key),
            "cookie": await _turn(http, "of-alice", alice),
            "claimed": await _turn(http, "of-anon", anon),
        }
        http.cookies.clear()
        url = (await http.post(f"/api/chat/tasks/{tasks['cookie']}/stream-token", headers=cookie)).json()["stream_url"]
        paths = {name: f"/api/chat/tasks/{task_id}/stream" for name, task_id in tasks.items()}

        async def opened(path: str, headers: Headers) -> SseStream:
            stream = await stack.enter_async_context(follow(f"{two.url}{path}", headers=headers))
            assert stream.status == 200, path
            return stream

        ending = [await opened(paths["key"], key), await opened(paths["cookie"], cookie), await opened(url, {})]
        ending += [await opened(paths["claimed"], anon), await opened("/api/chat/events", cookie)]
        staying = [await opened(paths["cookie"], alice), await opened(paths["cookie"], kept_cookie)]
        # At another gateway than that of the streams.
        await database.execute("UPDATE api_keys SET revoked_at = now()")
        assert (await http.delete("/api/auth/session", headers=cookie)).status_code == 204
        claimed = await http.post("/api/chat/sessions/of-anon/claim", headers={**alice, **anon})
        assert claimed.status_code == 200, claimed.text
        await asyncio.gather(*(stream.read_to_end(timeout=30) for stream in ending))
        assert [stream.end for stream in ending] == ["broken"] * len(ending)
        # A copy of the cookie, and what was made by it, is worth nothing any more; the token is, and may sign in again.
        for client in (http, other):
            client.cookies.clear()
            assert (await client.get("/api/chat/sessions/of-alice", headers=cookie)).status_code == 403
            assert (await client.get(url)).status_code == 401
            assert (await client.get("/api/chat/sessions/of-alice", headers=kept_cookie)).status_code == 200
        again = await _sign_in(http, alice)
        assert (await other.get("/api/chat/sessions/of-alice", headers=again)).status_code == 200
        await worker.answer(tasks["cookie"], "for alice")
        await asyncio.gather(*(stream.read_to_end(timeout=30) for stream in staying))
        assert [stream.end for stream in staying] == ["clean", "clean"]


@pytest.mark.parametrize("entry", [{"x": "?"}, {"i": "a", "u": "soon"}, {"i": b"\xff", "u": "1"}])
async def test_an_entry_that_nobody_has_written_ends_no_gateway_and_hides_nobody(redis: Redis, entry: Any) -> None:
    until = time.time() + 3600.25
    here, there = SignedOut(redis), SignedOut(redis)
    await redis.xadd(keys.SIGNED_OUT, entry)
    await here.end("ada", until)
    await there.look()
    assert there.has("ada", until)


async def test_who_signed_out_stays_so_while_redis_is_away_and_after_it_forgot(redis: Redis, valkey: Valkey) -> None:
    until = time.time() + 3600.25
    async with open_redis(valkey.url, name="one") as first, open_redis(valkey.url, name="two") as second:
        here, there, late = SignedOut(first), SignedOut(second), SignedOut(second)
        await here.end("ada", until)
        await here.end("eve", time.time() + 0.01)
        assert here.has("ada", until)
        assert not here.has("ada", until + 1)
        assert not here.has("bob", until)
        assert not there.has("ada", until)
        await there.look()
        assert there.has("ada", until)
        await redis.flushall()
        await here.end("bob", until)
        for one in (here, there, late):
            await one.look()
        assert [one.has("ada", until) for one in (here, there, late)] == [True, True, False]
        assert [one.has("bob", until) for one in (here, there, late)] == [True, True, True]
        few = SignedOut(second, most=2)
        for user in ("dan", "eve", "fay"):
            await few.end(user, until)
        assert [few.has(user, until) for user in ("dan", "eve", "fay")] == [False, True, True]
        valkey.stop()
        await here.end("cat", until)
        assert here.has("cat", until)
        valkey.start()
        await here.look()
        await there.look()
        assert there.has("cat", until)
