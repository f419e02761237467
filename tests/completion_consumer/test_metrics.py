"""What the completion consumer tells of itself at `GET /metrics`."""

import ast
import re
from pathlib import Path

import pytest
from completion_consumer import reconciler
from completion_consumer.metrics import KINDS, REPAIRS
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


_RECONCILER = Path(reconciler.__file__).parent


@pytest.mark.requirement("OP-5")
def test_all_that_the_reconciler_counts_begins_at_zero() -> None:
    """Else its first failure, and its first repair, are hidden from an alert."""
    parts, done = set[str](), set[str]()
    for path in _RECONCILER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                first = node.args[0] if node.args else None
                told = {"part": parts, "each": parts, "count": done}.get(node.func.attr)
                if told is not None and isinstance(first, ast.Constant) and isinstance(first.value, str):
                    told.add(first.value)
            if isinstance(node, ast.AsyncFunctionDef) and _answers_what_it_did(node):
                done |= _returned(node)
    assert len(parts) > 10
    assert parts <= set(KINDS)
    assert len(done) > 10
    assert done <= set(REPAIRS)
    page = (Path(__file__).parents[2] / "services" / "completion-consumer" / "README.md").read_text()
    assert [name for name in (*KINDS, *REPAIRS) if f"`{name}`" not in page] == []


def _answers_what_it_did(function: ast.AsyncFunctionDef) -> bool:
    return function.returns is not None and ast.unparse(function.returns) in ("str", "str | None")


def _returned(function: ast.AsyncFunctionDef) -> set[str]:
    values = (node.value for node in ast.walk(function) if isinstance(node, ast.Return) and node.value is not None)
    constants = (found for value in values for found in ast.walk(value) if isinstance(found, ast.Constant))
    return {
        one.value for one in constants if isinstance(one.value, str) and re.fullmatch(r"[a-z]+(_[a-z]+)+", one.value)
    }
