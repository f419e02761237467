"""Every route by every kind of caller: nobody sees or changes what is another's.

The routes are those of the OpenAPI document: one that is not in the table below fails the test. Everybody but the owner
asks first, then it is shown that nothing has changed, then the owner asks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import httpx
import pytest
from redis.asyncio import Redis
from sluiceway.feeds.agent_events import AgentStreams
from sluiceway.feeds.job_events import JobEventPublisher

from harness.databases.database import Database
from harness.processes.services import Services
from tests.gateway.callers import SECRET, add_key, anonymous, bearer
from tests.gateway.conftest import client_of
from tests.gateway.outside import add_operation

# owned: alice's alone. own: each caller has his own. users: for whoever signed in. keys: for programs alone.
# webhook: for programs, and for whoever signs. open: for all.
Kind = Literal["owned", "own", "users", "keys", "webhook", "open"]
Headers = dict[str, str]


@dataclass(frozen=True)
class Row:
    """`scopes`: of keys that come in. Those in `sees` see what is alice's; others that come in have only their own.
    `whole_system`: not for operators of an organisation."""

    kind: Kind
    scopes: tuple[str, ...] = ()
    body: Any = None
    whole_system: bool = False


_MESSAGE = {"id": "n", "role": "user", "parts": [{"type": "text", "text": "hi"}]}
_BOTH, _TURNS, _READ = ("turns", "read"), ("turns",), ("read",)
TABLE: dict[tuple[str, str], Row] = {
    ("GET", "/api/chat/sessions"): Row("own", _TURNS),
    ("POST", "/api/chat/sessions"): Row("own", _TURNS, {}),
    ("GET", "/api/chat/sessions/{session_id}"): Row("owned", _BOTH),
    ("PATCH", "/api/chat/sessions/{session_id}"): Row("owned", _TURNS, {"title": "taken"}),
    ("POST", "/api/chat/sessions/{session_id}/claim"): Row("owned", ()),
    ("POST", "/api/chat/sessions/{session_id}/messages"): Row("owned", _TURNS, {"message": "hello"}),
    ("POST", "/api/chat/sessions/{session_id}/stream"): Row("owned", _TURNS, {"message": "hello"}),
    ("GET", "/api/chat/sessions/{session_id}/stream"): Row("owned", _BOTH),
    ("GET", "/api/chat/tasks/{task_id}"): Row("owned", _BOTH),
    ("GET", "/api/chat/tasks/{task_id}/stream"): Row("owned", _BOTH),
    ("POST", "/api/chat/tasks/{task_id}/stream-token"): Row("owned", _TURNS),
    ("POST", "/api/chat/tasks/{task_id}/cancel"): Row("owned", _TURNS),
    ("POST", "/api/chat/tasks/{task_id}/approvals/{tool_call_id}"): Row("owned", _TURNS, {"approved": True}),
    ("POST", "/api/chat/tasks/{task_id}/outputs/{tool_call_id}"): Row("owned", _TURNS, {"output": 1}),
    ("GET", "/api/chat/events"): Row("own", _TURNS),
    ("GET", "/api/chat/tools"): Row("own", _BOTH),
    ("POST", "/api/chat/files"): Row("own", _TURNS, {"a": "text"}),
    ("GET", "/api/chat/files/{file_id}"): Row("owned", _BOTH),
    ("GET", "/api/chat/me/understanding"): Row("own", _TURNS),
    ("PUT", "/api/chat/me/understanding"): Row("own", _TURNS, {"name": "Ada"}),
    ("DELETE", "/api/chat/me/understanding"): Row("own", _TURNS),
    ("GET", "/api/chat/me/instructions"): Row("own", _TURNS),
    ("PUT", "/api/chat/me/instructions"): Row("own", _TURNS, {"text": "Be brief."}),
    ("POST", "/api/chat/sessions/{session_id}/branch"): Row("owned", _TURNS, {"message_id": "m"}),
    ("POST", "/api/chat/sessions/{session_id}/fork"): Row("owned", _TURNS, {"message_id": "m"}),
    ("GET", "/api/chat/search"): Row("own", _TURNS),
    ("PUT", "/api/chat/sessions/{session_id}/messages/{message_id}/feedback"): Row("owned", _TURNS, {"rating": "up"}),
    ("DELETE", "/api/chat/sessions/{session_id}/messages/{message_id}/feedback"): Row("owned", _TURNS),
    ("PUT", "/api/chat/sessions/{session_id}/share"): Row("owned", _TURNS),
    ("GET", "/api/chat/sessions/{session_id}/share"): Row("owned", _TURNS),
    ("DELETE", "/api/chat/sessions/{session_id}/share"): Row("owned", _TURNS),
    # Whoever has the token of a link. Alice's is not this one.
    ("GET", "/api/chat/shared/{token}"): Row("open"),
    ("GET", "/api/chat/sessions/{session_id}/export"): Row("owned", _BOTH),
    ("GET", "/api/chat/usage"): Row("own", _TURNS),
    ("GET", "/api/chat/usage/users"): Row("keys", ("ops:look",)),
    ("GET", "/api/chat/sessions/{session_id}/usage"): Row("owned", _BOTH),
    ("GET", "/api/chat/tasks/{task_id}/usage"): Row("owned", _BOTH),
    ("POST", "/api/chat"): Row("owned", _TURNS, {"id": "s", "messages": [_MESSAGE]}),
    ("GET", "/api/chat/{id}/stream"): Row("owned", _BOTH),
    ("POST", "/api/chat/{id}/stop"): Row("owned", _TURNS),
    ("GET", "/api/chat/operations/{operation_id}"): Row("owned", _BOTH),
    ("POST", "/api/chat/operations/{operation_id}/complete"): Row("webhook", ("webhooks",), {"success": True}),
    ("POST", "/api/chat/operations/{operation_id}/progress"): Row("webhook", ("webhooks",), {"percent": 1}),
    ("GET", "/api/chat/jobs/{job_id}/events"): Row("owned", _READ),
    ("GET", "/api/chat/jobs/{job_id}/history"): Row("owned", _READ),
    ("GET", "/api/chat/agents/{task_id}"): Row("owned", _READ),
    ("GET", "/api/chat/agents/{task_id}/events"): Row("owned", _READ),
    ("GET", "/api/chat/me/export"): Row("own", _TURNS),
    ("GET", "/api/chat/people/export"): Row("keys", _READ),
    ("DELETE", "/api/chat/people"): Row("keys", ("ops:act",)),
    ("GET", "/api/chat/webhooks"): Row("keys", ("ops:look",)),
    ("POST", "/api/chat/webhooks/{id}/replay"): Row("keys", ("ops:act",)),
    ("GET", "/api/ops/queues"): Row("keys", ("ops:look",), whole_system=True),
    ("GET", "/api/ops/processes"): Row("keys", ("ops:look",), whole_system=True),
    ("GET", "/api/ops/turns"): Row("keys", ("ops:look",)),
    ("GET", "/api/ops/turns/{task_id}/explanation"): Row("keys", ("ops:look",)),
    ("POST", "/api/ops/turns/{task_id}/requeue"): Row("keys", ("ops:act",)),
    ("GET", "/api/ops/operations"): Row("keys", ("ops:look",)),
    ("GET", "/api/ops/dead-letters"): Row("keys", ("ops:look",)),
    ("GET", "/api/ops/dead-letters/{id}"): Row("keys", ("ops:look",)),
    ("POST", "/api/ops/dead-letters/{id}/replay"): Row("keys", ("ops:act",)),
    ("DELETE", "/api/ops/dead-letters/{id}"): Row("keys", ("ops:act",)),
    ("DELETE", "/api/ops/dead-letters"): Row("keys", ("ops:act",)),
    ("PUT", "/api/ops/dead-letters/{id}"): Row(
        "keys", ("ops:act",), {"body": {"task_id": "nobody-s"}}, whole_system=True
    ),
    ("GET", "/api/ops/turns/{task_id}/events"): Row("keys", ("ops:look",)),
    ("POST", "/api/ops/workers/{worker_name}/drain"): Row("keys", ("ops:act",), whole_system=True),
    ("DELETE", "/api/ops/workers/{worker_name}/drain"): Row("keys", ("ops:act",), whole_system=True),
    ("GET", "/api/chat/stream-probe"): Row("keys", ("ops:look",), whole_system=True),
    ("GET", "/api/ops/feedback"): Row("keys", ("ops:look",)),
    ("GET", "/api/ops/top"): Row("keys", ("ops:look",)),
    ("GET", "/api/ops/load"): Row("keys", ("ops:look",), whole_system=True),
    ("GET", "/api/ops/doctor"): Row("keys", ("ops:look",), whole_system=True),
    ("POST", "/api/auth/session"): Row("users"),
    ("DELETE", "/api/auth/session"): Row("open"),
    ("GET", "/auth/login"): Row("open"),
    ("GET", "/auth/callback"): Row("open"),
    ("GET", "/healthz"): Row("open"),
    ("GET", "/readyz"): Row("open"),
    ("GET", "/metrics"): Row("open"),
    ("GET", "/config"): Row("open"),
    ("GET", "/openapi.json"): Row("open"),
    ("GET", "/docs"): Row("open"),
    ("GET", "/"): Row("open"),
    ("GET", "/ops"): Row("open"),
    ("POST", "/api/ops/turns/{task_id}/cancel"): Row("keys", ("ops:act",)),
    # Last: they take what is hers along.
    ("DELETE", "/api/chat/files/{file_id}"): Row("owned", _TURNS),
    ("DELETE", "/api/chat/sessions/{session_id}/messages/{message_id}"): Row("owned", _TURNS),
    ("DELETE", "/api/chat/sessions/{session_id}"): Row("owned", _TURNS),
    ("DELETE", "/api/chat/me"): Row("own", _TURNS),
}
_SCOPES = ("webhooks", "turns", "read", "ops:look", "ops:act")
ALICE = bearer("alice", org="acme")
OWNER = "org:acme:alice"
# What another organisation has is not there.
_NOT_THERE = {
    (404, f"{what}_NOT_FOUND")
    for what in (
        "SESSION",
        "TASK",
        "OPERATION",
        "FILE",
        "JOB",
        "AGENT_STREAM",
        "APPROVAL",
        "TOOL_CALL",
        "MESSAGE",
        "SHARE",
    )
}


@dataclass(frozen=True)
class Alice:
    """What is hers. The operation, a job and agents belong to a turn of its own."""

    task_id: str
    operation_id: str
    file_id: str

    def path(self, route: str) -> str:
        named = {"session_id": "s", "id": "s", "tool_call_id": "call-1", "operation_id": self.operation_id}
        named |= {"job_id": self.operation_id, "task_id": self.task_id, "file_id": self.file_id}
        named |= {"worker_name": "nobody", "message_id": "m", "token": "guessed"}
        if route.startswith("/api/ops"):
            named["task_id"] = "nobody-s"  # who may act would change what is hers
        if "webhooks" in route or "dead-letters" in route:
            named["id"] = "1"
        # Keys that may, do: what they erase is nobody's.
        return route.format(**named) + ("?user_id=nobody" if "people" in route else "")


async def _alice(http: httpx.AsyncClient, database: Database, redis: Redis) -> Alice:
    await http.post("/api/chat/sessions", json={"id": "s", "title": "mine"}, headers=ALICE)
    file = (await http.post("/api/chat/files", content=b"secret", headers=ALICE)).json()
    body = {"id": "m", "message": "secret", "files": [{"url": file["url"]}]}
    sent = await http.post("/api/chat/sessions/s/messages", json=body, headers=ALICE)
    assert sent.status_code == 202, sent.text
    alice = Alice(sent.json()["task_id"], await add_operation(database, user_id=OWNER), file["id"])
    await JobEventPublisher(redis).publish_task_started(alice.operation_id, "t", query="secret")
    assert (await http.put("/api/chat/sessions/s/share", headers=ALICE)).status_code == 200
    await database.execute("INSERT INTO feedback (session_id, message_id, rating, comment) VALUES ('s', 'm', -1, 'no')")
    streams = AgentStreams(redis)
    # As crews do that were told no user: the turn says whose it is.
    await streams.create(alice.task_id)
    await streams.publish(alice.task_id, "engineer", "thought", "secret")
    return alice


async def _ask(http: httpx.AsyncClient, method: str, path: str, body: Any, headers: Headers) -> tuple[int, str]:
    """Status and code. Streams are not read: they may have no end."""
    http.cookies.clear()  # each caller has his own, or none
    async with http.stream(method, path, json=body, headers=headers) as response:
        if response.headers.get("content-type") != "application/problem+json":
            return response.status_code, ""
        await response.aread()
        return response.status_code, response.json()["code"]


async def _strangers(http: httpx.AsyncClient, database: Database) -> dict[str, Headers]:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    revoked = await add_key(database, "revoked", _SCOPES)
    await database.execute("UPDATE api_keys SET revoked_at = now() WHERE name = 'revoked'")
    return {
        "another user": bearer("bob"),
        "another user of the same org": bearer("bob", org="acme"),
        "another user of another org": bearer("bob", org="globex"),
        "the same user of another org": bearer("alice", org="globex"),
        "the same user of no org": bearer("alice"),
        "an org that is none": bearer("alice", org=["acme"]),
        "operator of the same org": bearer("olga", org="acme", roles=["ops"]),
        "operator of another org": bearer("olga", org="globex", roles=["ops"]),
        "another user with an anonymous cookie": {**bearer("bob"), **await anonymous(http)},
        "anonymous": await anonymous(http),
        "anonymous without a cookie": {},
        "a forged cookie": {"cookie": f"sluiceway={'a' * 43}.{'b' * 43}"},
        "expired": bearer("alice", exp=1_700_000_000, org="acme"),
        "forged": bearer("alice", "another secret that is long enough", org="acme"),
        "no expiry": bearer("alice", exp=None, org="acme"),
        "a wrong key": {"x-api-key": "swk_" + "w" * 43},
        "a wrong key beside a token that holds": {**ALICE, "x-api-key": "no key at all, as one sees"},
        "an expired key": await add_key(database, "expired", _SCOPES, yesterday),
        "a revoked key": revoked,
        **{
            f"key of acme: {scope}": await add_key(database, f"acme-{scope[:4]}", [scope], org="acme")
            for scope in ("read", "ops:look")
        },
        "key of globex": await add_key(database, "globex", _SCOPES, org="globex"),
        **{f"key {scope}": await add_key(database, scope.replace(":", "-"), [scope]) for scope in _SCOPES},
    }


def _expected(row: Row, caller: str) -> set[tuple[int, str]] | Literal["in"]:
    """How a stranger is refused, or that he comes in, to what is his own."""
    if row.kind == "open":
        return "in"
    if caller.startswith("key of "):
        return _expected_of_org_key(row, caller)
    if caller.startswith("key "):
        return _expected_of_key(row, caller.removeprefix("key "))
    if "key" in caller:
        return {(401, "INVALID_API_KEY")}
    if caller in ("expired", "forged", "no expiry", "an org that is none"):
        return {(401, "UNAUTHENTICATED")}
    if row.kind in ("keys", "webhook"):
        return _expected_of_operator(row, caller)
    if row.kind == "own" or (row.kind == "users" and any(kind in caller for kind in (" user", "operator"))):
        return "in"
    if row.kind == "users":
        return {(401, "UNAUTHENTICATED")}
    if any(stranger in caller for stranger in (" org", "user")) and "the same org" not in caller:
        # Of another organisation's things it is not even told that they are there.
        return _NOT_THERE | {(403, "ACCESS_DENIED")} | ({(401, "UNAUTHENTICATED")} if "cookie" in caller else set())
    # Claiming is for users; whose a session is, an anonymous person does not learn.
    return (
        {(403, "ACCESS_DENIED"), (401, "UNAUTHENTICATED"), *_NOT_THERE}
        if "anonymous" in caller or "cookie" in caller
        else {(403, "ACCESS_DENIED")}
    )


def _expected_of_operator(row: Row, caller: str) -> set[tuple[int, str]] | Literal["in"]:
    if not row.scopes or not all(scope.startswith("ops:") for scope in row.scopes):
        return {(401, "UNAUTHENTICATED")}
    if "operator" in caller:
        return {(403, "SCOPE_MISSING")} if row.whole_system else "in"
    is_user = " user" in caller
    return {(403, "SCOPE_MISSING")} if is_user else {(401, "UNAUTHENTICATED")}


def _expected_of_key(row: Row, scope: str) -> set[tuple[int, str]] | Literal["in"]:
    if scope not in row.scopes:
        return {(403, "SCOPE_MISSING")}
    if row.kind == "owned" and scope == "turns":
        return {(403, "ACCESS_DENIED")}
    return "in"


def _expected_of_org_key(row: Row, caller: str) -> set[tuple[int, str]] | Literal["in"]:
    """One of hers sees what one of no organisation sees, but nothing of the whole system; one of another one, whatever
    its scopes, nothing of hers."""
    if row.whole_system or not row.scopes:
        return {(403, "SCOPE_MISSING")}
    if caller != "key of globex":
        return _expected_of_key(row, caller.removeprefix("key of acme: "))
    # 204: a chat in which nothing runs, as one that is not there.
    return {*_NOT_THERE, (403, "ACCESS_DENIED"), (204, "")} if row.kind == "owned" else "in"


@pytest.mark.requirement("SE-1", "TS-4", "CH-1", "GW-6")
async def test_nobody_sees_or_changes_what_is_another_s_on_any_route(
    services: Services, database: Database, redis: Redis
) -> None:
    gateway = await services.gateway(
        JWT_SECRET=SECRET,
        AUTH_REQUIRED="false",
        JOBS_OPEN="true",
        JWT_ORG_CLAIM="org",
        JWT_ROLES_CLAIM="roles",
        OPS_LOOK_ROLES='["ops"]',
        OPS_ACT_ROLES='["ops"]',
    )
    async with client_of(gateway) as http:
        document = (await http.get("/openapi.json")).json()["paths"]
        routes = {(method.upper(), path) for path, methods in document.items() for method in methods}
        assert routes == set(TABLE)
        alice = await _alice(http, database, redis)
        before = await _state(database)
        wrong = await _wrong_cells(http, alice, await _strangers(http, database))
        assert wrong == []
        assert await _state(database) == before
        for (method, route), row in TABLE.items():
            headers = ALICE if row.kind in ("owned", "own", "users") else {}
            status, code = await _ask(http, method, alice.path(route), row.body, headers)
            refused = status in (401, 403)
            assert refused == (row.kind in ("keys", "webhook")), (method, route, status, code)


async def _wrong_cells(http: httpx.AsyncClient, alice: Alice, strangers: Mapping[str, Headers]) -> list[str]:
    wrong = []
    for (method, route), row in TABLE.items():
        if row.kind == "webhook":
            continue  # what they change is alice's; their own tests tell who may
        for caller, headers in strangers.items():
            found = await _ask(http, method, alice.path(route), row.body, headers)
            expected = _expected(row, caller)
            right = found[0] not in (401, 403) if expected == "in" else found in expected
            if not right:
                wrong.append(f"{method} {route} by {caller}: {found}, not {expected}")
    return wrong


async def _state(database: Database) -> list[Any]:
    """Of what is alice's. Others may have made something of their own."""
    return [
        await database.fetch("SELECT * FROM sessions WHERE user_id = 'org:acme:alice' ORDER BY id"),
        await database.fetch("SELECT * FROM tasks WHERE user_id = 'org:acme:alice' ORDER BY id"),
        await database.fetch(
            "SELECT m.* FROM messages m JOIN sessions s ON s.id = session_id WHERE user_id = 'org:acme:alice'"
        ),
        await database.fetch("SELECT * FROM operations ORDER BY id"),
        await database.fetch("SELECT * FROM files WHERE session_id = 's'"),
        await database.fetch("SELECT * FROM shares"),
        await database.fetch("SELECT * FROM feedback"),
    ]
