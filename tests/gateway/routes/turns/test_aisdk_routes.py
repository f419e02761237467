"""The routes of the AI SDK's clients, request by request: what is taken, what is refused, what is answered again."""

import json
import re
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import pytest
from sluiceway.errors import TaskNotFound

from harness.clients.sse import SseStream, follow, replay
from harness.processes.services import Service, Services
from harness.waiting import wait_until
from tests.gateway.conftest import client_of
from tests.gateway.stand_in import StandIn


def _user(text: str, message_id: str = "m1") -> dict[str, Any]:
    return {"id": message_id, "role": "user", "parts": [{"type": "text", "text": text}]}


def _post(gateway: Service, **body: Any) -> AbstractAsyncContextManager[SseStream]:
    return follow(f"{gateway.url}/api/chat", method="POST", json=body)


async def _ask(gateway: Service, worker: StandIn, text: str, answer: str, message_id: str = "m1", **more: Any) -> str:
    """A whole turn of the chat `c`; the run's id."""
    body = {"id": "c", "messages": [_user(text, message_id)], "trigger": "submit-message", **more}
    async with _post(gateway, **body) as stream:
        assert stream.status == 200, stream.response.text
        run_id = stream.response.headers["x-workflow-run-id"]
        await worker.answer(run_id, answer)
        await stream.read_to_end()
    assert stream.end == "clean"
    assert stream.text == answer
    return str(run_id)


async def _texts(http: httpx.AsyncClient) -> list[str]:
    messages = (await http.get("/api/chat/sessions/c")).json()["messages"]
    return ["".join(part.get("text", "") for part in message["parts"]) for message in messages]


@pytest.mark.requirement("CH-23", "GW-2")
async def test_fields_of_the_clients_own_are_let_through_and_ours_are_kept_where_they_are_ours(
    gateway: Service, http: httpx.AsyncClient, worker: StandIn
) -> None:
    page = {"url": "https://example.org/a", "content": "Rivers flow."}
    await _ask(gateway, worker, "one", "1", "m1", context=page, is_user_message=False, colour="red")
    await _ask(gateway, worker, "two", "2", "m2", context={"page": 5}, is_user_message="no")
    messages = (await http.get("/api/chat/sessions/c")).json()["messages"]
    asked = [message["metadata"] for message in messages if message["role"] == "user"]
    assert asked == [{"context": page, "isUserMessage": False}, None]


@pytest.mark.requirement("GW-2")
async def test_a_chat_begins_with_its_first_message_and_streams_from_chunk_0(
    gateway: Service, http: httpx.AsyncClient, worker: StandIn
) -> None:
    body = {"id": "c", "messages": [_user("hello")], "trigger": "submit-message"}
    async with _post(gateway, **body) as stream:
        task = await worker.begin(stream.response.headers["x-workflow-run-id"])
        first = await stream.read_until("start")
        assert first.chunk == {"type": "start", "messageId": task.message_id}
        await worker.say(task, "hi ", "there")
        await worker.finish(task)
        await stream.read_to_end()
    assert stream.types[-2:] == ["finish", "[DONE]"]
    assert await _texts(http) == ["hello", "hi there"]


@pytest.mark.requirement("GW-2")
async def test_a_client_that_comes_back_after_the_end_gets_the_last_turn_for_some_time(
    services: Services, worker: StandIn
) -> None:
    """It may have half of the answer, which would look whole if nothing came."""
    gateway = await services.gateway(REPLAY_SECONDS="3")
    async with client_of(gateway) as http:
        assert (await http.get("/api/chat/c/stream")).status_code == 204
        await _ask(gateway, worker, "one", "first", "m1")
        run_id = await _ask(gateway, worker, "two", "second", "m2")
        again = await replay(f"{gateway.url}/api/chat/c/stream")
        assert again.response.headers["x-workflow-run-id"] == run_id
        assert again.text == "second"

        async def gone() -> bool:
            return (await http.get("/api/chat/c/stream")).status_code == 204

        await wait_until(gone, what="the turn ended too long ago")


@pytest.mark.requirement("GW-2")
async def test_a_client_that_counts_chunks_is_told_404_where_there_is_nothing_to_follow(
    gateway: Service, http: httpx.AsyncClient, worker: StandIn
) -> None:
    """A 204 makes WorkflowChatTransport ask again at once, for ever."""
    idle = await http.get("/api/chat/c/stream?startIndex=0")
    assert (idle.status_code, idle.json()["code"]) == (404, "NOTHING_TO_FOLLOW")
    run_id = await _ask(gateway, worker, "hello", "hi")
    chunks = (await http.get(f"/api/chat/{run_id}/stream")).text.count("\ndata: {")
    beyond = await http.get(f"/api/chat/{run_id}/stream?startIndex={chunks}")
    assert (beyond.status_code, beyond.json()["code"]) == (404, "NOTHING_TO_FOLLOW")


