"""Which runner has an operation: after crashes, with duplicate entries, and when a tool is somewhere else."""

import signal

import pytest
from redis.asyncio import Redis
from sluiceway import keys

from harness.processes.services import Service, Services
from harness.waiting import wait_until
from tests.tool_runner.conftest import BAD_TOOLS
from tests.tool_runner.operations import Caller

SHORT = {"TOOLS_DIR": BAD_TOOLS, "LEASE_SECONDS": "1"}


async def began(caller: Caller, place: str, times: int = 1) -> list[str]:
    """Wait until a tool at this place has begun so often; the attempts that it was told."""
    return await wait_until(lambda: _marks(caller, place, times), what=f"{place} has begun {times} times")


async def _marks(caller: Caller, place: str, times: int) -> list[str]:
    marks = await caller.marks(f"{place}-began")
    return marks if len(marks) >= times else []


@pytest.mark.requirement("CC-2")
async def test_a_killed_runners_repeatable_tool_runs_again_elsewhere(
    services: Services, runner: Service, caller: Caller
) -> None:
    operation = await caller.call("waits", place="gate")
    await began(caller, "gate")
    await services.tool_runner(**SHORT)
    runner.kill9()
    assert await began(caller, "gate", 2) == ["1", "2"]
    await caller.open_gate("gate")
    assert (await caller.end(operation)).result == "through gate"


@pytest.mark.requirement("CH-9")
async def test_a_killed_runners_other_tools_are_interrupted(
    services: Services, runner: Service, caller: Caller
) -> None:
    operation = await caller.call("waits_once", place="gate")
    await began(caller, "gate")
    await services.tool_runner(**SHORT)
    runner.kill9()
    assert await caller.failure(operation) == "INTERRUPTED"
    assert await caller.marks("gate-began") == ["1"]


@pytest.mark.requirement("CC-3")
async def test_a_runner_that_lives_keeps_what_it_has(services: Services, runner: Service, caller: Caller) -> None:
    operation = await caller.call("waits_once", place="gate")
    await began(caller, "gate")
    second = await services.tool_runner(**SHORT)
    # A second entry of the same operation comes to either of them, and is dropped.
    for _ in range(2):
        await caller.operations.publish([operation])

    def dropped() -> int:
        lines = runner.log_lines + second.log_lines
        return sum(line["event"] == "duplicate_entry" for line in lines)

    await wait_until(lambda: dropped() == 2, what="both duplicates are dropped")
    await caller.open_gate("gate")
    assert (await caller.end(operation)).result == "through gate"
    assert await caller.runs(operation) == 1
    await caller.all_acknowledged()


@pytest.mark.requirement("CC-3")
async def test_a_frozen_runner_that_wakes_up_tells_nothing(services: Services, runner: Service, caller: Caller) -> None:
    operation = await caller.call("waits", place="gate")
    await began(caller, "gate")
    await services.tool_runner(**SHORT)
    runner.freeze()
    await began(caller, "gate", 2)
    runner.thaw()
    await wait_until(lambda: [line for line in runner.log_lines if line["event"] in ("lease_lost", "operation_lost")])
    await caller.open_gate("gate")
    assert (await caller.end(operation)).result == "through gate"
    assert await caller.runs(operation) == 2


async def test_an_entry_that_comes_after_the_end_begins_nothing(runner: Service, caller: Caller) -> None:
    operation = await caller.call("add", left=1, right=1)
    await caller.end(operation)
    await caller.operations.publish([operation])
    await caller.all_acknowledged()
    assert len(await caller.told(operation)) == 1
    assert await caller.runs(operation) == 1


@pytest.mark.requirement("CH-13")
async def test_a_cancelled_turns_tool_is_stopped_and_tells_nothing(runner: Service, caller: Caller) -> None:
    operation = await caller.call("waits_once", place="gate")
    await began(caller, "gate")
    await caller.cancel(operation)
    await wait_until(
        lambda: [line for line in runner.log_lines if line["event"] == "operation_ended"], timeout=3, what="it stops"
    )
    (ended,) = [line for line in runner.log_lines if line["event"] == "operation_ended"]
    assert ended["status"] == "unwanted"
    assert await caller.told(operation) == []
    await caller.all_acknowledged()


async def test_an_unknown_tool_is_unavailable_after_a_while(services: Services, caller: Caller) -> None:
    await services.tool_runner(TOOL_WAIT_SECONDS="1")
    operation = await caller.call("nobody_has_it")
    assert await caller.failure(operation) == "TOOL_UNAVAILABLE"
    await caller.all_acknowledged()


