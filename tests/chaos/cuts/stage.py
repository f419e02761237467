"""A whole system whose way to Postgres leads through a proxy that cuts commits, and what must hold after each cut."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx
from redis.asyncio import Redis
from sluiceway import keys

from harness.clients.asking import questions
from harness.clients.calling import answers, call, calls_tools
from harness.clients.chat import Chat, Turn
from harness.clients.folding import Message, fold
from harness.databases.database import Database
from harness.model_server import ModelServer, answer_to
from harness.processes.services import Services, System
from harness.proxies.postgres_proxy import PostgresProxy
from harness.waiting import wait_until

KEY = {"x-api-key": "the key of a trusted caller"}
# Reconciler and leases are quick, so that what they see through does not take the tests' time.
SETTINGS = {
    "API_KEYS": json.dumps([*KEY.values()]),
    "RECONCILE_SECONDS": "0.2",
    "SETTLE_AFTER_SECONDS": "0.5",
    "LEASE_SECONDS": "1",
}
_QUEUES = ("chat", keys.tool_queue("default"), "completions")


# Problems with their codes, also on the routes of the AI SDK, which answer people with a sentence.
_AS_JSON = {"accept": "application/json"}


@dataclass(frozen=True)
class Running:
    """What all cases share."""

    services: Services
    system: System
    proxy: PostgresProxy
    redis_url: str
    database_url: str


@dataclass
class CutStage:
    """One case's view of it. `refused`: how often a request was answered with 503."""

    running: Running
    chat: Chat
    model: ModelServer
    redis: Redis
    database: Database
    name: str = field(default_factory=lambda: uuid4().hex[:8])
    refused: int = 0

    async def insist(self, send: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
        """Send it again while it is answered with a 503 that says when; the first other answer."""
        for _ in range(5):
            response = await send()
            if response.status_code != 503:
                return response
            # The AI SDK's routes answer people with a sentence, and programs with a header.
            assert (response.headers.get("x-error-code") or response.json()["code"]) == "STORE_UNAVAILABLE"
            assert int(response.headers["retry-after"]) > 0
            self.refused += 1
        raise AssertionError(f"answered with 503 again and again: {response.text}")

    async def post(self, path: str, body: object, status: int, **headers: str) -> Any:
        """Insist on a POST; the JSON of its answer, which has this status."""
        key = KEY if "/operations/" in path or "/webhooks/" in path else {}
        async with httpx.AsyncClient(
            base_url=self.chat.url, trust_env=False, headers={**_AS_JSON, **key, **headers}
        ) as http:
            response = await self.insist(lambda: http.post(path, json=body))
        assert response.status_code == status, f"{response.status_code}: {response.text}"
        return response.json()

    # Turns

    async def send(self, session_id: str, text: str, **more: Any) -> Turn:
        """Insist on a message, and see that its repetition is answered with the same turn."""
        message_id = f"m-{uuid4().hex}"
        response = await self.insist(lambda: self.chat.post_message(session_id, text, message_id, **more))
        assert response.status_code == 202, response.text
        again = await self.chat.post_message(session_id, text, message_id, **more)
        for name in ("task_id", "assistant_message_id"):
            assert again.json()[name] == response.json()[name], "a repeat is the same turn"
        body = response.json()
        path = httpx.URL(body["stream_url"]).path
        return Turn(session_id, body["task_id"], body["assistant_message_id"], body["status"], None, path)

    async def ask(self, text: str, **more: Any) -> Turn:
        return await self.send(await self.chat.open_session(), text, **more)

    async def plain(self) -> Turn:
        """A turn without tools."""
        return await self.ask(f"{self.name} [[tokens=5 rate=0]]")

    async def with_tool(self, tool: str, **arguments: Any) -> Turn:
        """A turn whose first step calls a tool."""
        await calls_tools(self.model, self.name, call(tool, "call_t", **arguments), says="Let me see. ")
        await answers(self.model, self.name, "Seen.")
        return await self.ask(self.name)

    async def outside(self) -> tuple[Turn, str]:
        """A turn whose call an outside service has; its operation."""
        turn = await self.with_tool("outside", text="hello")
        return turn, await self.operation(turn, "accepted")

    async def asking(self) -> Turn:
        """A turn that has ended and asks for an approval."""
        turn = await self.with_tool("careful", text="hello")
        message = fold(await self.chat.answer(turn))
        assert message.finish is not None
        assert message.tools["call_t"]["state"] == "approval-requested"
        return turn

    async def operation(self, turn: Turn, status: str) -> str:
        """The turn's operation, once it has that status."""

        async def look() -> str | None:
            found: str | None = await self.database.fetchval(
                "SELECT id FROM operations WHERE session_id = $1 AND status = $2", turn.session_id, status
            )
            return found

        return str(await wait_until(look, what=f"the operation is {status}"))

    # What must hold

    async def is_plain(self, turn: Turn) -> None:
        """It was answered, in one go."""
        message = fold(await self.chat.answer(turn))
        assert message.text == answer_to(self.name, 5)
        assert message.metadata["taskId"] == turn.task_id, "its worker has ended it, and nobody had to do it instead"
        await self.is_whole(turn, message, asked=1)

    async def is_seen(self, turn: Turn, output: Any) -> None:
        """Its call had this result, and the model went on with it."""
        message = fold(await self.chat.answer(turn))
        assert message.text == "Let me see. Seen."
        assert message.tools["call_t"]["output"] == output
        await self.is_whole(turn, message, asked=2)

    async def is_whole(self, turn: Turn, message: Message, *, asked: int, status: str = "completed") -> None:
        """What was streamed is what is stored, once; everything is let go of, and the session takes the next turn."""
        assert len(await questions(self.model, self.name)) == asked, "nothing was generated twice"
        await wait_until(lambda: self._is_let_go(turn.session_id), 15, "the session is free, and the end seen through")
        stored = await self.chat.session(turn.session_id)
        found = [one for one in stored["messages"] if one["id"] == turn.message_id]
        assert len(found) == (1 if message.text else 0)
        texts = [part["text"] for one in found for part in one["parts"] if part["type"] == "text"]
        assert "".join(texts) == message.text
        ended = await self.database.fetchval("SELECT status FROM tasks WHERE id = $1", turn.task_id)
        assert ended == status
        await self.continues(turn.session_id)

    async def continues(self, session_id: str) -> None:
        """The next turn of the session works, and nothing is left behind."""
        text = f"next {uuid4().hex[:8]}"
        following = await self.chat.send(session_id, f"{text} [[tokens=3 rate=0]]")
        assert fold(await self.chat.answer(following)).text == answer_to(text, 3)
        await wait_until(lambda: self._is_let_go(session_id), 15, "the session is free")
        await wait_until(self._all_is_done, 15, "nothing is left to do")
        left = (
            "SELECT count(*) FROM operations o LEFT JOIN webhook_journal w ON w.operation_id = o.id"
            " WHERE o.session_id = $1 AND (o.ended_at IS NULL OR w.outcome = 'received')"
        )
        assert await self.database.fetchval(left, session_id) == 0

    async def _all_is_done(self) -> bool:
        return sum([await self.redis.xlen(keys.work_queue(kind)) for kind in _QUEUES]) == 0

    async def _is_let_go(self, session_id: str) -> bool:
        left = await self.database.fetchval(
            "SELECT count(*) FROM tasks WHERE session_id = $1 AND (ended_at IS NULL OR settled_at IS NULL)", session_id
        )
        active = await self.database.fetchval("SELECT active_task_id FROM sessions WHERE id = $1", session_id)
        return left == 0 and active is None
