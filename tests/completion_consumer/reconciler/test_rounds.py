"""A round of the reconciler outlasts what goes wrong in it, is bounded, and queues nothing twice."""

import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sluiceway import keys
from sluiceway.queue.work_queue import WorkQueue
from sluiceway.store.operations.webhooks import NewWebhook
from sluiceway.store.records import Task
from sluiceway.store.turns.accepting import NewTurn
from sluiceway.store.turns.ending import TurnEnd

from harness.databases.database import Database
from harness.metrics import metric, metrics_of
from harness.processes.services import Service, Services
from harness.retention import RETENTION
from harness.waiting import wait_until
from tests.completion_consumer.scene import Scene

OFTEN = {"RECONCILE_SECONDS": "0.1"}
TOOLS = keys.tool_queue("default")


async def _queued_turn(scene: Scene, database: Database) -> Task:
    """One that is not on its way through a gateway any more."""
    new = NewTurn(session_id=f"s-{uuid4().hex}", user_id=None, text="please", create_session=True)
    accepted = await scene.store.turns.accept(new)
    await scene.turns.dispatch.publish(accepted.task)
    await database.execute("UPDATE tasks SET created_at = now() - interval '1 minute' WHERE id = $1", accepted.task.id)
    return accepted.task


async def _lose_entry(scene: Scene, task: Task) -> None:
    meta = await scene.streams.registry.meta(task.id)
    assert meta is not None
    assert meta.queue_entry is not None
    await scene.redis.xdel(keys.work_queue("chat"), meta.queue_entry)


async def _rounds(service: Service) -> float:
    return await metric(service, "sluiceway_reconciler_rounds_total", "complete")


async def _rounds_pass(service: Service, number: int) -> None:
    enough = await _rounds(service) + number

    async def passed() -> bool:
        return await _rounds(service) >= enough

    await wait_until(passed, 60, f"{number} rounds")


# What is released


@pytest.mark.requirement("CH-9", "OP-7")
async def test_a_turn_that_was_released_and_finds_no_worker_is_not_queued_a_second_time(
    services: Services, scene: Scene, database: Database
) -> None:
    released, begun, lost = [await _queued_turn(scene, database) for _ in range(3)]
    await _lose_entry(scene, lost)
    worker = WorkQueue(scene.redis, scene.redis, "chat", "draining", lease=timedelta(seconds=3))
    await worker.ensure_group()
    assert len(await worker.read(10, timedelta(seconds=1))) == 2
    claimed = await scene.store.turns.claim(begun.id)
    assert claimed is not None
    await scene.streams.writer.begin(claimed.fields, claimed.attempt)
    await scene.streams.writer.release(claimed.id, claimed.attempt)
    await worker.leave()

    consumer = await services.completion_consumer(**OFTEN)
    await wait_until(lambda: scene.next_steps(lost), what="the lost one is queued")
    await _rounds_pass(consumer, 3)
    assert [await scene.next_steps(task) for task in (released, begun, lost)] == [1, 1, 1]
    for task in (released, begun):
        meta = await scene.streams.registry.meta(task.id)
        assert meta is not None
        assert meta.queue_entry is not None
        assert await scene.redis.xrange(keys.work_queue("chat"), meta.queue_entry, meta.queue_entry)


@pytest.mark.requirement("CH-9")
async def test_an_operation_that_was_released_is_not_queued_a_second_time(
    services: Services, scene: Scene, database: Database
) -> None:
    released, lost = await scene.waiting(), await scene.waiting()
    runner = WorkQueue(scene.redis, scene.redis, TOOLS, "draining", lease=timedelta(seconds=3))
    await runner.ensure_group()
    first, second = await runner.read(10, timedelta(seconds=1))
    await runner.requeue([first.entry_id])
    assert await runner.ack(second.entry_id)
    await database.execute("UPDATE operations SET created_at = created_at - interval '1 minute'")

    consumer = await services.completion_consumer(**OFTEN)

    async def is_queued_again() -> bool:
        return lost.operation.id in await scene.queued(TOOLS, "operation_id")

    await wait_until(is_queued_again, what="the lost one is queued")
    await _rounds_pass(consumer, 3)
    ids = await scene.queued(TOOLS, "operation_id")
    assert sorted(ids) == sorted([released.operation.id, lost.operation.id])


