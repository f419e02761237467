"""What the services log of a turn, and what they never log."""

from typing import Any

import pytest

from harness.asking import questions
from harness.chat import Chat
from harness.model_server import ModelServer
from harness.services import Service, Services
from harness.waiting import wait_until

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
