"""Turns whose commits are cut: accepted, claimed, ended, asked again, steered, cancelled."""

from harness.clients.folding import fold
from harness.model_server import answer_to
from tests.chaos.cuts.case import Arm, Cases
from tests.chaos.cuts.stage import CutStage

CASES = Cases()


@CASES.of("INSERT INTO tasks", refused=True)
async def _accept(stage: CutStage, arm: Arm) -> None:
    session_id = await stage.chat.open_session()
    arm()
    turn = await stage.send(session_id, f"{stage.name} [[tokens=5 rate=0]]")
    rows = "SELECT count(*) FROM messages WHERE session_id = $1"
    assert await stage.database.fetchval(rows, session_id) == 2
    await stage.is_plain(turn)


@CASES.of(r"SET attempt = attempt \+ 1, status")
async def _claim(stage: CutStage, arm: Arm) -> None:
    arm()
    await stage.is_plain(await stage.plain())


@CASES.of("SELECT .* FROM messages .* sequence < ")
async def _history(stage: CutStage, arm: Arm) -> None:
    arm()
    await stage.is_plain(await stage.plain())


@CASES.of(r"UPDATE tasks SET status = \$2, error")
async def _end(stage: CutStage, arm: Arm) -> None:
    arm()
    await stage.is_plain(await stage.plain())


@CASES.of("SET settled_at = now")
async def _finalize(stage: CutStage, arm: Arm) -> None:
    arm()
    await stage.is_plain(await stage.plain())


@CASES.of(r"UPDATE tasks SET status = \$2, error")
async def _end_with_an_error(stage: CutStage, arm: Arm) -> None:
    await stage.model.script({"status": 400}, match=stage.name)
    arm()
    turn = await stage.ask(stage.name)
    message = fold(await stage.chat.answer(turn))
    assert message.error is not None
    assert [part["data"]["code"] for part in message.data] != []
    await stage.continues(turn.session_id)


@CASES.of("INSERT INTO tasks", refused=True)
async def _regenerate(stage: CutStage, arm: Arm) -> None:
    turn = await stage.plain()
    await stage.is_plain(turn)
    question = f"{stage.name} [[tokens=5 rate=0]]"
    body = {
        "id": turn.session_id,
        "trigger": "regenerate-message",
        "messageId": turn.message_id,
        "messages": [{"id": "m-1", "role": "user", "parts": [{"type": "text", "text": question}]}],
    }
    arm()
    first = await stage.insist(lambda: stage.chat.post("/api/chat", body))
    again = await stage.chat.post("/api/chat", body)
    assert first.headers["x-workflow-run-id"] == again.headers["x-workflow-run-id"] != turn.task_id
    texts = [text for role, text in await stage.chat.messages(turn.session_id) if role == "assistant"]
    assert len(texts) == 1, "the new answer has taken the place of the old one, and of the one after that"
    await stage.continues(turn.session_id)


@CASES.of("INSERT INTO tasks", refused=True)
async def _interrupt(stage: CutStage, arm: Arm) -> None:
    first = await stage.ask(f"first {stage.name} [[tokens=8 rate=0 gate_after=4:{stage.name}]]")
    queued = await stage.send(first.session_id, "never answered")
    await stage.model.wait_for(lambda seen: seen.tokens_sent == 4)
    arm()
    turn = await stage.send(first.session_id, f"{stage.name} [[tokens=5 rate=0]]", policy="interrupt")
    assert fold(await stage.chat.answer(turn)).text == answer_to(stage.name, 5)
    assert fold(await stage.chat.answer(first)).aborted
    assert fold(await stage.chat.answer(queued)).aborted
    await stage.continues(turn.session_id)


@CASES.of("UPDATE tasks SET entered = true")
async def _steer(stage: CutStage, arm: Arm) -> None:
    turn = await stage.with_tool("wait_at", gate=stage.name)
    await stage.operation(turn, "running")
    steering = await stage.send(turn.session_id, f"{stage.name} otherwise", policy="steer")
    arm()
    await stage.redis.set(f"test:{{{stage.name}}}", "1", ex=60)
    steered, answered = [fold(await stage.chat.answer(one)) for one in (turn, steering)]
    assert (steered.text, answered.text) == ("Let me see. ", "Seen.")
    await stage.is_whole(steering, answered, asked=2)


@CASES.of("cancel_requested_at = coalesce", refused=True)
async def _cancel_running(stage: CutStage, arm: Arm) -> None:
    turn = await stage.ask(f"{stage.name} [[tokens=8 rate=0 gate_after=4:{stage.name}]]")
    await stage.model.wait_for(lambda seen: seen.tokens_sent == 4)
    arm()
    await stage.post(f"/api/chat/tasks/{turn.task_id}/cancel", {}, 202)
    message = fold(await stage.chat.answer(turn))
    assert message.aborted
    await stage.is_whole(turn, message, asked=1, status="cancelled")


@CASES.of(r"UPDATE tasks SET status = \$2, error", refused=True)
async def _cancel_queued(stage: CutStage, arm: Arm) -> None:
    first = await stage.ask(f"{stage.name} [[tokens=5 rate=0 gate_after=2:{stage.name}]]")
    queued = await stage.send(first.session_id, "never answered")
    await stage.model.wait_for(lambda seen: seen.tokens_sent == 2)
    arm()
    await stage.post(f"/api/chat/tasks/{queued.task_id}/cancel", {}, 202)
    await stage.model.open_gate(stage.name)
    assert fold(await stage.chat.answer(queued)).aborted
    await stage.is_plain(first)


@CASES.of(r"UPDATE tasks SET status = \$2, error", refused=None)
async def _cancel_waiting(stage: CutStage, arm: Arm) -> None:
    turn, _ = await stage.outside()
    arm()
    await stage.post(f"/api/chat/tasks/{turn.task_id}/cancel", {}, 202)
    message = fold(await stage.chat.answer(turn))
    assert message.aborted
    await stage.is_whole(turn, message, asked=1, status="cancelled")
