"""What is old enough goes, in batches; what is live, young or locked stays, and so does what recognises a repeat."""

from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest
from completion_consumer.settings import Settings
from pydantic import ValidationError
from sluiceway.errors import MessageConflict, OperationEnded
from sluiceway.store.operating import retention
from sluiceway.store.operations.webhooks import NewWebhook
from sluiceway.store.records import Task
from sluiceway.store.turns.accepting import NewTurn
from sluiceway.store.turns.ending import TurnEnd

from harness.databases.database import Database
from harness.metrics import counted
from harness.processes.services import Services
from harness.waiting import wait_until
from tests.completion_consumer.scene import Scene, Waiting

YEAR = timedelta(days=365)
MONTH = timedelta(days=30)


async def count(database: Database, what: str, *arguments: object) -> int:
    return int(await database.fetchval(f"SELECT count(*) FROM {what}", *arguments))


async def turn(scene: Scene, session_id: str, text: str, user_id: str | None = None, **more: object) -> Task:
    new = NewTurn(session_id=session_id, user_id=user_id, text=text, create_session=True, **more)  # type: ignore[arg-type]
    task = (await scene.store.turns.accept(new)).task
    end = TurnEnd("completed", [{"type": "text", "text": f"to {text}"}], {"status": "completed"})
    assert await scene.store.turns.end(task, end, attempt=None)
    return task


async def over(scene: Scene) -> Waiting:
    """A turn that has ended, with an operation that a webhook has ended."""
    waiting = await scene.waiting()
    new = NewWebhook(waiting.operation.id, "complete", "w", "signature", {"success": True, "result": "done"})
    received = await scene.store.webhooks.receive(new)
    await scene.store.completions.note_progress(received.id, "applied")
    assert await scene.store.turns.end(waiting.task, TurnEnd("cancelled", [], {}), attempt=None)
    return waiting


@pytest.mark.requirement("LC-2")
async def test_what_is_old_goes_and_what_is_young_or_live_stays(
    services: Services, scene: Scene, database: Database
) -> None:
    old, young, live = await over(scene), await over(scene), await scene.waiting("pending", "failed")
    for task_id in (old.task.id, young.task.id):
        letter = {"queue": "q", "body": b"b", "reason": "r", "deliveries": 1, "task_id": task_id}
        await scene.store.dead_letters.add(entry_id=task_id, **letter)  # type: ignore[arg-type]
    await database.execute(
        "UPDATE operations SET ended_at = ended_at - $2::interval WHERE task_id <> $1", young.task.id, YEAR
    )
    await database.execute(
        "UPDATE dead_letters SET created_at = now() - $2::interval WHERE task_id = $1", old.task.id, YEAR
    )
    await turn(scene, "kept", "hello", "ada")
    for owner in ("anon:old", "anon:young", "ada"):
        await turn(scene, f"of-{owner}", "hello", owner)
    for name in ("temporary-old", "temporary-young"):
        await scene.store.sessions.create(name, "ada", None, temporary=True)
    await database.execute(
        "UPDATE sessions SET updated_at = now() - $1::interval WHERE id IN ('of-anon:old', 'kept', 'temporary-old')",
        YEAR,
    )

    consumer = await services.completion_consumer(RECONCILE_SECONDS="0.1")

    async def are_gone() -> bool:
        left = "sessions WHERE id IN ('of-anon:old', 'temporary-old')"
        operations = await count(database, "operations WHERE task_id = $1", old.task.id)
        return operations + await count(database, left) + await count(database, "dead_letters") == 1

    await wait_until(are_gone, what="the old rows are gone")
    assert await count(database, "webhook_journal") == 1
    assert await count(database, "operations WHERE task_id = ANY($1)", [young.task.id, live.task.id]) == 3
    assert await count(database, "sessions WHERE id IN ('kept', 'of-anon:young', 'of-ada', 'temporary-young')") == 4
    assert await count(database, "tasks WHERE id = $1", old.task.id) == 1
    # The words of a session that went are erased from Redis as well.
    await wait_until(lambda: count(database, "erasures WHERE session_id = 'of-anon:old' AND passes = 1"))
    await counted(consumer, "sluiceway_reconciler_repaired_total", "old_anonymous_sessions", 1)


