"""Every way out of a turn works where its data are the failure: refused by Postgres, or unlike any that we write."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sluiceway import keys
from sluiceway.errors import NotStorable
from sluiceway.store.operations.operation_end import OperationEnd
from sluiceway.store.records import Task
from sluiceway.store.turns.ending import TurnEnd
from sluiceway.turn.not_storable import ERROR, NOT_STORABLE
from sluiceway.wire.events import TERMINAL_TYPES, Event, Finish, TextDelta, TextEnd, TextStart

from harness.databases.database import Database
from tests.completion_consumer.scene import Scene
from tests.shared.store.new_call import call
from tests.shared.turn.claimed import claimed, shown

REFUSES = "ALTER TABLE messages ADD CHECK (role = 'user' OR position('unstorable' IN parts::text) = 0)"
SAID: list[Event] = [TextStart(id="1"), TextDelta(id="1", delta="unstorable"), TextEnd(id="1")]
TIMEOUT = {"code": "TURN_DEADLINE_EXCEEDED", "message": "Too late."}
TIMED_OUT = {"type": "TIMEOUT", "message": "Too late."}
UNREADABLE: list[Any] = [
    [{"type": "text"}],
    [{"type": "source-url"}, {"type": "tool-x", "toolCallId": "c"}],
    [{"type": "data-x", "data": {"__proto__": 1}}],
]
pytestmark = pytest.mark.requirement("CH-24", "TS-5", "CH-11")


@pytest.fixture
async def scene(valkey_url: str, database_url: str) -> AsyncIterator[Scene]:
    async with Scene.open(valkey_url, database_url) as opened:
        yield opened


async def _saying(scene: Scene, database: Database) -> Task:
    task = await claimed(scene)
    await scene.streams.writer.append(task.id, task.attempt, 2, SAID)
    await database.execute(REFUSES)
    return task


async def _has_ended(scene: Scene, task: Task, status: str) -> Task:
    """Once, in the store and in the stream."""
    ended = await scene.store.turns.get(task.id)
    assert ended is not None
    assert ended.status == status
    types = [event.type for event in await shown(scene, task)]
    assert len(TERMINAL_TYPES & set(types)) == 1
    assert types[-1] in TERMINAL_TYPES
    return ended


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
async def test_an_end_that_is_refused_is_written_without_what_is_refused_and_may_be_done_again(
    scene: Scene, database: Database, status: Any
) -> None:
    task = await _saying(scene, database)
    error = TIMEOUT if status == "failed" else None
    end = TurnEnd(status, [{"type": "text", "text": "unstorable", "state": "done"}], {"status": status}, error)
    expected: str = "failed" if status == "completed" else status
    assert await scene.turns.ending.end(task, end, [Finish()]) == expected
    # As after a commit whose answer was lost.
    assert await scene.turns.ending.end(task, end, [Finish()]) == expected
    ended = await _has_ended(scene, task, expected)
    assert ended.error == {"completed": ERROR, "failed": TIMEOUT, "cancelled": None}[status]
    message = await scene.store.turns.message(task)
    assert message is not None
    assert message.parts[-1] == {"type": "data-error", "data": ERROR}


@pytest.mark.requirement("CH-13")
@pytest.mark.parametrize(("status", "error"), [("cancelled", None), ("failed", TIMEOUT)])
async def test_others_end_a_turn_that_cannot_be_stored(
    scene: Scene, database: Database, status: Any, error: Any
) -> None:
    task = await _saying(scene, database)
    assert await scene.turns.ending.end_unheld(task, status, error)
    assert (await _has_ended(scene, task, status)).error == error


async def test_a_step_that_is_refused_is_never_taken_for_an_outage(scene: Scene, database: Database) -> None:
    task = await _saying(scene, database)
    with pytest.raises(NotStorable):
        await scene.turns.pause.pause(task, [{"type": "text", "text": "unstorable"}], [call("one")], None)
    assert await scene.turns.ending.end_unheld(task, "failed", ERROR)
    ended = await _has_ended(scene, task, "failed")
    assert (ended.error or {})["code"] == NOT_STORABLE


@pytest.mark.parametrize("parts", UNREADABLE)
async def test_a_turn_whose_parts_nobody_can_read_is_ended_finalized_and_rebuilt(
    scene: Scene, database: Database, parts: Any
) -> None:
    task = await claimed(scene)
    await database.set_type_codec("jsonb", encoder=_dump, decoder=str, schema="pg_catalog")
    await database.execute("UPDATE messages SET parts = $2 WHERE id = $1", task.message_id, parts)
    assert await scene.turns.ending.end_unheld(task, "failed", TIMEOUT)
    ended = await _has_ended(scene, task, "failed")
    await database.execute("UPDATE messages SET parts = $2 WHERE id = $1", task.message_id, parts)
    await scene.redis.delete(keys.task_meta(task.id), keys.task_events(task.id))
    await scene.turns.ending.finalize(ended)
    await scene.turns.rebuild.ended(ended)
    await _has_ended(scene, task, "failed")


@pytest.mark.requirement("CH-10")
async def test_an_operation_expires_also_where_its_message_takes_no_word_of_it(
    scene: Scene, database: Database
) -> None:
    task = await claimed(scene)
    parts = (await scene.turns.message.shown(task))[0].finished_parts()
    assert await scene.turns.pause.pause(task, parts, [call("one")], None) == "waiting"
    (operation,) = await scene.store.operations.of_task(task.id)
    await database.execute("UPDATE operations SET deadline_at = now() - interval '1 second'")
    await database.execute("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$")
    await database.execute("CREATE TRIGGER t BEFORE UPDATE ON messages FOR EACH ROW EXECUTE FUNCTION refuse()")
    outcome = await scene.store.deadlines.expire(operation, OperationEnd("expired", error=TIMED_OUT))
    assert outcome is not None
    assert (outcome.kind, outcome.resumes) == ("applied", True)


def _dump(value: Any) -> str:
    return json.dumps(value)
