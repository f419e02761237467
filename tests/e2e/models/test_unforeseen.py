"""An error that nobody foresaw costs two calls of the model at most, and its user sees an error soon.

The defect is planted in the chat worker's process (`planted_defect`); all else is as it is.
"""

import time
from pathlib import Path

import pytest

from harness.clients.asking import questions
from harness.clients.chat import Chat
from harness.clients.folding import fold
from harness.clients.sse import follow
from harness.databases.database import Database
from harness.model_server import ModelServer, answer_to
from harness.processes.services import Service, Services
from harness.waiting import wait_until

DEFECT = str(Path(__file__).with_name("planted_defect"))
SOON_SECONDS = 15.0
pytestmark = pytest.mark.requirement("CH-24", "TS-5")


async def test_a_turn_that_fails_unforeseen_is_tried_again_once_and_ends_with_an_error(
    services: Services, model: ModelServer, database: Database
) -> None:
    services.expect_in_logs("a planted defect")
    gateway = await services.gateway()
    worker = await services.chat_worker(LEASE_SECONDS="1", PYTHONPATH=DEFECT)
    async with Chat(gateway.url) as chat:
        began = time.monotonic()
        turn = await chat.ask("unforeseen [[tokens=5 rate=0]]")
        async with follow(chat.stream_url(turn)) as stream:
            await stream.read_to_end()
        assert time.monotonic() - began < SOON_SECONDS
        message = fold(stream.events)
        assert message.error
        assert message.text.startswith(answer_to("unforeseen", 5).strip()), "what was said is kept"
        task = await chat.task(turn.task_id)
        assert (task["status"], task["error"]["code"]) == ("failed", "TURN_BROKEN")
        assert len(await questions(model, "unforeseen")) == 2
        assert await database.fetchval("SELECT count(*) FROM dead_letters") == 0
        following = await chat.send(turn.session_id, "next [[tokens=3 rate=0]]")
        assert fold(await chat.answer(following)).text == answer_to("next", 3)
    ended = await _logged(worker, "turn_ended", turn.task_id, status="failed")
    assert (ended["code"], ended["model_calls"]) == ("TURN_BROKEN", 1)
    assert (await _logged(worker, "turn_broken", turn.task_id))["code"] == "TURN_BROKEN"


async def test_one_that_cannot_even_be_ended_is_a_dead_letter_at_once_and_ends_with_its_deadline(
    services: Services, model: ModelServer, database: Database
) -> None:
    services.expect_in_logs("a planted defect")
    gateway = await services.gateway()
    worker = await services.chat_worker(LEASE_SECONDS="1", PYTHONPATH=DEFECT, PLANTED="always")
    async with Chat(gateway.url) as chat:
        turn = await chat.ask("unforeseen [[tokens=5 rate=0]]")
        await _logged(worker, "turn_not_ended", turn.task_id)
        assert "TURN_BROKEN" in await database.fetchval("SELECT reason FROM dead_letters")
        await database.execute("UPDATE tasks SET created_at = created_at - interval '2 hours'")
        await services.completion_consumer(LEASE_SECONDS="1", RECONCILE_SECONDS="0.3")
        assert fold(await chat.answer(turn)).error
        assert (await chat.task(turn.task_id))["error"]["code"] == "TURN_DEADLINE_EXCEEDED"
        assert len(await questions(model, "unforeseen")) == 2, "nothing is paid a third time"


async def _logged(worker: Service, event: str, task_id: str, **fields: object) -> dict[str, object]:
    wanted = {"event": event, "task_id": task_id, **fields}
    found = await wait_until(
        lambda: next((line for line in worker.log_lines if wanted.items() <= line.items()), None),
        what=f"a log line {event}",
    )
    assert found is not None
    return found
