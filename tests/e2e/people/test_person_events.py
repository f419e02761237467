"""A second device in a whole system: it knows of everything without asking, through a flush and a gateway's restart."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from harness.clients.calling import TOOLS_DIR, answers, call, calls_tools, offered
from harness.clients.chat import Chat
from harness.clients.sse import follow
from harness.databases.valkey import Valkey
from harness.model_server import ModelServer
from harness.processes.services import Services
from harness.waiting import wait_until


class Device:
    """A client that follows the events as an EventSource does, and reads the list when it is told to."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._cursor: str | None = None
        self.told: list[dict[str, Any]] = []
        self.ready: list[bool] = []
        self.sessions: dict[str, str | None] = {}

    async def run(self) -> None:
        while True:
            try:
                async with follow(f"{self._url}/api/chat/events", last_event_id=self._cursor) as stream:
                    while stream.status == 200 and (event := await stream.next_event()) is not None:
                        await self._take(event.chunk)
                        self._cursor = event.id
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)

    async def _take(self, event: dict[str, Any]) -> None:
        if event["type"] != "ready":
            self.told.append(event)
            self._note(event)
            return
        if not event["resumed"]:
            async with Chat(self._url) as chat:
                listed = (await chat.get("/api/chat/sessions")).json()["sessions"]
            self.sessions = {one["id"]: _state(one) for one in listed}
        self.ready.append(event["resumed"])

    def _note(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "session-deleted":
                self.sessions.pop(event["session_id"], None)
            case "session-created":
                self.sessions.setdefault(event["session_id"], None)
            case "turn-started":
                self.sessions[event["session_id"]] = "runs"
            case "turn-ended":
                self.sessions[event["session_id"]] = None
            case "turn-needs-you":
                self.sessions[event["session_id"]] = "needs you"

    async def hears(self, kind: str, **members: Any) -> None:
        """Wait until such an event has come."""
        wanted = {"type": kind, **members}
        await wait_until(lambda: any(wanted.items() <= one.items() for one in self.told), 30, f"{wanted} is told")

    async def knows(self, sessions: dict[str, str | None]) -> None:
        await wait_until(lambda: self.sessions == sessions, 30, f"the device knows {sessions}")


def _state(session: dict[str, Any]) -> str | None:
    if session["awaits_you"]:
        return "needs you"
    return "runs" if session["active_task_id"] else None


@asynccontextmanager
async def _device(url: str) -> AsyncIterator[Device]:
    device = Device(url)
    running = asyncio.create_task(device.run())
    await wait_until(lambda: device.ready, what="the device follows")
    yield device
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.mark.requirement("GW-9")
async def test_another_device_knows_of_everything_through_a_flush_and_the_restart_of_its_gateway(
    services: Services, model: ModelServer, valkey: Valkey
) -> None:
    system = await services.whole(
        gateways=2, tool_runners=1, TOOLS_DIR=str(TOOLS_DIR), TITLES="true", TITLE_MODEL="small"
    )
    await offered(system.url, "careful")
    async with Chat(system.url) as chat, _device(system.gateways[1].url) as device:
        # A turn that asks its person, and the one that continues it.
        await calls_tools(model, "ask me first", call("careful", "call_c", text="hello"))
        asked = await chat.ask("ask me first")
        one = asked.session_id
        await device.hears("session-created", session_id=one)
        await device.hears("turn-needs-you", session_id=one, task_id=asked.task_id)
        await device.hears("session-renamed", session_id=one)
        assert (await chat.get("/api/chat/sessions")).json()["sessions"][0]["awaits_you"]
        await answers(model, "ask me first", "Said.")
        answer = await chat.post(f"/api/chat/tasks/{asked.task_id}/approvals/call_c", {"approved": True})
        continued = answer.json()["task_id"]
        await device.hears("turn-started", task_id=continued, message_id=asked.message_id, continues=True)
        await device.hears("turn-ended", task_id=continued, status="completed")
        kinds = [event["type"] for event in device.told if event["session_id"] == one and "turn" in event["type"]]
        assert kinds == ["turn-started", "turn-needs-you", "turn-started", "turn-ended"]

        # Redis forgets everything, in the middle of another turn.
        await model.script({"tokens": 3, "rate": 0}, {"gate": "open"}, {"tokens": 3, "rate": 0}, match="long one")
        running = await chat.ask("a long one")
        two = running.session_id
        await device.hears("turn-started", task_id=running.task_id)
        others: dict[str, str | None] = {session_id: None for session_id in device.sessions if session_id != two}
        valkey.flush()
        await wait_until(lambda: device.ready == [False, False], 30, "the device was told to read everything")
        await device.knows({**others, two: "runs"})
        await model.open_gate("open")
        await device.hears("turn-ended", task_id=running.task_id, status="completed")

        # Its gateway is away while something happens.
        await system.gateways[1].terminate()
        assert (await chat.delete(f"/api/chat/sessions/{two}")).status_code == 204
        await system.gateways[1].start("/healthz")
        await device.knows(others)
        # What was told of a conversation is erased with it, sooner or later: behind that all is to be read again.
        heard = {"type": "session-deleted", "session_id": two} in device.told
        assert device.ready[2:] == [heard]
