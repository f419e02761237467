"""A job's events over HTTP: followed with replay, filtered, listed; also those that others have published."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.feeds.job_events import JobEventPublisher

from harness.clients.sse import Event, SseStream, follow
from harness.databases.database import Database
from harness.databases.valkey import Valkey
from harness.processes.services import Service, Services
from harness.retention import RETENTION, retention
from harness.waiting import wait_until
from tests.gateway.callers import SECRET, bearer
from tests.gateway.conftest import client_of
from tests.gateway.outside import add_operation


@pytest.fixture
def publisher(redis: Redis) -> JobEventPublisher:
    return JobEventPublisher(redis, RETENTION)


def _events(gateway: Service, job_id: str, query: str = "") -> str:
    return f"{gateway.url}/api/chat/jobs/{job_id}/events{query}"


async def _numbers(publisher: JobEventPublisher, numbers: range, job_id: str = "j") -> list[str]:
    """One progress event a number; their ids."""
    return [await publisher.publish_task_progress(job_id, "t", number) for number in numbers]


async def _read(stream: SseStream, count: int) -> list[Event]:
    """Read on until so many events have come in all."""
    assert stream.status == 200, stream.response.text
    if len(stream.events) < count:
        await stream.read_until(lambda _: len(stream.events) >= count)
    assert len(stream.events) == count
    return stream.events


def _progress(events: list[Event]) -> list[int]:
    return [event.chunk["progress"] for event in events]


async def _hub_connections(redis: Redis) -> int:
    clients: Any = await redis.client_list()
    return sum(client["name"] == "sluiceway-hub" for client in clients)


async def _when_followed(redis: Redis, job_id: str, then: Callable[[], Awaitable[Any]]) -> None:
    """Do something once the gateway's hub waits for the job's next change."""

    async def tracked() -> bool:
        found: Any = await redis.info("stats")
        return int(found["tracking_total_keys"]) > 0

    await wait_until(tracked, what=f"{job_id} is followed")
    await then()


@pytest.mark.requirement("JE-3")
async def test_a_job_s_events_are_replayed_then_live_each_as_it_was_stored_and_with_its_id(
    gateway: Service, publisher: JobEventPublisher, redis: Redis
) -> None:
    ids = [await publisher.publish_task_started("j", "outline_generation", query="Flüsse 河")]
    async with follow(_events(gateway, "j")) as stream:
        await _read(stream, 1)
        ids.append(await publisher.publish_task_progress("j", "outline_generation", "half"))
        await _read(stream, 2)
        ids.append(await publisher.publish_outline_generated("j", {"title": "Flüsse"}))
        await _read(stream, 3)
    stored: Any = await redis.xrange(keys.job_events("j"))
    assert [event.id for event in stream.events] == ids
    assert [event.data.encode() for event in stream.events] == [fields[b"data"] for _, fields in stored]
    assert "Flüsse 河" in stream.events[0].data
    assert stream.retry_ms is not None
    headers = stream.response.headers
    assert headers["content-type"] == "text/event-stream"
    assert headers["cache-control"] == "no-cache, no-transform"
    assert "x-vercel-ai-ui-message-stream" not in headers


@pytest.mark.requirement("JE-3")
async def test_a_reader_continues_after_any_event_by_header_or_query_and_the_header_wins(
    gateway: Service, publisher: JobEventPublisher
) -> None:
    ids = await _numbers(publisher, range(6))
    for seen in range(6):
        async with (
            follow(_events(gateway, "j"), last_event_id=ids[seen]) as by_header,
            follow(_events(gateway, "j", f"?after={ids[seen]}")) as by_query,
            follow(_events(gateway, "j", f"?after={ids[0]}"), last_event_id=ids[seen]) as by_both,
        ):
            ids += await _numbers(publisher, range(6 + seen, 7 + seen))
            for stream in (by_header, by_query, by_both):
                await _read(stream, len(ids) - seen - 1)
                assert [event.id for event in stream.events] == ids[seen + 1 :]


@pytest.mark.requirement("JE-3")
async def test_there_is_no_seam_between_replay_and_live_whenever_one_joins(
    gateway: Service, publisher: JobEventPublisher
) -> None:
    async def read_all(cursor: str | None, rest: int) -> list[str | None]:
        async with follow(_events(gateway, "j"), last_event_id=cursor) as stream:
            return [event.id for event in await _read(stream, rest)]

    ids: list[str] = []
    viewers = []
    for number in range(400):
        ids += await _numbers(publisher, range(number, number + 1))
        if number % 20 == 0:
            cursor = ids[number // 2] if number % 40 else None
            rest = 400 - (ids.index(cursor) + 1 if cursor else 0)
            viewers.append((cursor, asyncio.create_task(read_all(cursor, rest))))
    for cursor, viewer in viewers:
        assert await viewer == (ids[ids.index(cursor) + 1 :] if cursor else ids)


@pytest.mark.requirement("JE-3")
async def test_large_events_over_many_pages_come_whole(gateway: Service, publisher: JobEventPublisher) -> None:
    document = {"content": "Wörter " * 30_000}
    await publisher.publish_document_generated("j", document)
    await _numbers(publisher, range(1200))
    await publisher.publish_document_generated("j", document)
    async with follow(_events(gateway, "j")) as stream:
        events = await _read(stream, 1202)
    assert events[0].chunk["document"] == events[-1].chunk["document"] == document
    assert _progress(events[1:-1]) == list(range(1200))


@pytest.mark.requirement("JE-3")
async def test_a_filter_leaves_out_other_types_in_replay_and_live_and_loses_none_of_its_own(
    gateway: Service, publisher: JobEventPublisher, redis: Redis
) -> None:
    async def both(number: int) -> None:
        await publisher.publish_task_progress("j", "t", number)
        await publisher.publish_event("j", {"event_type": "données", "number": number})

    for number in range(10):
        await both(number)
    async with (
        follow(_events(gateway, "j", "?event_type=donn%C3%A9es")) as filtered,
        follow(_events(gateway, "j", "?event_type=task_progress")) as progress,
        follow(_events(gateway, "j")) as whole,
    ):
        await _read(filtered, 10)
        await _read(progress, 10)
        await _read(whole, 20)
        for number in range(10, 20):
            await both(number)
        await _read(filtered, 20)
        await _read(progress, 20)
        await _read(whole, 40)
    assert [event.chunk["number"] for event in filtered.events] == list(range(20))
    assert _progress(progress.events) == list(range(20))
    assert {event.id for event in whole.events} == {event.id for event in (*filtered.events, *progress.events)}


@pytest.mark.requirement("JE-3")
async def test_a_job_that_has_said_nothing_yet_is_waited_for(
    gateway: Service, publisher: JobEventPublisher, redis: Redis
) -> None:
    async with follow(_events(gateway, "early")) as stream:
        await _when_followed(redis, "early", lambda: publisher.publish_task_started("early", "t"))
        [event] = await _read(stream, 1)
    assert event.chunk["event_type"] == "task_started"


@pytest.mark.requirement("JE-3")
async def test_no_event_that_others_follow_ends_the_stream(gateway: Service, publisher: JobEventPublisher) -> None:
    types = ["start", "task_failed", "finish", "error", "task_completed", "start", "after"]
    for name in types:
        await publisher.publish_event("j", {"event_type": name})
    async with follow(_events(gateway, "j")) as stream:
        await _read(stream, len(types))
        await publisher.publish_event("j", {"event_type": "live"})
        await _read(stream, len(types) + 1)
    assert [event.chunk["event_type"] for event in stream.events] == [*types, "live"]


@pytest.mark.requirement("JE-3")
@pytest.mark.parametrize("last", ["task_completed", "task_failed", "task_stopped"])
async def test_the_stream_ends_with_the_job(
    gateway: Service, http: httpx.AsyncClient, publisher: JobEventPublisher, last: str
) -> None:
    await publisher.publish_task_started("j", "t")
    async with (
        follow(_events(gateway, "j")) as live,
        follow(_events(gateway, "j", "?event_type=task_started")) as filtered,
    ):
        await _read(live, 1)
        await publisher.publish_event("j", {"event_type": last})
        await live.read_to_end()
        await filtered.read_to_end()
    assert (live.end, live.events[-1].data, filtered.end) == ("clean", "[DONE]", "clean")
    *_, newest, _done = live.events
    assert newest.chunk["event_type"] == last
    assert [event.data for event in filtered.events[1:]] == ["[DONE]"]
    again = await http.get("/api/chat/jobs/j/events", headers={"last-event-id": newest.id or ""})
    assert again.status_code == 204


@pytest.mark.requirement("JE-3", "TS-8")
async def test_what_other_publishers_have_written_is_shown_too(
    gateway: Service, http: httpx.AsyncClient, redis: Redis
) -> None:
    key = keys.job_events("j")
    entries: list[dict[Any, Any]] = [
        {"event_type": "finish", "data": '{"a":1}', "timestamp": "then"},
        {"data": '{\n  "a":\r\n2}'},
        {"data": "no JSON", "event_type": "text", "more": "1"},
        {"data": '{"a": NaN, "b": "\\ud83d"}', "event_type": "odd"},
        {"name": "ä", "value": b"\xff"},
    ]
    for entry in entries:
        await redis.xadd(key, entry)
    await redis.pexpire(key, 3_600_000)
    async with follow(_events(gateway, "j")) as stream:
        shown = [event.data for event in await _read(stream, 5)]
    assert shown[0] == '{"a":1}'
    assert json.loads(shown[1]) == {"a": 2}
    assert shown[2:4] == ["no JSON", '{"a": NaN, "b": "\\ud83d"}']
    assert json.loads(shown[4]) == {"name": "ä", "value": "\ufffd"}
    listed = (await http.get("/api/chat/jobs/j/history")).json()["events"]
    assert [event["data"] for event in listed] == [{"a": 1}, {"a": 2}, *shown[2:4], {"name": "ä", "value": "\ufffd"}]
    assert [event["event_type"] for event in listed] == ["finish", "unknown", "text", "odd", "unknown"]
    assert [event["timestamp"] for event in listed] == ["then", "", "", "", ""]


@pytest.mark.requirement("JE-3")
async def test_a_stream_that_expires_breaks_and_who_comes_back_waits_for_its_new_beginning(
    gateway: Service, redis: Redis
) -> None:
    publisher = JobEventPublisher(redis, retention(ended_seconds=2))
    [cursor] = await _numbers(publisher, range(1))
    async with follow(_events(gateway, "j")) as stream:
        await _read(stream, 1)
        await stream.read_to_end()
    assert stream.end == "broken"
    async with follow(_events(gateway, "j"), last_event_id=cursor) as back:
        await _when_followed(redis, "j", lambda: _numbers(JobEventPublisher(redis, RETENTION), range(1, 3)))
        assert _progress(await _read(back, 2)) == [1, 2]


@pytest.mark.requirement("JE-3", "TS-12")
async def test_a_cursor_that_the_stream_has_not_reached_is_refused(
    http: httpx.AsyncClient, publisher: JobEventPublisher
) -> None:
    await _numbers(publisher, range(1))
    response = await http.get("/api/chat/jobs/j/events?after=9999999999999-0")
    assert (response.status_code, response.json()["code"]) == (409, "STREAM_TRUNCATED")
    assert response.json()["read_on_from"] == "0-0"


@pytest.mark.requirement("JE-3", "GW-5")
async def test_readers_of_many_jobs_share_one_connection_to_redis_and_leave_nothing_behind(
    gateway: Service, publisher: JobEventPublisher, redis: Redis
) -> None:
    async def read_both(job_id: str) -> list[int]:
        async with follow(_events(gateway, job_id)) as stream:
            await _read(stream, 1)
            joined.add(job_id)
            return _progress(await _read(stream, 2))

    joined: set[str] = set()
    jobs = [f"job-{number}" for number in range(25)]
    for job_id in jobs:
        await _numbers(publisher, range(1), job_id)
    readers = [asyncio.create_task(read_both(job_id)) for job_id in jobs]
    await wait_until(lambda: len(joined) == len(jobs), what="all have joined")
    assert await _hub_connections(redis) == 1
    for job_id in jobs:
        await _numbers(publisher, range(1, 2), job_id)
    assert await asyncio.gather(*readers) == [[0, 1]] * len(jobs)


@pytest.mark.requirement("JE-3")
async def test_a_job_s_history_is_listed_a_page_at_a_time_and_leads_on_to_its_stream(
    gateway: Service, http: httpx.AsyncClient, publisher: JobEventPublisher
) -> None:
    ids = await _numbers(publisher, range(7))
    listed: list[dict[str, Any]] = []
    cursor: str | None = None
    sizes = []
    while True:
        query = {"limit": "3", **({"cursor": cursor} if cursor else {})}
        page = (await http.get("/api/chat/jobs/j/history", params=query)).json()
        assert page["job_id"] == "j"
        sizes.append(len(page["events"]))
        listed += page["events"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sizes == [3, 3, 1]
    assert [event["id"] for event in listed] == ids
    assert [event["data"]["progress"] for event in listed] == list(range(7))
    assert {event["event_type"] for event in listed} == {"task_progress"}
    assert all(event["timestamp"] == event["data"]["timestamp"] for event in listed)
    after_all = (await http.get(f"/api/chat/jobs/j/history?cursor={ids[-1]}")).json()
    assert (after_all["events"], after_all["next_cursor"]) == ([], None)
    async with follow(_events(gateway, "j"), last_event_id=listed[-1]["id"]) as stream:
        ids += await _numbers(publisher, range(7, 8))
        assert [event.id for event in await _read(stream, 1)] == ids[-1:]


@pytest.mark.requirement("JE-3")
async def test_a_history_is_filtered_by_type_across_everything_that_lies_between(
    http: httpx.AsyncClient, publisher: JobEventPublisher
) -> None:
    await publisher.publish_task_started("j", "t")
    await _numbers(publisher, range(450))
    await publisher.publish_event("j", {"event_type": "大纲", "title": "河"})
    response = await http.get("/api/chat/jobs/j/history", params={"event_type": "大纲"})
    assert "河" in response.text
    assert [event["data"] for event in response.json()["events"]] == [{"event_type": "大纲", "title": "河"}]
    nothing = await http.get("/api/chat/jobs/j/history?event_type=task_failed")
    assert (nothing.status_code, nothing.json()["events"]) == (200, [])


@pytest.mark.requirement("JE-3")
async def test_the_history_of_a_job_that_has_no_events_is_not_found(http: httpx.AsyncClient) -> None:
    for query in ("", "?event_type=x", "?cursor=1-0"):
        response = await http.get(f"/api/chat/jobs/nobody/history{query}")
        assert (response.status_code, response.json()["code"]) == (404, "JOB_NOT_FOUND")


@pytest.mark.requirement("JE-3")
async def test_ids_cursors_filters_and_limits_that_cannot_be_are_refused(http: httpx.AsyncClient) -> None:
    bad = [
        ("j/events?after=x", {}, "INVALID_CURSOR"),
        ("j/events", {"last-event-id": "nonsense"}, "INVALID_CURSOR"),
        ("j/events?event_type=", {}, "INVALID_PARAMETER"),
        (f"j/events?event_type={'t' * 101}", {}, "INVALID_PARAMETER"),
        (f"{'j' * 65}/events", {}, "INVALID_PARAMETER"),
        ("a%20b/events", {}, "INVALID_PARAMETER"),
        ("%7Bj%7D/history", {}, "INVALID_PARAMETER"),
        ("j%00/history", {}, "INVALID_PARAMETER"),
        ("j/history?cursor=1", {}, "INVALID_CURSOR"),
        ("j/history?limit=0", {}, "INVALID_PARAMETER"),
        ("j/history?limit=201", {}, "INVALID_PARAMETER"),
    ]
    for path, headers, code in bad:
        response = await http.get(f"/api/chat/jobs/{path}", headers=headers)
        assert (response.status_code, response.json()["code"]) == (400, code), path
    assert (await http.post("/api/chat/jobs/j/events")).status_code == 405


@pytest.mark.requirement("JE-3")
async def test_the_head_of_a_job_s_stream_can_be_asked_for_alone(http: httpx.AsyncClient) -> None:
    response = await http.head("/api/chat/jobs/j/events")
    assert (response.status_code, response.headers["content-type"]) == (200, "text/event-stream")


@pytest.mark.requirement("JE-3", "SE-1")
async def test_the_events_of_a_job_from_outside_are_for_whoever_signed_in(
    services: Services, publisher: JobEventPublisher
) -> None:
    gateway = await services.gateway(JWT_SECRET=SECRET, AUTH_REQUIRED="false")
    await _numbers(publisher, range(1))
    async with client_of(gateway) as http:
        for path in ("events", "history"):
            refused = await http.get(f"/api/chat/jobs/j/{path}")
            assert (refused.status_code, refused.json()["code"]) == (401, "UNAUTHENTICATED")
        for user in ("ada", "grace"):
            assert (await http.get("/api/chat/jobs/j/history", headers=bearer(user))).status_code == 200
            async with follow(_events(gateway, "j"), headers=bearer(user)) as stream:
                await _read(stream, 1)


@pytest.mark.requirement("JE-3")
async def test_where_jobs_are_open_knowing_the_id_is_enough(services: Services, publisher: JobEventPublisher) -> None:
    gateway = await services.gateway(JWT_SECRET=SECRET, AUTH_REQUIRED="false", JOBS_OPEN="true")
    await _numbers(publisher, range(1))
    async with client_of(gateway) as http:
        assert (await http.get("/api/chat/jobs/j/history")).status_code == 200


@pytest.mark.requirement("JE-3", "SE-1")
async def test_a_job_that_is_an_operation_is_for_the_owner_of_its_turn_alone(
    services: Services, publisher: JobEventPublisher, database: Database
) -> None:
    gateway = await services.gateway(JWT_SECRET=SECRET, JOBS_OPEN="true")
    operation_id = await add_operation(database, user_id="ada")
    await _numbers(publisher, range(1), operation_id)
    paths = [f"/api/chat/jobs/{operation_id}/{kind}" for kind in ("history", "events")]
    async with client_of(gateway) as http:
        for path in paths:
            refused = await http.get(path, headers=bearer("grace"))
            assert (refused.status_code, refused.json()["code"]) == (403, "ACCESS_DENIED")
        assert len((await http.get(paths[0], headers=bearer("ada"))).json()["events"]) == 1
        async with follow(_events(gateway, operation_id), headers=bearer("ada")) as stream:
            await _read(stream, 1)
        await database.execute("DELETE FROM sessions")
        for user in ("ada", "grace"):
            gone = await http.get(paths[0], headers=bearer(user))
            assert (gone.status_code, gone.json()["code"]) == (404, "JOB_NOT_FOUND")


@pytest.mark.requirement("JE-3")
async def test_while_redis_is_away_a_history_says_when_to_come_back(http: httpx.AsyncClient, valkey: Valkey) -> None:
    valkey.stop()
    response = await http.get("/api/chat/jobs/j/history")
    assert (response.status_code, response.json()["code"]) == (503, "REDIS_UNAVAILABLE")
    assert int(response.headers["retry-after"]) > 0
