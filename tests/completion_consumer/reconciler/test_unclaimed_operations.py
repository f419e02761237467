"""A call whose tool nobody offers any more fails soon; one that a runner may still come to, or works on, does not."""

import asyncio
from datetime import timedelta

import pytest
from sluiceway import keys
from sluiceway.operation.catalogue import announce, withdraw
from sluiceway.queue.work_queue import WorkQueue
from sluiceway.store.records import Operation
from sluiceway.wire.tools import ToolSpec

from harness.databases.database import Database
from harness.metrics import counted
from harness.processes.services import Services
from harness.waiting import wait_until
from tests.completion_consumer.scene import Scene

_SOON = {"RECONCILE_SECONDS": "0.1", "OPERATION_CLAIM_SECONDS": "1"}
_LONG_MS = 600_000


async def _of(database: Database, operation: Operation, tool: str) -> Operation:
    """The same, as a call of another tool."""
    await database.execute("UPDATE operations SET tool_name = $2 WHERE id = $1", operation.id, tool)
    return operation


async def _offer(scene: Scene, runner: str, *tools: str) -> None:
    specs = [ToolSpec(name=name, description=name, parameters={"type": "object"}) for name in tools]
    await announce(scene.redis, runner, specs, _LONG_MS)


async def _failed(scene: Scene, operation: Operation) -> bool:
    return await scene.state(operation) == "failed"


@pytest.mark.requirement("CC-7")
async def test_a_call_whose_tool_nobody_offers_fails_soon_and_its_turn_continues(
    services: Services, scene: Scene, database: Database
) -> None:
    orphan, offered = await scene.waiting(), await scene.waiting()
    await _of(database, offered.operation, "busy_tool")
    await _offer(scene, "runner-1", "busy_tool")
    consumer = await services.completion_consumer(**_SOON)

    await wait_until(lambda: _failed(scene, orphan.operation), what="it has failed")
    part = await scene.part(orphan.operation)
    assert part["state"] == "output-error"
    assert part["errorText"] == "TOOL_UNAVAILABLE: No tool runner that offers it is there. It was not run."
    await wait_until(lambda: scene.next_steps(orphan.task), what="its turn continues")
    await counted(consumer, "sluiceway_reconciler_repaired_total", "operation_unclaimed", 1)

    # As old, and its runner lives: it waits for that, up to its deadline. Then the runner goes.
    assert await scene.state(offered.operation) == "pending"
    await withdraw(scene.redis, "runner-1")
    await wait_until(lambda: _failed(scene, offered.operation), what="the other one has failed, too")


@pytest.mark.requirement("CC-3", "CC-7")
async def test_a_call_that_a_runner_finishes_which_offers_nothing_more_fails_when_its_lease_has_run_out(
    services: Services, scene: Scene
) -> None:
    waiting = await scene.waiting()
    queue = WorkQueue(scene.redis, scene.redis, keys.tool_queue("default"), "runner-1", lease=timedelta(seconds=3))
    await queue.ensure_group()
    (delivery,) = await queue.read(1, timedelta(seconds=1))
    assert await scene.store.operations.start(waiting.operation.id, "runner-1", delivery.entry_id) is not None
    await withdraw(scene.redis, "runner-1")
    drains = asyncio.create_task(_renew(queue, delivery.entry_id))
    await services.completion_consumer(**_SOON)
    orphan = await scene.waiting()

    await wait_until(lambda: _failed(scene, orphan.operation), what="what nobody has, has failed")
    assert await scene.state(waiting.operation) == "running"
    drains.cancel()
    await wait_until(lambda: _failed(scene, waiting.operation), what="its runner is dead")
    assert "It may have done something." in (await scene.part(waiting.operation))["errorText"]


async def _renew(queue: WorkQueue, entry_id: str) -> None:
    while True:
        assert not await queue.renew([entry_id])
        await asyncio.sleep(0.3)
