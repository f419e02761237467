"""A deleted session leaves no word behind: not in Postgres, not in Redis, and not what comes late."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.errors import Fenced, SessionNotFound, TaskNotFound
from sluiceway.feeds.agent_events import AgentStreams
from sluiceway.feeds.job_events import JobEventPublisher
from sluiceway.store.operations.webhooks import NewWebhook
from sluiceway.stream.task_meta import TaskMeta
from sluiceway.wire.events import StartStep, TextDelta, TextStart
from sluiceway.wire.person_event import SessionRenamed

from harness.databases.database import Database
from harness.processes.services import Services
from harness.retention import RETENTION
from harness.waiting import wait_until
from tests.completion_consumer.scene import Scene, Waiting

SECRET = "the-secret-word"


@pytest.fixture
async def scene(valkey_url: str, database_url: str) -> AsyncIterator[Scene]:
    async with Scene.open(valkey_url, database_url) as opened:
        yield opened


async def spoken(scene: Scene) -> Waiting:
    """A session in which the word is everywhere: a turn that has spoken and waits, its operation with job events and a
    webhook, agents of the turn and of its tool, a dead letter, a completion that is parked, a title that was told."""
    waiting = await scene.waiting()
    task, operation = waiting.task, waiting.operation
    claimed = await scene.store.turns.claim(task.id, waiting_too=True)
    assert claimed is not None
    await scene.streams.writer.begin(claimed.fields, claimed.attempt)
    events = [StartStep(), TextStart(id="0"), TextDelta(id="0", delta=SECRET)]
    assert await scene.streams.writer.append(task.id, claimed.attempt, 1, events) == "ok"
    await JobEventPublisher(scene.redis, RETENTION).publish_task_progress(operation.id, "look_up", SECRET)
    agents = AgentStreams(scene.redis, RETENTION)
    for one in (task.id, operation.id):
        await agents.create(one)
        await agents.publish(one, "engineer", "thought", SECRET)
    await scene.turns.people.tell(task.user_id, SessionRenamed(session_id=task.session_id, title=SECRET))
    body = {"success": True, "result": SECRET}
    await scene.store.webhooks.receive(NewWebhook(operation.id, "complete", "w", "signature", body))
    await dead_letter(scene, waiting)
    await scene.store.parked.add(operation.id, task.id, body)
    return Waiting(claimed, waiting.operations)


async def dead_letter(scene: Scene, waiting: Waiting, entry_id: str = "1-1") -> None:
    await scene.store.dead_letters.add(
        queue="q",
        entry_id=entry_id,
        body=SECRET.encode(),
        reason="why",
        deliveries=1,
        task_id=None if entry_id == "2-2" else waiting.task.id,
        operation_id=waiting.operation.id,
    )


async def words_in_redis(redis: Redis) -> list[bytes]:
    """The keys whose content has the word."""
    return [key async for key in redis.scan_iter() if SECRET in repr(await _content(redis, key))]


async def _content(redis: Redis, key: bytes) -> Any:
    reads: dict[bytes, Any] = {
        b"stream": lambda: redis.xrange(key),
        b"hash": lambda: redis.hgetall(key),
        b"zset": lambda: redis.zrange(key, 0, -1),
        b"string": lambda: redis.get(key),
    }
    read = reads.get(bytes(await redis.type(key)))  # type: ignore[arg-type]  # the client answers bytes
    return await read() if read is not None else None


async def words_in_postgres(database: Database) -> list[str]:
    tables = await database.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    query = "SELECT count(*) FROM {} t WHERE t::text LIKE '%' || $1 || '%' OR t::text LIKE '%' || $2 || '%'"
    names = [row["tablename"] for row in tables]
    return [name for name in names if await database.fetchval(query.format(name), SECRET, SECRET.encode().hex())]


@pytest.mark.requirement("LC-1")
async def test_a_deleted_session_leaves_no_word_anywhere_and_its_live_turn_is_fenced_and_aborted(
    scene: Scene, database: Database
) -> None:
    waiting = await spoken(scene)
    task, operation = waiting.task, waiting.operation
    assert {"messages", "webhook_journal", "dead_letters", "parked_completions"} - {"messages"} <= set(
        await words_in_postgres(database)
    )
    assert len(await words_in_redis(scene.redis)) == 5

    await scene.turns.intake.delete_session(task.session_id, None)

    assert await words_in_postgres(database) == []
    assert await words_in_redis(scene.redis) == []
    assert await scene.streams.writer.append(task.id, task.attempt, 2, [StartStep()]) == "fenced"
    with pytest.raises(Fenced):
        await scene.streams.writer.begin(task.fields, task.attempt + 5)
    entries = await scene.streams.reader.read(task.id)
    assert [entry.event.type for entry in entries][-3:] == ["finish-step", "abort", "finish"]
    assert entries[0].entry_id[0] > task.attempt
    with pytest.raises(TaskNotFound):
        await scene.turns.lookup.find(task.id, None)
    assert await scene.streams.registry.active(task.session_id) is None
    left = {key async for key in scene.redis.scan_iter(f"*{operation.id}*")}
    assert left == set()
    meta: Any = await scene.redis.hgetall(keys.task_meta(task.id))
    assert TaskMeta.read(meta) is None
    assert set(meta) == {b"status", b"attempt"}


@pytest.mark.requirement("LC-1")
async def test_a_deletion_that_broke_off_before_redis_is_finished_by_the_reconciler_and_done_once_more(
    services: Services, scene: Scene, database: Database
) -> None:
    waiting = await spoken(scene)
    await scene.store.sessions.delete(waiting.task.session_id, None)  # and the gateway died
    assert await words_in_redis(scene.redis) != []
    await database.execute("UPDATE erasures SET due_at = now() WHERE due_at IS NOT NULL")
    await services.completion_consumer(RECONCILE_SECONDS="0.1")

    async def is_clean() -> bool:
        return not await words_in_redis(scene.redis)

    await wait_until(is_clean, what="the reconciler erased it")
    passes = "SELECT count(*) FROM erasures WHERE passes = $1 AND id = task_id"
    await wait_until(lambda: database.fetchval(passes, 1), what="it is noted")
    # What was under way writes again.
    await JobEventPublisher(scene.redis, RETENTION).publish_task_progress(waiting.operation.id, "look_up", SECRET)
    assert await words_in_redis(scene.redis) != []
    await database.execute("UPDATE erasures SET due_at = now() WHERE due_at IS NOT NULL")
    await wait_until(is_clean, what="it is erased once more")
    await wait_until(lambda: database.fetchval(passes, 2), what="that is noted")
    assert await database.fetchval("SELECT count(*) FROM erasures WHERE due_at IS NOT NULL") == 0


@pytest.mark.requirement("LC-1")
async def test_what_comes_late_about_what_was_deleted_is_not_kept(
    services: Services, scene: Scene, database: Database
) -> None:
    """A result of a tool that was still running, an entry that nobody can handle, an end of the turn by its worker."""
    waiting = await spoken(scene)
    await scene.turns.intake.delete_session(waiting.task.session_id, None)
    await dead_letter(scene, waiting, "2-1")
    await dead_letter(scene, waiting, "2-2")
    await scene.succeed(waiting.operation, SECRET)
    consumer = await services.completion_consumer()
    await scene.wait_until_all_done()
    await wait_until(lambda: [one for one in consumer.log_lines if one["event"] == "completion_of_deleted"])
    assert await words_in_postgres(database) == []
    assert await words_in_redis(scene.redis) == []
    with pytest.raises(SessionNotFound):
        await scene.turns.intake.delete_session(waiting.task.session_id, None)


@pytest.mark.requirement("LC-1")
async def test_a_worker_that_begins_after_the_deletion_leaves_nothing(scene: Scene) -> None:
    """It had claimed the turn just before, and Redis had not heard of it."""
    waiting = await spoken(scene)
    task = waiting.task
    await scene.redis.flushdb()
    await scene.store.sessions.delete(task.session_id, None)
    await scene.streams.writer.begin(task.fields, task.attempt)
    assert await scene.streams.writer.append(task.id, task.attempt, 1, [TextDelta(id="0", delta=SECRET)]) == "ok"
    assert await words_in_redis(scene.redis) != []

    await scene.turns.ending.forget(task.id)

    assert await words_in_redis(scene.redis) == []
