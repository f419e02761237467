"""Agent events from threads: what a thread is told, how long it waits, and that no event loop waits at all."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from redis.asyncio import Redis
from sluiceway.errors import (
    AgentEventRejected,
    AgentEventUnavailable,
    AgentStreamClosed,
    AgentStreamUnknown,
    RedisUnavailable,
)
from sluiceway.feeds.agent_events import AgentEvent, AgentStreams
from sluiceway.feeds.agent_threads import ThreadPublisher, open_threads
from sluiceway.redis.client import open_redis

from harness.databases.valkey import Valkey
from harness.processes.agents_process import publish_all
from harness.retention import RETENTION
from harness.waiting import block_until, wait_until

_NOBODY = "redis://127.0.0.1:1/0"


@pytest.fixture
def streams(redis: Redis) -> AgentStreams:
    return AgentStreams(redis, RETENTION)


@pytest.fixture
def publisher(valkey_url: str) -> Iterator[ThreadPublisher]:
    with open_threads(valkey_url) as publisher:
        yield publisher
    assert not any(thread.name == "agent-events" for thread in threading.enumerate())


def _contents(events: list[AgentEvent]) -> list[str]:
    return [event.content for event in events]


@pytest.mark.requirement("AG-2")
async def test_a_thread_is_told_the_event_that_is_in_the_stream(
    streams: AgentStreams, publisher: ThreadPublisher
) -> None:
    await streams.create("t")
    event = await asyncio.to_thread(publisher.publish_nowait, "t", "a", "thought", "ü", {"n": 1})
    assert event is not None
    assert (event.sequence, event.content, event.metadata) == (1, "ü", {"n": 1})
    assert await streams.events("t") == [event]
    assert publisher.failed == 0


@pytest.mark.requirement("AG-2")
async def test_a_thread_is_told_why_an_event_is_not_in_the_stream(
    streams: AgentStreams, publisher: ThreadPublisher
) -> None:
    with pytest.raises(AgentStreamUnknown):
        await asyncio.to_thread(publisher.publish_nowait, "t", "a", "thought")
    generation = await streams.create("t")
    impossible: list[Any] = [float("nan"), "\ud83d", None]
    for content in impossible:
        with pytest.raises(AgentEventRejected):
            await asyncio.to_thread(publisher.publish_nowait, "t", "a", "thought", content)
    await streams.create("t")
    with pytest.raises(AgentStreamClosed):
        await asyncio.to_thread(publisher.publish_nowait, "t", "a", "thought", generation=generation)
    await streams.close("t")
    with pytest.raises(AgentStreamClosed):
        await asyncio.to_thread(publisher.publish_nowait, "t", "a", "thought")
    assert publisher.failed == 3


@pytest.mark.requirement("AG-2", "AG-3")
async def test_many_threads_share_the_loop_of_the_process_and_each_keeps_its_order(
    streams: AgentStreams, valkey_url: str
) -> None:
    tasks = ["a", "b", "c"]
    async with open_redis(valkey_url, name="test", max_connections=4) as client:
        publisher = ThreadPublisher(AgentStreams(client, RETENTION), asyncio.get_running_loop())
        for task_id in tasks:
            await streams.create(task_id)
        with ThreadPoolExecutor(20) as pool:
            loop = asyncio.get_running_loop()
            authors = [str(number) for number in range(20)]
            await asyncio.gather(
                *(loop.run_in_executor(pool, publish_all, publisher, author, 10, tasks) for author in authors)
            )
    for task_id in tasks:
        events = await streams.events(task_id)
        assert [event.sequence for event in events] == list(range(1, 201))
        for author in authors:
            assert [event.metadata["number"] for event in events if event.agent_name == author] == list(range(10))


@pytest.mark.requirement("AG-2")
async def test_on_a_thread_with_an_event_loop_nothing_waits_and_the_order_is_kept(
    streams: AgentStreams, publisher: ThreadPublisher, valkey: Valkey
) -> None:
    await streams.create("t")
    valkey.freeze()
    begun = time.monotonic()
    for number in range(200):
        assert publisher.publish_nowait("t", "a", "thought", str(number)) is None
    assert time.monotonic() - begun < 1
    valkey.thaw()
    assert await asyncio.to_thread(publisher.flush)
    assert _contents(await streams.events("t")) == [str(number) for number in range(200)]
    with pytest.raises(RuntimeError):
        publisher.flush()


@pytest.mark.requirement("AG-2")
async def test_what_nobody_waited_for_and_failed_is_logged_and_counted(
    publisher: ThreadPublisher, capsys: pytest.CaptureFixture[str]
) -> None:
    publisher.publish_nowait("nobody", "a", "thought", "a secret")
    assert await asyncio.to_thread(publisher.flush)
    assert publisher.failed == 1
    said = capsys.readouterr().out
    assert "agent_event_not_published" in said
    assert "AgentStreamUnknown" in said
    assert "a secret" not in said


@pytest.mark.requirement("AG-2")
def test_while_redis_says_nothing_a_thread_waits_for_its_time_and_no_longer(valkey: Valkey) -> None:
    assert _seconds_of_a_failure(valkey.url, 5.0, valkey.freeze) == pytest.approx(5.0, abs=0.5)


@pytest.mark.requirement("AG-2")
def test_while_redis_is_away_a_thread_waits_for_its_time_and_no_longer() -> None:
    assert 0.5 < _seconds_of_a_failure(_NOBODY, 1.0, lambda: None) < 1.5


def _seconds_of_a_failure(url: str, timeout_seconds: float, meanwhile: Callable[[], None]) -> float:
    with open_threads(url, timeout_seconds=timeout_seconds) as publisher:
        meanwhile()
        begun = time.monotonic()
        with pytest.raises(AgentEventUnavailable):
            publisher.publish_nowait("t", "a", "thought")
        return time.monotonic() - begun


@pytest.mark.requirement("AG-2")
async def test_a_redis_that_comes_back_in_time_costs_no_event_and_doubles_none(
    streams: AgentStreams, publisher: ThreadPublisher, valkey: Valkey
) -> None:
    await streams.create("t")
    with ThreadPoolExecutor(10) as pool:
        loop = asyncio.get_running_loop()
        valkey.freeze()
        waiting = [loop.run_in_executor(pool, publisher.publish_nowait, "t", str(n), "thought") for n in range(10)]
        await wait_until(lambda: len(publisher._open) == 10, what="all are on their way")
        valkey.thaw()
        events = await asyncio.gather(*waiting)
    assert sorted(event.sequence for event in events if event) == list(range(1, 11))
    assert len(await streams.events("t")) == 10


@pytest.mark.requirement("AG-2")
async def test_a_loop_that_is_stuck_costs_a_thread_its_time_and_the_event_is_not_sent_later(
    streams: AgentStreams, redis: Redis
) -> None:
    await streams.create("t")
    publisher = ThreadPublisher(streams, asyncio.get_running_loop(), timeout_seconds=0.3)
    failures: list[BaseException] = []

    def publish() -> None:
        try:
            publisher.publish_nowait("t", "a", "thought", "late")
        except AgentEventUnavailable as error:
            failures.append(error)

    thread = threading.Thread(target=publish)
    thread.start()
    # This blocks the very loop that would send it.
    block_until(lambda: failures, what="the thread has given up")
    thread.join()
    event = await asyncio.to_thread(publisher.publish_nowait, "t", "a", "thought", "in time")
    assert event is not None
    assert _contents(await streams.events("t")) == ["in time"]
    assert publisher.failed == 1


@pytest.mark.requirement("AG-2")
async def test_one_task_whose_events_wait_does_not_hold_up_another(
    streams: AgentStreams, valkey_url: str, redis: Redis
) -> None:
    async with open_redis(valkey_url, name="test") as client:
        publisher = ThreadPublisher(AgentStreams(client, RETENTION), asyncio.get_running_loop())
        for task_id in ("slow", "quick"):
            await streams.create(task_id)
        for number in range(500):
            publisher.publish_nowait("slow", "a", "thought", str(number))
        event = await asyncio.to_thread(publisher.publish_nowait, "quick", "a", "thought")
        assert event is not None
        assert len(await streams.events("slow")) < 500
        assert await asyncio.to_thread(publisher.flush)
    assert _contents(await streams.events("slow")) == [str(number) for number in range(500)]


@pytest.mark.requirement("AG-2")
async def test_what_waits_is_bounded(streams: AgentStreams, valkey: Valkey) -> None:
    await streams.create("t")
    with open_threads(valkey.url, max_waiting=10) as publisher:
        valkey.freeze()
        for number in range(10):
            publisher.publish_nowait("t", "a", "thought", str(number))
        with pytest.raises(AgentEventUnavailable):
            publisher.publish_nowait("t", "a", "thought", "too many")
        valkey.thaw()
        assert await asyncio.to_thread(publisher.flush)
        publisher.publish_nowait("t", "a", "thought", "10")
        assert await asyncio.to_thread(publisher.flush)
    assert _contents(await streams.events("t")) == [str(number) for number in range(11)]


@pytest.mark.requirement("AG-2")
async def test_the_end_of_the_block_sends_what_was_handed_over(streams: AgentStreams, valkey_url: str) -> None:
    def publish_from_a_loop() -> None:
        with open_threads(valkey_url) as publisher:

            async def publish() -> None:
                for number in range(100):
                    publisher.publish_nowait("t", "a", "thought", str(number))

            asyncio.run(publish())

    await streams.create("t")
    await asyncio.to_thread(publish_from_a_loop)
    assert _contents(await streams.events("t")) == [str(number) for number in range(100)]


@pytest.mark.requirement("AG-2")
async def test_after_the_end_of_the_block_or_of_the_loop_a_publish_fails_at_once(
    streams: AgentStreams, valkey_url: str
) -> None:
    await streams.create("t")

    def publish_too_late() -> None:
        with open_threads(valkey_url) as publisher:
            assert publisher.publish_nowait("t", "a", "thought") is not None
        with pytest.raises(AgentEventUnavailable):
            publisher.publish_nowait("t", "a", "thought")

    begun = time.monotonic()
    await asyncio.to_thread(publish_too_late)
    assert time.monotonic() - begun < 3
    with open_threads(valkey_url) as within:
        within.publish_nowait("t", "a", "thought", "in a loop's own block")
    await wait_until(lambda: within._loop.is_closed(), what="its thread has ended")
    assert len(await streams.events("t")) == 2


@pytest.mark.requirement("AG-2", "AG-4")
async def test_a_thread_begins_and_ends_streams_too(
    streams: AgentStreams, publisher: ThreadPublisher, valkey: Valkey
) -> None:
    generation = await asyncio.to_thread(publisher.create, "t", "ada")
    stream = await streams.get("t")
    assert stream is not None
    assert (stream.generation, stream.user_id) == (generation, "ada")
    assert await asyncio.to_thread(publisher.close, "t", generation=generation)
    assert not await asyncio.to_thread(publisher.close, "t")
    with pytest.raises(RuntimeError):
        publisher.create("t")
    with pytest.raises(RuntimeError):
        publisher.close("t")
    with pytest.raises(AgentEventRejected):
        await asyncio.to_thread(publisher.create, "no id")
    valkey.stop()
    with pytest.raises(RedisUnavailable):
        await asyncio.to_thread(publisher.create, "t")


@pytest.mark.requirement("AG-2")
def test_an_address_that_is_none_is_told_where_it_is_opened() -> None:
    with pytest.raises(ValueError, match="redis"), open_threads("http://example.org"):
        pass