# What goes wrong


@pytest.mark.requirement("CC-10")
async def test_a_round_that_waits_for_a_lock_does_not_hold_up_the_end(services: Services, database: Database) -> None:
    consumer = await services.completion_consumer(DRAIN_SECONDS="0.5", **OFTEN)
    await _rounds_pass(consumer, 1)
    async with database.transaction():
        await database.execute("LOCK TABLE tasks, operations IN ACCESS EXCLUSIVE MODE")
        waits = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        await wait_until(lambda: database.fetchval(waits), 20, "a round waits")
        assert await consumer.terminate(timeout=8) == 0  # a statement gives up after ten


@pytest.mark.requirement("OP-7", "CC-4")
async def test_what_cannot_be_repaired_keeps_nothing_else_from_being_repaired(
    services: Services, scene: Scene, database: Database
) -> None:
    services.expect_in_logs("repair_failed")
    poison = {
        "live_turns": await _unreadable_turn(scene, database),
        "ends": await _unreadable_end(scene, database),
        "deadlines": await _unchangeable_operation(scene, database),
        "webhooks": await _unreadable_webhook(scene, database),
    }
    await _unreadable_parked(scene)
    lost = await _queued_turn(scene, database)
    await _lose_entry(scene, lost)
    misled = await _queued_turn(scene, database)
    await _lose_entry(scene, misled)
    await scene.redis.hset(keys.task_meta(misled.id), "entry", "what is no id of an entry")
    ended, expires, told, early = await _neighbours(scene, database)

    consumer = await services.completion_consumer(**OFTEN)
    for task in (lost, misled):
        await wait_until(lambda: scene.next_steps(task), what="the lost turn is queued")  # noqa: B023
    await wait_until(lambda: _is_finalized(database, ended), what="the other end is seen through")
    for task in (expires, told, early):
        await wait_until(lambda: scene.next_steps(task), what="the next step is queued")  # noqa: B023
    assert [reason for _, reason in await scene.dead_letters()] == ["not a completion"]

    await _rounds_pass(consumer, 2)
    metrics = await metrics_of(consumer)
    for kind, key in poison.items():
        assert metrics["sluiceway_reconciler_errors_total", kind] >= 1
        assert key in [line["id"] for line in consumer.log_lines if line["event"] == "repair_failed"]
    assert await consumer.answers("/readyz")


async def _unreadable_turn(scene: Scene, database: Database) -> str:
    task = await _queued_turn(scene, database)
    await scene.redis.set(keys.task_meta(task.id), "nonsense", ex=600)
    return task.id


async def _unreadable_end(scene: Scene, database: Database) -> str:
    task = await _ended(scene, database)
    await scene.redis.set(keys.task_meta(task.id), "nonsense", ex=600)
    return task.id


async def _ended(scene: Scene, database: Database) -> Task:
    """A turn whose worker died after the end was durable."""
    task = await _queued_turn(scene, database)
    await _lose_entry(scene, task)
    claimed = await scene.store.turns.claim(task.id)
    assert claimed is not None
    await scene.streams.writer.begin(claimed.fields, claimed.attempt)
    end = TurnEnd(status="completed", parts=[], metadata={})
    assert await scene.store.turns.end(claimed, end, attempt=claimed.attempt)
    await database.execute("UPDATE tasks SET ended_at = now() - interval '1 minute' WHERE id = $1", task.id)
    return claimed


