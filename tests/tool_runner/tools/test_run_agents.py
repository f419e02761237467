"""The tool `run_agents` against a real model server: its agents are followed live, and heard by each other."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from pydantic import ValidationError
from redis.asyncio import Redis
from sluiceway.feeds.agent_events import AgentEvent
from tool_runner.tool import ToolFailed
from tool_runner.tools.agents.speech import PIECE_CHARS
from tool_runner.tools.run_agents import run_agents

from harness.databases.valkey import Valkey
from harness.model_server import ModelServer
from harness.waiting import wait_until
from tests.tool_runner.tools.stage import OPERATION, Stage, stage_for

pytestmark = pytest.mark.requirement("AG-5")

USUAL = ["Product manager", "Engineer", "Reviewer"]
TEAM = [{"name": "Ada", "role": "Count."}, {"name": "Bob", "role": "Check."}]
LONG = " ".join(f"word{number}" for number in range(300))


@pytest.fixture
async def stage(redis: Redis, model: ModelServer) -> AsyncIterator[Stage]:
    async with stage_for(redis, model, model_attempts=2) as opened:
        yield opened


def types_of(events: Sequence[AgentEvent], name: str) -> list[str]:
    return [event.event_type for event in events if event.agent_name == name]


def said_by(events: Sequence[AgentEvent], name: str) -> str:
    return "".join(event.content for event in events if event.agent_name == name and event.event_type == "output")


async def test_a_team_of_three_works_one_after_the_other_and_hears_what_was_said(
    stage: Stage, model: ModelServer
) -> None:
    await model.script({"text": "A bridge for all."}, match="what is to be reached")
    await model.script({"text": "Steel and rope."}, match="step by step")
    await model.script({"text": "Rope rots. Use steel."}, match="what is weak")

    result = await stage.run(run_agents, goal="cross the river")

    assert result == {
        "goal": "cross the river",
        "outputs": [
            {"agent": "Product manager", "output": "A bridge for all."},
            {"agent": "Engineer", "output": "Steel and rope."},
            {"agent": "Reviewer", "output": "Rope rots. Use steel."},
        ],
        "final": "Rope rots. Use steel.",
    }
    requests = [str(request.body) for request in await model.requests()]
    assert all("cross the river" in body for body in requests)
    assert ["A bridge for all." in body for body in requests] == [False, True, True]
    assert ["Steel and rope." in body for body in requests] == [False, False, True]


async def test_their_events_are_a_numbered_stream_that_ends(stage: Stage, model: ModelServer) -> None:
    await model.script({"reasoning": "Let me think."}, {"text": "A bridge. For all."}, times=3)

    await stage.run(run_agents, goal="cross the river")

    events = await stage.agent_events()
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    for name in USUAL:
        assert types_of(events, name) == ["start", "action", "thought", "output", "end"]
    assert [event.event_type for event in events[-2:]] == ["complete", "connection_end"]
    thoughts = {event.content for event in events if event.event_type == "thought"}
    assert thoughts == {"Let me think."}
    found = await stage.context.agents.get(OPERATION)
    assert found is not None
    assert not found.open
    assert found.user_id == "ada"


async def test_the_browser_sees_each_event_as_a_part_of_the_answer(stage: Stage, model: ModelServer) -> None:
    await model.script({"text": "A bridge. For all."}, times=3)

    await stage.run(run_agents, goal="cross the river")

    events = [event for event in await stage.agent_events() if event.event_type != "connection_end"]
    parts = await stage.parts()
    assert {part.type for part in parts} == {"data-agent"}
    assert [part.data for part in parts] == [
        {
            "agent_name": event.agent_name,
            "event_type": event.event_type,
            "content": event.content,
            "sequence": event.sequence,
            "operation_id": OPERATION,
        }
        for event in events
    ]
    assert [part.id for part in parts] == [f"{OPERATION}-{event.sequence}" for event in events]


async def test_a_repeat_begins_a_new_stream_and_replaces_the_parts_of_the_first_run(
    stage: Stage, model: ModelServer
) -> None:
    await model.script({"text": "A bridge."}, times=6)

    await stage.run(run_agents, goal="cross the river")
    first = await stage.parts()
    await stage.run(run_agents, goal="cross the river")

    assert [part.id for part in (await stage.parts())[len(first) :]] == [part.id for part in first]
    assert (await stage.agent_events())[0].sequence == 1


async def test_what_is_said_is_seen_while_it_is_said(stage: Stage, model: ModelServer) -> None:
    await model.script({"text": f"{LONG} "}, {"gate": "middle"}, {"text": "and more"})
    work = asyncio.create_task(stage.run(run_agents, goal="talk", team=[{"name": "Ada"}]))

    async def seen() -> bool:
        shown = [part.data for part in await stage.parts() if part.data["event_type"] == "output"]
        return bool(shown) and LONG.startswith(shown[0]["content"].strip())

    await wait_until(seen)
    await model.open_gate("middle")
    assert (await work)["final"] == f"{LONG} and more"


async def test_a_long_output_comes_in_a_few_pieces_that_join_to_the_whole(stage: Stage, model: ModelServer) -> None:
    text = f"{LONG} {LONG}"
    await model.script({"tokens": 600, "rate": 0, "of": text}, {"finish": "stop"})

    result = await stage.run(run_agents, goal="talk", team=[{"name": "Ada"}])

    events = await stage.agent_events()
    pieces = [event for event in events if event.event_type == "output"]
    assert 1 <= len(pieces) <= 2 * len(text) / PIECE_CHARS
    assert said_by(events, "Ada") == result["final"] == text
    assert [event.metadata["piece"] for event in pieces] == list(range(1, len(pieces) + 1))
    assert [event.content for event in events if event.event_type == "thought"] != [""]


async def test_an_output_ends_in_the_same_way_whenever_its_pieces_are_told(stage: Stage, model: ModelServer) -> None:
    await model.script({"text": f"{LONG} "}, {"gate": "heard"}, {"finish": "stop"})
    running = asyncio.create_task(stage.run(run_agents, goal="talk", team=[{"name": "Ada"}]))
    await wait_until(lambda: _said_something(stage), what="a piece is told that has all")
    await model.open_gate("heard")
    assert (await running)["final"] == LONG == said_by(await stage.agent_events(), "Ada")


async def _said_something(stage: Stage) -> bool:
    return any(event.event_type == "output" for event in await stage.agent_events())


async def test_an_answer_that_breaks_off_begins_again_and_says_so(stage: Stage, model: ModelServer) -> None:
    await model.script({"text": LONG}, {"cut": "fin"})
    await model.script({"text": "Short."})

    result = await stage.run(run_agents, goal="talk", team=[{"name": "Ada"}])

    assert result["final"] == "Short."
    events = await stage.agent_events()
    assert types_of(events, "Ada") == ["start", "action", "thought", "output", "action", "thought", "output", "end"]
    assert [event.metadata["piece"] for event in events if event.event_type == "output"] == [1, 1]


async def test_an_output_at_its_limit_shows_that_it_is_not_whole(stage: Stage, model: ModelServer) -> None:
    await model.script({"text": "And then we"}, {"finish": "length"})

    result = await stage.run(run_agents, goal="talk", team=[{"name": "Ada"}])

    assert result["final"] == "And then we …"
    assert said_by(await stage.agent_events(), "Ada") == "And then we …"


async def test_progress_and_job_events_name_who_is_at_work(stage: Stage, model: ModelServer) -> None:
    await model.script({"text": "One."}, times=2)

    result = await stage.run(run_agents, goal="count", team=TEAM)

    events = await stage.job_events()
    assert [(event["event_type"], event.get("percent")) for event in events] == [
        ("task_started", None),
        ("task_progress", 0),
        ("task_progress", 50),
        ("task_completed", None),
    ]
    assert [event.get("progress") for event in events[1:3]] == ["Ada, 1 of 2", "Bob, 2 of 2"]
    assert events[-1]["result"] == result
    assert (await stage.progress())[0]["message"] == "Ada, 1 of 2"


@pytest.mark.parametrize(
    ("steps", "error_type"),
    [
        ([{"status": 500}], "MODEL_UNAVAILABLE"),
        ([{"text": ""}], "MODEL_EMPTY"),
        ([{"garbage": "type"}], "MODEL_GARBAGE"),
    ],
)
async def test_a_fault_of_the_model_is_an_event_of_the_agent_and_closes_the_stream(
    stage: Stage, model: ModelServer, steps: list[dict[str, object]], error_type: str
) -> None:
    await model.script({"text": "One."}, match="Count.")
    await model.script(*steps, match="Check.", times=10)

    with pytest.raises(ToolFailed) as failure:
        await stage.run(run_agents, goal="count", team=TEAM)

    assert failure.value.type == error_type
    await stage.context.reporter.finish()
    error, end = (await stage.agent_events())[-2:]
    assert (error.agent_name, error.event_type, error.content) == ("Bob", "error", failure.value.message)
    assert end.event_type == "connection_end"
    assert (await stage.parts())[-1].data["event_type"] == "error"
    assert (await stage.job_events())[-1]["event_type"] == "task_failed"


async def test_cancelling_closes_the_request_and_the_stream(stage: Stage, model: ModelServer) -> None:
    work = asyncio.create_task(stage.run(run_agents, goal="talk [[tokens=100000 rate=100]]"))
    await model.wait_for(lambda seen: seen.tokens_sent)

    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work

    await model.wait_for(lambda seen: seen.client_closed_at, timeout=1)
    assert [event.event_type for event in (await stage.agent_events())[-2:]] == ["error", "connection_end"]
    assert (await stage.job_events())[-1]["event_type"] == "task_stopped"
    assert len(await model.requests()) == 1


async def test_the_team_works_on_where_its_stream_was_closed_by_another(stage: Stage, model: ModelServer) -> None:
    await model.script({"text": "One."}, {"gate": "go"})
    await model.script({"text": "Two."})
    work = asyncio.create_task(stage.run(run_agents, goal="count", team=TEAM))
    await model.wait_for(lambda seen: seen.tokens_sent)
    await stage.context.agents.close(OPERATION)
    await model.open_gate("go")

    result = await work

    assert [output["output"] for output in result["outputs"]] == ["One.", "Two."]
    numbers = [part.data["sequence"] for part in await stage.parts()]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_the_team_works_on_while_redis_is_away(stage: Stage, model: ModelServer, valkey: Valkey) -> None:
    await model.script({"text": "One."}, {"gate": "go"})
    work = asyncio.create_task(stage.run(run_agents, goal="count", team=[{"name": "Ada"}]))
    await model.wait_for(lambda seen: seen.tokens_sent)
    valkey.stop()
    await model.open_gate("go")

    assert (await work)["final"] == "One."


@pytest.mark.parametrize("team", [[], [{"name": ""}], [{"name": str(number)} for number in range(7)]])
def test_a_team_has_one_to_six_agents_with_names(team: list[dict[str, str]]) -> None:
    with pytest.raises(ValidationError):
        run_agents.read({"goal": "x", "team": team})


def test_the_text_of_a_command_is_its_goal() -> None:
    assert run_agents.spec().text_field == "goal"
