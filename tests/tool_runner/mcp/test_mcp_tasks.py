"""Tasks of a real MCP server: a call that is answered with a handle, and is asked for until it has ended."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from tool_runner.tool import ToolContext, ToolFailed
from tool_runner.tool.definition import InProgress

from harness.waiting import wait_until
from tests.tool_runner.mcp.mcp_stage import HttpServer, McpStage, Watcher, lines_of, mcp_stage, over_pipes

pytestmark = pytest.mark.requirement("CH-10")


@pytest.fixture(scope="module")
def http_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpServer]:
    server = HttpServer(tmp_path_factory.mktemp("mcp"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def stage(http_server: HttpServer) -> AsyncIterator[McpStage]:
    async with mcp_stage({"s": http_server.settings()}) as stage:
        yield stage


def tells(notes: Path, **state: Any) -> None:
    notes.with_suffix(".told").write_text(json.dumps(state))


async def begun(stage: McpStage, notes: Path) -> InProgress:
    answer = await stage.call("s__slowly", notes=str(notes))
    assert isinstance(answer, InProgress)
    return answer


async def look(stage: McpStage, begun: InProgress, watcher: Watcher | None = None) -> Any:
    tool = await stage.tool("s__slowly")
    async with asyncio.timeout(30):
        return await tool.look(begun.handle, cast("ToolContext", watcher or Watcher()))


async def failure(stage: McpStage, begun: InProgress) -> ToolFailed:
    with pytest.raises(ToolFailed) as failed:
        await look(stage, begun)
    return failed.value


async def test_a_task_is_asked_for_until_it_has_a_result(stage: McpStage, tmp_path: Path) -> None:
    task = await begun(stage, tmp_path / "notes")
    assert task.seconds == 0.5
    watcher = Watcher()
    assert await look(stage, task, watcher) == task
    assert watcher.said == [(None, "at it")]
    tells(tmp_path / "notes", status="completed", result={"content": [{"type": "text", "text": "slow and sure"}]})
    assert await look(stage, task) == "slow and sure"


@pytest.mark.parametrize(
    ("state", "kind", "said"),
    [
        ({"status": "completed", "result": {"isError": True, "content": []}}, "TOOL_ERROR", "reported an error"),
        ({"status": "completed", "result": {"content": 7}}, "INVALID_RESULT", "not valid"),
        ({"status": "failed", "error": {"code": -32603, "message": "no ink"}}, "TOOL_ERROR", "no ink"),
        ({"status": "cancelled"}, "TOOL_ERROR", "cancelled"),
        ({"status": "who knows"}, "INVALID_RESULT", "not valid"),
    ],
)
async def test_a_task_that_ends_badly_is_an_error_of_its_call(
    stage: McpStage, tmp_path: Path, state: dict[str, Any], kind: str, said: str
) -> None:
    task = await begun(stage, tmp_path / "notes")
    tells(tmp_path / "notes", **state)
    failed = await failure(stage, task)
    assert failed.type == kind
    assert said in failed.message


async def test_a_task_that_asks_a_person_is_cancelled_and_the_model_is_told_what_it_asks(
    stage: McpStage, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    task = await begun(stage, notes)
    asked = {"method": "elicitation/create", "params": {"message": "Which printer?", "requestedSchema": {}}}
    tells(notes, status="input_required", inputRequests={"a": asked})
    failed = await failure(stage, task)
    assert failed.type == "INPUT_REQUIRED"
    assert "Which printer?" in failed.message
    assert lines_of(notes)[-1].startswith("cancelled")


async def test_while_its_server_is_away_a_task_is_asked_for_later_and_a_forgotten_one_has_failed(
    http_server: HttpServer, tmp_path: Path
) -> None:
    async with mcp_stage({"s": http_server.settings()}) as stage:
        task = await begun(stage, tmp_path / "notes")
        tool = await stage.tool("s__slowly")
        http_server.kill()
        answer = await tool.look(task.handle, cast("ToolContext", Watcher()))
        assert answer == InProgress(task.handle, 10.0)
        http_server.start()

        async def asked() -> ToolFailed | None:
            try:
                await tool.look(task.handle, cast("ToolContext", Watcher()))
            except ToolFailed as failed:
                return failed
            return None

        failed = await wait_until(asked, 60, "the server is back")
    assert failed is not None
    assert (failed.type, failed.message) == ("TOOL_ERROR", "no such task")


async def test_a_child_process_is_not_told_of_tasks_as_no_other_runner_could_ask_it(tmp_path: Path) -> None:
    async with mcp_stage({"s": over_pipes()}) as stage:
        assert await stage.call("s__slowly", notes=str(tmp_path / "notes")) == "at once"
