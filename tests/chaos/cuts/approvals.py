"""Approvals whose commits are cut: asked, given, expired."""

from harness.clients.chat import Turn
from harness.clients.folding import fold
from harness.clients.sse import follow_to_the_end
from tests.chaos.cuts.case import Arm, Cases
from tests.chaos.cuts.stage import CutStage

CASES = Cases()


@CASES.of("UPDATE operations SET approval", refused=True)
async def _approve(stage: CutStage, arm: Arm) -> None:
    await _is_approved(stage, await stage.asking(), arm)


@CASES.of("UPDATE operations SET status = CASE WHEN poll")
async def _begin_approved(stage: CutStage, arm: Arm) -> None:
    await _is_approved(stage, await stage.asking(), arm)


@CASES.of("UPDATE sessions SET approval_task_id")
async def _end_asking(stage: CutStage, arm: Arm) -> None:
    arm()
    await _is_approved(stage, await stage.asking(), lambda: None)


@CASES.of("UPDATE operations o SET status = 'expired'")
async def _expire_approval(stage: CutStage, arm: Arm) -> None:
    turn = await stage.asking()
    arm()
    await stage.database.execute("UPDATE operations SET deadline_at = now() WHERE task_id = $1", turn.task_id)
    await stage.operation(turn, "expired")
    await stage.continues(turn.session_id)


async def _is_approved(stage: CutStage, turn: Turn, arm: Arm) -> None:
    asked = fold(await stage.chat.answer(turn))
    arm()
    path = f"/api/chat/tasks/{turn.task_id}/approvals/call_t"
    taken = await stage.post(path, {"approved": True}, 202)
    again = await stage.post(path, {"approved": True}, 202)
    assert taken == again
    events = await follow_to_the_end([stage.chat.url + taken["stream_url"]])
    message = fold(events, before=asked)
    assert message.text == "Seen."
    assert message.tools["call_t"]["output"] == "carefully: hello"
    await stage.continues(turn.session_id)