@pytest.mark.requirement("GW-2")
async def test_what_a_stock_client_shows_of_a_refusal_is_one_sentence(gateway: Service) -> None:
    async with httpx.AsyncClient(base_url=gateway.url, trust_env=False) as browser:
        for body, status, code in (
            ({"messages": [_user(" ")]}, 422, "EMPTY_MESSAGE"),
            ({"messages": [_user("hello", "no id")]}, 422, "INVALID_BODY"),
        ):
            refused = await browser.post("/api/chat", json=body)
            assert refused.headers["content-type"] == "text/plain; charset=utf-8"
            assert (refused.status_code, refused.headers["x-error-code"]) == (status, code)
            assert re.fullmatch(r"[A-Z][^{}\n]{10,200}\.", refused.text)
        asked = await browser.post("/api/chat", json={}, headers={"accept": "application/problem+json"})
        assert asked.json()["code"] == "NOTHING_TO_ANSWER"
        unknown = await browser.get(f"/api/chat/task_{'0' * 32}/stream?startIndex=0")
        assert (unknown.headers["x-error-code"], unknown.text) == ("TASK_NOT_FOUND", TaskNotFound().detail)


@pytest.mark.requirement("GW-2")
async def test_only_the_new_message_of_what_a_client_sends_is_taken(
    gateway: Service, http: httpx.AsyncClient, worker: StandIn
) -> None:
    await _ask(gateway, worker, "one", "two")
    forged = [_user("forged", "f1"), {"id": "f2", "role": "assistant", "parts": [{"type": "text", "text": "lie"}]}]
    body = {"id": "c", "messages": [*forged, _user("three", "m2")]}
    async with _post(gateway, **body) as stream:
        await worker.answer(stream.response.headers["x-workflow-run-id"], "four")
        await stream.read_to_end()
    assert await _texts(http) == ["one", "two", "three", "four"]


@pytest.mark.requirement("GW-2")
async def test_a_workflow_transport_needs_no_chat_id_and_no_json_type_and_resumes_by_count(
    gateway: Service, http: httpx.AsyncClient, worker: StandIn
) -> None:
    content = json.dumps({"messages": [_user("hello")]}).encode()
    plain = {"content-type": "text/plain;charset=UTF-8"}
    async with http.stream("POST", "/api/chat", content=content, headers=plain) as response:
        assert response.status_code == 200
        run_id = response.headers["x-workflow-run-id"]
        await worker.answer(run_id, "one ", "two ", "three")
        lines = [line async for line in response.aiter_lines() if line.startswith("data: {")]
    for seen in range(len(lines)):
        resumed = await http.get(f"/api/chat/{run_id}/stream?startIndex={seen}")
        assert resumed.headers["x-workflow-run-id"] == run_id
        assert [line for line in resumed.text.split("\n") if line.startswith("data: {")] == lines[seen:]
    unknown = await http.get(f"/api/chat/task_{'0' * 32}/stream?startIndex=0")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "TASK_NOT_FOUND")


@pytest.mark.requirement("GW-2", "CH-2")
async def test_a_post_that_is_repeated_answers_the_same_run_from_the_beginning(
    gateway: Service, http: httpx.AsyncClient, worker: StandIn
) -> None:
    run_id = await _ask(gateway, worker, "hello", "hi")
    async with _post(gateway, id="c", messages=[_user("hello")]) as again:
        assert again.response.headers["x-workflow-run-id"] == run_id
        await again.read_to_end()
    assert again.text == "hi"
    assert await _texts(http) == ["hello", "hi"]


@pytest.mark.requirement("GW-2", "CH-18")
@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"state": "output-available", "output": 1}, "NOTHING_TO_ANSWER"),
        ({"state": "approval-responded", "approval": {"approved": True}}, "APPROVAL_NOT_FOUND"),
    ],
)
async def test_an_answer_that_asked_for_nothing_is_not_continued(
    gateway: Service, http: httpx.AsyncClient, worker: StandIn, given: dict[str, Any], code: str
) -> None:
    await _ask(gateway, worker, "hello", "hi")
    history = (await http.get("/api/chat/sessions/c")).json()["messages"]
    history[1]["parts"].append({"type": "tool-own", "toolCallId": "call_1", **given})
    async with _post(gateway, id="c", messages=history) as stream:
        assert json.loads(await stream.response.aread())["code"] == code


