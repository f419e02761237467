"""A client of the plain HTTP routes, as a page of one's own would use them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from uuid import uuid4

import httpx

from harness.clients.sse import Event, follow_to_the_end, replay


@dataclass(frozen=True)
class Turn:
    """An accepted message. `message_id` is the one of its answer."""

    session_id: str
    task_id: str
    message_id: str
    status: str
    position: int | None
    stream_path: str


class Chat:
    """`async with Chat(gateway.url) as chat`. Every method fails on an answer that is not the expected one."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        self.url = url
        self._http = httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, verify=False, timeout=30)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def open_session(self) -> str:
        response = await self._http.post("/api/chat/sessions", json={})
        assert response.status_code == 201, response.text
        return str(response.json()["id"])

    async def post_message(
        self, session_id: str, text: str, message_id: str | None = None, **more: Any
    ) -> httpx.Response:
        body = {"id": message_id or f"m-{uuid4().hex}", "message": text, **more}
        return await self._http.post(f"/api/chat/sessions/{session_id}/messages", json=body)

    async def send(self, session_id: str, text: str, message_id: str | None = None, **more: Any) -> Turn:
        """Start a turn in the background; 202 is expected."""
        response = await self.post_message(session_id, text, message_id, **more)
        assert response.status_code == 202, f"{response.status_code}: {response.text}"
        body = response.json()
        return Turn(
            session_id=session_id,
            task_id=body["task_id"],
            message_id=body["assistant_message_id"],
            status=body["status"],
            position=body.get("position"),
            stream_path=httpx.URL(body["stream_url"]).path,
        )

    async def post_stream(self, session_id: str, text: str, message_id: str | None = None) -> httpx.Response:
        """Start a turn and follow it in one request; the whole response."""
        body = {"id": message_id or f"m-{uuid4().hex}", "message": text}
        return await self._http.post(f"/api/chat/sessions/{session_id}/stream", json=body)

    async def ask(self, text: str, **more: Any) -> Turn:
        """The first message of a new session."""
        return await self.send(await self.open_session(), text, **more)

    async def session(self, session_id: str) -> dict[str, Any]:
        response = await self._http.get(f"/api/chat/sessions/{session_id}")
        assert response.status_code == 200, response.text
        body = response.json()
        assert isinstance(body, dict)
        return body

    async def messages(self, session_id: str) -> list[tuple[str, str]]:
        """(role, text) of each message of the session, in order."""
        return [(message["role"], text_of(message)) for message in (await self.session(session_id))["messages"]]

    async def task(self, task_id: str) -> dict[str, Any]:
        response = await self._http.get(f"/api/chat/tasks/{task_id}")
        assert response.status_code == 200, response.text
        body = response.json()
        assert isinstance(body, dict)
        return body

    async def status(self, task_id: str) -> str:
        return str((await self.task(task_id))["status"])

    async def cancel(self, task_id: str) -> httpx.Response:
        response = await self._http.post(f"/api/chat/tasks/{task_id}/cancel")
        assert response.status_code == 202, response.text
        return response

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self._http.get(path, **options)

    async def post(self, path: str, body: object) -> httpx.Response:
        return await self._http.post(path, json=body)

    async def upload(self, name: str, content: bytes) -> httpx.Response:
        return await self._http.post("/api/chat/files", params={"name": name}, content=content)

    async def patch(self, path: str, body: object) -> httpx.Response:
        return await self._http.patch(path, json=body)

    async def delete(self, path: str) -> httpx.Response:
        return await self._http.delete(path)

    def stream_url(self, turn: Turn) -> str:
        return self.url + turn.stream_path

    async def answer(self, turn: Turn, *, protocol: int | None = None, timeout: float = 90) -> list[Event]:
        """Follow a turn to its end, through broken connections."""
        return await follow_to_the_end([self.stream_url(turn)], protocol=protocol, timeout=timeout)

    async def replay(self, turn: Turn, *, protocol: int | None = None) -> list[Event]:
        """The stream of an ended turn, as somebody sees it who comes now."""
        return (await replay(self.stream_url(turn), protocol=protocol)).events


def text_of(message: dict[str, Any]) -> str:
    return "".join(part["text"] for part in message["parts"] if part["type"] == "text")
