"""Links to conversations: what is seen behind one, for how long, and by whom."""

import json
from typing import Any

import httpx
import pytest
from gateway.api.models.shares import shared_parts

from harness.clients.sse import follow
from harness.databases.database import Database
from harness.processes.services import Service, Services
from tests.gateway.callers import SECRET, bearer
from tests.gateway.conftest import client_of
from tests.gateway.stand_in import StandIn

ALICE = bearer("alice")
PATH = "/api/chat/sessions/s/share"


async def _say(gateway: Service, worker: StandIn, text: str, answer: str, **body: Any) -> str:
    """As alice, in the session `s`; the answer's id."""
    message = {"id": f"m-{text}", "role": "user", "parts": [{"type": "text", "text": text}]}
    posted = {"id": "s", "messages": [message], **body}
    async with follow(f"{gateway.url}/api/chat", method="POST", json=posted, headers=ALICE) as stream:
        assert stream.status == 200, stream.response.text
        await worker.answer(stream.response.headers["x-workflow-run-id"], answer)
        await stream.read_to_end()
    async with client_of(gateway) as http:
        return str((await http.get("/api/chat/sessions/s", headers=ALICE)).json()["messages"][-1]["id"])


async def _texts(http: httpx.AsyncClient, token: str, **query: Any) -> list[str]:
    seen = await http.get(f"/api/chat/shared/{token}", params=query)
    assert seen.status_code == 200, seen.text
    return ["".join(part.get("text", "") for part in one["parts"]) for one in seen.json()["messages"]]


@pytest.mark.requirement("GW-8", "SE-1", "LC-1")
async def test_a_link_shows_the_conversation_as_it_stood_until_it_is_revoked(
    services: Services, worker: StandIn, database: Database
) -> None:
    gateway = await services.gateway(JWT_SECRET=SECRET)
    async with client_of(gateway) as http:
        await http.post("/api/chat/sessions", json={"id": "s", "title": "Rivers"}, headers=ALICE)
        assert (await http.put(PATH, headers=ALICE)).json()["code"] == "MESSAGE_NOT_FOUND"
        await _say(gateway, worker, "one", "first")
        assert (await http.get(PATH, headers=ALICE)).json()["code"] == "SHARE_NOT_FOUND"
        share = (await http.put(PATH, headers=ALICE)).json()
        token = share["token"]
        assert share["path"] == f"/#/s/{token}"
        assert len(token) >= 43

        # What is said, edited and answered again afterwards is not seen.
        await _say(gateway, worker, "two", "second")
        await _say(gateway, worker, "uno", "primo", parentId=None)
        assert await _texts(http, token) == ["one", "first"]
        assert (await http.get(PATH, headers=ALICE)).json() == share

        seen = await http.get(f"/api/chat/shared/{token}")
        assert seen.headers["cache-control"] == "no-store"
        assert "noindex" in seen.headers["x-robots-tag"]
        assert seen.json()["title"] == "Rivers"
        assert "alice" not in seen.text
        assert set(seen.json()["messages"][0]) == {"sequence", "role", "parts", "created_at"}
        newest = (await http.get(f"/api/chat/shared/{token}", params={"limit": 1})).json()
        assert newest["has_more"]
        assert await _texts(http, token, before_sequence=newest["messages"][0]["sequence"]) == ["one"]

        # Shared again it is the same link, to what there is by now.
        assert (await http.put(PATH, headers=ALICE)).json()["token"] == token
        assert await _texts(http, token) == ["uno", "primo"]
        # A turn that goes on with its last message adds nothing to it.
        more = json.dumps([{"type": "text", "text": " and more"}])
        await database.execute("UPDATE messages SET parts = parts || $1 WHERE role = 'assistant'", more)
        assert await _texts(http, token) == ["uno", "primo"]

        assert (await http.delete(PATH, headers=ALICE)).status_code == 204
        assert (await http.get(f"/api/chat/shared/{token}")).json()["code"] == "SHARE_NOT_FOUND"
        another = (await http.put(PATH, headers=ALICE)).json()["token"]
        assert another != token
        await http.delete("/api/chat/sessions/s", headers=ALICE)
        assert (await http.get(f"/api/chat/shared/{another}")).status_code == 404


@pytest.mark.requirement("SE-5")
async def test_where_links_are_switched_off_none_is_made_and_none_opens(services: Services, database: Database) -> None:
    gateway = await services.gateway(SHARE_LINKS="false")
    async with client_of(gateway) as http:
        assert (await http.get("/config")).json()["share_links"] is False
        await http.post("/api/chat/sessions", json={"id": "s"})
        assert (await http.put(PATH)).json()["code"] == "SHARING_OFF"
        await database.execute(
            "INSERT INTO shares (session_id, token, message_id, parts) VALUES ('s', 't0ken', 'm', 1)"
        )
        assert (await http.get("/api/chat/shared/t0ken")).status_code == 404
    assert "t0ken" not in gateway.output


@pytest.mark.requirement("SE-4", "SE-5")
def test_only_what_the_page_shows_in_the_open_is_shared() -> None:
    secret = "only hers"
    parts: list[dict[str, Any]] = [
        {"type": "step-start"},
        {"type": "reasoning", "text": secret},
        {"type": "text", "text": "Said.", "providerMetadata": {"x": secret}},
        {"type": "source-url", "sourceId": "1", "url": "https://example.org", "title": "Source", "more": secret},
        {"type": "file", "url": f"/api/chat/files/{secret}", "filename": secret, "mediaType": "image/png"},
        {"type": "data-agent", "data": {"content": secret}},
        {"type": "data-unheard-of", "data": secret},
        {"type": "unheard-of", "text": secret},
        {
            "type": "tool-write",
            "toolCallId": secret,
            "title": "Write",
            "state": "output-available",
            "input": {"prompt": secret},
            "output": {"markdown": "# Written", "notes": secret},
        },
        {
            "type": "dynamic-tool",
            "toolCallId": "c",
            "toolName": "look",
            "state": "output-available",
            "input": {},
            "output": secret,
        },
        {
            "type": "tool-risky",
            "toolCallId": "d",
            "state": "approval-requested",
            "input": {"a": secret},
            "approval": {"id": secret},
        },
        {"type": "tool-broken", "toolCallId": "e", "state": "output-error", "errorText": secret},
    ]
    shown = shared_parts(parts)
    assert secret not in repr(shown)
    assert shown[:3] == [
        {"type": "text", "text": "Said."},
        {"type": "source-url", "sourceId": "1", "url": "https://example.org", "title": "Source"},
        {"type": "data-withheld", "data": {"what": "file"}},
    ]
    calls = [(one["toolName"], one["state"], one.get("output")) for one in shown[3:]]
    assert calls == [
        ("write", "output-available", {"markdown": "# Written"}),
        ("look", "output-available", None),
        ("risky", "input-available", None),
        ("broken", "output-error", None),
    ]
