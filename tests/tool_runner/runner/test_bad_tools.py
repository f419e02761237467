"""Whatever a tool does, its operation ends once, with an error that says what happened, and the runner goes on."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from redis.asyncio import Redis

from harness.processes.services import Service, Services
from harness.waiting import wait_until
from tests.tool_runner.conftest import BAD_TOOLS
from tests.tool_runner.operations import Caller

EXPECTED_TRACES = "tool_raised|tools_not_loaded"


@pytest.mark.requirement("CC-7")
async def test_every_kind_of_failure_has_its_type(services: Services, runner: Service, caller: Caller) -> None:
    services.expect_in_logs(EXPECTED_TRACES)
    expected = {
        "raises": "FAILED",
        "fails": "NO_BANANAS",
        "leaves": "FAILED",
        "leaves_in_thread": "FAILED",
        "hangs": "TIMEOUT",
        "hangs_stubbornly": "TIMEOUT",
        "hangs_in_thread": "TIMEOUT",
        "wrong_type": "INVALID_RESULT",
        "circular": "INVALID_RESULT",
        "bytes_that_are_no_text": "INVALID_RESULT",
        "too_large": "RESULT_TOO_LARGE",
    }
    operations = {name: await caller.call(name) for name in expected}
    assert {name: await caller.failure(one) for name, one in operations.items()} == expected
    await caller.all_acknowledged()
    assert await caller.ask("add", left=1, right=2) == 3
    assert await runner.answers("/readyz")
    # Abandoned threads and tasks keep it from nothing, not even from ending.
    assert await runner.terminate() == 0


@pytest.mark.requirement("CC-10")
async def test_threads_and_tasks_that_nobody_knows_of_keep_a_runner_from_ending_for_seconds_only(
    runner: Service, caller: Caller
) -> None:
    assert await caller.failure(await caller.call("hangs_in_executor")) == "TIMEOUT"
    assert await caller.ask("leaves_a_task") == "here"
    await caller.all_acknowledged()
    assert await runner.terminate(timeout=15) == 0
    (told,) = (line for line in runner.log_lines if line["event"] == "end_forced")
    assert "left-by-a-tool (locks.py:" in str(told["tasks"])


async def test_an_error_says_type_and_reason_at_bounded_length(
    services: Services, runner: Service, caller: Caller
) -> None:
    services.expect_in_logs(EXPECTED_TRACES)
    job = await caller.end(await caller.call("raises"))
    assert job.error is not None
    assert job.error.message.startswith("KeyError: 'the reason!")
    assert len(job.error.message) <= 2000
    (line,) = (line for line in runner.log_lines if line["event"] == "tool_raised")
    assert "Traceback" in line["exception"]
    assert line["operation_id"] == job.operation_id


@pytest.mark.requirement("CH-8")
async def test_arguments_that_do_not_fit_are_explained(runner: Service, caller: Caller) -> None:
    job = await caller.end(await caller.call("add", left="many", right=-1))
    assert job.error is not None
    assert job.error.type == "INVALID_ARGUMENTS"
    assert "left: Input should be a valid integer" in job.error.message
    assert "right: Input should be greater than or equal to 0" in job.error.message


async def test_results_of_all_kinds_become_json(runner: Service, caller: Caller) -> None:
    assert await caller.ask("add_in_thread", left=2, right=3) == {"sum": 5, "user": "ada", "attempt": 1}
    assert await caller.ask("model_result") == {"name": "ü", "on": "2026-11-22"}
    assert await caller.ask("dataclass_result") == {"x": 1, "y": None}
    assert await caller.ask("greet", name="Ada", on="2026-11-22") == "Hello Ada"
    poisonous = await caller.ask("poisonous")
    assert "__proto__" not in poisonous
    assert "\x00" not in poisonous["text"]
    assert poisonous["inf"] is None


async def test_what_a_tool_prints_becomes_lines_of_the_log(runner: Service, caller: Caller) -> None:
    assert await caller.ask("prints", place="home") == "printed"

    def captured() -> dict[str, dict[str, str]]:
        return {line["text"]: line for line in runner.log_lines if line["event"] == "tool_output_captured"}

    await wait_until(lambda: len(captured()) >= 6)
    for text in ("on stdout at home", "on stderr", "without end", "{not json}"):
        assert captured()[text]["operation_id"].startswith("op_")
    assert {"from a child", "raw bytes \N{REPLACEMENT CHARACTER}"} <= captured().keys()
    for line in runner.output.splitlines():
        assert json.loads(line)["event"]


@pytest.mark.requirement("CH-9")
async def test_a_tool_that_kills_its_process_is_not_run_again_unless_it_may_be(
    services: Services, runner: Service, caller: Caller
) -> None:
    operation = await caller.call("kills")
    await runner.exited()
    await runner.start()
    assert await caller.failure(operation) == "INTERRUPTED"
    assert await caller.runs(operation) == 2


@pytest.mark.requirement("CC-2")
async def test_a_tool_that_kills_its_process_each_time_ends_as_a_dead_letter(
    services: Services, caller: Caller
) -> None:
    runner = await services.tool_runner(TOOLS_DIR=BAD_TOOLS, LEASE_SECONDS="1", MAX_DELIVERIES="2")
    operation = await caller.call("kills_again")
    for _ in range(2):
        await runner.exited()
        await runner.start("/healthz")
    assert await caller.failure(operation) == "GAVE_UP"
    (letter,) = await caller.store.dead_letters.newest(10)
    assert letter.task_id == operation.task_id
    await caller.all_acknowledged()


@pytest.mark.requirement("CC-4")
async def test_an_entry_that_cannot_be_read_is_kept(runner: Service, caller: Caller, redis: Redis) -> None:
    await redis.xadd("sw:q:tools.default:0", {"d": b"\xff not a job"})

    async def letters() -> list[bytes]:
        return [letter.body for letter in await caller.store.dead_letters.newest(10)]

    assert await wait_until(letters) == [b"\xff not a job"]


async def test_a_broken_file_stops_no_other_and_the_first_of_a_name_wins(
    services: Services, caller: Caller, tmp_path: Path
) -> None:
    services.expect_in_logs(EXPECTED_TRACES)
    folder = tmp_path / "tools"
    folder.mkdir()
    header = "from tool_runner.tool import tool\n\n"
    (folder / "a_broken.py").write_text("def (")
    (folder / "b_leaves.py").write_text("import sys\nsys.exit('bye')\n")
    (folder / "c_first.py").write_text(f"{header}@tool\ndef twice() -> str:\n    'First.'\n    return 'first'\n")
    (folder / "d_second.py").write_text(f"{header}@tool\ndef twice() -> str:\n    'Second.'\n    return 'second'\n")
    (folder / "e_invalid.py").write_text(f"{header}@tool(name='no name')\ndef bad() -> str:\n    return ''\n")
    (folder / "_hidden.py").write_text("raise RuntimeError")
    runner = await services.tool_runner(TOOLS_DIR=str(folder))
    assert await caller.ask("twice") == "first"
    errors = [line for line in runner.log_lines if line["level"] == "error"]
    named = {(line["event"], line.get("where") or line.get("tool")) for line in errors}
    assert named == {
        ("tools_not_loaded", "a_broken.py"),
        ("tools_not_loaded", "b_leaves.py"),
        ("tool_name_taken", "twice"),
        ("tool_not_valid", "no name"),
    }


async def test_the_deadline_ends_a_tool_before_its_timeout(runner: Service, caller: Caller) -> None:
    operation = await caller.call("waits", place="never", deadline_seconds=1)
    assert await caller.failure(operation) == "TIMEOUT"
    assert (datetime.now(UTC) - operation.created_at).total_seconds() < 10
