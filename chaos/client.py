"""A client that asks one question and follows its answer to the end, through whatever happens to the system.

Clients write down what they see and judge nothing, but for answers that no client may ever get. When a connection
breaks they go on at another gateway, as their kind does: after the last event's id, or from the beginning. A POST that
was not answered is sent again, with the same message id.
"""

import asyncio
import random
import time
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import httpx

from chaos.ledger import EntryId, Seen, Turn, View
from harness.clients.sse import SseStream

# How one connection ended. `away`: it could not be served just now, or broke. `left`: the client went away itself.
End = Literal["done", "nothing", "away", "left", "truncated", "expired"]

PASSING = frozenset({429, 502, 503, 504})
_LONGEST_WAIT_SECONDS = 1.0


class Unexpected(Exception):
    """The server answered what it never may."""


class Client:
    """Asks by POST and follows in the same response; goes on by GET after the last id, as EventSource does."""

    name: ClassVar[str] = "event-source"
    protocol: ClassVar[int] = 6

    def __init__(self, http: httpx.AsyncClient, gateways: list[str], turn: Turn, rng: random.Random) -> None:
        self.turn = turn
        self.rng = rng
        self._http = http
        self._gateways = gateways
        self._at = rng.randrange(len(gateways))
        self._tries = 0

    async def run(self, limit_seconds: float) -> None:
        """To the end of the answer. What went wrong is in the turn's problems."""
        try:
            async with asyncio.timeout(limit_seconds):
                await self.take()
            self.turn.ended_at = time.monotonic()
        except TimeoutError:
            self.turn.problems.append(f"no end after {limit_seconds} s")
        except (Unexpected, AssertionError) as error:
            self.turn.problems.append(str(error))

    async def take(self) -> None:
        await self.open_session()
        view = self.turn.view(self.protocol)
        await self.resume(view, await self.ask(view))

    async def open_session(self) -> None:
        while not self.turn.session_id:
            response = await self.request("POST", "/api/chat/sessions", {})
            if response is not None and response.status_code == 201:
                self.turn.session_id = response.json()["id"]

    async def ask(self, view: View) -> End:
        """The first response that begins."""
        body = {"id": self.turn.message_id, "message": self.turn.question.text}
        while True:
            end = await self.read("POST", f"/api/chat/sessions/{self.turn.session_id}/stream", view, body)
            if self.turn.accepted or end == "expired":
                return end
            await self.elsewhere()

    async def resume(self, view: View, end: End) -> None:
        """Follow by the cursor until the stream has ended."""
        cursor = None
        while end not in ("done", "nothing", "expired"):
            if end == "truncated":
                view, cursor = self.turn.view(self.protocol), self._read_on_from
            elif end == "away":
                await self.elsewhere()
            path = f"/api/chat/tasks/{self.turn.task_id}/stream"
            end = await self.read("GET", path, view, cursor=view.cursor or cursor)
        if end == "nothing":
            view.done = True
        if end == "expired":
            await self.read_history()

    async def read(
        self, method: str, path: str, view: View, body: Mapping[str, Any] | None = None, cursor: str | None = None
    ) -> End:
        """One connection; what it brings goes to the view."""
        self.turn.opened.append((time.monotonic(), self._at))
        headers = {"x-ui-message-stream-version": str(self.protocol)}
        if cursor is not None:
            headers["last-event-id"] = cursor
        try:
            async with self._http.stream(
                method, self._gateways[self._at] + path, json=body, headers=headers
            ) as response:
                if response.status_code != 200:
                    await response.aread()
                    return self._other_than_a_stream(response)
                if method == "POST":
                    self.turn.accept(response.headers["x-workflow-run-id"])
                return await self._events(SseStream(response), view)
        except httpx.TransportError:
            return "away"

    async def _events(self, stream: SseStream, view: View) -> End:
        number = len(self.turn.opened)
        while (event := await stream.next_event()) is not None:
            self._tries = 0
            if event.data == "[DONE]":
                view.done = True
                continue
            view.events.append(Seen(_entry_id(event.id), event.chunk, time.monotonic(), number))
            if await self.leaves(len(view.events)):
                return "left"
        # A response that ends in order without [DONE] looks finished to a client, so it must be.
        view.done = view.done or stream.end == "clean"
        return "done" if view.done else "away"

    async def leaves(self, seen: int) -> bool:
        """Called after each event: may dawdle, and says whether the client goes away now."""
        return False

    def _other_than_a_stream(self, response: httpx.Response) -> End:
        if response.status_code == 204:
            return "nothing"
        if response.status_code in PASSING:
            return "away"
        code = response.json().get("code") if "json" in response.headers.get("content-type", "") else None
        if (response.status_code, code) == (409, "STREAM_TRUNCATED"):
            self.turn.views[-1].cut = True
            self._read_on_from = response.json()["read_on_from"]
            return "truncated"
        if (response.status_code, code) == (410, "TASK_EXPIRED"):
            return "expired"
        raise Unexpected(f"{response.request.method} {response.request.url}: {response.status_code} {response.text}")

    async def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> httpx.Response | None:
        """A plain answer; None, after a while, where the gateway was away: ask again."""
        try:
            response = await self._http.request(method, self._gateways[self._at] + path, json=body)
        except httpx.TransportError:
            response = None
        if response is None or response.status_code in PASSING:
            await self.elsewhere()
            return None
        self._tries = 0
        if response.status_code >= 400:
            raise Unexpected(f"{method} {path}: {response.status_code} {response.text}")
        return response

    async def elsewhere(self) -> None:
        """To the next gateway, after a while that grows while nobody answers."""
        self._tries += 1
        self._at = (self._at + 1) % len(self._gateways)
        await asyncio.sleep(min(0.05 * 2**self._tries, _LONGEST_WAIT_SECONDS) * self.rng.uniform(0.5, 1))

    async def read_history(self) -> None:
        """What a page shows of a turn that has ended and has no stream."""
        self.turn.accepted_at = self.turn.accepted_at or time.monotonic()
        response = None
        while response is None:
            response = await self.request("GET", f"/api/chat/sessions/{self.turn.session_id}")
        messages = response.json()["messages"]
        places = [place for place, message in enumerate(messages) if message["id"] == self.turn.message_id]
        answer = messages[places[0] + 1] if places and places[0] + 1 < len(messages) else {"parts": []}
        texts = (part["text"] for part in answer["parts"] if part["type"] == "text")
        self.turn.history = "".join(texts)


def _entry_id(name: str | None) -> EntryId | None:
    if name is None:
        return None
    attempt, _, sequence = name.partition("-")
    return int(attempt), int(sequence)
