"""What a crash, a flush or silence left undone is done again: next steps, operations, deadlines, webhooks."""

import json
from typing import Any

import pytest
from sluiceway import keys
from sluiceway.store.operations.webhooks import NewWebhook
from sluiceway.store.records import Operation

from harness.databases.database import Database
from harness.databases.valkey import Valkey
from harness.processes.services import Services
from harness.waiting import wait_until
from tests.completion_consumer.scene import Scene, Waiting, only

OFTEN = {"RECONCILE_SECONDS": "0.1"}
TOOLS = keys.tool_queue("default")


async def _is_queued(scene: Scene, operation: Operation) -> bool:
    return operation.id in await scene.queued(TOOLS, "operation_id")


async def _rounds_have_passed(scene: Scene) -> None:
    """A turn whose next step only a round of the reconciler can queue has it now."""
    for _ in range(2):
        left = await scene.left_behind()
        await wait_until(lambda: scene.next_steps(left.task), what="a round of the reconciler")  # noqa: B023


@pytest.mark.requirement("CC-6", "CH-9")
async def test_a_turn_whose_operations_have_ended_continues_and_one_that_waits_does_not(
    services: Services, scene: Scene
) -> None:
    await services.completion_consumer(**OFTEN)
    waits = await scene.waiting("accepted", "pending")
    waits_for_accepted = await scene.waiting()
    await _accepted(scene, waits_for_accepted.operation)
    await _rounds_have_passed(scene)
    for waiting in (waits, waits_for_accepted):
        assert await scene.next_steps(waiting.task) == 0
        meta = await scene.streams.registry.meta(waiting.task.id)
        assert meta is not None
        assert meta.status == "waiting"


async def _accepted(scene: Scene, operation: Operation) -> None:
    started = await scene.store.operations.start(operation.id, "runner")
    assert started is not None
    assert await scene.store.operations.accepted(operation.id, started.operation.attempt)


@pytest.mark.requirement("CH-10", "CC-7")
async def test_an_operation_that_nobody_completes_fails_at_its_deadline_and_the_turn_continues(
    services: Services, scene: Scene
) -> None:
    await services.completion_consumer(**OFTEN)
    waiting = await scene.waiting("pending", "pending", deadline_seconds=1)
    await _accepted(scene, waiting.operations[0])
    await wait_until(lambda: scene.next_steps(waiting.task), what="the next step is queued")
    for operation in waiting.operations:
        shown = "DEADLINE_EXCEEDED: The tool did not end before its deadline."
        assert (await scene.part(operation))["errorText"] == shown
        await wait_until(lambda: scene.chunks(operation), what="it is shown")  # noqa: B023
        assert only(await scene.chunks(operation))["errorText"] == shown
    assert await scene.next_steps(waiting.task) == 1


@pytest.mark.requirement("CH-16")
async def test_an_approval_that_nobody_gives_expires_and_the_conversation_is_whole(
    services: Services, scene: Scene
) -> None:
    await services.completion_consumer(**OFTEN)
    asks = await scene.asking(deadline_seconds=1)
    await wait_until(lambda: _has_state(scene, asks.operation, "expired"))
    part = await scene.part(asks.operation)
    assert part["state"] == "output-error"
    assert part["errorText"] == "DEADLINE_EXCEEDED: Nobody answered it in time."
    assert await scene.next_steps(asks.task) == 0


async def _has_state(scene: Scene, operation: Operation, status: str) -> bool:
    return await scene.state(operation) == status


