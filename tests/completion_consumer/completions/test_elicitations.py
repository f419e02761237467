"""Questions of outside services: asked once, of a person who is there, and answered where the service is told."""

from dataclasses import replace
from typing import Any

import pytest
from completion_consumer.completions.applying import Applying
from sluiceway.errors import ApprovalConflict
from sluiceway.store.operations.operation_end import EndOutcome, OperationEnd, ReportedEnd
from sluiceway.store.records import Operation, Task
from sluiceway.store.turns.accepting import NewTurn
from sluiceway.store.turns.approving import Decision
from sluiceway.store.turns.ending import TurnEnd
from sluiceway.wire.elicitation import ELICITATION_TYPE, INPUT_REQUIRED, Elicitation
from sluiceway.wire.events import Finish
from sluiceway.wire.jobs import CompletionJob, OperationError

from harness.databases.database import Database
from tests.completion_consumer.scene import PENDING, Scene, Waiting

pytestmark = pytest.mark.requirement("CH-10")

HANDLE = {"taskId": "t-1", "count": 1}
PRINTER = Elicitation(approval_id="apr_1", source="printer", message="Two-sided?")
DUE = "UPDATE operations SET poll_at = now()"


async def accepted(scene: Scene, *, others: int = 0, background: bool = False) -> Waiting:
    """A turn whose first call an outside service has, which is asked how it goes."""
    waiting = await scene.waiting(PENDING, *[PENDING] * others, background=background)
    operation = waiting.operations[0]
    assert await scene.store.operations.start(operation.id, "runner")
    assert await scene.store.polls.accepted(operation.id, 1, HANDLE, 60)
    return waiting


async def asks(scene: Scene, waiting: Waiting, elicitation: Elicitation = PRINTER) -> EndOutcome:
    """What the consumer makes of a runner's word."""
    turns, operation = scene.turns, waiting.operations[0]
    applying = Applying(scene.store, scene.streams.output, turns.resume, turns.background, turns.dispatch, 10_000)
    error = OperationError(type=INPUT_REQUIRED, message="asks: Two-sided?")
    job = CompletionJob(
        operation_id=operation.id, task_id=operation.task_id, success=False, error=error, elicits=elicitation
    )
    return await applying.carry_out(CompletionJob.model_validate_json(job.encode()))


async def message_of(scene: Scene, task: Task) -> list[dict[str, Any]]:
    message = await scene.store.turns.message(task)
    assert message is not None
    return message.parts


async def ended_asking(scene: Scene, task: Task) -> None:
    """What the chat worker does with a turn whose calls wait for a person."""
    claimed = await scene.next_step(task)
    end = TurnEnd("completed", await message_of(scene, task), {}, awaits=True)
    assert await scene.turns.ending.end(claimed, end, [Finish(finish_reason="tool-calls")]) == "completed"


async def answered(scene: Scene, waiting: Waiting, approved: bool, reason: str | None = None) -> tuple[Task, Operation]:
    """The turn that continues with the answer has queued what is to be told."""
    call = waiting.operations[0].tool_call_id
    noted = await scene.store.turns.answer(waiting.task.id, None, {call: Decision(approved, reason)})
    assert noted.task is not None
    continuing = await scene.next_step(noted.task)
    let_go = await scene.store.turns.begin_approved(continuing)
    (operation,) = let_go.operations
    return continuing, operation


async def handle_of(scene: Scene, operation: Operation) -> Any:
    polled = await scene.store.polls.get(operation.id)
    assert polled is not None
    return polled.handle


async def test_a_question_is_asked_once_shown_and_stored_however_often_it_is_reported(scene: Scene) -> None:
    waiting = await accepted(scene)
    outcome = await asks(scene, waiting)
    assert (outcome.kind, outcome.resumes) == ("applied", True)
    assert (await asks(scene, waiting)).kind == "repeat"

    operation = waiting.operations[0]
    part = await scene.part(operation)
    assert (part["state"], part["approval"]) == ("approval-requested", {"id": "apr_1"})
    call = operation.tool_call_id
    data = {"toolCallId": call, "source": "printer", "message": "Two-sided?", "content": {}}
    question = {"type": ELICITATION_TYPE, "id": "apr_1", "data": data}
    assert (await message_of(scene, waiting.task))[-1] == question
    shown = await scene.chunks(operation)
    assert shown == [{"type": "tool-approval-request", "approvalId": "apr_1", "toolCallId": call}]
    await ended_asking(scene, waiting.task)
    session = await scene.store.sessions.get(waiting.task.session_id, None)
    assert session.approval_task_id == waiting.task.id, "its person is waited for"
    assert await scene.dead_letters() == []


