"""The bridge for CrewAI with the real package: its event bus, its agents and its tools, on a real Valkey."""

import asyncio
import json
import os
from pathlib import Path

import pytest
from redis.asyncio import Redis
from sluiceway.feeds.agent_events import AgentEvent, AgentStreams

from harness.model_server.client import ModelServer
from harness.retention import RETENTION

_CREW = Path(__file__).with_name("crew.py")
_OFFLINE = {"CREWAI_DISABLE_TELEMETRY": "true", "OTEL_SDK_DISABLED": "true", "CREWAI_TRACING_ENABLED": "false"}
_EVENTS = 40
_THREADS = 12


async def _run(python: Path, home: Path, *arguments: str) -> None:
    """CrewAI keeps what it remembers below the home directory: here one of the test."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        str(python),
        str(_CREW),
        *arguments,
        env={**kept, **_OFFLINE, "HOME": str(home)},
        cwd=home,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(120):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode(errors="replace")[-10_000:] or "it said nothing"


async def _answers_of_a_crew(model: ModelServer) -> None:
    await model.script({"text": 'Thought: I look it up.\nAction: look_up\nAction Input: {"word": "Fluss"}'})
    await model.script({"text": "Thought: I know.\nFinal Answer: Ein Fluss ist 河."})
    await model.script({"text": "Thought: Fine.\nFinal Answer: Good."})


def _of(events: list[AgentEvent], name: str) -> list[tuple[str, str]]:
    return [(event.agent_name, event.content) for event in events if event.event_type == name]


@pytest.mark.requirement("AG-2")
async def test_what_a_real_crew_thinks_does_and_says_is_published_in_its_order(
    crew_python: Path, tmp_path: Path, valkey_url: str, redis: Redis, model: ModelServer
) -> None:
    await _answers_of_a_crew(model)
    await _run(crew_python, tmp_path, valkey_url, model.url, "kickoff")
    events = await AgentStreams(redis, RETENTION).events("crew")
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert [(event.event_type, event.agent_name) for event in events] == [
        ("start", "dictionary"),
        ("start", "Writer"),
        ("thought", "Writer"),
        ("action", "Writer"),
        ("output", "Writer"),
        ("thought", "Writer"),
        ("output", "Writer"),
        ("end", "Writer"),
        ("start", "Reviewer"),
        ("thought", "Reviewer"),
        ("output", "Reviewer"),
        ("end", "Reviewer"),
        ("complete", "dictionary"),
        ("connection_end", ""),
    ]
    assert "Define a river." in _of(events, "start")[1][1]
    assert "I look it up" in _of(events, "thought")[0][1]
    [action] = [event for event in events if event.event_type == "action"]
    assert json.loads(action.content) == {"word": "Fluss"}
    assert action.metadata == {"event": "tool_usage_started", "task": "define", "tool": "look_up"}
    assert _of(events, "output") == [
        ("Writer", "Fluss = 河"),
        ("Writer", "Ein Fluss ist 河."),
        ("Reviewer", "Good."),
    ]
    assert _of(events, "complete") == [("dictionary", "Good.")]


@pytest.mark.requirement("AG-2", "AG-3")
async def test_events_of_crews_that_run_in_threads_side_by_side_keep_their_order_and_never_mix(
    crew_python: Path, tmp_path: Path, valkey_url: str, redis: Redis, model: ModelServer
) -> None:
    await _run(crew_python, tmp_path, valkey_url, model.url, "threads")
    streams = AgentStreams(redis, RETENTION)
    assert len(await streams.list_active()) == _THREADS + 1
    for number in range(_THREADS):
        await _holds_all_of(streams, f"crew-{number}", f"agent {number}")
    await _holds_all_of(streams, "crew-loop", "agent of a loop")


async def _holds_all_of(streams: AgentStreams, task_id: str, author: str) -> None:
    events = await streams.events(task_id)
    assert {event.agent_name for event in events} == {author}
    assert [event.sequence for event in events] == list(range(1, 2 * _EVENTS + 1))
    assert [event.event_type for event in events] == ["action", "output"] * _EVENTS
    assert [json.loads(event.content)["number"] for event in events[::2]] == list(range(_EVENTS))
    assert [event.content for event in events[1::2]] == [f"{author} {number} ?" for number in range(_EVENTS)]


@pytest.mark.requirement("AG-2")
async def test_a_crew_that_fails_is_told_and_a_crew_that_nobody_can_watch_continues(
    crew_python: Path, tmp_path: Path, valkey_url: str, redis: Redis, model: ModelServer
) -> None:
    await _answers_of_a_crew(model)
    await _run(crew_python, tmp_path, valkey_url, model.url, "failing")
    streams = AgentStreams(redis, RETENTION)
    events = await streams.events("crew")
    assert [event.event_type for event in events][-2:] == ["error", "connection_end"]
    assert {name for name, _ in _of(events, "error")} >= {"Writer", "dictionary"}
    assert await streams.get("nobody") is None
