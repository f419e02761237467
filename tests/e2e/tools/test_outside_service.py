"""Operations that an outside service works on: the example service as a process of its own, and everything between."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.clients.calling import answers, call, calls_tools, offered
from harness.clients.chat import Chat, Turn
from harness.clients.folding import Message, fold
from harness.clients.sse import follow
from harness.databases.database import Database
from harness.model_server import ModelServer
from harness.processes.child import Child
from harness.processes.ports import free_port
from harness.processes.services import Services, System, clean_environment, probe
from harness.waiting import wait_until

_EXAMPLE = Path(__file__).parents[3] / "examples" / "outside_service.py"
_KEY = {"x-api-key": "the key of a trusted caller"}


@dataclass(frozen=True)
class Stage:
    """Everything that an operation elsewhere needs, running."""

    system: System
    outside: Child
    chat: Chat
    model: ModelServer
    database: Database

    async def hand_out(self, text: str, /, **asked: Any) -> Turn:
        """A turn whose model hands work to the service. `asked` is the input; `text` tells its turn from others."""
        await calls_tools(self.model, text, call("http_operation", "call-1", service="example", input=asked))
        await answers(self.model, text, f"After {text}.")
        return await self.chat.ask(text)

    async def message(self, turn: Turn) -> Message:
        return fold(await self.chat.answer(turn, timeout=60))

    async def operation_id(self, turn: Turn, status: str = "accepted") -> str:
        """The turn's operation, once it has that status."""

        async def found() -> Any:
            return await self.database.fetchval(
                "SELECT id FROM operations WHERE task_id = $1 AND status = $2", turn.task_id, status
            )

        return str(await wait_until(found, what=f"the operation is {status}"))

    async def journal(self, operation_id: str) -> list[tuple[str, str]]:
        """(kind, outcome) of its webhooks, oldest first."""
        answer = await self.get("/api/chat/webhooks", operation_id=operation_id)
        return [(entry["kind"], entry["outcome"]) for entry in reversed(answer["webhooks"])]

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        response = await self.chat.get(path, params=query, headers=_KEY)
        assert response.status_code == 200, response.text
        body = response.json()
        assert isinstance(body, dict)
        return body

    async def asked(self, text: str) -> int:
        """How often the model was asked in turns with this text."""
        return sum(record.path.endswith("/chat/completions") for record in await self.model.requests(text))

    async def forge(self, operation_id: str) -> str:
        """What the example prints of a completion that it forged."""
        command = (str(_EXAMPLE), "--forge", operation_id, "--gateway", self.system.url)
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, stdout=asyncio.subprocess.PIPE, env=clean_environment()
        )
        output, _ = await process.communicate()
        assert process.returncode == 0
        return output.decode()


@pytest.fixture
async def stage(services: Services, model: ModelServer, database: Database, tmp_path: Path) -> AsyncIterator[Stage]:
    port, elsewhere = free_port(), free_port()
    outside = Child(
        "outside-service", [sys.executable, str(_EXAMPLE), "--port", str(elsewhere)], tmp_path / "outside.log"
    )
    outside.start(environment=clean_environment(), directory=tmp_path)
    system = await services.whole(
        tool_runners=1,
        PORT=str(port),
        PUBLIC_URL=f"http://127.0.0.1:{port}",
        HTTP_OPERATIONS=json.dumps({"example": f"http://127.0.0.1:{elsewhere}/operations"}),
        HTTP_OPERATION_DEADLINE_SECONDS="30",
        WEBHOOK_SECRETS='["a root of thirty-two bytes or more, for tests"]',
        API_KEYS=json.dumps([*_KEY.values()]),
    )
    await wait_until(lambda: probe(f"http://127.0.0.1:{elsewhere}", "/"), what="the outside service listens")
    await offered(system.url, "http_operation")
    try:
        async with Chat(system.url) as chat:
            yield Stage(system, outside, chat, model, database)
    finally:
        outside.end()
        assert "Traceback" not in outside.output, outside.output


