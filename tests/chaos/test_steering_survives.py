"""A message that steers is answered once, whoever is killed while it waits, enters and is answered."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from harness.clients.asking import asked
from harness.clients.calling import TOOLS_DIR, answers, call, calls_tools, offered
from harness.clients.chat import Chat
from harness.clients.folding import Message, fold
from harness.databases.database import Database, stored_answer, task_status
from harness.model_server import ModelServer
from harness.processes.services import Service, Services
from harness.waiting import wait_until

_FIRST, _SECOND = "plan the harvest", "rather briefly"
# Reconciler and leases are quick, so that what they see through does not take the test's time.
_SETTINGS: dict[str, Any] = {
    "TOOLS_DIR": str(TOOLS_DIR),
    "RECONCILE_SECONDS": "0.2",
    "SETTLE_AFTER_SECONDS": "0.5",
    "LEASE_SECONDS": "1",
}


async def _die_and_come_back(*processes: Service) -> None:
    for process in processes:
        process.kill9()
    await asyncio.gather(*(one.start("/readyz") for one in processes if "gateway" not in one.name))
    await asyncio.gather(*(one.start("/healthz") for one in processes if "gateway" in one.name))


def _told(message: Message) -> list[dict[str, object]]:
    return [part["data"] for part in message.data if part["type"] == "data-steer"]


@pytest.mark.requirement("CH-12", "CH-11")
async def test_a_message_that_steers_outlives_all_processes_while_it_waits_and_while_it_is_answered(
    services: Services, model: ModelServer, redis: Redis, database: Database
) -> None:
    system = await services.whole(tool_runners=1, **_SETTINGS)
    everybody = [*system.gateways, *system.workers, *system.consumers]
    await offered(system.url, "wait_at")
    await calls_tools(model, _FIRST, call("wait_at", "call_s", gate="harvest"), says="Let me see.")
    await model.script({"text": "Well, "}, {"stall": "ever"}, match=_SECOND)
    async with Chat(system.url) as chat:
        running = await chat.ask(_FIRST)
        await asked(model, lambda record: record.finished_at is not None and _FIRST in str(record.body))
        steering = await chat.send(running.session_id, _SECOND, policy="steer")

        await _die_and_come_back(*everybody)
        await redis.set("test:{harvest}", "1", ex=60)

        async def is_answered_at_all() -> bool:
            return any(_SECOND in str(record.body) for record in await model.requests(_SECOND))

        await wait_until(is_answered_at_all, 30, "the model is asked with both")
        await answers(model, _SECOND, "Harvest first.")
        await _die_and_come_back(*everybody, *system.tool_runners)

        steered, answered = fold(await chat.answer(running)), fold(await chat.answer(steering))
        stored = [await stored_answer(database, turn.message_id) for turn in (running, steering)]
    assert (steered.text, stored) == ("Let me see.", ["Let me see.", "Harvest first."])
    assert answered.last_step_text == "Harvest first."
    assert _told(steered) == [{"state": "accepted", "taskId": steering.task_id}]
    assert _told(answered)[-1] == {"state": "accepted", "taskId": running.task_id}
    assert [await task_status(database, turn.task_id) for turn in (running, steering)] == ["completed"] * 2
    for record in await model.requests(_SECOND):
        heard = [(one["role"], one["content"]) for one in record.body["messages"] if one["role"] in ("user", "tool")]
        assert heard == [("user", _FIRST), ("tool", "through harvest"), ("user", _SECOND)]
    assert len(await model.requests(_SECOND)) == 2
