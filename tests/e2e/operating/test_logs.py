"""What the services log of a turn, and what they never log."""

import re
from typing import Any

import httpx
import pytest
from sluiceway import keys
from sluiceway.process.logs import user_hash
from sluiceway.wire.jobs import CompletionJob

from harness.clients.asking import questions
from harness.clients.calling import TOOLS_DIR, call, calls_tools, offered
from harness.clients.chat import Chat
from harness.databases.database import Database
from harness.databases.postgres import Postgres
from harness.model_server import ModelServer
from harness.processes.services import Service, Services
from harness.waiting import wait_until
from tests.gateway.callers import bearer

SECRET_WORDS = "xylophone-heptagon"


def _lines_of(service: Service, task_id: str) -> list[dict[str, Any]]:
    return [line for line in service.log_lines if line.get("task_id") == task_id]


@pytest.mark.requirement("TS-13")
async def test_the_life_of_a_turn_is_logged_in_structured_lines_with_ids_and_durations(services: Services) -> None:
    system = await services.whole()
    async with Chat(system.url) as chat:
        turn = await chat.ask("log me [[tokens=3 rate=0]]")
        await chat.answer(turn)
    ended = await wait_until(
        lambda: [line for line in _lines_of(system.worker, turn.task_id) if "duration_ms" in line],
        what="the worker logs the end of the turn",
    )
    assert all(isinstance(line["duration_ms"], int | float) for line in ended)
    assert _lines_of(system.gateway, turn.task_id), "the gateway logs what it accepted"
    for line in [*_lines_of(system.worker, turn.task_id), *_lines_of(system.gateway, turn.task_id)]:
        assert line["component"] in {"gateway", "chat-worker"}
        assert line["session_id"] == turn.session_id
    for service in services.all:
        await service.terminate()
        assert len(service.log_lines) == len(service.output.splitlines()), service.output
        assert all({"event", "level", "timestamp", "component"} <= line.keys() for line in service.log_lines)


@pytest.mark.requirement("TS-13")
async def test_neither_what_was_said_nor_the_key_is_in_any_log(services: Services, model: ModelServer) -> None:
    system = await services.whole()
    fates = ("tokens=5 rate=0", "status=400", "garbage=json tokens=3", "cut=3 how=rst", "status=401", "stream_error")
    async with Chat(system.url) as chat:
        for fate in fates:
            await chat.answer(await chat.ask(f"{SECRET_WORDS} [[{fate}]]"))
        cancelled = await chat.ask(f"{SECRET_WORDS} [[tokens=1000 rate=20]]")
        await chat.cancel(cancelled.task_id)
        await chat.answer(cancelled)
    assert await questions(model, SECRET_WORDS)
    for service in services.all:
        await service.terminate()
        assert SECRET_WORDS not in service.output
        assert "not-a-secret" not in service.output


MARKED = "marker-in-a"
JWT_SECRET = f"{MARKED}-jwt-secret-of-enough-bytes-for-hs256"
KEYS: dict[str, Any] = {
    "OPENAI_API_KEY": f"{MARKED}-model-key",
    "API_KEYS": f'["{MARKED}-api-key-of-enough-characters"]',
    "WEBHOOK_SECRETS": '["whsec_bWFya2VyLWluLWEtd2ViaG9vay1zZWNyZXQ="]',
}


async def _plant(url: str, model: ModelServer, database: Database) -> None:
    """Texts that are marked, in every place that takes one, and failures that have them at hand."""
    await offered(url, "echo")
    words = f"{MARKED}-question"
    async with Chat(url) as chat:
        for tool in ("echo", "broken", "no_such_tool"):
            await calls_tools(model, f"call {tool}", call(tool, f"{MARKED}-call", text=f"{MARKED}-input"))
            await chat.answer(await chat.ask(f"{words}: call {tool}"))
        for fate in ("status=400", "status=401", "garbage=json", "garbage=html", "stream_error", "cut=3 how=rst"):
            await chat.answer(await chat.ask(f"{words} [[tokens=3 rate=0 {fate}]]"))
        await chat.ask(f"{words} /echo {{")
        body = {"error": {"message": f"{MARKED}-refusal", "code": f"{MARKED}-code"}}
        await model.script({"status": 400, "body": body, "headers": {"x-request-id": "r"}}, match="refuse")
        await chat.answer(await chat.ask(f"{words}: refuse"))
        await database.execute("ALTER TABLE messages ADD CHECK (position('unstorable' IN parts::text) = 0) NOT VALID")
        await chat.post_message(await chat.open_session(), f"{words} unstorable")
        await model.script({"text": f"unstorable {MARKED}-answer"}, match="not to be stored")
        await chat.answer(await chat.ask(f"{words}: not to be stored"))
        for path in ("/api/chat/sessions", "/api/chat", f"/api/chat/webhooks/operations/{MARKED}/complete"):
            await chat.post(path, {"id": [f"{MARKED}-body"], "messages": f"{MARKED}-body", "title": f"{MARKED}\x00"})


async def _knock(url: str) -> None:
    """With a token and a key that are wrong, at a gateway that looks at them."""
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
        for name, value in (("authorization", f"Bearer {MARKED}.token.x"), ("x-api-key", f"{MARKED}-key")):
            await http.get("/api/chat/sessions", headers={name: value})
        await http.get("/api/chat/sessions", params={"cursor": f"{MARKED}-cursor"})


