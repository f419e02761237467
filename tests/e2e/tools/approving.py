"""A person's answers over HTTP, and what his client has then."""

from typing import Any

import httpx

from harness.clients.chat import Chat, Turn
from harness.clients.folding import Message, fold
from harness.clients.sse import follow_to_the_end


async def answer(chat: Chat, turn: Turn, call_id: str, approved: bool, reason: str | None = None) -> httpx.Response:
    body = {"approved": approved} | ({"reason": reason} if reason else {})
    return await chat.post(f"/api/chat/tasks/{turn.task_id}/approvals/{call_id}", body)


async def followed(chat: Chat, response: httpx.Response, before: Message) -> Message:
    """The message after the turn that the answer has led to."""
    assert response.status_code == 202, response.text
    assert response.json()["status"] == "accepted"
    return fold(await follow_to_the_end([chat.url + response.json()["stream_url"]]), before=before)


async def last_parts(chat: Chat, turn: Turn) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = (await chat.session(turn.session_id))["messages"][-1]["parts"]
    return parts


async def is_status(chat: Chat, turn: Turn, status: str) -> bool:
    return await chat.status(turn.task_id) == status
