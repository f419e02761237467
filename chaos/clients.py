"""The kinds of clients: who waits, who starts over, who goes away, who is slow, who asks twice."""

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from chaos.client import PASSING, Client, End, Unexpected
from chaos.ledger import Turn, View
from chaos.questions import ask


class AiSdkClient(Client):
    """As `useChat` of version 7 does it: after a break everything again, from the beginning; 204: read the history."""

    name = "ai-sdk"
    protocol = 7

    async def take(self) -> None:
        self.turn.session_id = self.turn.session_id or f"chat-{self.turn.message_id}"
        end = await self.ask(self.turn.view(self.protocol))
        while end == "away":
            await self.elsewhere()
            path = f"/api/chat/{self.turn.session_id}/stream"
            end = await self.read("GET", path, self.turn.view(self.protocol))
        if end != "done":
            self._drop_empty_view()
            await self.read_history()

    async def ask(self, view: View) -> End:
        parts = [{"type": "text", "text": self.turn.question.text}]
        message = {"id": self.turn.message_id, "role": "user", "parts": parts}
        body = {"id": self.turn.session_id, "messages": [message], "trigger": "submit-message"}
        while True:
            end = await self.read("POST", "/api/chat", view, body)
            if self.turn.accepted or end == "expired":
                return end
            await self.elsewhere()

    def _drop_empty_view(self) -> None:
        if not self.turn.views[-1].events:
            self.turn.views.pop()


class BackgroundClient(Client):
    """Starts the turn in the background, and follows it then. Half of them post to two gateways at once."""

    name = "background"
    protocol = 7

    async def take(self) -> None:
        await self.open_session()
        while not self.turn.accepted:
            await asyncio.gather(*(self._post(at) for at in self._at_once()))
        await self.resume(self.turn.view(self.protocol), "left")

    def _at_once(self) -> list[int]:
        return [self._at, (self._at + 1) % len(self._gateways)] if self.rng.random() < 0.5 else [self._at]

    async def _post(self, at: int) -> None:
        body = {"id": self.turn.message_id, "message": self.turn.question.text}
        url = f"{self._gateways[at]}/api/chat/sessions/{self.turn.session_id}/messages"
        try:
            response = await self._http.post(url, json=body)
        except httpx.TransportError:
            return await self.elsewhere()
        if response.status_code in PASSING:
            return await self.elsewhere()
        if response.status_code != 202:
            raise Unexpected(f"POST {url}: {response.status_code} {response.text}")
        return self.turn.accept(response.json()["task_id"])


class RacingClient(BackgroundClient):
    """Sends every message to all gateways at once, several times."""

    name = "racing"

    def _at_once(self) -> list[int]:
        return list(range(len(self._gateways))) * 2


class VanishingClient(Client):
    """Goes away in the middle, several times, and comes back after a while."""

    name = "vanishing"

    def __init__(self, http: httpx.AsyncClient, gateways: list[str], turn: Turn, rng: random.Random) -> None:
        super().__init__(http, gateways, turn, rng)
        self._leaves_at = [rng.randint(1, 200) for _ in range(3)]

    async def leaves(self, seen: int) -> bool:
        if seen not in self._leaves_at:
            return False
        self._leaves_at.remove(seen)
        self._at = self.rng.randrange(len(self._gateways))
        return True

    async def read(
        self, method: str, path: str, view: View, body: Mapping[str, Any] | None = None, cursor: str | None = None
    ) -> End:
        end = await super().read(method, path, view, body, cursor)
        if end == "left":
            await asyncio.sleep(self.rng.uniform(0.1, 2))
        return end


class SlowClient(Client):
    """Reads so slowly that a long answer piles up at the gateway, which then breaks the connection, or waits."""

    name = "slow"
    protocol = 7

    async def leaves(self, seen: int) -> bool:
        if seen % 100 == 0:
            await asyncio.sleep(self.rng.uniform(0.01, 0.2))
        return False


class ChattingClient(BackgroundClient):
    """Begins with a question whose tool takes a while, asks its own while that runs, and waits for what comes of the
    tool: a turn of its own that continues the first one, once, at the end of the conversation."""

    name = "chatting-on"

    async def take(self) -> None:
        await self.open_session()
        first = await self._open()
        await super().take()
        task = await self._until(first, lambda task: task["ended_at"] is not None)
        if task["background"]:
            await self._until(task["continued_by"] or "", lambda task: task["ended_at"] is not None)
            await self._check(task)

    async def _open(self) -> str:
        """The first question, until its turn waits for the tool. (Where Redis lost the tools it answers without.)"""
        question = ask(f"{self.turn.question.key}-first", "long", self.rng)
        response = None
        body = {"id": f"{self.turn.message_id}-first", "message": question.text}
        while response is None:
            response = await self.request("POST", f"/api/chat/sessions/{self.turn.session_id}/messages", body)
        task_id: str = response.json()["task_id"]
        await self._until(task_id, lambda task: task["status"] not in ("queued", "running"))
        return task_id

    async def _until(self, task_id: str, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        while True:
            response = await self.request("GET", f"/api/chat/tasks/{task_id}")
            task: dict[str, Any] = response.json() if response is not None else {}
            if task and condition(task):
                return task
            await asyncio.sleep(0.1)

    async def _check(self, first: dict[str, Any]) -> None:
        response = None
        while response is None:
            response = await self.request("GET", f"/api/chat/sessions/{self.turn.session_id}")
        messages = response.json()["messages"]
        roles = [message["role"] for message in messages]
        brought = [part for message in messages for part in message["parts"] if part["type"] == "data-results"]
        ended = [one["state"] for part in brought for one in part["data"]["calls"]]
        if roles != ["user", "assistant"] * 3 or ended != ["output-available"] or messages[4]["parts"] != brought:
            self.turn.problems.append(f"{first['task_id']} was not continued once, at the end: {roles}, {ended}")


CLIENTS: dict[str, type[Client]] = {
    kind.name: kind
    for kind in (
        Client,
        AiSdkClient,
        BackgroundClient,
        RacingClient,
        VanishingClient,
        SlowClient,
        ChattingClient,
    )
}
# Those that are there all the time: what they wait for is the system.
PROMPT = frozenset({"event-source", "ai-sdk", "background", "racing"})
