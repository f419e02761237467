"""The publisher of job events on a real Valkey: what stands in the stream, and what happens when nothing can."""

import asyncio
import gc
import json
import os
import subprocess
import sys
import warnings
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.errors import JobEventError, JobEventRejected, JobEventUnavailable, RedisUnavailable
from sluiceway.feeds.job_events import MAX_DATA_BYTES, JobEventPublisher, read_job_events
from sluiceway.redis.client import open_redis

from harness.databases.valkey import Valkey
from harness.retention import RETENTION, retention

_EXAMPLE = Path(__file__).parents[3] / "examples" / "celery_style_task.py"
_NOBODY = "redis://127.0.0.1:1/0"


@pytest.fixture
def publisher(redis: Redis) -> JobEventPublisher:
    return JobEventPublisher(redis, RETENTION)


async def _stored(redis: Redis, job_id: str) -> list[tuple[bytes, dict[bytes, bytes]]]:
    # The key in full: others read and write under this name, too.
    stored: Any = await redis.xrange(f"job_events:{job_id}")
    return list(stored)


async def _newest(redis: Redis, job_id: str) -> dict[str, Any]:
    """The event that was published last, which says the same in its fields and in its data."""
    _, fields = (await _stored(redis, job_id))[-1]
    assert list(fields) == [b"data", b"timestamp", b"event_type"]
    event = json.loads(fields[b"data"])
    assert isinstance(event, dict)
    assert event["event_type"] == fields[b"event_type"].decode()
    assert event["timestamp"] == fields[b"timestamp"].decode()
    assert datetime.fromisoformat(event.pop("timestamp")).utcoffset() == timedelta(0)
    return event


@pytest.mark.requirement("JE-1")
async def test_the_life_of_a_task_is_told_in_the_members_that_readers_look_for(
    publisher: JobEventPublisher, redis: Redis
) -> None:
    await publisher.publish_task_started("j", "outline_generation", query="rivers")
    assert await _newest(redis, "j") == {
        "event_type": "task_started",
        "task_type": "outline_generation",
        "status": "started",
        "query": "rivers",
    }
    await publisher.publish_task_progress("j", "outline_generation", 40, section="Sources")
    assert await _newest(redis, "j") == {
        "event_type": "task_progress",
        "task_type": "outline_generation",
        "status": "running",
        "progress": 40,
        "section": "Sources",
    }
    await publisher.publish_task_completed("j", "outline_generation", {"words": 3}, duration_ms=5)
    assert await _newest(redis, "j") == {
        "event_type": "task_completed",
        "task_type": "outline_generation",
        "status": "completed",
        "result": {"words": 3},
        "duration_ms": 5,
    }
    await publisher.publish_task_failed("j", "outline_generation", ValueError("no rivers"), section="Sources")
    assert await _newest(redis, "j") == {
        "event_type": "task_failed",
        "task_type": "outline_generation",
        "status": "failed",
        "error": "no rivers",
        "section": "Sources",
    }
    await publisher.publish_outline_generated("j", {"title": "Rivers"})
    assert await _newest(redis, "j") == {
        "event_type": "outline_generated",
        "task_type": "outline_generation",
        "status": "completed",
        "outline": {"title": "Rivers"},
    }
    await publisher.publish_document_generated("j", {"content": "Water.", "word_count": 1})
    assert await _newest(redis, "j") == {
        "event_type": "document_generated",
        "task_type": "document_generation",
        "status": "completed",
        "document": {"content": "Water.", "word_count": 1},
    }


@pytest.mark.requirement("JE-1")
async def test_keywords_win_over_what_would_be_said_without_them(publisher: JobEventPublisher, redis: Redis) -> None:
    then = "2026-11-22T01:02:03+00:00"
    await publisher.publish_task_progress("j", "t", 1, status="retrying", event_type="task_retried", timestamp=then)
    [(_, fields)] = await _stored(redis, "j")
    assert (fields[b"event_type"], fields[b"timestamp"]) == (b"task_retried", then.encode())
    assert await _newest(redis, "j") == {
        "event_type": "task_retried",
        "task_type": "t",
        "status": "retrying",
        "progress": 1,
    }


