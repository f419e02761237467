"""What a running tool says is seen while it runs, and harms nothing when it cannot be shown."""

import json
from typing import Any

import pytest
from redis.asyncio import Redis
from sluiceway import keys

from harness.databases.valkey import Valkey
from harness.processes.services import Service
from harness.waiting import wait_until
from tests.tool_runner.operations import Caller


@pytest.mark.requirement("CH-9")
async def test_progress_is_shown_the_latest_of_it_and_every_part(runner: Service, caller: Caller) -> None:
    operation = await caller.call("long_work", place="gate")
    await wait_until(lambda: _shown(caller, operation, 95), what="the last progress is shown")
    shown = await caller.shown(operation)
    percents = [output["percent"] for output in shown]
    assert percents == sorted(set(percents))
    assert len(shown) <= 8  # 0.4 s of work, five a second at most, and the first at once
    assert shown[-1] == {"status": "running", "percent": 95, "message": "at 95", "data": {"step": 95}}
    await caller.open_gate("gate")
    await caller.end(operation)
    assert [part.data for part in await caller.parts(operation)] == list(range(0, 100, 5))


@pytest.mark.requirement("CH-9")
async def test_a_synchronous_tool_shows_its_progress_and_its_parts(runner: Service, caller: Caller) -> None:
    operation = await caller.call("add_in_thread", left=2, right=3)
    await caller.end(operation)

    async def parts() -> list[Any]:
        return [part.data for part in await caller.parts(operation)]

    assert await wait_until(parts, what="its part is shown") == [5]
    assert {"status": "running", "percent": 50, "message": "adding"} in await caller.shown(operation)


@pytest.mark.requirement("JE-4")
async def test_a_long_tool_publishes_its_life(runner: Service, caller: Caller) -> None:
    await caller.open_gate("gate")
    operation = await caller.call("long_work", place="gate")
    await caller.end(operation)
    await wait_until(lambda: _life(caller, operation, "task_completed"), what="the last job event")
    events = await caller.job_events(operation)
    assert events[0]["event_type"] == "task_started"
    assert {event["event_type"] for event in events[1:-1]} == {"task_progress"}
    assert events[-1] | {"timestamp": ""} == {
        "event_type": "task_completed",
        "task_type": "long_work",
        "status": "completed",
        "timestamp": "",
        "result": "through gate",
    }


async def test_a_job_event_that_cannot_be_published_harms_nothing(
    runner: Service, caller: Caller, redis: Redis
) -> None:
    await caller.open_gate("gate")
    await redis.set(keys.job_events("op_unlucky"), "no stream", ex=600)
    operation = await caller.call("long_work", place="gate", operation_id="op_unlucky")
    assert (await caller.end(operation)).result == "through gate"


async def test_an_ended_turn_stops_a_tool_that_shows_something(runner: Service, caller: Caller, redis: Redis) -> None:
    operation = await caller.call("long_work", place="gate")
    await wait_until(lambda: caller.shown(operation))
    await caller.cancel(operation)
    before = await redis.xlen(keys.task_events(operation.task_id))
    await wait_until(lambda: [line for line in runner.log_lines if line["event"] == "operation_ended"], timeout=3)
    assert await redis.xlen(keys.task_events(operation.task_id)) == before
    assert await caller.told(operation) == []
    events = await caller.job_events(operation)
    assert json.dumps(events[-1]).count("task_stopped") == 1


async def test_a_redis_that_stalls_delays_a_tool_and_loses_nothing(
    runner: Service, caller: Caller, valkey: Valkey
) -> None:
    operation = await caller.call("long_work", place="gate")
    await wait_until(lambda: caller.shown(operation))
    valkey.freeze()
    await wait_until(lambda: [line for line in runner.log_lines if line["event"] == "operations_not_looked_after"])
    valkey.thaw()
    await caller.open_gate("gate")
    assert (await caller.end(operation, timeout=40)).result == "through gate"
    await caller.all_acknowledged("long")
    assert len(await caller.told(operation)) == 1


async def _shown(caller: Caller, operation: Any, percent: int) -> bool:
    return any(output.get("percent") == percent for output in await caller.shown(operation))


async def _life(caller: Caller, operation: Any, last: str) -> bool:
    return bool((await caller.job_events(operation))[-1]["event_type"] == last)