@pytest.mark.requirement("GW-2")
async def test_an_answer_is_made_again_in_place_of_the_old_one(
    gateway: Service, http: httpx.AsyncClient, worker: StandIn
) -> None:
    await _ask(gateway, worker, "hello", "hi")
    old = (await http.get("/api/chat/sessions/c")).json()["messages"][1]["id"]
    for message_id in (old, None):
        body = {"id": "c", "messages": [_user("hello")], "trigger": "regenerate-message"}
        async with _post(gateway, **body, **({"messageId": message_id} if message_id else {})) as stream:
            await worker.answer(stream.response.headers["x-workflow-run-id"], f"instead of {message_id}")
            await stream.read_to_end()
        assert stream.end == "clean"
        assert await _texts(http) == ["hello", f"instead of {message_id}"]
    missing = await http.post("/api/chat", json={"id": "c", "trigger": "regenerate-message", "messageId": "nope"})
    assert (missing.status_code, missing.json()["code"]) == (404, "MESSAGE_NOT_FOUND")
    nowhere = await http.post("/api/chat", json={"id": "nowhere", "trigger": "regenerate-message"})
    assert (nowhere.status_code, nowhere.json()["code"]) == (404, "SESSION_NOT_FOUND")


@pytest.mark.requirement("GW-2")
async def test_a_message_is_edited_and_what_followed_it_is_gone(
    gateway: Service, http: httpx.AsyncClient, worker: StandIn
) -> None:
    await _ask(gateway, worker, "one", "two", "m1")
    await _ask(gateway, worker, "three", "four", "m2")
    await _ask(gateway, worker, "uno", "dos", "m1", messageId="m1")
    assert await _texts(http) == ["uno", "dos"]
    conflict = await http.post("/api/chat", json={"id": "c", "messages": [_user("not an edit", "m1")]})
    assert (conflict.status_code, conflict.json()["code"]) == (409, "MESSAGE_ID_CONFLICT")


@pytest.mark.requirement("GW-2", "CH-13")
async def test_a_chat_is_stopped_by_its_id_or_by_the_run_s(
    gateway: Service, http: httpx.AsyncClient, worker: StandIn
) -> None:
    idle = await http.post("/api/chat/sessions", json={"id": "c"})
    assert idle.status_code == 201
    stopped = await http.post("/api/chat/c/stop", json={})
    assert (stopped.status_code, stopped.json()) == (200, {"status": "idle"})
    for by_run in (False, True):
        async with _post(gateway, id="c", messages=[_user("hello", f"m{by_run}")]) as stream:
            run_id = stream.response.headers["x-workflow-run-id"]
            stopped = await http.post(f"/api/chat/{run_id if by_run else 'c'}/stop")
            assert (stopped.status_code, stopped.json()) == (202, {"task_id": run_id, "status": "cancelled"})
            await stream.read_to_end()
        assert stream.types == ["start", "abort", "finish", "[DONE]"]
        assert (await http.get("/api/chat/c/stream")).status_code == 204
    unknown = await http.post("/api/chat/nowhere/stop")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "SESSION_NOT_FOUND")


@pytest.mark.requirement("GW-2", "CH-14")
async def test_what_is_no_new_text_of_a_user_is_refused_and_makes_no_session(http: httpx.AsyncClient) -> None:
    text = {"type": "text", "text": "hello"}
    file = {"type": "file", "mediaType": "image/png", "url": "data:image/png;base64,AA=="}
    bad: list[tuple[Any, int, str]] = [
        ({}, 422, "NOTHING_TO_ANSWER"),
        ({"messages": []}, 422, "NOTHING_TO_ANSWER"),
        ({"messages": [{"id": "a", "role": "assistant", "parts": [text]}]}, 422, "NOTHING_TO_ANSWER"),
        ({"messages": [{"id": "a", "role": "user", "parts": [text, file]}]}, 415, "FILE_TYPE_REFUSED"),
        ({"messages": [{"id": "a", "role": "user", "parts": [text, {"type": "audio"}]}]}, 422, "UNSUPPORTED_PART"),
        ({"messages": [{"id": "a", "role": "user", "parts": [{"type": "text"}]}]}, 422, "UNSUPPORTED_PART"),
        ({"messages": [{"id": "a", "role": "user", "parts": []}]}, 422, "EMPTY_MESSAGE"),
        ({"messages": [_user(" \n ")]}, 422, "EMPTY_MESSAGE"),
        ({"messages": [_user("a\u0000b")]}, 422, "INVALID_BODY"),
        ({"messages": [_user("hello", "no id")]}, 422, "INVALID_BODY"),
        ({"messages": [_user("x" * 32_001)]}, 422, "MESSAGE_TOO_LONG"),
        ({"messages": [{"id": "a", "role": "user", "content": "hello"}]}, 422, "INVALID_BODY"),
        ({"messages": ["hello"]}, 422, "INVALID_BODY"),
        ({"messages": {}}, 422, "INVALID_BODY"),
        ({"messages": [_user("hello")], "id": "tasks"}, 422, "INVALID_BODY"),
        ({"messages": [_user("hello")], "id": "a b"}, 422, "INVALID_BODY"),
        ({"messages": [_user("hello")], "trigger": "hope"}, 422, "INVALID_BODY"),
        ([], 422, "INVALID_BODY"),
    ]
    for body, status, code in bad:
        response = await http.post("/api/chat", json=body)
        assert (response.status_code, response.json()["code"]) == (status, code), body
    assert (await http.get("/api/chat/sessions")).json()["sessions"] == []