async def _unchangeable_operation(scene: Scene, database: Database) -> str:
    waiting = await scene.waiting(deadline_seconds=-60)
    await database.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this one'; END $$;"
        " CREATE TRIGGER refuse BEFORE UPDATE ON operations FOR EACH ROW"
        f" WHEN (OLD.id = '{waiting.operation.id}') EXECUTE FUNCTION refuse()"
    )
    return waiting.operation.id


async def _unreadable_webhook(scene: Scene, database: Database) -> int:
    waiting = await scene.waiting()
    new = NewWebhook(waiting.operation.id, "complete", "w", "signature", {"success": "perhaps"})
    receipt = (await scene.store.webhooks.receive(new)).id
    await database.execute("UPDATE webhook_journal SET received_at = now() - interval '1 minute'")
    return receipt


async def _unreadable_parked(scene: Scene) -> None:
    waiting = await scene.waiting()
    await scene.store.parked.add(waiting.operation.id, None, {"success": "perhaps"})


async def _neighbours(scene: Scene, database: Database) -> tuple[Task, Task, Task, Task]:
    """One of each kind that can be repaired: an end, a deadline, a webhook, an early completion."""
    ended = await _ended(scene, database)
    expires = await scene.waiting(deadline_seconds=-1)
    told = await scene.waiting()
    body: dict[str, Any] = {"success": True, "result": "told"}
    await scene.store.webhooks.receive(NewWebhook(told.operation.id, "complete", "w", "signature", body))
    await database.execute("UPDATE webhook_journal SET received_at = now() - interval '30 seconds'")
    early = await scene.waiting()
    job = {"kind": "complete", "operation_id": early.operation.id, "success": True, "result": "early"}
    await scene.store.parked.add(early.operation.id, None, job)
    return ended, expires.task, told.task, early.task


async def _is_finalized(database: Database, task: Task) -> bool:
    return bool(await database.fetchval("SELECT settled_at IS NOT NULL FROM tasks WHERE id = $1", task.id))


@pytest.mark.requirement("OP-7")
async def test_a_row_that_a_frozen_process_has_locked_keeps_nothing_else_from_being_repaired(
    services: Services, scene: Scene, database: Database
) -> None:
    locked, free = await scene.waiting(deadline_seconds=-60), await scene.waiting(deadline_seconds=-1)
    async with database.transaction():
        await database.execute("SELECT 1 FROM tasks WHERE id = $1 FOR UPDATE", locked.task.id)
        await services.completion_consumer(ready_path="/healthz", DATABASE_TIMEOUT_SECONDS="2", **OFTEN)
        await wait_until(lambda: scene.next_steps(free.task), 45, "the turn behind it goes on")
        assert await scene.state(locked.operation) == "pending"
    await wait_until(lambda: scene.next_steps(locked.task), 45, "the turn goes on when the lock is gone")


# How much


@pytest.mark.requirement("OP-7")
async def test_ten_thousand_live_turns_are_looked_at_in_turn_without_reading_what_has_ended(
    services: Services, scene: Scene, database: Database
) -> None:
    await _crowd(scene, database)
    # Of a few thousand rows in memory a whole table is as cheap as the last page's index; of many on a disk it is not.
    await database.execute(
        f'ALTER DATABASE "{await database.fetchval("SELECT current_database()")}" SET random_page_cost = 1.1'
    )
    lost = await _queued_turn(scene, database)
    await _lose_entry(scene, lost)
    read_before, scanned_before = await _redis_reads(scene), await _scanned(database)

    consumer = await services.completion_consumer(**OFTEN)
    await wait_until(lambda: scene.next_steps(lost), 60, "the lost turn is queued")
    left: set[float] = set()

    async def seen_to_the_end() -> bool:
        left.add(await metric(consumer, "sluiceway_reconciler_backlog", "live_turns"))
        return {0.0} < left

    await wait_until(seen_to_the_end, 60, "rounds that end in the middle, and one that comes to the last turn")
    await _rounds_pass(consumer, 6)
    assert await consumer.terminate() == 0

    commands, reads = (after - before for after, before in zip(await _redis_reads(scene), read_before, strict=True))
    assert commands > 10_000
    assert reads < commands / 10
    assert await _scanned(database) == scanned_before
    fetched = "SELECT idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'operations'"
    assert await database.fetchval(fetched) < 1000  # of 30,000, in each of many rounds


