"""Organisations take turns by their weights, with every process real: who queues, who reads and who tells agree."""

from typing import Any

import pytest

from harness.clients.chat import Chat, Turn
from harness.clients.sse import follow
from harness.databases.database import Database
from harness.model_server import ModelServer
from harness.processes.services import Services
from harness.waiting import wait_until
from tests.gateway.callers import SECRET, bearer

SETTINGS: dict[str, Any] = {"JWT_SECRET": SECRET, "JWT_ORG_CLAIM": "org", "ORG_WEIGHTS": "acme=2", "TITLES": "false"}


@pytest.mark.requirement("GW-11")
async def test_an_organisation_has_as_many_turns_as_it_has_weight_and_is_told_so(
    services: Services, model: ModelServer, database: Database
) -> None:
    system = await services.whole(WORKER_SLOTS="1", **SETTINGS)
    first = await _asks(system.url, "ada", None, "first [[tokens=1 rate=0 gate=first]]")
    await wait_until(lambda: model.requests("first"), what="the only slot is taken")
    acme = [await _asks(system.url, "ann", "acme", f"a{number} [[tokens=1 rate=0]]") for number in range(4)]
    bees = [await _asks(system.url, "bea", "bees", f"b{number} [[tokens=1 rate=0]]") for number in range(2)]

    async with follow(f"{system.url}{acme[3].stream_path}", headers=bearer("ann", org="acme")) as stream:
        told = await stream.read_until("data-queue")
        # Two of acme and one of bees are in the queue; of what follows, one of acme is before it, in the same round.
        assert told.chunk["data"]["position"] == 4
        await model.open_gate("first")
        await stream.read_to_end()

    async def begun() -> list[str]:
        rows = await database.fetch("SELECT id FROM tasks WHERE started_at IS NOT NULL ORDER BY started_at")
        return [row["id"] for row in rows] if len(rows) == 7 else []

    order = await wait_until(begun, what="all have begun")
    a, b = [turn.task_id for turn in acme], [turn.task_id for turn in bees]
    assert order == [first.task_id, a[0], a[1], b[0], a[2], a[3], b[1]]


async def _asks(url: str, user: str, org: str | None, text: str) -> Turn:
    async with Chat(url, bearer(user, org=org)) as chat:
        return await chat.ask(text)
