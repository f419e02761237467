"""The HTTP side: one connection, its requests one after the other, and the control routes."""

import asyncio
import json
import traceback
from itertools import count
from typing import Any, cast
from urllib.parse import parse_qsl

import httptools

from harness.model_server.answers import CREATED
from harness.model_server.pacer import Pacer
from harness.model_server.plan import Plans, Step
from harness.model_server.player import Gates, Player
from harness.model_server.record import Record
from harness.model_server.reply import Reply
from harness.model_server.responses import Responses, as_chat
from harness.model_server.strictness import refusal_for
from harness.model_server.whole_answer import whole_answer


class State:
    """What all connections share and `/control/reset` renews."""

    def __init__(self) -> None:
        self.plans = Plans()
        self.gates = Gates()
        self.records: list[Record] = []
        self.strict: list[str] = []
        self.responses = Responses()
        self.pacer = Pacer()
        self.connections = count(1)

    def reset(self) -> None:
        self.plans, self.gates, self.records, self.strict = Plans(), Gates(), [], []
        self.responses.forget()


class Connection(asyncio.Protocol):
    def __init__(self, state: State) -> None:
        self._state = state
        self._number = next(state.connections)
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._url = b""
        self._query: dict[str, str] = {}
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._answering: asyncio.Task[None] | None = None
        self._record: Record | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, _: Exception | None) -> None:
        if self._answering is not None and not self._answering.done():
            if self._record is not None:
                self._record.client_closed()
            self._answering.cancel()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._url, self._headers, self._body = b"", {}, bytearray()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode().lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        url = httptools.parse_url(self._url)
        path, self._query = url.path.decode(), dict(parse_qsl((url.query or b"").decode()))
        method = self._parser.get_method().decode()
        body = json.loads(self._body) if self._body else None
        if path.startswith("/control/"):
            self._control(f"{method} {path}", body)
        else:
            self._answering = asyncio.get_running_loop().create_task(self._answer(method, path, body))
            self._answering.add_done_callback(self._break_off)

    def _break_off(self, answering: asyncio.Task[None]) -> None:
        """A script that this server cannot play must not look like a silent model."""
        if not answering.cancelled() and (error := answering.exception()) is not None:
            traceback.print_exception(error)
            self._transport.abort()

    def _control(self, route: str, body: Any) -> None:
        reply, state = Reply(self._transport), self._state
        if route == "GET /control/requests":
            reply.json([record.as_dict() for record in state.records])
            return
        if route == "POST /control/script":
            state.plans.register(body)
        elif route == "POST /control/strict":
            state.strict = list(body["rules"])
        elif route == "POST /control/open":
            state.gates.gate(body["gate"]).set()
        elif route == "POST /control/reset":
            state.reset()
        else:
            reply.json({"error": f"no route {route}"}, 404)
            return
        reply.json({"ok": True})

    async def _answer(self, method: str, path: str, body: Any) -> None:
        reply = Reply(self._transport)
        record = self._record = Record(len(self._state.records) + 1, self._number, path, self._headers, body)
        self._state.records.append(record)
        if "/responses" in path:
            await self._response(reply, record, method, path)
            return
        refusal = refusal_for(self._state.strict, body) if path.endswith("/chat/completions") else None
        if refusal is not None:
            status, told = refusal
            reply.json(told, status)
            record.finished()
            return
        steps = self._state.plans.steps_for(path, body)
        if path.endswith("/models") and method == "GET":
            await self._models(reply, record, steps)
        elif path.endswith("/chat/completions") and method == "POST" and isinstance(body, dict):
            await self._chat(reply, record, steps)
        else:
            reply.json({"error": {"message": f"Unknown request URL: {method} {path}.", "code": "unknown_url"}}, 404)
            record.finished()

    async def _response(self, reply: Reply, record: Record, method: str, path: str) -> None:
        responses, last = self._state.responses, path.rsplit("/", 1)[-1]
        if method == "POST" and last == "responses":
            steps = self._state.plans.steps_for(path, as_chat(record.body))
            await responses.begin(reply, record, steps, self._state.gates)
        elif method == "POST" and last == "cancel":
            await responses.cancel(reply, path.split("/")[-2])
        else:
            after, streamed = int(self._query.get("starting_after", "-1")), self._query.get("stream") == "true"
            await responses.read(reply, last, after, streamed=streamed)
        record.finished()

    async def _models(self, reply: Reply, record: Record, steps: list[Step]) -> None:
        if steps:
            await Player(reply, record, self._state.pacer, self._state.gates).play(steps)
            return
        model = {"id": "fake-model", "object": "model", "created": CREATED, "owned_by": "tests"}
        reply.json({"object": "list", "data": [model]})
        record.finished()

    async def _chat(self, reply: Reply, record: Record, steps: list[Step]) -> None:
        if record.body.get("stream") or any("status" in step for step in steps):
            await Player(reply, record, self._state.pacer, self._state.gates).play(steps)
        else:
            reply.json(whole_answer(record, steps))
            record.finished()