@pytest.mark.requirement("TS-13", "SE-5")
@pytest.mark.parametrize("log_format", ["json", "console"])
async def test_no_text_and_no_secret_of_a_whole_system_is_in_any_log_of_either_format(
    services: Services, model: ModelServer, database: Database, redis: Any, log_format: str
) -> None:
    system = await services.whole(tool_runners=1, TOOLS_DIR=str(TOOLS_DIR), LOG_FORMAT=log_format, **KEYS)
    guarded = await services.gateway(JWT_SECRET=JWT_SECRET, LOG_FORMAT=log_format, **KEYS)
    await _plant(system.url, model, database)
    await _knock(guarded.url)
    for queue, body in (
        ("chat", f'{{"kind": "chat", "task_id": ["{MARKED}-job"]}}'.encode()),
        ("completions", CompletionJob(operation_id="unknown", success=True, result=f"{MARKED}-result").encode()),
        ("completions", f'{{"kind": "complete", "{MARKED}-key": '.encode()),
    ):
        await redis.xadd(keys.work_queue(queue), {"d": body})
    await wait_until(lambda: _kept(database), what="the dead letters are kept")
    services.expect_in_logs("Traceback")
    for service in services.all:
        await service.terminate()
        found = re.search(f".*{MARKED}.*", service.output)
        assert found is None, f"{service.name}: {found[0]}"
        assert "bWFya2VyLWluLWEtd2ViaG9vay1zZWNyZXQ" not in service.output
    assert "turn_not_storable" in system.worker.output
    assert "turn_failed" in system.worker.output


@pytest.mark.requirement("TS-13")
async def test_a_failed_turn_says_why_with_code_status_model_and_attempt(services: Services) -> None:
    system = await services.whole()
    async with Chat(system.url) as chat:
        turn = await chat.ask("no [[status=401]]")
        await chat.answer(turn)
    (ended,) = await wait_until(
        lambda: [line for line in _lines_of(system.worker, turn.task_id) if line["event"] == "turn_ended"],
        what="the worker logs the end",
    )
    assert (ended["status"], ended["model_status"], ended["attempt"]) == ("failed", 401, 1)
    assert ended["code"].startswith("MODEL_")
    assert ended["model"]


@pytest.mark.requirement("TS-13")
async def test_every_line_of_a_turn_joins_the_request_the_worker_the_tool_and_the_user(
    services: Services, model: ModelServer, database: Database
) -> None:
    system = await services.whole(tool_runners=1)
    guarded = await services.gateway(JWT_SECRET=JWT_SECRET)
    alice = bearer("alice", JWT_SECRET)
    await offered(system.url, "current_time")
    await calls_tools(model, "the time", call("current_time", "call_1"))
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {**alice, "x-request-id": "req-of-the-test", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    async with Chat(guarded.url, headers) as chat:
        turn = await chat.ask("Tell me the time")
    await wait_until(lambda: _has_ended(database, turn.task_id), what="the turn has ended")
    expected = {
        guarded: {"turn_accepted", "http_request"},
        system.worker: {"turn_started", "turn_ended"},
        system.tool_runners[0]: {"operation_started", "operation_ended"},
        system.consumer: {"operation_completed"},
    }
    for service, events in expected.items():
        lines = await wait_until(lambda: _all_of(service, turn.task_id, events), what=f"{service.name}: {events}")  # noqa: B023
        for line in lines:
            assert (line["session_id"], line["trace_id"]) == (turn.session_id, trace), line
            assert line["user"] == user_hash("alice")
            assert "alice" not in str(line)
            if service is guarded:
                assert line["request_id"] == "req-of-the-test"
    (started, *_) = [line for line in system.worker.log_lines if line["event"] == "turn_started"]
    assert started["worker"] == system.worker.name
    assert started["queued_ms"] >= 0


@pytest.mark.requirement("TS-13")
async def test_a_503_says_in_the_log_why(services: Services, postgres: Postgres) -> None:
    gateway = await services.gateway()
    async with Chat(gateway.url) as chat:
        postgres.stop()
        response = await chat.post("/api/chat/sessions", {})
        postgres.start()
    assert response.status_code == 503

    def lines() -> list[dict[str, Any]]:
        return [line for line in gateway.log_lines if line["event"] == "http_request" and line["status"] == 503]

    (line,) = await wait_until(lines, what="the request is logged")
    assert (line["code"], line["route"]) == ("STORE_UNAVAILABLE", "/api/chat/sessions")
    assert line["reason"]
    assert line["request_id"] == response.json()["request_id"]


@pytest.mark.requirement("TS-13")
async def test_a_takeover_names_its_task(services: Services) -> None:
    system = await services.whole()
    async with Chat(system.url) as chat:
        turn = await chat.ask("slowly [[tokens=1000 rate=20]]")
        await wait_until(lambda: _all_of(system.worker, turn.task_id, {"turn_started"}), what="the worker has begun")
        second = await services.chat_worker()
        system.worker.kill9()
        (line,) = await wait_until(
            lambda: _all_of(second, turn.task_id, {"entry_taken_over"}), what="another has taken it over"
        )
        assert (line["worker"], line["deliveries"]) == (second.name, 2)
        await chat.cancel(turn.task_id)
        await chat.answer(turn)


def _all_of(service: Service, task_id: str, events: set[str]) -> list[dict[str, Any]]:
    """The lines of a task with these events, when there is one of each."""
    lines = [line for line in _lines_of(service, task_id) if line["event"] in events]
    return lines if {line["event"] for line in lines} == events else []


async def _has_ended(database: Database, task_id: str) -> bool:
    return bool(await database.fetchval("SELECT status = 'completed' FROM tasks WHERE id = $1", task_id))


async def _kept(database: Database) -> bool:
    return int(await database.fetchval("SELECT count(*) FROM dead_letters")) >= 2
