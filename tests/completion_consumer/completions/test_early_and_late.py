"""Completions at the wrong time: before their operation is known, after nobody waits for it, and unreadable ones."""

import json
from typing import Any, cast

import pytest
from sluiceway.store.operations.webhooks import NewWebhook
from sluiceway.wire.jobs import CompletionJob

from harness.databases.database import Database
from harness.processes.services import Services
from harness.waiting import wait_until
from tests.completion_consumer.scene import Scene, only


async def _parked(database: Database) -> int:
    return int(await database.fetchval("SELECT count(*) FROM parked_completions"))


async def _is_parked(database: Database) -> bool:
    return await _parked(database) > 0


async def _is_empty(database: Database) -> bool:
    return await _parked(database) == 0


@pytest.mark.requirement("CC-5")
async def test_a_completion_that_comes_before_its_operation_waits_for_it(
    services: Services, scene: Scene, database: Database
) -> None:
    await services.completion_consumer(RECONCILE_SECONDS="0.2")
    for _ in range(2):
        await scene.completions.publish_operation_complete("op_early", None, True, {"early": True})
    await wait_until(lambda: _is_parked(database))
    await scene.wait_until_all_done()
    waiting = await scene.waiting()
    await database.execute("UPDATE operations SET id = 'op_early'")
    await wait_until(lambda: scene.next_steps(waiting.task), what="the next step is queued")
    await wait_until(lambda: _is_empty(database))
    operation = await scene.store.operations.get("op_early")
    assert operation is not None
    assert (await scene.part(operation))["output"] == {"early": True}
    assert await scene.next_steps(waiting.task) == 1
    assert await scene.dead_letters() == []


@pytest.mark.requirement("CC-5", "CC-4")
async def test_a_completion_whose_operation_never_comes_ends_as_a_dead_letter(
    services: Services, scene: Scene, database: Database
) -> None:
    await services.completion_consumer(RECONCILE_SECONDS="0.2", PARK_HOURS="0.0001")
    await scene.completions.publish_operation_complete("nowhere", None, True, "lost?")
    letters = await wait_until(scene.dead_letters)
    assert [(json.loads(body)["result"], reason) for body, reason in letters] == [("lost?", "its operation never came")]
    assert await _parked(database) == 0


@pytest.mark.requirement("CC-5", "CC-4", "CH-13")
async def test_a_completion_after_a_cancel_is_recorded_and_changes_nothing(
    services: Services, scene: Scene, database: Database
) -> None:
    await services.completion_consumer()
    waiting = await scene.waiting("pending", "pending")
    first, second = waiting.operations
    webhook = await scene.store.webhooks.receive(
        NewWebhook(second.id, "complete", "w1", "signature", {"success": True, "result": 1})
    )
    await scene.turns.intake.cancel(waiting.task.id, None)
    before = [await scene.part(first), await scene.chunks(first), await scene.chunks(second)]

    await scene.succeed(first, "too late")
    await scene.completions.publish(webhook.job)
    await scene.wait_until_all_done()

    ((body, reason),) = await scene.dead_letters()
    assert CompletionJob.model_validate_json(body).result == "too late"
    assert reason == "late: the operation is cancelled"
    assert await database.fetchval("SELECT outcome FROM webhook_journal") == "late"
    assert [await scene.part(first), await scene.chunks(first), await scene.chunks(second)] == before
    assert await scene.next_steps(waiting.task) == 0


@pytest.mark.requirement("CC-4", "CC-7")
async def test_bytes_that_nobody_can_read_are_kept_and_the_queue_continues(services: Services, scene: Scene) -> None:
    await services.completion_consumer()
    bad = [b"", b"\xff\xfe\x00garbage", b"null", b"[1, 2", b'{"kind": "surprise"}', b'{"kind": "complete"}']
    for body in bad:
        await scene.queue.add(body)
    waiting = await scene.waiting()
    await scene.succeed(waiting.operation)
    await scene.wait_until_all_done()
    letters = await scene.dead_letters()
    assert sorted(body for body, _ in letters) == sorted(bad)
    assert all("not a completion" in reason for _, reason in letters)
    assert await scene.next_steps(waiting.task) == 1


