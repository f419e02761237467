"""A turn is let go for its operations, and goes on after them: what is durable, and in which order it is told."""

from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest
from sluiceway import keys
from sluiceway.store.operations.operation_end import OperationEnd, ReportedEnd
from sluiceway.store.records import Task
from sluiceway.store.turns.accepting import NewTurn
from sluiceway.wire.events import ToolOutputAvailable
from sluiceway.wire.message import Part

from tests.completion_consumer.scene import Scene
from tests.shared.store.new_call import call

STEP: list[Part] = [{"type": "step-start"}]
USED = {"inputTokens": 7}


@pytest.fixture
async def scene(valkey_url: str, database_url: str) -> AsyncIterator[Scene]:
    async with Scene.open(valkey_url, database_url) as opened:
        yield opened


async def running(scene: Scene) -> Task:
    """A turn in a worker's hand."""
    new = NewTurn(session_id="s", user_id=None, text="please", create_session=True)
    accepted = await scene.store.turns.accept(new)
    await scene.streams.registry.create(accepted.task.fields)
    task = await scene.store.turns.claim(accepted.task.id)
    assert task is not None
    await scene.streams.writer.begin(task.fields, task.attempt)
    return task


@pytest.mark.requirement("CH-9")
async def test_calls_are_stored_in_their_order_and_those_that_can_be_run_are_to_be_queued(scene: Scene) -> None:
    task = await running(scene)
    calls = [call("one"), call("two", "failed"), call("three"), call("four", "approval")]

    let_go = await scene.store.turns.pause(task, STEP, calls, USED)

    assert let_go.paused == "waiting"
    assert [operation.tool_name for operation in let_go.operations] == ["one", "three"]
    stored = await scene.store.operations.of_task(task.id)
    assert [operation.tool_name for operation in stored] == ["one", "two", "three", "four"]
    assert [operation.status for operation in stored] == ["pending", "failed", "pending", "approval"]
    assert [operation.input for operation in stored] == [one.input for one in calls]
    assert [operation.error for operation in stored] == [one.error for one in calls]
    assert [operation.ended_at is not None for operation in stored] == [False, True, False, False]
    assert {operation.traceparent for operation in stored} == {task.traceparent}
    standing = await scene.store.turns.get(task.id)
    assert standing is not None
    assert (standing.status, standing.open_operations, standing.usage) == ("waiting", 2, USED)
    message = await scene.store.turns.message(task)
    assert message is not None
    assert message.parts == STEP


@pytest.mark.requirement("CH-9")
async def test_a_step_that_ends_again_because_an_answer_was_lost_queues_the_operations_that_it_stored(
    scene: Scene,
) -> None:
    task = await running(scene)
    calls = [call("one"), call("two")]
    first = await scene.store.turns.pause(task, STEP, calls, None)

    again = await scene.store.turns.pause(task, STEP, calls, None)

    assert again == first
    assert len(await scene.store.operations.of_task(task.id)) == 2


@pytest.mark.requirement("CH-9")
async def test_a_step_whose_calls_all_failed_continues_running_however_often_it_ends(scene: Scene) -> None:
    task = await running(scene)
    calls = [call("one", "failed")]

    for _ in range(2):
        let_go = await scene.store.turns.pause(task, STEP, calls, None)
        assert (let_go.paused, list(let_go.operations)) == ("running", [])
    assert len(await scene.store.operations.of_task(task.id)) == 1


@pytest.mark.requirement("CH-9")
async def test_an_attempt_that_was_overtaken_or_cancelled_stores_nothing(scene: Scene) -> None:
    task = await running(scene)
    await scene.store.turns.request_cancel(task.id, None)
    assert (await scene.store.turns.pause(task, STEP, [call("one")], USED)).paused == "cancelled"
    assert await scene.store.turns.claim(task.id) is not None
    assert (await scene.store.turns.pause(task, STEP, [call("one")], USED)).paused == "fenced"

    assert await scene.store.operations.of_task(task.id) == []
    message = await scene.store.turns.message(task)
    assert message is not None
    assert message.parts == []


async def carried_out(scene: Scene, work: Awaitable[object]) -> list[str]:
    """The commands that the server carried out for it, in their order, those of scripts too. It had forgotten all
    scripts before."""
    await scene.redis.script_flush()
    commands: list[str] = []
    async with scene.redis.monitor() as monitor:
        await work
        await scene.redis.echo("the end")
        while not commands or commands[-1] != "ECHO the end":
            commands.append((await monitor.next_command())["command"])
    return commands


def place(commands: list[str], *words: str) -> int:
    """Of the first command with all these words."""
    return next(number for number, command in enumerate(commands) if all(word in command for word in words))


@pytest.mark.requirement("CH-9")
async def test_redis_learns_that_a_turn_waits_before_anybody_can_run_its_operations(scene: Scene) -> None:
    task = await running(scene)

    commands = await carried_out(scene, scene.turns.pause.pause(task, STEP, [call("one"), call("two")], None))

    waits = place(commands, "HSET", keys.task_meta(task.id), "status waiting")
    assert waits < place(commands, "XADD", keys.work_queue("tools.default"))
    operations = await scene.store.operations.of_task(task.id)
    assert await scene.queued("tools.default", "operation_id") == [one.id for one in operations]
    entries: Any = await scene.redis.xrange(keys.work_queue("tools.default"))
    noted = await scene.streams.entries.find([(task.id, one.id) for one in operations])
    assert noted == [entry_id.decode() for entry_id, _ in entries]


@pytest.mark.requirement("CC-6")
async def test_an_output_is_shown_before_anybody_can_begin_the_next_step(scene: Scene) -> None:
    waiting = await scene.waiting()
    operation = waiting.operation
    ending = OperationEnd("succeeded", "done", "done")
    outcome = await scene.store.completions.complete(ReportedEnd(operation.id, waiting.task.id, ending, "digest"))
    assert outcome.resumes
    assert outcome.task is not None
    output = ToolOutputAvailable(tool_call_id=operation.tool_call_id, output="done")

    commands = await carried_out(scene, scene.turns.resume.resume(outcome.task, operation, [output]))

    shown = place(commands, "XADD", keys.task_events(waiting.task.id), "tool-output-available")
    assert shown < place(commands, "XADD", keys.work_queue("chat"))
    assert await scene.next_steps(waiting.task) == 1
