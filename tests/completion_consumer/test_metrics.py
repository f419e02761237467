"""What the completion consumer tells of itself at `GET /metrics`."""

import pytest
from sluiceway import keys

from harness.metrics import metrics_of
from harness.processes.services import Services, probe
from harness.waiting import wait_until
from tests.completion_consumer.scene import Scene


@pytest.mark.requirement("OP-3", "CC-2")
async def test_completions_dead_letters_and_slots_are_counted(services: Services, scene: Scene) -> None:
    consumer = await services.completion_consumer(WORKER_SLOTS="7")
    before = await metrics_of(consumer)
    assert before["sluiceway_worker_slots", keys.COMPLETIONS] == 7
    assert before["sluiceway_completions_total", "applied"] == 0

    waiting = await scene.waiting("pending", "pending")
    for operation in waiting.operations:
        await scene.succeed(operation)
    await scene.succeed(waiting.operations[0])
    await scene.completions.publish_operation_complete("nobody-knows-it", None, True, "early")
    await scene.redis.xadd(keys.work_queue(keys.COMPLETIONS), {"d": b"nonsense"})
    await scene.wait_until_all_done()

    metrics = await metrics_of(consumer)
    outcomes = {label: number for (name, label), number in metrics.items() if name == "sluiceway_completions_total"}
    assert outcomes == {"applied": 2, "repeat": 1, "late": 0, "unknown": 1, "progress": 0}
    assert metrics["sluiceway_dead_letters_total", ""] == 1
    assert metrics["sluiceway_worker_in_flight", keys.COMPLETIONS] == 0
    assert metrics["process_open_fds", ""] > 0


@pytest.mark.requirement("OP-3")
async def test_health_answers_beside_the_metrics(services: Services, scene: Scene) -> None:
    consumer = await services.completion_consumer()
    await wait_until(lambda: consumer.answers("/readyz"))
    assert await probe(consumer.url, "/metrics") == 200
    assert await probe(consumer.url, "/healthz") == 200
    assert await probe(consumer.url, "/nothing") == 404
