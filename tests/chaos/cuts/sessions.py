"""Sessions whose commits are cut: created, renamed, deleted; and dead letters."""

from harness.clients.chat import Turn
from harness.clients.folding import fold
from harness.model_server import answer_to
from harness.waiting import wait_until
from tests.chaos.cuts.case import Arm, Cases
from tests.chaos.cuts.stage import CutStage

CASES = Cases()


@CASES.of("INSERT INTO sessions", refused=True)
async def _create_session(stage: CutStage, arm: Arm) -> None:
    session_id = f"s-{stage.name}"
    arm()
    made = await stage.insist(lambda: stage.chat.post("/api/chat/sessions", {"id": session_id}))
    assert made.status_code in (200, 201)
    await stage.continues(session_id)


@CASES.of("UPDATE sessions SET title", refused=True)
async def _rename_session(stage: CutStage, arm: Arm) -> None:
    session_id = await stage.chat.open_session()
    arm()
    named = await stage.insist(lambda: stage.chat.patch(f"/api/chat/sessions/{session_id}", {"title": "named"}))
    assert named.json()["title"] == "named"
    await stage.continues(session_id)


@CASES.of("DELETE FROM sessions", refused=True)
async def _delete_session(stage: CutStage, arm: Arm) -> None:
    turn = await stage.ask(f"{stage.name} [[tokens=8 rate=0 gate_after=4:{stage.name}]]")
    await stage.model.wait_for(lambda seen: seen.tokens_sent == 4)
    arm()
    gone = await stage.insist(lambda: stage.chat.delete(f"/api/chat/sessions/{turn.session_id}"))
    assert gone.status_code in (204, 404)
    await _is_erased(stage, turn)
    await stage.continues(await stage.chat.open_session())


@CASES.of("DELETE FROM sessions", refused=True)
async def _delete_session_that_waits(stage: CutStage, arm: Arm) -> None:
    turn, _ = await stage.outside()
    arm()
    gone = await stage.insist(lambda: stage.chat.delete(f"/api/chat/sessions/{turn.session_id}"))
    assert gone.status_code in (204, 404)
    await _is_erased(stage, turn)
    await stage.continues(await stage.chat.open_session())


@CASES.of("DELETE FROM sessions", refused=True)
async def _delete_session_and_never_ask_again(stage: CutStage, arm: Arm) -> None:
    turn = await stage.ask(f"{stage.name} [[tokens=8 rate=0 gate_after=4:{stage.name}]]")
    await stage.model.wait_for(lambda seen: seen.tokens_sent == 4)
    arm()
    response = await stage.chat.delete(f"/api/chat/sessions/{turn.session_id}")
    assert response.status_code == 503
    stage.refused += 1
    await stage.model.open_gate(stage.name)
    if await stage.database.fetchval("SELECT count(*) FROM sessions WHERE id = $1", turn.session_id) == 0:
        await _is_erased(stage, turn)
    else:
        message = fold(await stage.chat.answer(turn, timeout=10))
        assert not message.aborted
        assert message.text == answer_to(stage.name, 8)
    await stage.continues(await stage.chat.open_session())


@CASES.of("INSERT INTO dead_letters")
async def _dead_letter(stage: CutStage, arm: Arm) -> None:
    arm()
    await stage.redis.xadd("sw:q:chat:0", {"d": f"no job {stage.name}"})
    await wait_until(lambda: _kept(stage), what="it is kept")
    await stage.continues(await stage.chat.open_session())
    assert await _kept(stage) == 1


async def _is_erased(stage: CutStage, turn: Turn) -> None:
    """Whoever comes now is told that there is no such turn."""

    async def is_unknown() -> bool:
        return (await stage.chat.get(turn.stream_path)).status_code == 404

    await wait_until(is_unknown, what="its stream is erased")


async def _kept(stage: CutStage) -> int:
    like = "SELECT count(*) FROM dead_letters WHERE convert_from(body, 'UTF8') LIKE '%' || $1 || '%'"
    return int(await stage.database.fetchval(like, stage.name))