async def _crowd(scene: Scene, database: Database) -> None:
    """10,000 turns that wait for an outside service, and 20,000 that have ended, with their operations."""
    await database.execute(
        "INSERT INTO sessions (id, active_task_id) SELECT 's-' || i, CASE WHEN i <= 10000 THEN 'task-' || i END"
        " FROM generate_series(1, 30000) i"
    )
    await database.execute(
        "INSERT INTO tasks (id, session_id, user_message_id, message_id, sequence, attempt, status, open_operations,"
        " created_at, ended_at, settled_at) SELECT 'task-' || i, 's-' || i, 'u', 'm', 2, 1,"
        " CASE WHEN i <= 10000 THEN 'waiting' ELSE 'completed' END, CASE WHEN i <= 10000 THEN 1 ELSE 0 END,"
        " now() - interval '2 hours', CASE WHEN i > 10000 THEN now() - interval '1 hour' END,"
        " CASE WHEN i > 10000 THEN now() END"
        " FROM generate_series(1, 30000) i"
    )
    await database.execute(
        "INSERT INTO operations (id, task_id, session_id, message_id, step, tool_call_id, tool_name, input, queue,"
        " status, deadline_seconds, deadline_at, created_at) SELECT 'op-' || i, 'task-' || i, 's-' || i, 'm', 1, 'c',"
        " 'look_up', '{}', 'default', CASE WHEN i <= 10000 THEN 'accepted' ELSE 'succeeded' END, 3600,"
        " now() + interval '1 hour', now() - interval '10 minutes' FROM generate_series(1, 30000) i"
    )
    await database.execute("ANALYZE")
    async with scene.redis.pipeline(transaction=False) as pipe:
        for number in range(1, 10_001):
            fields = {"task_id": f"task-{number}", "session_id": f"s-{number}", "status": "waiting", "attempt": "1"}
            pipe.hset(keys.task_meta(f"task-{number}"), mapping=fields)  # type: ignore[arg-type]
            pipe.expire(keys.task_meta(f"task-{number}"), RETENTION.live)
        await pipe.execute()


async def _redis_reads(scene: Scene) -> tuple[int, int]:
    """How many commands the server has had, and in how many pieces."""
    stats: dict[str, Any] = await scene.redis.info("stats")
    return stats["total_commands_processed"], stats["total_reads_processed"]


async def _scanned(database: Database) -> int:
    """Rows of the large tables that were read without an index."""
    return int(
        await database.fetchval(
            "SELECT sum(seq_tup_read) FROM pg_stat_user_tables WHERE relname IN ('tasks', 'operations', 'sessions')"
        )
    )


@pytest.mark.requirement("OP-3", "TS-13")
async def test_a_round_says_what_it_did_once_and_nothing_when_it_did_nothing(services: Services, scene: Scene) -> None:
    consumer = await services.completion_consumer(**OFTEN)
    await _rounds_pass(consumer, 5)
    assert not [line for line in consumer.log_lines if line["event"] == "reconciled"]
    left = await scene.left_behind()
    await wait_until(lambda: scene.next_steps(left.task), what="the next step is queued")
    await _rounds_pass(consumer, 3)
    (line,) = [line for line in consumer.log_lines if line["event"] == "reconciled"]
    assert line["turn_requeued"] == 1
    assert line["complete"]
    assert line["errors"] == 0
    assert isinstance(line["duration_ms"], int)
    assert json.dumps(line).count("please") == 0
