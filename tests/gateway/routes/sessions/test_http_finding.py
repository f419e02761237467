"""The routes that find and export."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from gateway.wire.exports import as_json, as_markdown
from sluiceway.store.records import Message, Session
from sluiceway.store.turns.ending import TurnEnd

from tests.gateway.stand_in import StandIn


async def _talk(http: httpx.AsyncClient, worker: StandIn, session_id: str, question: str, answer: str) -> None:
    await http.post("/api/chat/sessions", json={"id": session_id, "title": "Rivers & <lakes>"})
    sent = await http.post(f"/api/chat/sessions/{session_id}/messages", json={"message": question})
    task = await worker.store.turns.claim(sent.json()["task_id"])
    assert task is not None
    call = {"type": "tool-look", "toolCallId": "c", "state": "output-available", "input": {"q": 1}, "output": "```\nx"}
    parts: list[dict[str, Any]] = [
        {"type": "step-start"},
        call,
        {"type": "reasoning", "text": "hm"},
        {"type": "text", "text": answer},
    ]
    await worker.store.turns.end(task, TurnEnd("completed", parts, {"status": "completed"}), attempt=task.attempt)


@pytest.mark.requirement("CH-1")
async def test_what_was_said_is_found_and_the_query_may_be_anything(http: httpx.AsyncClient, worker: StandIn) -> None:
    await _talk(http, worker, "s", "Which rivers?", "The Rhine and the Inn.")

    found = (await http.get("/api/chat/search", params={"q": "rhi"})).json()
    assert [(one["session_id"], one["role"], one["snippet"]) for one in found["messages"]] == [
        ("s", "assistant", "The Rhine and the Inn")
    ]
    assert found["messages"][0]["session_title"] == "Rivers & <lakes>"
    assert [session["id"] for session in (await http.get("/api/chat/search?q=lakes")).json()["sessions"]] == ["s"]
    for query in ("", " ", "'", "\x00", '"', "a" * 200):
        assert (await http.get("/api/chat/search", params={"q": query})).status_code == 200
    assert (await http.get("/api/chat/search", params={"q": "a" * 201})).status_code == 400


@pytest.mark.requirement("CH-1")
async def test_a_session_is_exported_whole_as_json_and_as_markdown(http: httpx.AsyncClient, worker: StandIn) -> None:
    for number in range(3):
        await _talk(http, worker, "s", f"Question {number}?", f"Answer {number}.")

    told = await http.get("/api/chat/sessions/s/export")
    assert told.headers["content-disposition"] == 'attachment; filename="chat-s.json"'
    export = json.loads(told.text)
    page = (await http.get("/api/chat/sessions/s")).json()
    assert [one["parts"] for one in export["messages"]] == [one["parts"] for one in page["messages"]]
    assert (export["id"], export["title"]) == ("s", "Rivers & <lakes>")

    text = await http.get("/api/chat/sessions/s/export", params={"format": "markdown"})
    assert text.headers["content-type"] == "text/markdown; charset=utf-8"
    assert text.text.startswith("# Rivers & <lakes>\n")
    assert text.text.count("## You, ") == 3
    assert "````\n```\nx\n````" in text.text
    assert "hm" not in text.text
    assert text.text.index("Question 0?") < text.text.index("Answer 0.") < text.text.index("Question 1?")
    assert (await http.get("/api/chat/sessions/none/export")).status_code == 404
    assert (await http.get("/api/chat/sessions/s/export?format=pdf")).status_code == 400
    await http.post("/api/chat/sessions", json={"id": "empty"})
    assert (await http.get("/api/chat/sessions/empty/export")).json()["messages"] == []


@pytest.mark.requirement("SE-4")
@pytest.mark.parametrize("write", [as_json, as_markdown])
async def test_an_export_keeps_nothing_of_what_it_has_sent(write: Any) -> None:
    """Who does not read one holds up the piece that is being sent, and what is left of a page."""
    now = datetime.now(UTC)
    page = [Message(f"m{number}", "user", [{"type": "text", "text": "x"}], number, None, now) for number in range(3)]

    async def no_more(_: str, after: int) -> list[Message]:
        assert after == 2
        return []

    @asynccontextmanager
    async def rendering() -> AsyncIterator[None]:
        yield

    file = write(Session("s", None, None, None, None, now, now), page, no_more, rendering)
    left = [len(page) async for _ in file]
    assert sorted(left, reverse=True) == left
    assert set(left) == {3, 2, 1, 0}
