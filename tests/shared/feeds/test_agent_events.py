"""Agent streams on a real Valkey: numbers without a gap from many processes, one stream a task, and how they end."""

import asyncio
import json
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from redis.asyncio import Redis
from sluiceway.feeds.agent_events import AgentEvent, AgentStreams

from tests.shared.feeds.agents import numbers, stored

_PROCESS = Path(__file__).parents[3] / "harness" / "processes" / "agents_process.py"


@pytest.mark.requirement("AG-1")
async def test_an_event_says_who_did_what_and_when_and_is_stored_as_it_says(
    streams: AgentStreams, redis: Redis
) -> None:
    generation = await streams.create("t")
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    event = await streams.publish("t", "Köchin 料理", "action", "würzt 🧂", {"tool": "Löffel", "deep": [{"x": None}]})
    assert (event.task_id, event.sequence, event.agent_name, event.event_type) == ("t", 1, "Köchin 料理", "action")
    assert (event.content, event.metadata) == ("würzt 🧂", {"tool": "Löffel", "deep": [{"x": None}]})
    assert before <= event.timestamp <= datetime.now(UTC)
    [(entry_id, fields)] = await stored(redis, "t", 0)
    assert entry_id == f"{generation}-1"
    assert fields[b"t"] == b"action"
    assert fields[b"d"] == event.encode()
    assert list(json.loads(fields[b"d"])) == [
        "task_id",
        "sequence",
        "agent_name",
        "event_type",
        "content",
        "timestamp",
        "metadata",
    ]
    assert json.loads(fields[b"d"])["timestamp"].endswith("Z")
    assert "würzt 🧂".encode() in fields[b"d"]
    assert await streams.events("t") == [event]


@pytest.mark.requirement("AG-1")
def test_an_event_is_a_frame_of_an_event_stream_with_its_letters() -> None:
    event = AgentEvent(
        task_id="t",
        sequence=3,
        agent_name="ä",
        event_type="output",
        content="two\nlines 河",
        timestamp=datetime(2026, 11, 22, 5, 4, 3, 21_999, timezone(timedelta(hours=2))),
    )
    frame = event.sse("17-3").decode()
    assert frame.startswith("id: 17-3\ndata: {")
    assert frame.endswith("}\n\n")
    assert frame.count("\n") == 3
    assert "河" in frame
    assert '"timestamp": "2026-11-22T03:04:03.021Z"' in frame
    assert event.sse().startswith(b"data: ")
    assert AgentEvent.model_validate_json(event.encode()) == event.model_copy(
        update={"timestamp": datetime(2026, 11, 22, 3, 4, 3, 21_000, UTC)}
    )


@pytest.mark.requirement("AG-1")
def test_an_event_as_it_was_first_stored_is_still_read() -> None:
    stored = (
        '{"task_id": "t", "sequence": 7, "agent_name": "a", "event_type": "complete", "content": "x",'
        ' "timestamp": "2026-11-22T01:02:03.004Z", "metadata": {}, "a member of later": 1}'
    )
    event = AgentEvent.model_validate_json(stored)
    assert (event.sequence, event.timestamp) == (7, datetime(2026, 11, 22, 1, 2, 3, 4000, UTC))


@pytest.mark.requirement("AG-1", "AG-2", "AG-3")
async def test_many_threads_of_many_processes_publish_to_many_tasks_without_a_gap_a_repeat_or_a_mixture(
    streams: AgentStreams, valkey_url: str
) -> None:
    tasks, events, threads, processes = ["a", "b", "c", "d"], 8, 20, 3
    for task_id in tasks:
        await streams.create(task_id)
    command = [sys.executable, str(_PROCESS), valkey_url]
    running = [
        await asyncio.create_subprocess_exec(*command, f"p{number}", str(threads), str(events), *tasks)
        for number in range(processes)
    ]
    assert await asyncio.gather(*(process.wait() for process in running)) == [0] * processes
    for task_id in tasks:
        found = await streams.events(task_id)
        assert numbers(found) == list(range(1, processes * threads * events + 1))
        assert all(event.content == f"{task_id} {event.agent_name}" for event in found)
        assert set(Counter(event.agent_name for event in found).values()) == {events}
        for author in {event.agent_name for event in found}:
            said = [event.metadata["number"] for event in found if event.agent_name == author]
            assert said == list(range(events))
