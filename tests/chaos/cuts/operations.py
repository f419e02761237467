"""Operations whose commits are cut: begun, handed over, ended, expired, parked."""

import json

from sluiceway.operation.completions import Completions

from harness.clients.folding import fold
from harness.waiting import wait_until
from tests.chaos.cuts.case import Arm, Cases
from tests.chaos.cuts.stage import CutStage

CASES = Cases()


@CASES.of("INSERT INTO operations")
async def _pause(stage: CutStage, arm: Arm) -> None:
    arm()
    await stage.is_seen(await stage.with_tool("echo", text="hello"), {"said": "hello"})


@CASES.of("INSERT INTO operations")
async def _pause_to_ask(stage: CutStage, arm: Arm) -> None:
    arm()
    turn = await stage.asking()
    await stage.continues(turn.session_id)


@CASES.of("SET status = 'running', runner")
async def _start_of_what_may_not_be_repeated(stage: CutStage, arm: Arm) -> None:
    await stage.redis.set(f"test:{{{stage.name}}}", "1", ex=60)
    arm()
    await stage.is_seen(await stage.with_tool("once", gate=stage.name), "once")


@CASES.of("SET status = 'accepted'")
async def _hand_over(stage: CutStage, arm: Arm) -> None:
    arm()
    turn, operation_id = await stage.outside()
    await stage.post(f"/api/chat/operations/{operation_id}/complete", {"success": True, "result": "hi"}, 202)
    await stage.is_seen(turn, "hi")


@CASES.of("WITH held AS")
async def _complete(stage: CutStage, arm: Arm) -> None:
    arm()
    turn = await stage.with_tool("echo", text="hello")
    await stage.is_seen(turn, {"said": "hello"})
    told = [line for line in stage.running.system.consumer.log_lines if line.get("task_id") == turn.task_id]
    assert any(line.get("resumes") for line in told), "the next step did not wait for the reconciler"


@CASES.of("WITH held AS")
async def _expire(stage: CutStage, arm: Arm) -> None:
    turn, operation_id = await stage.outside()
    arm()
    await stage.database.execute("UPDATE operations SET deadline_at = now() WHERE id = $1", operation_id)
    message = fold(await stage.chat.answer(turn))
    assert message.tools["call_t"]["error"].startswith("DEADLINE_EXCEEDED")
    await stage.is_whole(turn, message, asked=2)


@CASES.of("INSERT INTO parked_completions")
async def _park(stage: CutStage, arm: Arm) -> None:
    turn = await stage.ask(f"{stage.name} [[tokens=5 rate=0 gate_after=2:{stage.name}]]")
    await stage.model.wait_for(lambda seen: seen.tokens_sent == 2)
    arm()
    await Completions(stage.redis).publish_operation_complete(f"op-{stage.name}", turn.task_id, True, "early")
    await wait_until(lambda: _parked(stage, 1), what="it is parked")
    await stage.model.open_gate(stage.name)
    await stage.is_plain(turn)
    await wait_until(lambda: _parked(stage, 0), what="it is given up")
    assert await _dead_letters(stage, turn.task_id) >= 1


@CASES.of("WITH given_up AS")
async def _give_up(stage: CutStage, arm: Arm) -> None:
    turn = await stage.plain()
    arm()
    await Completions(stage.redis).publish_operation_complete(f"op-{stage.name}", "unknown", True, "never")
    await wait_until(lambda: _parked(stage, 1), what="it is parked")
    await stage.database.execute("UPDATE parked_completions SET parked_at = now() - interval '2 days'")
    await wait_until(lambda: _parked(stage, 0), what="it is given up")
    assert await _dead_letters(stage, "unknown") == 1
    await stage.database.execute("DELETE FROM dead_letters")
    await stage.is_plain(turn)


@CASES.of("DELETE FROM parked_completions WHERE id")
async def _unpark(stage: CutStage, arm: Arm) -> None:
    turn, operation_id = await stage.outside()
    arm()
    job = {"kind": "complete", "operation_id": operation_id, "success": True, "result": "hi"}
    await _insert_parked(stage, operation_id, job)
    await wait_until(lambda: _parked(stage, 0), what="it is applied")
    await stage.is_seen(turn, "hi")


async def _insert_parked(stage: CutStage, operation_id: str, job: dict[str, object]) -> None:
    await stage.database.execute(
        "INSERT INTO parked_completions (operation_id, body) VALUES ($1, $2::text::jsonb)",
        operation_id,
        json.dumps(job),
    )


async def _parked(stage: CutStage, count: int) -> bool:
    return bool(await stage.database.fetchval("SELECT count(*) FROM parked_completions") == count)


async def _dead_letters(stage: CutStage, task_id: str) -> int:
    return int(await stage.database.fetchval("SELECT count(*) FROM dead_letters WHERE task_id = $1", task_id))