@pytest.mark.requirement("JE-1")
async def test_an_event_of_any_type_is_stored_as_it_is_with_its_letters(
    publisher: JobEventPublisher, redis: Redis
) -> None:
    event = {"event_type": "進捗 🚀", "message": "naïve Straße 大纲", "timestamp": "2026-11-22T01:02:03Z"}
    entry_id = await publisher.publish_event("j", event)
    [(stored_id, fields)] = await _stored(redis, "j")
    assert stored_id.decode() == entry_id
    assert fields == {
        b"data": json.dumps(event, ensure_ascii=False).encode(),
        b"timestamp": b"2026-11-22T01:02:03Z",
        b"event_type": "進捗 🚀".encode(),
    }


@pytest.mark.requirement("JE-1")
async def test_an_event_that_says_neither_type_nor_time_has_both_beside_it(
    publisher: JobEventPublisher, redis: Redis
) -> None:
    await publisher.publish_event("j", {"message": "hi"})
    [(_, fields)] = await _stored(redis, "j")
    assert (fields[b"data"], fields[b"event_type"]) == (b'{"message": "hi"}', b"unknown")
    assert datetime.fromisoformat(fields[b"timestamp"].decode()).utcoffset() == timedelta(0)


@pytest.mark.requirement("JE-1")
async def test_a_stream_lives_for_the_retention_after_its_last_event_and_each_job_has_its_own(redis: Redis) -> None:
    publisher = JobEventPublisher(redis, retention(ended_seconds=60))
    await publisher.publish_task_started("a", "t")
    await publisher.publish_task_started("b", "t")
    await redis.pexpire(keys.job_events("a"), 5_000)
    await publisher.publish_task_progress("a", "t", "half")
    assert 50_000 < await redis.pttl(keys.job_events("a")) <= 60_000
    assert await publisher.get_stream_length("a") == 2
    assert await publisher.get_stream_length("b") == 1


@pytest.mark.requirement("JE-1")
async def test_a_stream_s_length_and_particulars_are_told_and_of_one_that_is_not_there_too(
    publisher: JobEventPublisher,
) -> None:
    assert await publisher.get_stream_length("j") == 0
    assert await publisher.get_stream_info("j") is None
    first = await publisher.publish_task_started("j", "t")
    last = await publisher.publish_task_completed("j", "t", {})
    assert await publisher.get_stream_length("j") == 2
    info = await publisher.get_stream_info("j")
    assert info is not None
    assert info["length"] == 2
    assert (info["first-entry"][0].decode(), info["last-entry"][0].decode()) == (first, last)


@pytest.mark.requirement("JE-1", "JE-5")
async def test_many_publish_at_once_and_every_event_is_there(valkey_url: str) -> None:
    async with open_redis(valkey_url, name="test", max_connections=8) as client:
        publisher = JobEventPublisher(client, RETENTION)
        ids = await asyncio.gather(*(publisher.publish_task_progress("j", "t", number) for number in range(200)))
        stored = await _stored(client, "j")
    assert {entry_id.decode() for entry_id, _ in stored} == set(ids)
    assert sorted(json.loads(fields[b"data"])["progress"] for _, fields in stored) == list(range(200))


@pytest.mark.requirement("JE-1")
async def test_a_client_that_answers_text_does_as_well(valkey_url: str, redis: Redis) -> None:
    async with Redis.from_url(valkey_url, decode_responses=True) as client:
        publisher = JobEventPublisher(client, RETENTION)
        entry_id = await publisher.publish_task_started("j", "t")
        assert await publisher.get_stream_length("j") == 1
    assert (await _stored(redis, "j"))[0][0].decode() == entry_id


