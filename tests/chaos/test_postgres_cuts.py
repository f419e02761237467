"""The connection to Postgres is cut at a commit: before the server has it, and after, so that the answer is lost.

For each transaction of the store, with the real services: the turn is answered once, with the right text; callers get
the truth, or a 503 after which the same request gets it; nothing is left behind, and the session goes on.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass

import asyncpg
import pytest
import pytest_asyncio
from redis.asyncio import Redis
from sluiceway.operation.completions import Completions

from harness.clients.calling import TOOLS_DIR, offered
from harness.clients.chat import Chat, Turn
from harness.clients.folding import fold
from harness.clients.sse import follow_to_the_end
from harness.databases.postgres import Postgres
from harness.databases.valkey import Valkey
from harness.model_server import ModelServer, answer_to
from harness.processes.loop_thread import LoopThread
from harness.processes.model_process import ModelProcess
from harness.processes.services import Services
from harness.proxies.postgres_proxy import PostgresProxy
from harness.proxies.proxy import Fate
from harness.waiting import wait_until
from tests.chaos.cut_stage import SETTINGS, CutStage, Running
from tests.conftest import attach_logs, settings_for

Arm = Callable[[], None]
Play = Callable[[CutStage, Arm], Awaitable[None]]


@dataclass(frozen=True)
class Case:
    """`statement`: in the transaction that is cut. `play` arms the cut when all before it is done. `refused`: the
    caller of a route sees it; None: or nobody does, where the reconciler came first."""

    name: str
    statement: str
    play: Play
    refused: bool | None = False


CASES: list[Case] = []


def case(statement: str, *, refused: bool | None = False) -> Callable[[Play], Play]:
    def register(play: Play) -> Play:
        CASES.append(Case(play.__name__.removeprefix("_"), statement, play, refused))
        return play

    return register


# Turns


@case("INSERT INTO tasks", refused=True)
async def _accept(stage: CutStage, arm: Arm) -> None:
    session_id = await stage.chat.open_session()
    arm()
    turn = await stage.send(session_id, f"{stage.name} [[tokens=5 rate=0]]")
    rows = "SELECT count(*) FROM messages WHERE session_id = $1"
    assert await stage.database.fetchval(rows, session_id) == 2
    await stage.is_plain(turn)


@case(r"SET attempt = attempt \+ 1, status")
async def _claim(stage: CutStage, arm: Arm) -> None:
    arm()
    await stage.is_plain(await stage.plain())


@case("SELECT .* FROM messages .* sequence < ")
async def _history(stage: CutStage, arm: Arm) -> None:
    arm()
    await stage.is_plain(await stage.plain())


@case(r"UPDATE tasks SET status = \$2, error")
async def _end(stage: CutStage, arm: Arm) -> None:
    arm()
    await stage.is_plain(await stage.plain())


@case("SET settled_at = now")
async def _finalize(stage: CutStage, arm: Arm) -> None:
    arm()
    await stage.is_plain(await stage.plain())


@case(r"UPDATE tasks SET status = \$2, error")
async def _end_with_an_error(stage: CutStage, arm: Arm) -> None:
    await stage.model.script({"status": 400}, match=stage.name)
    arm()
    turn = await stage.ask(stage.name)
    message = fold(await stage.chat.answer(turn))
    assert message.error is not None
    assert [part["data"]["code"] for part in message.data] != []
    await stage.continues(turn.session_id)


@case("INSERT INTO tasks", refused=True)
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


@case("INSERT INTO tasks", refused=True)
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


@case("UPDATE tasks SET entered = true")
async def _steer(stage: CutStage, arm: Arm) -> None:
    turn = await stage.with_tool("wait_at", gate=stage.name)
    await stage.operation(turn, "running")
    steering = await stage.send(turn.session_id, f"{stage.name} otherwise", policy="steer")
    arm()
    await stage.redis.set(f"test:{{{stage.name}}}", "1", ex=60)
    steered, answered = [fold(await stage.chat.answer(one)) for one in (turn, steering)]
    assert (steered.text, answered.text) == ("Let me see. ", "Seen.")
    await stage.is_whole(steering, answered, asked=2)


@case("cancel_requested_at = coalesce", refused=True)
async def _cancel_running(stage: CutStage, arm: Arm) -> None:
    turn = await stage.ask(f"{stage.name} [[tokens=8 rate=0 gate_after=4:{stage.name}]]")
    await stage.model.wait_for(lambda seen: seen.tokens_sent == 4)
    arm()
    await stage.post(f"/api/chat/tasks/{turn.task_id}/cancel", {}, 202)
    message = fold(await stage.chat.answer(turn))
    assert message.aborted
    await stage.is_whole(turn, message, asked=1, status="cancelled")


@case(r"UPDATE tasks SET status = \$2, error", refused=True)
async def _cancel_queued(stage: CutStage, arm: Arm) -> None:
    first = await stage.ask(f"{stage.name} [[tokens=5 rate=0 gate_after=2:{stage.name}]]")
    queued = await stage.send(first.session_id, "never answered")
    await stage.model.wait_for(lambda seen: seen.tokens_sent == 2)
    arm()
    await stage.post(f"/api/chat/tasks/{queued.task_id}/cancel", {}, 202)
    await stage.model.open_gate(stage.name)
    assert fold(await stage.chat.answer(queued)).aborted
    await stage.is_plain(first)


@case(r"UPDATE tasks SET status = \$2, error", refused=None)
async def _cancel_waiting(stage: CutStage, arm: Arm) -> None:
    turn, _ = await stage.outside()
    arm()
    await stage.post(f"/api/chat/tasks/{turn.task_id}/cancel", {}, 202)
    message = fold(await stage.chat.answer(turn))
    assert message.aborted
    await stage.is_whole(turn, message, asked=1, status="cancelled")


# Operations


@case("INSERT INTO operations")
async def _pause(stage: CutStage, arm: Arm) -> None:
    arm()
    await stage.is_seen(await stage.with_tool("echo", text="hello"), {"said": "hello"})


@case("INSERT INTO operations")
async def _pause_to_ask(stage: CutStage, arm: Arm) -> None:
    arm()
    turn = await stage.asking()
    await stage.continues(turn.session_id)


@case("SET status = 'running', runner")
async def _start_of_what_may_not_be_repeated(stage: CutStage, arm: Arm) -> None:
    await stage.redis.set(f"test:{{{stage.name}}}", "1", ex=60)
    arm()
    await stage.is_seen(await stage.with_tool("once", gate=stage.name), "once")


@case("SET status = 'accepted'")
async def _hand_over(stage: CutStage, arm: Arm) -> None:
    arm()
    turn, operation_id = await stage.outside()
    await stage.post(f"/api/chat/operations/{operation_id}/complete", {"success": True, "result": "hi"}, 202)
    await stage.is_seen(turn, "hi")


@case("WITH held AS")
async def _complete(stage: CutStage, arm: Arm) -> None:
    arm()
    turn = await stage.with_tool("echo", text="hello")
    await stage.is_seen(turn, {"said": "hello"})
    told = [line for line in stage.running.system.consumer.log_lines if line.get("task_id") == turn.task_id]
    assert any(line.get("resumes") for line in told), "the next step did not wait for the reconciler"


@case("WITH held AS")
async def _expire(stage: CutStage, arm: Arm) -> None:
    turn, operation_id = await stage.outside()
    arm()
    await stage.database.execute("UPDATE operations SET deadline_at = now() WHERE id = $1", operation_id)
    message = fold(await stage.chat.answer(turn))
    assert message.tools["call_t"]["error"].startswith("DEADLINE_EXCEEDED")
    await stage.is_whole(turn, message, asked=2)


@case("INSERT INTO parked_completions")
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


@case("WITH given_up AS")
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


@case("DELETE FROM parked_completions WHERE id")
async def _unpark(stage: CutStage, arm: Arm) -> None:
    turn, operation_id = await stage.outside()
    arm()
    job = {"kind": "complete", "operation_id": operation_id, "success": True, "result": "hi"}
    await _insert_parked(stage, operation_id, job)
    await wait_until(lambda: _parked(stage, 0), what="it is applied")
    await stage.is_seen(turn, "hi")


# Approvals


@case("UPDATE operations SET approval", refused=True)
async def _approve(stage: CutStage, arm: Arm) -> None:
    await _is_approved(stage, await stage.asking(), arm)


@case("UPDATE operations SET status = CASE WHEN poll")
async def _begin_approved(stage: CutStage, arm: Arm) -> None:
    await _is_approved(stage, await stage.asking(), arm)


@case("UPDATE sessions SET approval_task_id")
async def _end_asking(stage: CutStage, arm: Arm) -> None:
    arm()
    await _is_approved(stage, await stage.asking(), lambda: None)


@case("UPDATE operations o SET status = 'expired'")
async def _expire_approval(stage: CutStage, arm: Arm) -> None:
    turn = await stage.asking()
    arm()
    await stage.database.execute("UPDATE operations SET deadline_at = now() WHERE task_id = $1", turn.task_id)
    await stage.operation(turn, "expired")
    await stage.continues(turn.session_id)


# Webhooks


@case("INSERT INTO webhook_journal", refused=True)
async def _webhook(stage: CutStage, arm: Arm) -> None:
    turn, operation_id = await stage.outside()
    arm()
    path, said = f"/api/chat/operations/{operation_id}/complete", {"success": True, "result": "hi"}
    await stage.post(path, said, 202, **{"webhook-id": "w-1"})
    await stage.post(path, said, 202, **{"webhook-id": "w-1"})
    await stage.is_seen(turn, "hi")
    journal = "SELECT count(*) FROM webhook_journal WHERE operation_id = $1"
    assert await stage.database.fetchval(journal, operation_id) == 1


@case(r"UPDATE webhook_journal SET outcome = \$2")
async def _progress(stage: CutStage, arm: Arm) -> None:
    turn, operation_id = await stage.outside()
    arm()
    await stage.post(f"/api/chat/operations/{operation_id}/progress", {"percent": 50}, 202)
    applied = "SELECT outcome = 'applied' FROM webhook_journal WHERE operation_id = $1"
    await wait_until(lambda: stage.database.fetchval(applied, operation_id), what="the report is dealt with")
    await stage.post(f"/api/chat/operations/{operation_id}/complete", {"success": True, "result": "hi"}, 202)
    await stage.is_seen(turn, "hi")


@case("UPDATE webhook_journal SET outcome = 'late'")
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


# Sessions, dead letters


@case("INSERT INTO sessions", refused=True)
async def _create_session(stage: CutStage, arm: Arm) -> None:
    session_id = f"s-{stage.name}"
    arm()
    made = await stage.insist(lambda: stage.chat.post("/api/chat/sessions", {"id": session_id}))
    assert made.status_code in (200, 201)
    await stage.continues(session_id)


@case("UPDATE sessions SET title", refused=True)
async def _rename_session(stage: CutStage, arm: Arm) -> None:
    session_id = await stage.chat.open_session()
    arm()
    named = await stage.insist(lambda: stage.chat.patch(f"/api/chat/sessions/{session_id}", {"title": "named"}))
    assert named.json()["title"] == "named"
    await stage.continues(session_id)


@case("DELETE FROM sessions", refused=True)
async def _delete_session(stage: CutStage, arm: Arm) -> None:
    turn = await stage.ask(f"{stage.name} [[tokens=8 rate=0 gate_after=4:{stage.name}]]")
    await stage.model.wait_for(lambda seen: seen.tokens_sent == 4)
    arm()
    gone = await stage.insist(lambda: stage.chat.delete(f"/api/chat/sessions/{turn.session_id}"))
    assert gone.status_code in (204, 404)
    await _is_erased(stage, turn)
    await stage.continues(await stage.chat.open_session())


@case("DELETE FROM sessions", refused=True)
async def _delete_session_that_waits(stage: CutStage, arm: Arm) -> None:
    turn, _ = await stage.outside()
    arm()
    gone = await stage.insist(lambda: stage.chat.delete(f"/api/chat/sessions/{turn.session_id}"))
    assert gone.status_code in (204, 404)
    await _is_erased(stage, turn)
    await stage.continues(await stage.chat.open_session())


@case("DELETE FROM sessions", refused=True)
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


@case("INSERT INTO dead_letters")
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


async def _kept(stage: CutStage) -> int:
    like = "SELECT count(*) FROM dead_letters WHERE convert_from(body, 'UTF8') LIKE '%' || $1 || '%'"
    return int(await stage.database.fetchval(like, stage.name))


@pytest.fixture(scope="module")
def proxy(_postgres_server: Postgres) -> Iterator[PostgresProxy]:
    _postgres_server.start()
    proxy = PostgresProxy(_postgres_server.port)
    with LoopThread() as thread:
        thread.run(proxy.start())
        yield proxy
        thread.run(proxy.stop())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(
    proxy: PostgresProxy,
    _postgres_server: Postgres,
    _valkey_server: Valkey,
    _model_process: ModelProcess,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Running]:
    _valkey_server.start()
    _valkey_server.flush()
    name = _postgres_server.create_database(migrated=True)
    url = _postgres_server.url(name)
    through = url.replace(f":{_postgres_server.port}/", f":{proxy.port}/")
    environment = settings_for(_valkey_server.url, through, _model_process) | SETTINGS
    services = Services(tmp_path_factory.mktemp("cuts"), environment)
    try:
        system = await services.whole(tool_runners=1, TOOLS_DIR=str(TOOLS_DIR))
        await offered(system.url, "careful")
        yield Running(services, system, proxy, _valkey_server.url, url)
    finally:
        complaints = services.stop()
        _postgres_server.drop_database(name)
    assert not complaints, "\n".join(complaints)


@pytest.fixture
async def stage(request: pytest.FixtureRequest, running: Running, model: ModelServer) -> AsyncIterator[CutStage]:
    attach_logs(request.node, running.services)
    database = await asyncpg.connect(running.database_url)
    async with Chat(running.system.url) as chat, Redis.from_url(running.redis_url) as redis:
        yield CutStage(running, chat, model, redis, database)
    running.proxy.forget_cuts()
    await database.close()
    assert not running.services.complaints()


@pytest.mark.requirement("OP-7", "CH-11", "CC-6", "WH-3")
@pytest.mark.parametrize("fate", ["cut_before", "cut_after"])
@pytest.mark.parametrize("one", CASES, ids=lambda one: one.name)
async def test_nothing_is_lost_or_doubled_when_a_commit_is_cut(stage: CutStage, one: Case, fate: Fate) -> None:
    cuts = []
    await one.play(stage, lambda: cuts.append(stage.running.proxy.cut(one.statement, fate)))
    (cut,) = cuts
    await wait_until(lambda: cut.done, 5, repr(cut))
    assert one.refused in (None, stage.refused > 0)
