"""The session routes."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from tests.gateway.stand_in import StandIn


async def _sessions(http: httpx.AsyncClient, count: int) -> list[str]:
    ids = []
    for number in range(count):
        response = await http.post("/api/chat/sessions", json={"id": f"session-{number}"})
        assert response.status_code == 201
        ids.append(response.json()["id"])
    return ids


async def _post(http: httpx.AsyncClient, session_id: str, text: str) -> dict[str, Any]:
    response = await http.post(f"/api/chat/sessions/{session_id}/messages", json={"message": text})
    assert response.status_code == 202, response.text
    body = response.json()
    assert isinstance(body, dict)
    return body


@pytest.mark.requirement("CH-1")
async def test_a_session_is_made_with_an_id_of_ours_or_of_the_client(http: httpx.AsyncClient) -> None:
    ours = await http.post("/api/chat/sessions", json={})
    assert ours.status_code == 201
    assert ours.json()["id"].startswith("ses_")
    assert ours.headers["location"] == f"/api/chat/sessions/{ours.json()['id']}"
    assert ours.json()["title"] is None
    theirs = await http.post("/api/chat/sessions", json={"id": "A1.b_c~d:e@f-g", "title": "  Rivers  "})
    assert theirs.status_code == 201
    assert (theirs.json()["id"], theirs.json()["title"]) == ("A1.b_c~d:e@f-g", "Rivers")


@pytest.mark.requirement("CH-1")
async def test_a_session_that_is_made_twice_is_the_same_session(http: httpx.AsyncClient) -> None:
    first = await http.post("/api/chat/sessions", json={"id": "again", "title": "First"})
    second = await http.post("/api/chat/sessions", json={"id": "again", "title": "Second"})
    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json() == first.json()


@pytest.mark.requirement("CH-1")
async def test_sessions_are_listed_a_page_at_a_time_the_one_last_active_first(http: httpx.AsyncClient) -> None:
    ids = await _sessions(http, 5)
    await _post(http, ids[1], "hello")
    seen: list[str] = []
    cursor: str | None = None
    sizes = []
    while True:
        query = {"limit": "2", **({"cursor": cursor} if cursor else {})}
        page = (await http.get("/api/chat/sessions", params=query)).json()
        sizes.append(len(page["sessions"]))
        seen += [session["id"] for session in page["sessions"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [ids[1], ids[4], ids[3], ids[2], ids[0]]
    assert sizes == [2, 2, 1]


@pytest.mark.requirement("CH-1")
async def test_a_session_shows_its_newest_messages_and_older_ones_on_demand(
    http: httpx.AsyncClient, worker: StandIn
) -> None:
    [session_id] = await _sessions(http, 1)
    for number in range(3):
        turn = await _post(http, session_id, f"question {number}")
        await worker.answer(turn["task_id"], f"answer {number}")
    newest = (await http.get(f"/api/chat/sessions/{session_id}", params={"limit": "4"})).json()
    assert [_text(message) for message in newest["messages"]] == ["question 1", "answer 1", "question 2", "answer 2"]
    assert newest["has_more"] is True
    before = newest["messages"][0]["sequence"]
    older = (await http.get(f"/api/chat/sessions/{session_id}", params={"before_sequence": str(before)})).json()
    assert [_text(message) for message in older["messages"]] == ["question 0", "answer 0"]
    assert older["has_more"] is False
    assert [message["role"] for message in older["messages"]] == ["user", "assistant"]


@pytest.mark.requirement("CH-1", "TS-6")
async def test_a_session_tells_its_active_turn_with_its_last_event(http: httpx.AsyncClient, worker: StandIn) -> None:
    [session_id] = await _sessions(http, 1)
    turn = await _post(http, session_id, "hello")
    queued = (await http.get(f"/api/chat/sessions/{session_id}")).json()["active_task"]
    assert queued == {
        "task_id": turn["task_id"],
        "status": "queued",
        "message_id": turn["assistant_message_id"],
        "stream_url": turn["stream_url"],
        "last_event_id": None,
    }
    task = await worker.begin(turn["task_id"])
    await worker.say(task, "well")
    running = (await http.get(f"/api/chat/sessions/{session_id}")).json()
    assert running["active_task"]["status"] == "running"
    assert running["active_task"]["last_event_id"] == "1-3"
    assert [message["role"] for message in running["messages"]] == ["user"]
    await worker.finish(task)
    ended = (await http.get(f"/api/chat/sessions/{session_id}")).json()
    assert ended["active_task"] is None
    assert [_text(message) for message in ended["messages"]] == ["hello", "well"]


@pytest.mark.requirement("CH-1")
async def test_a_session_is_renamed(http: httpx.AsyncClient) -> None:
    [session_id] = await _sessions(http, 1)
    renamed = await http.patch(f"/api/chat/sessions/{session_id}", json={"title": " Größe 東京 🌊 "})
    assert renamed.status_code == 200
    assert renamed.json()["title"] == "Größe 東京 🌊"
    assert (await http.get(f"/api/chat/sessions/{session_id}")).json()["title"] == "Größe 東京 🌊"


@pytest.mark.requirement("CH-1")
async def test_pinned_sessions_are_told_with_the_first_page_in_the_order_in_which_they_were_pinned(
    http: httpx.AsyncClient,
) -> None:
    ids = await _sessions(http, 4)
    for session_id in (ids[2], ids[0], ids[2]):  # a second time changes no order
        pinned = await http.patch(f"/api/chat/sessions/{session_id}", json={"pinned": True, "title": None})
        assert (pinned.status_code, pinned.json()["title"]) == (200, None)
    await _post(http, ids[2], "what is said in one does not, either")
    first = (await http.get("/api/chat/sessions", params={"limit": "2"})).json()
    assert [session["id"] for session in first["pinned"]] == [ids[0], ids[2]]
    assert [(session["id"], session["pinned_at"] is not None) for session in first["sessions"]] == [
        (ids[2], True),
        (ids[3], False),
    ]
    second = (await http.get("/api/chat/sessions", params={"cursor": first["next_cursor"]})).json()
    assert second["pinned"] == []
    await http.patch(f"/api/chat/sessions/{ids[0]}", json={"pinned": False})
    pins = (await http.get("/api/chat/sessions")).json()["pinned"]
    assert [session["id"] for session in pins] == [ids[2]]
    # One that is archived is listed apart, and is what it was when it is back.
    archived = await http.patch(f"/api/chat/sessions/{ids[2]}", json={"archived": True})
    assert archived.json()["archived_at"] is not None
    first = (await http.get("/api/chat/sessions")).json()
    assert (first["pinned"], [session["id"] for session in first["sessions"]]) == ([], [ids[3], ids[1], ids[0]])
    apart = (await http.get("/api/chat/sessions", params={"archived": "true"})).json()
    assert (apart["pinned"], [session["id"] for session in apart["sessions"]]) == ([], [ids[2]])
    back = await http.patch(f"/api/chat/sessions/{ids[2]}", json={"archived": False})
    assert (back.json()["archived_at"], back.json()["pinned_at"]) == (None, pins[0]["pinned_at"])
    assert [session["id"] for session in (await http.get("/api/chat/sessions")).json()["pinned"]] == [ids[2]]
    nothing = await http.patch(f"/api/chat/sessions/{ids[2]}", json={})
    assert (nothing.status_code, nothing.json()["pinned_at"]) == (200, pins[0]["pinned_at"])


@pytest.mark.requirement("CH-1", "CH-3", "TS-6")
async def test_a_temporary_session_is_listed_and_found_nowhere_and_read_and_followed_like_any_other(
    http: httpx.AsyncClient, worker: StandIn
) -> None:
    made = await http.post("/api/chat/sessions", json={"id": "made", "temporary": True})
    assert made.json()["temporary"] is True
    message = {"id": "m1", "role": "user", "parts": [{"type": "text", "text": "a secret river"}]}
    body = {"id": "begun", "messages": [message], "temporary": True}
    async with http.stream("POST", "/api/chat", json=body) as answer:
        task_id = answer.headers["x-workflow-run-id"]
        assert not await worker.store.titles.begin("begun", task_id, timedelta(seconds=9))
        await worker.answer(task_id, "the Rhine")
        assert "the Rhine" in (await answer.aread()).decode()
    forked = await http.post("/api/chat/sessions/begun/fork", json={"id": "forked"})
    assert forked.json()["temporary"] is True
    await http.patch("/api/chat/sessions/begun", json={"pinned": True})
    assert (await http.get("/api/chat/sessions")).json() == {"sessions": [], "pinned": [], "next_cursor": None}
    for word in ("secret", "rhine"):
        assert (await http.get("/api/chat/search", params={"q": word})).json() == {"sessions": [], "messages": []}
    read = (await http.get("/api/chat/sessions/begun")).json()
    assert (read["temporary"], [_text(one) for one in read["messages"]]) == (True, ["a secret river", "the Rhine"])


@pytest.mark.requirement("CH-1", "TS-5")
async def test_a_deleted_session_is_gone_and_who_follows_its_turn_sees_it_aborted(
    http: httpx.AsyncClient, worker: StandIn
) -> None:
    [session_id] = await _sessions(http, 1)
    turn = await _post(http, session_id, "hello")
    task = await worker.begin(turn["task_id"])
    await worker.say(task, "half a")
    async with http.stream("GET", turn["stream_url"]) as stream:
        assert (await http.delete(f"/api/chat/sessions/{session_id}")).status_code == 204
        lines = [line async for line in stream.aiter_lines() if line.startswith("data:")]
    assert lines[-3:] == ['data: {"type":"abort"}', 'data: {"type":"finish"}', "data: [DONE]"]
    assert (await http.get(f"/api/chat/sessions/{session_id}")).json()["code"] == "SESSION_NOT_FOUND"
    assert (await http.delete(f"/api/chat/sessions/{session_id}")).status_code == 404


@pytest.mark.requirement("CH-1", "CH-14")
async def test_a_session_that_cannot_be_is_refused_with_the_place_of_the_fault(http: httpx.AsyncClient) -> None:
    bad: list[tuple[Any, str]] = [
        ({"id": ""}, "/id"),
        ({"id": "x" * 65}, "/id"),
        ({"id": "with space"}, "/id"),
        ({"id": "a/b"}, "/id"),
        ({"id": "brace{"}, "/id"),
        ({"id": "line\n"}, "/id"),
        ({"id": "tasks"}, "/id"),
        ({"id": ".."}, "/id"),
        ({"id": 7}, "/id"),
        ({"title": "  "}, "/title"),
        ({"title": "a\u0000b"}, "/title"),
        ({"title": "x" * 201}, "/title"),
        ([], ""),
    ]
    for body, pointer in bad:
        response = await http.post("/api/chat/sessions", json=body)
        assert (response.status_code, response.json()["code"]) == (422, "INVALID_BODY"), body
        assert [fault["pointer"] for fault in response.json()["errors"]] == [pointer], body
    assert (await http.get("/api/chat/sessions")).json()["sessions"] == []


@pytest.mark.requirement("CH-1", "CH-14")
async def test_ids_cursors_and_page_sizes_that_cannot_be_are_refused(http: httpx.AsyncClient) -> None:
    await _sessions(http, 1)
    bad = [
        ("?limit=0", 400, "INVALID_PARAMETER"),
        ("?limit=-1", 400, "INVALID_PARAMETER"),
        ("?limit=1_0", 400, "INVALID_PARAMETER"),
        ("?limit=99999999999999999999", 400, "INVALID_PARAMETER"),
        ("?limit=201", 400, "INVALID_PARAMETER"),
        ("?cursor=nonsense", 400, "INVALID_CURSOR"),
        ("?cursor=%F0%9F%8C%8A", 400, "INVALID_CURSOR"),
        ("/session-0?before_sequence=x", 400, "INVALID_PARAMETER"),
        ("/session-0?limit=201", 400, "INVALID_PARAMETER"),
        ("/nobody", 404, "SESSION_NOT_FOUND"),
        ("/%00", 400, "INVALID_PARAMETER"),
        ("/%FF", 400, "INVALID_PARAMETER"),
        ("/" + "x" * 65, 400, "INVALID_PARAMETER"),
        ("/a%2Fb", 404, "ROUTE_NOT_FOUND"),
        ("/", 404, "ROUTE_NOT_FOUND"),
    ]
    for path, status, code in bad:
        response = await http.get(f"/api/chat/sessions{path}")
        assert (response.status_code, response.json()["code"]) == (status, code), path
        assert response.headers["content-type"] == "application/problem+json", path


def _text(message: dict[str, Any]) -> str:
    return "".join(part["text"] for part in message["parts"] if part["type"] == "text")