@pytest.mark.requirement("CH-10", "WH-1", "WH-2", "WH-4", "CC-6", "CC-7", "CC-9")
async def test_work_done_elsewhere_continues_in_the_same_stream_however_the_service_answers(stage: Stage) -> None:
    at_once, done, failed, twice = await asyncio.gather(
        stage.hand_out("at once", answer="now", text="größe"),
        stage.hand_out("in a while", seconds=1, text="größe"),
        stage.hand_out("in vain", seconds=0.2, fail=True),
        stage.hand_out("told twice", seconds=0.2, twice=True),
    )
    for turn, text in ((at_once, "at once"), (done, "in a while"), (failed, "in vain"), (twice, "told twice")):
        message = await stage.message(turn)
        assert message.text == f"After {text}."
        assert await stage.asked(text) == 2
        shown = message.tools["call-1"]
        if turn is failed:
            assert (shown["state"], shown["error"]) == ("output-error", "OUT_OF_PAPER: The printer has no paper.")
        else:
            assert (shown["state"], shown["preliminary"]) == ("output-available", False)
        if turn in (at_once, done):
            assert shown["output"]["text"] == "größe"
    operation_id = await stage.operation_id(done, "succeeded")
    operation = await stage.get(f"/api/chat/operations/{operation_id}")
    assert (operation["status"], operation["output"]) == ("succeeded", {"text": "größe", "seconds": 1})
    assert [kind for kind, _ in await stage.journal(operation_id)] == ["progress"] * 4 + ["complete"]
    assert (await stage.journal(operation_id))[-1] == ("complete", "applied")
    told_twice = await stage.operation_id(twice, "succeeded")
    await wait_until(lambda: _completions(stage.outside, told_twice) == 2, what="it was told twice")
    assert [each for each in await stage.journal(told_twice) if each[0] == "complete"] == [("complete", "applied")]
    assert stage.outside.output.count("→ 202") >= 5 + 5 + 6


@pytest.mark.requirement("CH-10", "WH-1", "WH-3")
async def test_progress_is_seen_live_and_a_forged_completion_changes_nothing(stage: Stage) -> None:
    turn = await stage.hand_out("watched", seconds=3)
    async with follow(stage.chat.stream_url(turn)) as stream:
        await stream.read_until(lambda event: event.chunk.get("output", {}).get("percent") == 50)
        operation_id = await stage.operation_id(turn)
        forged = await stage.forge(operation_id)
        assert "\n401 " in forged
        await stream.read_until("finish")
        shown = [event.chunk["output"]["percent"] for event in stream.events if event.chunk.get("preliminary")]
        await stream.read_to_end()
    assert shown == sorted(shown)
    message = await stage.message(turn)
    assert message.tools["call-1"]["output"]["text"] == "Done, elsewhere."
    assert "\n401 " in await stage.forge(operation_id)


@pytest.mark.requirement("CH-10", "WH-3", "WH-4")
async def test_a_replay_of_an_applied_webhook_changes_nothing_and_what_comes_late_is_gone(stage: Stage) -> None:
    turn = await stage.hand_out("replayed", seconds=0.2)
    message = await stage.message(turn)
    operation_id = await stage.operation_id(turn, "succeeded")
    for entry in (await stage.get("/api/chat/webhooks", operation_id=operation_id))["webhooks"]:
        async with httpx.AsyncClient(base_url=stage.system.url, trust_env=False, headers=_KEY) as http:
            assert (await http.post(f"/api/chat/webhooks/{entry['id']}/replay")).status_code == 202
            late = await http.post(f"/api/chat/operations/{operation_id}/complete", json={"success": False})
            assert (late.status_code, late.json()["code"]) == (410, "OPERATION_ENDED")

    async def entries_left() -> int:
        return int(await stage.database.fetchval("SELECT count(*) FROM webhook_journal WHERE outcome = 'received'"))

    await wait_until(lambda: _none(entries_left), what="the consumer has dealt with all of them")
    again = await stage.message(turn)
    assert (again.text, again.tools) == (message.text, message.tools)
    assert (await stage.get(f"/api/chat/operations/{operation_id}"))["status"] == "succeeded"
    assert await stage.asked("replayed") == 2


@pytest.mark.requirement("CH-10", "WH-3")
async def test_a_completion_outlasts_a_gateway_that_is_away(stage: Stage) -> None:
    turn = await stage.hand_out("outlasting", seconds=1)
    operation_id = await stage.operation_id(turn)
    await stage.system.gateway.terminate()
    await wait_until(
        lambda: f"{operation_id} nobody answers" in stage.outside.output, what="the service finds nobody there"
    )
    await stage.system.gateway.start()
    message = await stage.message(turn)
    assert message.tools["call-1"]["output"]["text"] == "Done, elsewhere."


@pytest.mark.requirement("CH-13", "WH-3")
async def test_a_service_learns_of_a_cancel_with_its_next_report(stage: Stage) -> None:
    turn = await stage.hand_out("unwanted", seconds=4)
    operation_id = await stage.operation_id(turn)
    await stage.chat.cancel(turn.task_id)
    await stage.message(turn)
    await wait_until(lambda: f"{operation_id} is not wanted" in stage.outside.output, what="the service stops")
    assert (await stage.get(f"/api/chat/operations/{operation_id}"))["status"] == "cancelled"
    assert ("progress", "late") in await stage.journal(operation_id)


def _completions(outside: Child, operation_id: str) -> int:
    """How many of an operation's completions the service got an answer to."""
    return sum(operation_id in line and '"success"' in line and "→" in line for line in outside.output.splitlines())


async def _none(count: Any) -> bool:
    return bool(await count() == 0)
