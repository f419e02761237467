"""Tasks of a real MCP server: a call that is answered with a handle, and is asked for until it has ended."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from tool_runner.tool import ToolContext, ToolFailed
from tool_runner.tool.definition import AsksPerson, InProgress

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


def asks(notes: Path, schema: Any = None, *, key: str = "a", message: str = "Which printer?") -> None:
    asked = {"method": "elicitation/create", "params": {"message": message, "requestedSchema": schema or {}}}
    tells(notes, status="input_required", inputRequests={key: asked})


async def asked_of(stage: McpStage, handle: Mapping[str, Any]) -> AsksPerson:
    answer = await look(stage, InProgress(handle, 0))
    assert isinstance(answer, AsksPerson)
    return answer


NAMED = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


@pytest.mark.parametrize(
    ("approved", "action"), [(True, {"action": "accept", "content": {}}), (False, {"action": "decline"})]
)
async def test_what_a_task_asks_is_asked_of_a_person_and_answered_as_the_protocol_says(
    stage: McpStage, tmp_path: Path, approved: bool, action: dict[str, Any]
) -> None:
    notes = tmp_path / "notes"
    task = await begun(stage, notes)
    asks(notes)
    question = await asked_of(stage, task.handle)
    assert (question.elicitation.source, question.elicitation.message) == ("s", "Which printer?")
    assert "Which printer?" in question.otherwise
    assert (await asked_of(stage, question.handle)).elicitation == question.elicitation, (
        "looked at twice, it is the same"
    )

    handle = {**question.handle, "answer": {"approved": approved}}
    working = await look(stage, InProgress(handle, 0))
    assert isinstance(working, InProgress), "its server may see the answer later"
    assert lines_of(notes)[-1] == f"answered {json.dumps({'a': action})}"
    assert "answer" not in working.handle

    asks(notes, key="b", message="And the paper?")
    again = await asked_of(stage, working.handle)
    assert again.elicitation.message == "And the paper?"
    assert again.elicitation.approval_id != question.elicitation.approval_id
    tells(notes, status="completed", result={"content": [{"type": "text", "text": "printed"}]})
    assert await look(stage, InProgress({**again.handle, "answer": {"approved": True}}, 0)) == "printed"


async def test_a_person_is_asked_again_for_what_the_server_cannot_take(stage: McpStage, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    task = await begun(stage, notes)
    asks(notes, NAMED)
    question = await asked_of(stage, task.handle)
    again = await asked_of(stage, {**question.handle, "answer": {"approved": True}})
    assert again.elicitation.problem == "name is needed."
    assert again.elicitation.approval_id != question.elicitation.approval_id
    await look(stage, InProgress({**again.handle, "answer": {"approved": True, "reason": "blue"}}, 0))
    content = {"a": {"action": "accept", "content": {"name": "blue"}}}
    assert lines_of(notes)[-1] == f"answered {json.dumps(content)}"


async def test_an_answer_waits_while_the_server_is_away(http_server: HttpServer, tmp_path: Path) -> None:
    async with mcp_stage({"s": http_server.settings()}) as stage:
        task = await begun(stage, tmp_path / "notes")
        asks(tmp_path / "notes")
        question = await asked_of(stage, task.handle)
        tool = await stage.tool("s__slowly")
        http_server.kill()
        handle = {**question.handle, "answer": {"approved": True}}
        waits = await tool.look(handle, cast("ToolContext", Watcher()))
        http_server.start()
    assert isinstance(waits, InProgress)
    assert waits.handle == handle


async def test_a_task_that_asks_what_no_approval_answers_is_cancelled_and_the_model_told(
    stage: McpStage, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    task = await begun(stage, notes)
    two = {"first": {"type": "string"}, "last": {"type": "string", "title": "Family name"}}
    asks(notes, {"type": "object", "properties": two, "required": list(two)})
    failed = await failure(stage, task)
    assert failed.type == "INPUT_REQUIRED"
    assert "only a person can say: Which printer? (first, Family name)" in failed.message
    assert lines_of(notes)[-1].startswith("cancelled")


async def test_a_call_that_is_no_task_cannot_ask_and_says_what_it_would_have_asked(stage: McpStage) -> None:
    with pytest.raises(ToolFailed) as failed:
        await stage.call("s__ask", question="Delete it all?")
    assert "only a person can say" in failed.value.message.lower()
    assert "Delete it all?" in failed.value.message


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