@pytest.mark.requirement("CC-4", "CC-7")
@pytest.mark.parametrize(
    ("tail", "shown"),
    [
        (b'"success": true, "result": {"cut', "INVALID_RESULT: The tool's result could not be read."),
        (b'"success": true, "result": "\xff\xfe"}', "INVALID_RESULT: The tool's result could not be read."),
        (b'"success": "perhaps"}', "INVALID_RESULT: The tool's result could not be read."),
        (b'"success": true, "result": ' + b"[" * 5000, "INVALID_RESULT: The tool's result could not be read."),
        (b'"success": true, "result": "' + b"x" * 5000 + b'"}', "RESULT_TOO_LARGE: The tool's result is too large"),
    ],
    ids=["truncated", "not UTF-8", "not a completion", "too deep", "too large"],
)
async def test_an_unreadable_completion_fails_its_operation_where_that_can_be_told(
    services: Services, scene: Scene, tail: bytes, shown: str
) -> None:
    limit = "2000" if "TOO_LARGE" in shown else "100000"
    await services.completion_consumer(MAX_COMPLETION_BYTES=limit)
    waiting = await scene.waiting()
    body = b'{"kind": "complete", "operation_id": "%b", ' % waiting.operation.id.encode() + tail
    await scene.queue.add(body)
    await wait_until(lambda: scene.next_steps(waiting.task), what="the next step is queued")
    assert (await scene.part(waiting.operation))["errorText"].startswith(shown)
    assert only(await scene.chunks(waiting.operation))["errorText"].startswith(shown)
    assert [letter[0] for letter in await scene.dead_letters()] == [body]


def _data(told: dict[str, Any]) -> dict[str, str]:
    return {"data": json.dumps(told)}


@pytest.mark.requirement("CC-4")
@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        (_data({"success": True, "result": {"a": 1}}), {"output": {"a": 1}}),
        (_data({"success": False, "result": None, "error": "no paper"}), {"errorText": "FAILED: no paper"}),
        (_data({"success": False, "error": {"code": "JAM", "message": "stuck"}}), {"errorText": "JAM: stuck"}),
        ({"success": "true", "result": '{"a": 1}', "error": ""}, {"output": {"a": 1}}),
        ({"success": "True", "result": "plain words"}, {"output": "plain words"}),
        ({"success": "false", "result": "", "error": "no paper"}, {"errorText": "FAILED: no paper"}),
    ],
    ids=["data", "data, failed", "data, typed error", "fields", "fields, text", "fields, failed"],
)
async def test_a_completion_of_a_producer_that_knows_nothing_of_ours_is_applied(
    services: Services, scene: Scene, fields: dict[str, str], shown: dict[str, Any]
) -> None:
    await services.completion_consumer()
    waiting = await scene.waiting()
    ids = {"operation_id": waiting.operation.id, "task_id": waiting.task.id}
    told = _data({**ids, **json.loads(fields["data"])}) if "data" in fields else {**ids, **fields}
    await scene.redis.xadd(scene.queue.key, cast("Any", told))
    await wait_until(lambda: scene.next_steps(waiting.task), what="the next step is queued")
    assert (await scene.part(waiting.operation)).items() >= shown.items()
    assert await scene.dead_letters() == []


@pytest.mark.requirement("CC-4")
async def test_what_is_no_completion_of_anybody_is_kept_with_its_fields(services: Services, scene: Scene) -> None:
    await services.completion_consumer()
    await scene.redis.xadd(scene.queue.key, {"operation_id": "op_1", "success": "perhaps"})
    ((body, _),) = await wait_until(scene.dead_letters)
    assert json.loads(body) == {"operation_id": "op_1", "success": "perhaps"}
