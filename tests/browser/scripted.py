"""A back end under a test's hand: the page's files, and its routes, with streams that say what the test says.

The chunks of a turn are folded into parts by the project's own fold when it ends, so that the history is what the real
one would be. It shows what the page does with a stream that no real service can be made to send at the right moment;
that the page works with the services is shown in `conversation/test_page.py` and `message/test_tools.py`.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import uvicorn
from gateway.routes.service.pages import PageFiles, chat_page
from sluiceway.wire.events import Event, decode
from sluiceway.wire.message import MessageFold
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from harness.processes.ports import free_port
from harness.waiting import wait_until

Chunk = dict[str, Any]
# How long the page may take to ask.
_PATIENCE_SECONDS = 40
# Messages of one read, as those of a gateway.
_PAGE = 50
_NOW = "2026-11-22T04:00:00Z"


class Turn:
    """One task: the chunks of its stream, and what its message was before."""

    def __init__(self, task_id: str, message_id: str, before: list[dict[str, Any]]) -> None:
        self.task_id = task_id
        self.message_id = message_id
        self.ended = False
        self.cancelled = False
        self.chunks: list[Chunk] = [{"type": "start", "messageId": message_id}]
        self._before = before
        self._changed = asyncio.Condition()

    async def say(self, *chunks: Chunk) -> None:
        self.chunks += chunks
        async with self._changed:
            self._changed.notify_all()

    def parts(self) -> list[dict[str, Any]]:
        fold = MessageFold(self._before)
        for chunk in self.chunks:
            event = decode(chunk["type"], json.dumps(chunk).encode())
            if isinstance(event, Event):
                fold.add(event)
        return fold.finished_parts()

    async def follow(self, seen: int) -> AsyncIterator[str]:
        while True:
            for number, chunk in enumerate(self.chunks[seen:], seen):
                yield f"id: {number}\ndata: {json.dumps(chunk)}\n\n"
            seen = len(self.chunks)
            if self.ended:
                yield "data: [DONE]\n\n"
                return
            async with self._changed:
                await self._changed.wait_for(lambda: len(self.chunks) > seen or self.ended)  # noqa: B023

    async def end(self, *chunks: Chunk) -> None:
        self.ended = True
        await self.say(*chunks)


class ScriptedChat:
    """One session. A message that comes in begins a turn, which the test then speaks for."""

    def __init__(self) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self.tools: list[dict[str, Any]] | None = None
        self.messages: list[dict[str, Any]] = []
        self.turns: dict[str, Turn] = {}
        # What people answered, and what they are told: a status, and for 202 whether it was the last answer.
        self.approvals: list[dict[str, Any]] = []
        self.approval_status = 202
        self.remaining = 0
        # What a new message is answered instead: a problem and its status.
        self.refusal: tuple[dict[str, Any], int] | None = None
        # What is stored with the next answer: more of its metadata, and why it failed.
        self.metadata: dict[str, Any] = {}
        self.failure: dict[str, Any] | None = None
        # What the page is told that it can ask for.
        self.config: dict[str, Any] | None = None
        # What each request for an answer asked for.
        self.triggers: list[dict[str, Any]] = []
        self.session_id = ""
        self._asked = asyncio.Event()
        self._tabs: set[asyncio.Queue[Chunk | None]] = set()

    @property
    def turn(self) -> Turn:
        """The newest one."""
        return list(self.turns.values())[-1]

    @property
    def _active(self) -> Turn | None:
        return self.turn if self.turns and not self.turn.ended else None

    @property
    def is_followed(self) -> bool:
        """A page hears what becomes of the session."""
        return bool(self._tabs)

    async def asked(self) -> Turn:
        """Wait for the next message from the page."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await self._asked.wait()
        self._asked.clear()
        return self.turn

    async def finish(self, reason: str = "stop", *, status: str = "completed") -> None:
        """End the turn: what it said is in the history, and then its stream ends."""
        turn = self.turn
        metadata = {"taskId": turn.task_id, "status": status, "finishReason": reason, **self.metadata}
        if self.failure:
            metadata["error"] = self.failure
        self.store(turn.message_id, "assistant", turn.parts(), metadata)
        await turn.end({"type": "finish", "finishReason": reason})

    async def tell(self, event: str, turn: Turn | None = None) -> None:
        """Tell every window what becomes of its person's sessions, once one follows: here of this one, or its turn."""
        await wait_until(lambda: self.is_followed, what="a page follows its person")
        of_turn = {"task_id": turn.task_id, "message_id": "m"} if turn else {}
        for tab in self._tabs:
            tab.put_nowait({"type": event, "session_id": self.session_id, **of_turn})

    async def end(self) -> None:
        """Let everybody go who follows anything."""
        for turn in self.turns.values():
            await turn.end()
        for tab in self._tabs:
            tab.put_nowait(None)

    def continue_message(self) -> Turn:
        """A turn that goes on with the newest message."""
        message = self.messages[-1]
        return self._begin(message["id"], message["parts"])

    def _begin(self, message_id: str, before: list[dict[str, Any]]) -> Turn:
        turn = Turn(f"task-{len(self.turns) + 1}", message_id, before)
        self.turns[turn.task_id] = turn
        return turn

    def store(
        self, message_id: str, role: str, parts: list[dict[str, Any]], metadata: dict[str, Any] | None = None
    ) -> None:
        known = next((one for one in self.messages if one["id"] == message_id), None)
        if known is not None:
            known.update(parts=parts, metadata=metadata)
            return
        message = {"id": message_id, "role": role, "parts": parts, "sequence": len(self.messages) + 1}
        self.messages.append(message | {"created_at": _NOW, "metadata": metadata})

    # Routes

    async def session(self, request: Request) -> Response:
        turn = self._active
        active = turn and {"task_id": turn.task_id, "status": "running", "message_id": turn.message_id}
        before = int(request.query_params.get("before_sequence", len(self.messages) + 1))
        older = [one for one in self.messages if one["sequence"] < before]
        page = {"messages": older[-_PAGE:], "has_more": len(older) > _PAGE, "active_task": active}
        return JSONResponse({**_session(request.path_params["id"]), **page})

    async def chat(self, request: Request) -> Response:
        """A message, and its answer from the beginning."""
        body = await request.json()
        self.session_id = body["id"]
        if self.refusal is not None:
            return JSONResponse(*self.refusal)
        self.triggers.append({name: body[name] for name in ("trigger", "messageId", "model") if name in body})
        if body["trigger"] == "submit-message":
            message = body["messages"][-1]
            self.store(message["id"], "user", message["parts"])
        else:
            # Named by its answer, or by the question that never got one.
            answered = [one for one in self.messages if one["id"] != body["messageId"] or one["role"] == "user"]
            self.messages = answered
        turn = self._begin(f"answer-{len(self.turns) + 1}", [])
        self._asked.set()
        headers = {"x-workflow-run-id": turn.task_id}
        return StreamingResponse(turn.follow(0), media_type="text/event-stream", headers=headers)

    async def task(self, request: Request) -> Response:
        return JSONResponse(self._task(self.turns[request.path_params["id"]]))

    def _task(self, turn: Turn) -> dict[str, Any]:
        question = next(one["id"] for one in reversed(self.messages) if one["role"] == "user")
        return {
            "task_id": turn.task_id,
            "message_id": question,
            "assistant_message_id": turn.message_id,
            "ended_at": _NOW if turn.ended else None,
            "stream_url": f"/api/chat/tasks/{turn.task_id}/stream",
        }

    async def stream(self, request: Request) -> Response:
        last = request.headers.get("last-event-id")
        follow = self.turns[request.path_params["id"]].follow(int(last) + 1 if last else 0)
        return StreamingResponse(follow, media_type="text/event-stream")

    async def cancel(self, request: Request) -> Response:
        self.turns[request.path_params["id"]].cancelled = True
        return JSONResponse({"task_id": request.path_params["id"], "status": "running"}, 202)

    async def approve(self, request: Request) -> Response:
        answer = await request.json()
        self.approvals.append({"task_id": request.path_params["id"], "call": request.path_params["call"], **answer})
        if self.approval_status != 202:
            return JSONResponse({"detail": "No.", "code": "NO"}, self.approval_status)
        for part in self.messages[-1]["parts"]:
            if part.get("toolCallId") == request.path_params["call"]:
                part["approval"] |= answer
        accepted = self.remaining == 0
        turn = self.continue_message() if accepted else self.turn
        url = f"/api/chat/tasks/{turn.task_id}/stream"
        status = "accepted" if accepted else "recorded"
        return JSONResponse(
            {"task_id": turn.task_id, "status": status, "stream_url": url, "remaining": self.remaining}, 202
        )

    async def events(self, _: Request) -> Response:
        return StreamingResponse(self._follow_person(), media_type="text/event-stream")

    async def _follow_person(self) -> AsyncIterator[str]:
        tab: asyncio.Queue[Chunk | None] = asyncio.Queue()
        self._tabs.add(tab)
        yield f"data: {json.dumps({'type': 'ready', 'resumed': False})}\n\n"
        try:
            while (event := await tab.get()) is not None:
                yield f"data: {json.dumps(event)}\n\n"
        finally:
            self._tabs.discard(tab)

    async def list_tools(self, _: Request) -> Response:
        return JSONResponse({"detail": "No."}, 404) if self.tools is None else JSONResponse({"tools": self.tools})

    async def told_config(self, _: Request) -> Response:
        return JSONResponse({"detail": "No."}, 404) if self.config is None else JSONResponse(self.config)

    def app(self) -> Starlette:
        api = "/api/chat"
        return Starlette(
            routes=[
                Route("/", lambda request: chat_page(request.headers)),
                Mount("/static", PageFiles()),
                Route("/config", self.told_config),
                Route(f"{api}/tools", self.list_tools),
                Route(f"{api}/events", self.events),
                Route(f"{api}/sessions", _list_sessions, methods=["GET", "POST"]),
                Route(f"{api}/sessions/{{id}}", self.session),
                Route(api, self.chat, methods=["POST"]),
                Route(f"{api}/tasks/{{id}}", self.task),
                Route(f"{api}/tasks/{{id}}/stream", self.stream),
                Route(f"{api}/tasks/{{id}}/cancel", self.cancel, methods=["POST"]),
                Route(f"{api}/tasks/{{id}}/approvals/{{call}}", self.approve, methods=["POST"]),
            ]
        )


def _session(session_id: str) -> dict[str, Any]:
    return {"id": session_id, "title": None, "created_at": _NOW, "updated_at": _NOW}


async def _list_sessions(_: Request) -> Response:
    return JSONResponse({**_session("s"), "sessions": [], "next_cursor": None})


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the test process's own."""
        yield


@contextlib.asynccontextmanager
async def scripted_chat() -> AsyncIterator[ScriptedChat]:
    """A running one."""
    chat = ScriptedChat()
    port = int(chat.url.rpartition(":")[2])
    server = _Server(
        uvicorn.Config(chat.app(), port=port, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    )
    serving = asyncio.create_task(server.serve())
    await wait_until(lambda: server.started)
    yield chat
    await chat.end()
    server.should_exit = True
    await serving
