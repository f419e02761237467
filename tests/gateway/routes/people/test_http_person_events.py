"""What a person's devices are told over HTTP: each kind of event, from any cursor, to nobody else; and that whoever
may have missed one is told so."""

import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis
from sluiceway.feeds.person_events import MOST_KEPT, PersonEvents, events_key
from sluiceway.wire.person_event import SessionDeleted

from harness.clients.sse import SseStream, follow
from harness.databases.valkey import Valkey
from harness.processes.services import Service, Services
from harness.retention import RETENTION
from harness.waiting import wait_until
from tests.gateway.callers import SECRET, anonymous, bearer
from tests.gateway.conftest import client_of
from tests.gateway.stand_in import StandIn

ALICE, BOB = bearer("alice"), bearer("bob")
pytestmark = pytest.mark.requirement("GW-9")


@asynccontextmanager
async def _events(
    gateway: Service, headers: dict[str, str] | None = None, *, cursor: str | None = None, query: str = ""
) -> AsyncIterator[SseStream]:
    """An open stream whose `ready` has come."""
    url = f"{gateway.url}/api/chat/events{query}"
    async with follow(url, headers=headers, last_event_id=cursor) as stream:
        assert stream.status == 200, stream.response.text
        await stream.read_until("ready")
        yield stream


async def _told(stream: SseStream, count: int) -> list[tuple[str, str]]:
    """Kind and session of all that came behind `ready`, which are so many."""
    while len(stream.events) < count + 1:
        assert await stream.next_event() is not None, stream.types
    return [(event.type, event.chunk["session_id"]) for event in stream.events[1:]]


async def _sessions(http: httpx.AsyncClient, *names: str, headers: dict[str, str] | None = None) -> None:
    for name in names:
        assert (await http.post("/api/chat/sessions", json={"id": name}, headers=headers)).status_code == 201


async def test_what_is_done_in_one_place_is_told_in_every_other(
    gateway: Service, http: httpx.AsyncClient, worker: StandIn
) -> None:
    async with _events(gateway) as one, _events(gateway) as other:
        assert one.events[0].chunk == {"type": "ready", "resumed": False}
        assert one.retry_ms is not None
        await http.post("/api/chat/sessions", json={"id": "s", "title": "Rivers"})
        await http.patch("/api/chat/sessions/s", json={"title": "Lakes"})
        await http.patch("/api/chat/sessions/s", json={"pinned": True})
        await http.patch("/api/chat/sessions/s", json={"archived": True})
        sent = (await http.post("/api/chat/sessions/s/messages", json={"message": "hello"})).json()
        await worker.answer(sent["task_id"], "Hi.")
        await http.post("/api/chat/sessions/s/fork", json={"id": "f"})
        await http.delete("/api/chat/sessions/s")
        task = {"session_id": "s", "task_id": sent["task_id"]}
        expected = [
            {"type": "session-created", "session_id": "s", "title": "Rivers"},
            {"type": "session-renamed", "session_id": "s", "title": "Lakes"},
            {"type": "session-pinned", "session_id": "s", "pinned": True},
            {"type": "session-archived", "session_id": "s", "archived": True},
            {"type": "turn-started", **task, "message_id": sent["assistant_message_id"]},
            {"type": "turn-ended", **task, "status": "completed"},
            {"type": "session-created", "session_id": "f", "title": "Lakes"},
            {"type": "session-deleted", "session_id": "s"},
        ]
        for stream in (one, other):
            await _told(stream, len(expected))
            assert stream.chunks[1:] == expected
        assert "hello" not in json.dumps(one.chunks)
        assert "Hi." not in json.dumps(one.chunks)