@pytest.mark.requirement("OP-7", "CC-6")
async def test_after_a_flush_waiting_turns_are_shown_again_and_their_operations_are_queued_again(
    services: Services, scene: Scene, valkey: Valkey, database: Database
) -> None:
    await services.completion_consumer(**OFTEN)
    waiting = await scene.waiting("pending", "pending", "pending")
    outside, inside, ended = waiting.operations
    await _accepted(scene, outside)
    await scene.succeed(ended, ended.id)
    await scene.wait_until_all_done()
    await _let_pass(database)
    valkey.flush()
    await wait_until(lambda: _is_queued(scene, inside), what="the operation is queued")
    await wait_until(lambda: scene.streams.registry.meta(waiting.task.id), what="the turn is known")
    assert not await _is_queued(scene, outside)
    assert not await _is_queued(scene, ended)

    entries: Any = await scene.redis.xrange(keys.task_events(waiting.task.id))
    types = [json.loads(fields[b"d"])["type"] for _, fields in entries]
    made = ["tool-input-available"] * 3
    assert types == ["start", "start-step", *made, "tool-output-available", "finish-step"]
    for operation in waiting.operations:
        await scene.succeed(operation, operation.id)
    await wait_until(lambda: scene.next_steps(waiting.task), what="the next step is queued")
    assert [only(await scene.chunks(operation))["output"] for operation in waiting.operations] == [
        operation.id for operation in waiting.operations
    ]


async def _let_pass(database: Database) -> None:
    """As if all operations had been there for a minute."""
    await database.execute(
        "UPDATE operations SET created_at = created_at - interval '1 minute',"
        " started_at = started_at - interval '1 minute'"
    )


@pytest.mark.requirement("CH-9")
async def test_an_operation_whose_runner_and_entry_are_gone_is_queued_again_and_a_living_runners_is_not(
    services: Services, scene: Scene, database: Database
) -> None:
    waitings = [await scene.waiting() for _ in range(4)]
    held, abandoned, queued, reported = (waiting.operation for waiting in waitings)
    key = keys.work_queue(TOOLS)
    entries: Any = await scene.redis.xrange(key)
    entry_of = {json.loads(fields[b"d"])["operation_id"]: entry_id.decode() for entry_id, fields in entries}
    for operation in (held, abandoned, reported):
        assert await scene.store.operations.start(operation.id, "runner", entry_of[operation.id])
    await scene.streams.entries.note([(held.task_id, held.id, "1-1")])  # one of a second publishing, dropped since
    await scene.redis.set(keys.operation_reported(reported.id), "-", ex=60)
    for operation in (abandoned, reported):
        await scene.redis.xdel(key, entry_of[operation.id])
    await _let_pass(database)

    await services.completion_consumer(**OFTEN)
    await wait_until(lambda: _is_queued(scene, abandoned), what="the operation is queued")
    await _rounds_have_passed(scene)

    ids = await scene.queued(TOOLS, "operation_id")
    assert [ids.count(operation.id) for operation in (held, abandoned, queued, reported)] == [1, 1, 1, 0]


@pytest.mark.requirement("WH-4", "CC-6")
async def test_a_webhook_that_was_taken_and_never_queued_is_applied(
    services: Services, scene: Scene, database: Database
) -> None:
    waiting = await scene.waiting()
    body = {"success": True, "result": {"from": "outside"}}
    await scene.store.webhooks.receive(NewWebhook(waiting.operation.id, "complete", "w", "signature", body))
    await database.execute("UPDATE webhook_journal SET received_at = now() - interval '10 seconds'")
    await services.completion_consumer(**OFTEN)
    await wait_until(lambda: scene.next_steps(waiting.task), what="the next step is queued")
    assert (await scene.part(waiting.operation))["output"] == {"from": "outside"}
    assert await database.fetchval("SELECT outcome FROM webhook_journal") == "applied"
    await scene.wait_until_all_done()
    assert await scene.next_steps(waiting.task) == 1


@pytest.mark.requirement("OP-7")
async def test_a_turn_whose_worker_died_before_redis_knew_that_it_waits_takes_its_results(
    services: Services, scene: Scene
) -> None:
    waiting = await scene.waiting("pending", "pending")
    await scene.redis.hset(keys.task_meta(waiting.task.id), "status", "running")
    await services.completion_consumer(**OFTEN)
    await wait_until(lambda: _waits(scene, waiting), what="Redis knows that it waits")
    await scene.succeed(waiting.operations[0], "shown")
    await scene.wait_until_all_done()
    assert only(await scene.chunks(waiting.operations[0]))["output"] == "shown"


async def _waits(scene: Scene, waiting: Waiting) -> bool:
    meta = await scene.streams.registry.meta(waiting.task.id)
    return meta is not None and meta.status == "waiting"