@pytest.mark.requirement("JE-2")
@pytest.mark.parametrize(
    "event",
    [
        {"event_type": "x", "value": object()},
        {"event_type": "x", "value": float("nan")},
        {"event_type": "x", "value": b"bytes"},
        {"event_type": "x", "value": "half of a pair: \ud83d"},
        {"event_type": "x", ("a", "tuple"): 1},
        {"event_type": "x", "value": "v" * MAX_DATA_BYTES},
        {"event_type": 7},
        {"event_type": ""},
        {"event_type": "\ud83d"},
        {"event_type": "t" * 101},
        ["no", "object"],
        None,
    ],
    ids=[
        "no JSON",
        "NaN",
        "bytes",
        "half a pair",
        "a key that is no text",
        "too large",
        "a type that is no text",
        "an empty type",
        "half a pair as type",
        "a type too long",
        "a list",
        "nothing",
    ],
)
async def test_what_can_never_be_published_is_logged_and_refused_for_good(
    publisher: JobEventPublisher, redis: Redis, capsys: pytest.CaptureFixture[str], event: Any
) -> None:
    with pytest.raises(JobEventRejected):
        await publisher.publish_event("j", event)
    assert "job_event_not_published" in capsys.readouterr().out
    assert not await redis.exists(keys.job_events("j"))


@pytest.mark.requirement("JE-2")
async def test_an_event_that_holds_itself_is_refused(publisher: JobEventPublisher) -> None:
    event: dict[str, Any] = {"event_type": "x"}
    event["itself"] = event
    with pytest.raises(JobEventRejected):
        await publisher.publish_event("j", event)


@pytest.mark.requirement("JE-2")
@pytest.mark.parametrize("job_id", ["", "a/b", "a b", "{a}", "ä", "j" * 65, "a\n", "\ud83d", 7], ids=ascii)
async def test_an_id_under_which_nobody_could_read_is_refused(
    publisher: JobEventPublisher, capsys: pytest.CaptureFixture[str], job_id: Any
) -> None:
    with pytest.raises(JobEventRejected):
        await publisher.publish_task_started(job_id, "t")
    assert "job_event_not_published" in capsys.readouterr().out


@pytest.mark.requirement("JE-2")
async def test_a_key_of_another_kind_refuses_the_event_and_stays_as_it_is(
    publisher: JobEventPublisher, redis: Redis
) -> None:
    await redis.set(keys.job_events("j"), "mine", px=3_600_000)
    with pytest.raises(JobEventRejected, match="WRONGTYPE"):
        await publisher.publish_task_started("j", "t")
    assert await redis.get(keys.job_events("j")) == b"mine"
    assert await redis.pttl(keys.job_events("j")) > 3_590_000