async def test_the_rest_of_the_step_is_waited_for_before_a_turn_ends_to_ask(scene: Scene) -> None:
    waiting = await accepted(scene, others=1)
    assert not (await asks(scene, waiting)).resumes
    other = waiting.operations[1]
    ending = ReportedEnd(other.id, other.task_id, OperationEnd("succeeded", "well", "well"), "d")
    assert (await scene.store.completions.complete(ending)).resumes


@pytest.mark.parametrize(
    ("approved", "reason", "stored"),
    [(True, "blue", {"approved": True, "reason": "blue"}), (False, None, {"approved": False})],
)
async def test_an_answer_either_way_is_the_services_to_be_told_and_its_word_ends_the_call(
    scene: Scene, approved: bool, reason: str | None, stored: dict[str, Any]
) -> None:
    waiting = await accepted(scene)
    await asks(scene, waiting)
    await ended_asking(scene, waiting.task)
    continuing, operation = await answered(scene, waiting, approved, reason)
    assert operation.status == "accepted"
    assert await handle_of(scene, operation) == {**HANDLE, "answer": stored}
    assert (await scene.part(operation))["approval"] == {"id": "apr_1", **stored}
    call = operation.tool_call_id
    with pytest.raises(ApprovalConflict):
        await scene.store.turns.answer(waiting.task.id, None, {call: Decision(not approved)})

    await scene.store.polls.again(operation.id, HANDLE, HANDLE, 60)
    assert "answer" in await handle_of(scene, operation), "a late look takes it away from nobody"
    assert (await asks(scene, waiting)).kind == "repeat", "nor does a late report ask again"
    assert await scene.state(operation) == "accepted"

    ending = ReportedEnd(operation.id, continuing.id, OperationEnd("succeeded", "printed", "printed"), "d")
    assert (await scene.store.completions.complete(ending)).resumes
    part = await scene.part(operation)
    assert (part["state"], part["output"]) == ("output-available", "printed")
    # An output beside a denial is nothing that a stock client knows.
    assert part.get("approval") == ({"id": "apr_1", **stored} if approved else None)


async def test_a_service_that_asks_once_more_is_answered_once_more(scene: Scene) -> None:
    waiting = await accepted(scene)
    await asks(scene, waiting)
    await ended_asking(scene, waiting.task)
    continuing, operation = await answered(scene, waiting, True)
    await scene.store.polls.again(operation.id, await handle_of(scene, operation), HANDLE, 60)
    now = replace(waiting, task=continuing, operations=[operation])
    assert (await asks(scene, now, PRINTER.model_copy(update={"approval_id": "apr_2"}))).kind == "applied"
    await ended_asking(scene, continuing)
    _, operation = await answered(scene, now, False)
    assert (await handle_of(scene, operation))["answer"] == {"approved": False}


@pytest.mark.parametrize("how", ["its turn is in the background", "it never blocked its turn"])
async def test_where_nobody_looks_for_a_question_the_call_fails_with_it_and_the_service_is_told(
    scene: Scene, database: Database, how: str
) -> None:
    waiting = await accepted(scene, background=how.startswith("it never"))
    operation = waiting.operations[0]
    if not operation.background:
        made = await scene.store.turns.accept(NewTurn(waiting.task.session_id, None, "and meanwhile?"))
        assert made.made_way is not None
    assert (await asks(scene, waiting)).kind == "applied"
    assert (await scene.part(operation))["errorText"] == "INPUT_REQUIRED: asks: Two-sided?"
    await database.execute(DUE)
    assert [one.id for one in await scene.store.polls.due(10)] == [operation.id]


async def test_who_is_not_answered_is_told_so(scene: Scene, database: Database) -> None:
    waiting = await accepted(scene)
    await asks(scene, waiting)
    await ended_asking(scene, waiting.task)
    await database.execute(DUE)
    assert await scene.store.polls.due(10) == [], "while a person is waited for, the service is not asked"
    await scene.store.turns.accept(NewTurn(waiting.task.session_id, None, "never mind"))
    assert await scene.state(waiting.operations[0]) == "cancelled"
    await database.execute(DUE)
    assert [one.status for one in await scene.store.polls.due(10)] == ["cancelled"]


async def test_a_question_that_the_stream_lacks_is_shown_by_the_turns_next_step(scene: Scene) -> None:
    waiting = await accepted(scene)
    operation = waiting.operations[0]
    assert await scene.store.elicitations.ask(operation.id, operation.task_id, PRINTER)
    fold, lacking = await scene.turns.message.shown(waiting.task)
    assert [event.type for event in lacking] == [ELICITATION_TYPE, "tool-approval-request"]
    assert fold.calls()[operation.tool_call_id]["approval"] == {"id": "apr_1"}