async def test_a_message_that_begins_a_session_tells_of_both_and_one_that_waits_at_once_and_of_its_start(
    gateway: Service, http: httpx.AsyncClient, worker: StandIn
) -> None:
    async with _events(gateway) as stream:
        message = {"id": "m1", "role": "user", "parts": [{"type": "text", "text": "hi"}]}
        async with follow(f"{gateway.url}/api/chat", method="POST", json={"id": "c", "messages": [message]}) as answer:
            assert answer.status == 200
            assert await _told(stream, 2) == [("session-created", "c"), ("turn-started", "c")]
            second = await http.post("/api/chat/sessions/c/messages", json={"id": "m2", "message": "and then"})
            assert second.json()["position"] == 1
            assert (await _told(stream, 3))[2] == ("session-changed", "c")
            first = stream.events[2].chunk["task_id"]
            await worker.answer(first, "Hi.")
            await _told(stream, 5)
            # It starts when the turn before it has ended; and it is told that it was stopped.
            assert [(event.type, event.chunk["task_id"]) for event in stream.events[4:]] == [
                ("turn-ended", first),
                ("turn-started", second.json()["task_id"]),
            ]
            await http.post(f"/api/chat/tasks/{second.json()['task_id']}/cancel")
            await _told(stream, 6)
            assert stream.events[6].chunk["status"] == "cancelled"
        listed = (await http.get("/api/chat/sessions")).json()["sessions"]
        assert [(one["id"], one["active_task_id"], one["awaits_you"]) for one in listed] == [("c", None, False)]


async def test_a_reader_resumes_behind_any_event_by_header_or_query(gateway: Service, http: httpx.AsyncClient) -> None:
    names = [f"s{number}" for number in range(5)]
    async with _events(gateway) as stream:
        await _sessions(http, *names)
        await _told(stream, 5)
    ids = [event.id for event in stream.events]
    for seen in range(6):
        ways = ({"cursor": ids[seen]}, {"query": f"?after={ids[seen]}"}, {"query": "?after=1-1", "cursor": ids[seen]})
        for way in ways:
            async with _events(gateway, **way) as again:
                assert again.events[0].chunk["resumed"]
                assert again.events[0].id == ids[seen]
                told = await _told(again, 5 - seen)
                assert told == [("session-created", name) for name in names[seen:]]
                assert [event.id for event in again.events] == ids[seen:]


async def test_who_may_have_missed_something_is_told_to_read_everything(
    gateway: Service, http: httpx.AsyncClient, redis: Redis
) -> None:
    people = PersonEvents(redis, RETENTION)

    async def trim() -> None:
        await people.tell(None, *[SessionDeleted(session_id="x")] * (MOST_KEPT + 1))

    async def flush() -> None:
        await redis.flushall()

    async def make_up() -> None:
        await people.begin_anew(None)

    losses = {"trimmed": trim, "flushed": flush, "made-up-for": make_up}
    for name, lose in losses.items():
        async with _events(gateway) as stream:
            await _sessions(http, f"{name}-1")
            await _told(stream, 1)
        await lose()
        for cursor in (stream.last_event_id, "7-7"):
            async with _events(gateway, cursor=cursor) as again:
                assert again.events[0].chunk["resumed"] is False, name
                await _sessions(http, f"{name}-{cursor}")
                assert await _told(again, 1) == [("session-created", f"{name}-{cursor}")]
        async with _events(gateway, cursor=again.events[0].id) as third:
            assert third.events[0].chunk["resumed"]
            assert await _told(third, 1) == [("session-created", f"{name}-7-7")]


async def test_who_follows_when_redis_forgets_is_broken_off_and_told_so_when_he_comes_back(
    services: Services, valkey: Valkey, redis: Redis
) -> None:
    services.expect_in_logs("redis_|not_told|connection|surroundings|readiness|Redis")
    gateway = await services.gateway()
    for number, lose in enumerate((valkey.flush, None, valkey.restart)):
        async with client_of(gateway) as http, _events(gateway) as stream:
            await _sessions(http, f"s{number}")
            await _told(stream, 1)
            if lose is None:
                await PersonEvents(redis, RETENTION).begin_anew(None)
            else:
                lose()
            await stream.read_to_end()
            assert stream.end == "broken"
            assert not stream.done
            await wait_until(lambda: _is_ready(gateway), what="the gateway has its Redis")
            async with _events(gateway, cursor=stream.last_event_id) as again:
                assert again.events[0].chunk["resumed"] is False


