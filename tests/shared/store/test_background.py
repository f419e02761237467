"""Turns that make way for a message while they only wait for operations, and the turns that continue them."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from gateway.wire.exports import as_markdown
from sluiceway.errors import SessionBusy
from sluiceway.store.operations.operation_end import EndOutcome, OperationEnd, ReportedEnd
from sluiceway.store.records import Message, Operation, Task
from sluiceway.store.turns.accepting import AcceptedTurn, NewTurn
from sluiceway.store.turns.approving import Decision
from sluiceway.store.turns.ending import TurnEnd
from sluiceway.wire.message import Part
from sluiceway.wire.results import results_in

from harness.databases.database import Database
from tests.completion_consumer.scene import PENDING, Scene, Waiting

SESSION = "s-background"
SAID = TurnEnd("completed", [{"type": "text", "text": "so it is"}], {"status": "completed"})


@pytest.fixture
async def scene(valkey_url: str, database_url: str) -> AsyncIterator[Scene]:
    async with Scene.open(valkey_url, database_url) as opened:
        yield opened


async def say(scene: Scene, text: str, **more: Any) -> AcceptedTurn:
    return await scene.store.turns.accept(NewTurn(**{"session_id": SESSION, "user_id": None, "text": text, **more}))


async def ended(scene: Scene, operation: Operation, output: Any = "the result") -> EndOutcome:
    ending = OperationEnd("succeeded", output, output)
    return await scene.store.completions.complete(ReportedEnd(operation.id, operation.task_id, ending, "d"))


async def in_background(scene: Scene, *statuses: Any) -> tuple[Waiting, AcceptedTurn]:
    waiting = await scene.waiting(*(statuses or (PENDING,)), session_id=SESSION)
    return waiting, await say(scene, "and meanwhile?")


async def reloaded(scene: Scene, task: Task) -> Task:
    found = await scene.store.turns.get(task.id)
    assert found is not None
    return found


async def active(scene: Scene) -> str | None:
    found = await scene.store.sessions.active_task(SESSION)
    return found.id if found is not None else None


async def heard_by(scene: Scene, task: Task) -> Sequence[Message]:
    """What was said before a turn."""
    return (await scene.store.conversations.before(task, max_messages=10, max_bytes=100_000)).messages


async def run_to_end(scene: Scene, task: Task, end: TurnEnd = SAID) -> None:
    claimed = await scene.store.turns.claim(task.id)
    assert claimed is not None
    assert claimed.status == "running"
    assert await scene.store.turns.end(claimed, end, attempt=claimed.attempt)


@pytest.mark.requirement("CH-19")
async def test_a_message_is_answered_at_once_while_the_turn_only_waits_for_operations(scene: Scene) -> None:
    waiting, accepted = await in_background(scene)

    assert (accepted.active, accepted.position) == (True, 0)
    assert accepted.made_way is not None
    assert accepted.made_way.background.id == waiting.task.id
    assert await active(scene) == accepted.task.id
    standing = await reloaded(scene, waiting.task)
    assert (standing.status, standing.open_operations) == ("waiting", 1)
    heard = (await scene.store.conversations.before(accepted.task, max_messages=10, max_bytes=100_000)).messages
    assert [message.role for message in heard] == ["user", "assistant", "user"], "with what was said before"
    assert heard[1].metadata == {"taskId": waiting.task.id, "background": [waiting.operation.tool_call_id]}
    claimed = await scene.store.turns.claim(waiting.task.id)
    assert claimed is not None
    assert claimed.status == "waiting", "no worker takes it"


@pytest.mark.requirement("CH-19")
async def test_a_turn_that_is_to_be_cancelled_makes_no_way(scene: Scene) -> None:
    waiting = await scene.waiting(PENDING, session_id=SESSION)
    await scene.store.turns.request_cancel(waiting.task.id, None)

    accepted = await say(scene, "and meanwhile?")

    assert (accepted.made_way, await active(scene)) == (None, waiting.task.id)


@pytest.mark.requirement("CH-19")
async def test_it_is_continued_once_at_the_end_of_the_conversation_with_its_results(
    scene: Scene, database: Database
) -> None:
    waiting, accepted = await in_background(scene, PENDING, PENDING)
    asked = {"client_tools": {"look": {}}, "answer_format": {"name": "f", "schema": {}, "strict": False}}
    await database.execute(
        "UPDATE tasks SET client_tools = $2, answer_format = $3 WHERE id = $1",
        waiting.task.id,
        *map(json.dumps, asked.values()),
    )
    first, second = waiting.operations
    assert not (await ended(scene, first, {"rows": 3})).resumes
    assert await scene.store.background.carry_on(waiting.task) is None, "it waits still"
    assert (await ended(scene, second)).resumes

    message = await scene.store.turns.message(waiting.task)
    assert message is not None
    beside: list[Part] = [
        {"type": "data-agent", "id": f"o-{number}", "data": {"content": "Hm."}} for number in range(2)
    ]
    shown = [*message.parts, *beside, {"type": "text", "text": "of another answer", "state": "done"}]

    carried = [scene.store.background.carry_on(waiting.task, shown) for _ in range(5)]
    continued = [one for one in await asyncio.gather(*carried) if one]

    assert len(continued) == 1
    by = continued[0].by
    assert by is not None
    assert (by.status, by.continues, await active(scene)) == ("queued", waiting.task.id, accepted.task.id)
    kept = await scene.store.turns.message(waiting.task)
    assert kept is not None
    assert kept.parts == [*message.parts, *beside], "what its tools have shown beside their calls"
    assert {"client_tools": by.client_tools, "answer_format": by.answer_format} == asked
    assert (await reloaded(scene, waiting.task)).status == "completed"
    await run_to_end(scene, accepted.task)
    assert await active(scene) == by.id
    *_, answer, brought = (await scene.store.conversations.before(by, max_messages=10, max_bytes=100_000)).messages
    assert answer.parts == SAID.parts
    assert (brought.role, brought.metadata) == ("user", {"continues": waiting.task.id})
    assert [(one["toolCallId"], one["toolName"], one["output"]) for one in results_in(brought.parts)] == [
        (first.tool_call_id, "look_up", {"rows": 3}),
        (second.tool_call_id, "look_up", "the result"),
    ]
    assert await scene.store.background.continued_by(waiting.task.id) == by.id
    assert await scene.store.background.of_session(SESSION) == []


@pytest.mark.requirement("CH-19")
@pytest.mark.parametrize("first", ["the answer", "the result"])
async def test_a_call_that_does_not_block_its_turn_is_answered_by_a_turn_of_its_own(scene: Scene, first: str) -> None:
    """Whichever is there first; once, however many look."""
    started = await scene.waiting(PENDING, PENDING, session_id=SESSION, background=True)
    turn, (one, other) = started.task, started.operations
    standing = await reloaded(scene, turn)
    assert (standing.status, standing.open_operations) == ("running", 0), "it goes on"
    assert not (await ended(scene, one, {"rows": 3})).resumes
    message = await scene.store.turns.message(turn)
    assert message is not None
    answer = TurnEnd(
        "completed", [*with_no_results(message.parts), {"type": "text", "text": "I began."}], {"model": "m"}
    )
    if first == "the result":
        assert not (await ended(scene, other)).resumes
    assert await scene.store.background.carry_on(turn) is None, "it runs"

    made = await scene.store.stepping_back.step_back(turn, answer)

    assert made is not None
    assert (made.following, await active(scene)) == (None, None)
    assert made.background.open_operations == (0 if first == "the result" else 1)
    if first == "the answer":
        assert (await ended(scene, other)).resumes
    continued = [got for got in await asyncio.gather(*[scene.store.background.carry_on(turn) for _ in range(3)]) if got]
    assert [got.by.continues for got in continued if got.by is not None] == [turn.id]
    assert continued[0].by is not None
    *_, said, brought = await heard_by(scene, continued[0].by)
    assert (said.parts[1]["output"], said.parts[-1]["text"]) == ({"rows": 3}, "I began.")
    assert said.metadata == {
        "model": "m",
        "status": "completed",
        "taskId": turn.id,
        "background": [one.tool_call_id, other.tool_call_id],
    }
    assert [call["output"] for call in results_in(brought.parts)] == [{"rows": 3}, "the result"]


def with_no_results(parts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """As its worker has them, which hears of no result."""
    unanswered = {"state": "input-available"}
    return [
        {k: v for k, v in (part | unanswered).items() if k != "output"} if "input" in part else part for part in parts
    ]


@pytest.mark.requirement("CH-19")
async def test_the_next_step_loses_nothing_of_what_calls_came_to_meanwhile(scene: Scene) -> None:
    started = await scene.waiting(PENDING, session_id=SESSION, background=True)
    message = await scene.store.turns.message(started.task)
    assert message is not None
    await ended(scene, started.operation)

    mixed = await scene.store.turns.pause(
        started.task,
        [*with_no_results(message.parts), {"type": "text", "text": "and then"}],
        [],
        None,
        {"background": [started.operation.tool_call_id]},
    )

    assert mixed.paused == "running"
    message = await scene.store.turns.message(started.task)
    assert message is not None
    assert (message.parts[1]["output"], message.parts[-1]["text"]) == ("the result", "and then")


@pytest.mark.requirement("CH-19")
async def test_a_turn_that_waits_for_other_calls_makes_way_with_those_that_do_not_block_it(scene: Scene) -> None:
    started = await scene.waiting(PENDING, session_id=SESSION, background=True)
    blocking = await scene.step(await scene.next_step(started.task), PENDING)
    assert (await reloaded(scene, started.task)).open_operations == 1

    accepted = await say(scene, "and meanwhile?")

    assert accepted.made_way is not None
    assert accepted.made_way.background.open_operations == 2
    assert not (await ended(scene, blocking.operation)).resumes
    assert (await ended(scene, started.operation)).resumes
    continued = await scene.store.background.carry_on(started.task)
    assert continued is not None
    assert continued.by is not None
    *_, brought = await heard_by(scene, continued.by)
    assert len(results_in(brought.parts)) == 2


@pytest.mark.requirement("CH-16", "CH-19")
async def test_a_turn_that_is_to_ask_its_person_waits_for_what_did_not_block_it(scene: Scene) -> None:
    started = await scene.waiting(PENDING, "approval", session_id=SESSION, background=True)
    runs, asks = started.operations

    assert await scene.store.stepping_back.block(started.task) == "waiting"

    assert (await reloaded(scene, started.task)).open_operations == 1
    message = await scene.store.turns.message(started.task)
    assert message is not None
    assert not (message.metadata or {}).get("background")
    assert (await ended(scene, runs)).resumes, "as any other"
    found = await scene.store.operations.get(asks.id)
    assert found is not None
    assert found.background, "what is to be approved does not block yet"


@pytest.mark.requirement("CH-19")
async def test_a_turn_steps_back_once_and_not_where_it_was_taken_over_or_is_to_end(scene: Scene) -> None:
    started = await scene.waiting(PENDING, session_id=SESSION, background=True)
    other = await scene.waiting(PENDING, background=True)
    made = [await scene.store.stepping_back.step_back(started.task, SAID) for _ in range(2)]
    assert [one is None for one in made] == [False, True]
    await scene.store.turns.request_cancel(other.task.id, None)
    assert await scene.store.stepping_back.step_back(other.task, SAID) is None
    assert await scene.store.stepping_back.block(other.task) is None
    third = await scene.waiting(PENDING, background=True)
    await scene.store.turns.claim(third.task.id)
    assert await scene.store.stepping_back.step_back(third.task, SAID) is None


@pytest.mark.requirement("CH-12", "CH-19")
async def test_who_asks_to_wait_waits_and_others_do_not_overtake_him(scene: Scene) -> None:
    waiting = await scene.waiting(PENDING, session_id=SESSION)
    patient = await say(scene, "after that", policy="enqueue")
    other = await say(scene, "me too")
    with pytest.raises(SessionBusy):
        await say(scene, "or not at all", policy="reject")
    assert [(one.active, one.made_way) for one in (patient, other)] == [(False, None)] * 2
    assert (await ended(scene, waiting.operation)).resumes
    assert (await scene.next_step(waiting.task)).id == waiting.task.id, "it goes on itself"


@pytest.mark.requirement("CH-19")
async def test_no_turn_that_waits_for_a_person_makes_way(scene: Scene) -> None:
    waiting = await scene.waiting(PENDING, "approval", session_id=SESSION)
    accepted = await say(scene, "and meanwhile?")
    assert (accepted.active, accepted.position, accepted.made_way) == (False, 1, None)
    assert await active(scene) == waiting.task.id


@pytest.mark.requirement("CH-19")
async def test_a_message_that_came_while_the_turn_still_ran_does_not_wait_for_its_operations_either(
    scene: Scene,
) -> None:
    """Whichever comes first: the message, or the pause. Also where the worker died between its pause and its look."""
    for number in range(10):
        session_id = f"{SESSION}-{number}"
        accepted = await scene.store.turns.accept(NewTurn(session_id, None, "please", create_session=True))
        await scene.turns.dispatch.publish(accepted.task)
        task = await scene.store.turns.claim(accepted.task.id)
        assert task is not None
        coming = scene.store.turns.accept(NewTurn(session_id, None, "and meanwhile?"))
        _, message = await asyncio.gather(scene.step(task, PENDING), coming)
        standing = await scene.store.sessions.active_task(session_id)
        assert standing is not None
        assert standing.id == message.task.id, "it waits for a tool"


@pytest.mark.requirement("CH-19")
async def test_a_continuing_turn_takes_no_question_away_from_a_person(scene: Scene) -> None:
    waiting, accepted = await in_background(scene)
    running = await scene.store.turns.claim(accepted.task.id)
    assert running is not None
    asking = await scene.step(running, "approval")
    await ended(scene, waiting.operation)
    continued = await scene.store.background.carry_on(waiting.task)
    assert continued is not None
    assert continued.by is not None
    message = await scene.store.turns.message(running)
    assert message is not None
    await scene.store.turns.end(running, TurnEnd("completed", message.parts, {}, awaits=True), attempt=running.attempt)
    assert await active(scene) is None
    assert await scene.store.turns.activate_next(SESSION) is None, "the person has not answered yet"

    answered = await scene.store.turns.answer(running.id, None, {asking.operation.tool_call_id: Decision(False)})

    assert answered.task is not None
    assert await active(scene) == answered.task.id
    await run_to_end(scene, answered.task)
    assert await active(scene) == continued.by.id


@pytest.mark.requirement("CH-19")
async def test_an_interrupt_and_an_edit_of_its_question_end_what_is_in_the_background_and_others_do_not(
    scene: Scene,
) -> None:
    waiting, accepted = await in_background(scene)
    again = await say(scene, "rather this", message_id=accepted.task.user_message_id, edit=True)
    assert (again.stopped, again.interrupted) == ([], None), "nobody had begun that one"
    edited = await say(scene, "all anew", message_id=waiting.task.user_message_id, edit=True)
    assert [one.id for one in edited.stopped] == [waiting.task.id]
    await ended(scene, waiting.operation)
    assert await scene.store.background.carry_on(waiting.task) is None, "it is to be cancelled"

    other = await scene.waiting(PENDING, session_id="s-other")
    await say(scene, "meanwhile", session_id="s-other")
    interrupting = await say(scene, "stop all that", session_id="s-other", policy="interrupt")
    assert [one.id for one in interrupting.stopped] == [other.task.id]


@pytest.mark.requirement("CH-19")
async def test_nothing_is_continued_on_a_branch_that_is_not_shown_and_its_results_stand_in_its_message(
    scene: Scene, database: Database
) -> None:
    waiting, accepted = await in_background(scene)
    await run_to_end(scene, accepted.task)
    await scene.store.branches.fork(SESSION, None, None, "forked")
    [_, answer, *_] = (await scene.store.sessions.messages("forked", None, 10)).messages
    (call,) = (part for part in answer.parts if "toolCallId" in part)
    assert (call["state"], call["errorText"][:9]) == ("output-error", "CANCELLED"), "it is awaited where it was made"
    # Another branch, as somebody leaves this one.
    await database.execute(
        "UPDATE messages SET superseded = true WHERE session_id = $1 AND id = $2", SESSION, waiting.task.message_id
    )
    assert (await ended(scene, waiting.operation)).resumes

    continued = await scene.store.background.carry_on(waiting.task)

    assert continued is not None
    assert (continued.by, continued.ended.status) == (None, "completed")
    assert (await scene.part(waiting.operation))["output"] == "the result"


@pytest.mark.requirement("CH-19")
async def test_a_client_that_has_not_seen_the_continuing_turn_writes_behind_it(scene: Scene) -> None:
    """The stock client names the message that it shows last. What nobody asked for is not in its way."""
    waiting, accepted = await in_background(scene)
    await run_to_end(scene, accepted.task)
    await ended(scene, waiting.operation)
    continued = await scene.store.background.carry_on(waiting.task)
    assert continued is not None
    assert continued.by is not None

    behind = await say(scene, "and then?", parent_id=accepted.task.message_id)

    assert (behind.position, behind.cancelled, behind.interrupted) == (1, [], None)
    assert await active(scene) == continued.by.id


@pytest.mark.requirement("CH-19")
async def test_what_runs_in_the_background_keeps_its_session_and_is_no_text_of_anybody_s(scene: Scene) -> None:
    waiting, accepted = await in_background(scene)
    await run_to_end(scene, accepted.task)
    retention = scene.store.retention
    assert await retention.purge_sessions("old_sessions", timedelta(), 10) == []
    await ended(scene, waiting.operation)
    continued = await scene.store.background.carry_on(waiting.task)
    assert continued is not None
    assert continued.by is not None
    await run_to_end(scene, continued.by)
    session = await scene.store.sessions.get(SESSION, None)
    messages = await scene.store.sessions.messages_after(SESSION, 0, 100)

    async def no_more(session_id: str, after: int) -> list[Message]:
        return []

    pieces = [piece async for piece in as_markdown(session, messages, no_more, contextlib.nullcontext)]
    text = "".join([piece if isinstance(piece, str) else piece.decode() for piece in pieces])
    assert [text.count(f"## {who}") for who in ("You", "Assistant")] == [2, 3]
    assert len(await retention.purge_sessions("old_sessions", timedelta(), 10)) == 1
