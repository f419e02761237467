"""Webhooks whose commits are cut: journalled, applied, replayed."""

from harness.waiting import wait_until
from tests.chaos.cuts.case import Arm, Cases
from tests.chaos.cuts.stage import CutStage

CASES = Cases()


@CASES.of("INSERT INTO webhook_journal", refused=True)
async def _webhook(stage: CutStage, arm: Arm) -> None:
    turn, operation_id = await stage.outside()
    arm()
    path, said = f"/api/chat/operations/{operation_id}/complete", {"success": True, "result": "hi"}
    await stage.post(path, said, 202, **{"webhook-id": "w-1"})
    await stage.post(path, said, 202, **{"webhook-id": "w-1"})
    await stage.is_seen(turn, "hi")
    journal = "SELECT count(*) FROM webhook_journal WHERE operation_id = $1"
    assert await stage.database.fetchval(journal, operation_id) == 1


@CASES.of(r"UPDATE webhook_journal SET outcome = \$2")
async def _progress(stage: CutStage, arm: Arm) -> None:
    turn, operation_id = await stage.outside()
    arm()
    await stage.post(f"/api/chat/operations/{operation_id}/progress", {"percent": 50}, 202)
    applied = "SELECT outcome = 'applied' FROM webhook_journal WHERE operation_id = $1"
    await wait_until(lambda: stage.database.fetchval(applied, operation_id), what="the report is dealt with")
    await stage.post(f"/api/chat/operations/{operation_id}/complete", {"success": True, "result": "hi"}, 202)
    await stage.is_seen(turn, "hi")


@CASES.of("UPDATE webhook_journal SET outcome = 'late'")
async def _replayed_webhook(stage: CutStage, arm: Arm) -> None:
    turn, operation_id = await stage.outside()
    await stage.post(f"/api/chat/operations/{operation_id}/complete", {"success": True, "result": "hi"}, 202)
    await stage.is_seen(turn, "hi")
    arm()
    number = await stage.database.fetchval("SELECT id FROM webhook_journal WHERE operation_id = $1", operation_id)
    await stage.post(f"/api/chat/webhooks/{number}/replay", {}, 202)
    await stage.continues(turn.session_id)
    applied = "SELECT outcome FROM webhook_journal WHERE operation_id = $1"
    assert await stage.database.fetchval(applied, operation_id) == "applied"