async def _is_ready(gateway: Service) -> bool:
    async with follow(f"{gateway.url}/api/chat/events") as stream:
        return stream.status == 200


async def test_each_person_is_told_of_his_own_alone_and_only_while_he_is_signed_in(services: Services) -> None:
    gateway = await services.gateway(
        JWT_SECRET=SECRET, AUTH_REQUIRED="false", MAX_STREAMS_PER_USER="2", JWT_LEEWAY_SECONDS="0"
    )
    async with client_of(gateway) as http, AsyncExitStack() as stack:
        nobody = await anonymous(http)
        until = int(time.time()) + 5
        alice, bob, somebody = [
            await stack.enter_async_context(_events(gateway, headers))
            for headers in (bearer("alice", exp=until), BOB, nobody)
        ]
        await _sessions(http, "a", headers=ALICE)
        await _sessions(http, "b", headers=BOB)
        await _sessions(http, "n", headers=nobody)
        # What somebody did before he signed in goes over to the user.
        await http.post("/api/chat/sessions/n/claim", headers={**BOB, **nobody})
        await http.delete("/api/chat/sessions/n", headers=BOB)
        assert await _told(alice, 1) == [("session-created", "a")]
        assert await _told(bob, 3) == [("session-created", "b"), ("session-created", "n"), ("session-deleted", "n")]
        assert await _told(somebody, 2) == [("session-created", "n"), ("session-deleted", "n")]
        await alice.read_to_end()
        assert alice.end == "broken"
        assert time.time() >= until

        async with _events(gateway, BOB):
            refused = await http.get("/api/chat/events", headers=BOB)
            assert (refused.status_code, refused.json()["code"]) == (429, "TOO_MANY_STREAMS")
        http.cookies.clear()
        stranger = await http.get("/api/chat/events")
        assert (stranger.status_code, stranger.content) == (204, b"")
        head = await http.head("/api/chat/events", headers=ALICE)
        assert (head.status_code, head.headers["content-type"]) == (200, "text/event-stream")
        for cursor in ("x", "1", "1-1-1"):
            bad = await http.get("/api/chat/events", headers={**ALICE, "last-event-id": cursor})
            assert (bad.status_code, bad.json()["code"]) == (400, "INVALID_CURSOR")


async def test_what_was_told_to_a_person_goes_with_him(services: Services, redis: Redis) -> None:
    gateway = await services.gateway(JWT_SECRET=SECRET)
    async with client_of(gateway) as http, _events(gateway, ALICE) as stream:
        await _sessions(http, "s", headers=ALICE)
        await _told(stream, 1)
        assert (await http.delete("/api/chat/me", headers=ALICE)).status_code == 200
        await stream.read_to_end()
        assert stream.end == "broken"
        assert await redis.exists(events_key("alice")) == 0


async def test_a_silent_stream_is_kept_alive_and_all_are_read_on_one_connection(
    services: Services, redis: Redis
) -> None:
    gateway = await services.gateway(HEARTBEAT_SECONDS="1")
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(_events(gateway)) for _ in range(5)]
        for stream in streams:
            await wait_until(lambda: _next_comment(stream), what="a heartbeat")  # noqa: B023
        clients: Sequence[dict[str, Any]] = await redis.client_list()
        assert [one["name"] for one in clients].count("sluiceway-hub") == 1


async def _next_comment(stream: SseStream) -> bool:
    """A comment has no blank line behind it, so it is no event: the next line is read until one is there."""
    line = await anext(stream._lines)
    stream._take(line)
    return bool(stream.comments)