@pytest.mark.requirement("LC-2")
async def test_a_request_that_is_sent_again_after_its_words_have_gone_is_not_another_one(
    scene: Scene, database: Database
) -> None:
    """What an edited question was goes; its id stays known. A webhook whose row went is answered as a late one."""
    first = await turn(scene, "s", "hello", message_id="m-1")
    await turn(scene, "s", "and then", message_id="m-2")
    await turn(scene, "s", "hello again", message_id="m-1", edit=True)
    assert await scene.store.retention.purge("old_superseded", MONTH, 100) == 0
    await database.execute("UPDATE messages SET superseded_at = now() - $1::interval WHERE superseded", YEAR)

    assert await scene.store.retention.purge("old_superseded", MONTH, 100) == 4
    assert await scene.store.retention.purge("old_superseded", MONTH, 100) == 0

    texts = await database.fetch("SELECT parts::text FROM messages WHERE superseded")
    assert [row["parts"] for row in texts] == ["[]"] * 4
    again = NewTurn(session_id="s", user_id=None, text="hello again", message_id="m-1")
    assert not (await scene.store.turns.accept(again)).created
    with pytest.raises(MessageConflict):
        await scene.store.turns.accept(NewTurn(session_id="s", user_id=None, text="and then", message_id="m-2"))
    assert await scene.store.turns.get(first.id) is not None

    waiting = await over(scene)
    await database.execute("UPDATE webhook_journal SET received_at = now() - $1::interval", YEAR)
    assert await scene.store.retention.purge("old_journal", MONTH, 100) == 1
    with pytest.raises(OperationEnded):
        await scene.store.webhooks.receive(NewWebhook(waiting.operation.id, "complete", "w", "signature", {"x": 1}))


@pytest.mark.requirement("LC-2")
async def test_a_batch_is_bounded_and_leaves_out_what_is_locked(
    scene: Scene, database: Database, other: Database
) -> None:
    for number in range(5):
        await turn(scene, f"s-{number}", "hello")
    await database.execute("UPDATE sessions SET updated_at = now() - $1::interval", YEAR)
    async with other.transaction():
        await other.execute("SELECT 1 FROM sessions WHERE id = 's-0' FOR UPDATE")
        assert len(await scene.store.retention.purge_sessions("old_sessions", MONTH, 3)) == 3
        assert len(await scene.store.retention.purge_sessions("old_sessions", MONTH, 3)) == 1
        assert await scene.store.retention.purge_sessions("old_sessions", MONTH, 3) == []
    ((erasure,),) = await scene.store.retention.purge_sessions("old_sessions", MONTH, 3)
    assert erasure.session_id == "s-0"
    assert await count(database, "sessions") == await count(database, "messages") == 0


@pytest.fixture
async def other(database_url: str) -> AsyncIterator[Database]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.mark.requirement("LC-2")
async def test_old_rows_are_found_by_an_index(scene: Scene, database: Database) -> None:
    """Planned as if the tables were large: no table of words is read from its beginning."""
    statements = [*retention._ROWS.values(), *(f"{one} {retention._BY_AGE}" for one in retention._SESSIONS.values())]
    await database.execute("SET enable_seqscan = off; SET enable_sort = off")
    for statement in statements:
        rows = await database.fetch(f"EXPLAIN {retention._at_most(10, statement)}", MONTH)
        plan = "\n".join(row[0] for row in rows)
        assert "Seq Scan on operations" not in plan, plan
        assert "Index" in plan, plan
        assert "Sort" not in plan, plan


@pytest.mark.requirement("LC-2")
def test_a_journal_that_forgets_before_its_senders_do_is_refused() -> None:
    with pytest.raises(ValidationError, match="senders repeat"):
        Settings(keep_journal_days=2)
    kept = Settings(keep_journal_days=0, keep_operations_days=0, keep_anonymous_days=0).kept_for
    assert set(kept.rows) == {"old_dead_letters", "old_superseded", "old_erasures"}
    assert set(kept.sessions) == {"old_temporary_sessions"}