@pytest.mark.requirement("JE-2")
async def test_a_redis_that_is_away_or_full_is_logged_and_told_as_what_may_pass(
    valkey: Valkey, redis: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_redis(_NOBODY, name="test") as nobody:
        with pytest.raises(JobEventUnavailable) as away:
            await JobEventPublisher(nobody, RETENTION).publish_task_started("j", "t", secret="unsaid")
    assert isinstance(away.value, JobEventError)
    assert isinstance(away.value, RedisUnavailable)
    captured = capsys.readouterr().out
    assert "job_event_not_published" in captured
    assert "task_started" in captured
    assert "unsaid" not in captured

    await redis.config_set("maxmemory", 1)
    with pytest.raises(JobEventUnavailable):
        await JobEventPublisher(redis, RETENTION).publish_task_started("j", "t")
    await redis.config_set("maxmemory", 0)
    await JobEventPublisher(redis, RETENTION).publish_task_started("j", "t")


@pytest.mark.requirement("JE-2")
async def test_a_redis_that_says_nothing_holds_a_job_up_for_a_bounded_time(valkey: Valkey, redis: Redis) -> None:
    publisher = JobEventPublisher(redis, RETENTION, timeout_seconds=0.2)
    await publisher.publish_task_started("j", "t")
    valkey.freeze()
    with pytest.raises(JobEventUnavailable, match=r"0\.2 s"):
        await publisher.publish_task_progress("j", "t", "lost?")
    valkey.thaw()
    # The client is whole: the answer to the publish that was given up is not taken for that of the next one.
    entry_id = await publisher.publish_task_completed("j", "t", {})
    assert (await _stored(redis, "j"))[-1][0].decode() == entry_id


@pytest.mark.requirement("JE-2", "JE-5")
def test_a_client_that_outlived_its_event_loop_is_refused_with_a_reason(valkey_url: str) -> None:
    with warnings.catch_warnings():
        # What such a client leaves behind is a connection that nobody can close any more.
        warnings.simplefilter("ignore", ResourceWarning)
        _publish_in_two_loops(valkey_url)
        gc.collect()


def _publish_in_two_loops(valkey_url: str) -> None:
    publisher = JobEventPublisher(open_redis(valkey_url, name="test"), RETENTION)

    async def publish() -> None:
        await publisher.publish_task_started("j", "t")

    async def publish_in_another_loop() -> None:
        with pytest.raises(JobEventRejected, match="loop"):
            await publish()

    asyncio.run(publish())
    asyncio.run(publish_in_another_loop())


@pytest.mark.requirement("JE-3")
async def test_events_are_read_a_part_at_a_time_and_by_type(publisher: JobEventPublisher, redis: Redis) -> None:
    assert await read_job_events(redis, "j", limit=5) is None
    ids = [await publisher.publish_task_progress("j", "t", number) for number in range(450)]
    ids.append(await publisher.publish_task_completed("j", "t", {}))
    first = await read_job_events(redis, "j", limit=300)
    assert first is not None
    assert [event.entry_id for event in first] == ids[:300]
    rest = await read_job_events(redis, "j", after=first[-1].entry_id, limit=300)
    assert rest is not None
    assert [event.entry_id for event in rest] == ids[300:]
    assert await read_job_events(redis, "j", after=ids[-1], limit=300) == []
    ends = await read_job_events(redis, "j", limit=1, event_type="task_completed")
    assert ends is not None
    assert [event.entry_id for event in ends] == ids[-1:]
    assert await read_job_events(redis, "j", limit=1, event_type="task_failed") == []


async def _run_example(redis_url: str, *arguments: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(_EXAMPLE),
        *arguments,
        env={**os.environ, "REDIS_URL": redis_url},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    async with asyncio.timeout(30):
        output, _ = await process.communicate()
    return process.returncode, output.decode()


@pytest.mark.requirement("JE-5")
async def test_a_synchronous_task_publishes_in_each_of_its_runs_from_a_process_without_a_loop(
    valkey_url: str, redis: Redis
) -> None:
    code, output = await _run_example(valkey_url, "celery-1", "eins zwei\ndrei 四")
    assert (code, output) == (0, "run 1: 4 words\nrun 2: 4 words\n")
    events = [json.loads(fields[b"data"]) for _, fields in await _stored(redis, "celery-1")]
    one_run = ["task_started", "task_progress", "task_progress", "task_completed"]
    assert [event["event_type"] for event in events] == one_run * 2
    assert [event["line"] for event in events[1:3]] == ["eins zwei", "drei 四"]
    assert events[-1]["result"] == {"words": 4}
    assert 0 < await redis.pttl(keys.job_events("celery-1")) <= 3_600_000


@pytest.mark.requirement("JE-2", "JE-5")
async def test_a_task_ends_with_its_result_although_none_of_its_events_could_be_published() -> None:
    code, output = await _run_example(_NOBODY, "celery-1", "eins zwei")
    assert code == 0
    assert "run 1: 2 words\n" in output
    assert "run 2: 2 words\n" in output
    assert output.count("job_event_not_published") == 6
    assert "Traceback" not in output