async def test_a_tool_that_another_runner_offers_gets_there(services: Services, caller: Caller) -> None:
    await services.tool_runner(TOOL_WAIT_SECONDS="0")
    await services.tool_runner(**SHORT)
    operations = [await caller.call("add", left=n, right=n) for n in range(4)]
    assert [(await caller.end(one)).result for one in operations] == [2 * n for n in range(4)]


async def test_a_tool_with_a_limit_runs_no_more_often_at_once(runner: Service, caller: Caller) -> None:
    first = await caller.call("one_at_a_time", place="first")
    await began(caller, "first")
    second = await caller.call("one_at_a_time", place="second")
    # Others are not held up, and are later than the second one's turn would be.
    assert await caller.ask("add", left=1, right=1) == 2
    assert await caller.marks("second-began") == []
    await caller.open_gate("first")
    await caller.end(first)
    await began(caller, "second")
    await caller.open_gate("second")
    assert (await caller.end(second)).result == "through second"


@pytest.mark.requirement("CC-10")
async def test_a_drained_runner_releases_what_it_cannot_finish(services: Services, caller: Caller) -> None:
    first = await services.tool_runner(**SHORT, DRAIN_SECONDS="0.2")
    operation = await caller.call("waits", place="gate")
    await began(caller, "gate")
    await services.tool_runner(**SHORT)
    assert await first.terminate() == 0
    assert await began(caller, "gate", 2) == ["1", "2"]
    await caller.open_gate("gate")
    assert (await caller.end(operation)).result == "through gate"


@pytest.mark.requirement("CC-10")
async def test_a_drained_runner_finishes_what_it_can(services: Services, caller: Caller) -> None:
    runner = await services.tool_runner(**SHORT, DRAIN_SECONDS="10")
    operation = await caller.call("waits_once", place="gate")
    await began(caller, "gate")
    runner.send(signal.SIGTERM)
    await wait_until(lambda: [line for line in runner.log_lines if line["event"] == "draining"])
    await caller.open_gate("gate")
    assert (await caller.end(operation)).result == "through gate"
    assert await runner.exited() == 0


async def test_tools_are_offered_while_the_runner_is_ready(services: Services, caller: Caller) -> None:
    runner = await services.tool_runner(
        **SHORT,
        TOOLS_DISABLED='["current_time"]',
        TOOLS_NEEDING_APPROVAL='["add"]',
        DRAIN_SECONDS="10",
        TOOLS_IN_BACKGROUND='["greet"]',
    )
    specs = await caller.offered()
    assert (specs["greet"].background, specs["add"].background) == (True, False)
    assert {"web_fetch", "add", "greet", "generate_document"} <= specs.keys()
    assert "current_time" not in specs
    assert "http_operation" not in specs
    assert specs["add"].approval
    assert specs["dangerous"].approval
    assert specs["one_at_a_time"].queue == "one_at_a_time"
    assert specs["web_fetch"].text_field == "url"
    assert {specs["long_work"].queue, specs["generate_document"].queue} == {"long"}
    # Withdrawn at once when it is to end, before what is in flight has ended.
    await caller.call("waits", place="gate")
    await began(caller, "gate")
    runner.send(signal.SIGTERM)
    await wait_until(lambda: _nothing_offered(caller), timeout=2, what="nothing is offered")
    assert runner.alive
    await caller.open_gate("gate")
    assert await runner.exited() == 0


async def test_a_killed_runners_tools_go_out_of_the_catalogue(services: Services, caller: Caller, redis: Redis) -> None:
    runner = await services.tool_runner(**SHORT)
    assert "add" in await caller.offered()
    assert 0 < await redis.pttl(keys.CATALOGUE) <= 7000
    runner.kill9()
    await wait_until(lambda: _nothing_offered(caller), timeout=10, what="nothing is offered")


async def _nothing_offered(caller: Caller) -> bool:
    return not await caller.offered()


async def test_long_operations_hold_up_no_quick_ones(services: Services, caller: Caller) -> None:
    await services.tool_runner(**SHORT, LONG_SLOTS="1")
    first, second = [await caller.call("long_work", place="gate") for _ in range(2)]
    await began(caller, "gate")
    assert await caller.ask("add", left=1, right=1) == 2
    await caller.open_gate("gate")
    for operation in (first, second):
        await caller.end(operation)
