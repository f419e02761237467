"""Organisations over HTTP: whose operator sees what, what comes along, what all people of one may have together."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis
from sluiceway.feeds.person_events import events_key
from sluiceway.store.sessions.allowance import _ORG_LOCK

from harness.databases.database import Database
from harness.processes.services import Service, Services
from harness.waiting import wait_until
from tests.gateway.callers import SECRET, add_key, anonymous, bearer
from tests.gateway.conftest import client_of
from tests.gateway.outside import add_operation

pytestmark = pytest.mark.requirement("SE-1", "CH-14")

ACME, GLOBEX = {"org": "acme"}, {"org": "globex"}
_SETTINGS = {
    "JWT_SECRET": SECRET,
    "AUTH_REQUIRED": "false",
    "JWT_ORG_CLAIM": "org",
    "JWT_ROLES_CLAIM": "roles",
    "OPS_LOOK_ROLES": '["ops"]',
    "OPS_ACT_ROLES": '["ops"]',
    "MAX_TURNS_PER_ORG": "2",
}


@pytest.fixture
async def gateway(services: Services) -> Service:
    return await services.gateway(**_SETTINGS)


@pytest.fixture
async def http(gateway: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(gateway) as client:
        yield client


async def _begin(http: httpx.AsyncClient, session: str, headers: dict[str, str]) -> str:
    http.cookies.clear()
    made = await http.post("/api/chat/sessions", json={"id": session}, headers=headers)
    assert made.status_code == 201, made.text
    return str((await _say(http, session, headers)).json()["task_id"])


async def _say(http: httpx.AsyncClient, session: str, headers: dict[str, str]) -> httpx.Response:
    return await http.post(f"/api/chat/sessions/{session}/messages", json={"message": "hi"}, headers=headers)


async def _get(http: httpx.AsyncClient, path: str, headers: dict[str, str]) -> tuple[int, Any]:
    http.cookies.clear()
    answer = await http.get(path, headers=headers)
    return answer.status_code, answer.json()


def _named(answer: Any) -> Iterator[str]:
    """Every text in it."""
    if isinstance(answer, str):
        yield answer
    elif isinstance(answer, dict | list):
        for one in answer.values() if isinstance(answer, dict) else answer:
            yield from _named(one)


async def test_an_operator_of_an_organisation_sees_and_acts_on_that_one_alone(
    http: httpx.AsyncClient, database: Database, redis: Redis
) -> None:
    hers = await _begin(http, "s-acme", bearer("ada", **ACME))
    theirs = await _begin(http, "s-globex", bearer("bob", **GLOBEX))
    of_acme, of_all = bearer("olga", **ACME, roles=["ops"]), bearer("otto", roles=["ops"])
    key = await add_key(database, "looks", ["ops:look"])
    await database.execute(
        "INSERT INTO dead_letters (queue, entry_id, body, reason, deliveries, task_id)"
        " SELECT 'sw:q:chat:0', id, '{}', 'why', 1, id FROM tasks"
    )
    for path in ("/api/ops/turns", "/api/ops/top", "/api/ops/dead-letters"):
        for who, seen in ((of_acme, {hers, "org:acme:ada"}), (of_all, {hers, theirs}), (key, {hers, theirs})):
            status, told = await _get(http, path, who)
            assert status == 200, (path, told)
            texts = set(_named(told))
            strangers = {theirs, "org:globex:bob", "s-globex"} if who is of_acme else set()
            assert not texts & strangers, path
            assert texts & (seen | {"org:acme:ada"}), path
    for path in ("explanation", "events"):
        assert (await _get(http, f"/api/ops/turns/{hers}/{path}", of_acme))[0] == 200
        assert (await _get(http, f"/api/ops/turns/{theirs}/{path}", of_acme))[0] == 404
        assert (await _get(http, f"/api/ops/turns/{theirs}/{path}", of_all))[0] == 200
    for act in ("cancel", "requeue"):
        assert (await http.post(f"/api/ops/turns/{theirs}/{act}", headers=of_acme)).status_code == 404
    purged = await http.delete("/api/ops/dead-letters", params={"queue": "chat"}, headers=of_acme)
    assert purged.status_code == 200, purged.text
    left = await database.fetch("SELECT task_id FROM dead_letters")
    assert [row["task_id"] for row in left] == [theirs]
    erased = await http.delete("/api/chat/people", params={"user_id": "org:globex:bob"}, headers=of_acme)
    assert (erased.status_code, erased.json()["counts"]["sessions"]) == (200, 0)
    assert await redis.exists(events_key("org:globex:bob"))  # in Redis, where no wall is, neither
    assert await database.fetchval("SELECT count(*) FROM sessions") == 2
    # What is asked for all at once is asked for everybody, whoever asks first.
    status, told = await _get(http, "/api/ops/queues", of_all)
    assert status == 200
    assert (await _get(http, "/api/ops/queues", of_acme))[1]["code"] == "SCOPE_MISSING"


async def test_a_key_of_an_organisation_sees_and_does_what_is_of_that_one_alone(
    http: httpx.AsyncClient, database: Database, services: Services
) -> None:
    hers = await _begin(http, "s-acme", bearer("ada", **ACME))
    operation_id = await add_operation(database, user_id="org:acme:ada")
    scopes = ("turns", "read", "webhooks", "ops:look", "ops:act")
    of_acme = await add_key(database, "crm", scopes, org="acme")
    of_globex = await add_key(database, "other", scopes, org="globex")
    for path in (
        "/api/chat/sessions/s-acme",
        f"/api/chat/tasks/{hers}",
        f"/api/chat/operations/{operation_id}",
        f"/api/chat/jobs/{operation_id}/history",
        f"/api/ops/turns/{hers}/explanation",
    ):
        assert (await _get(http, path, of_globex))[0] == 404, path
        # A job that has told nothing has no history, also for who may read it.
        assert (await _get(http, path, of_acme))[0] == (404 if "jobs" in path else 200), path
    # What Redis says of owners stands before no wall.
    for path in (f"/api/chat/tasks/{hers}/stream", f"/api/chat/{hers}/stream", f"/api/chat/agents/{hers}/events"):
        for headers, status in ((of_globex, 404), (of_acme, 200)):
            async with http.stream("GET", path, headers=headers) as response:
                assert response.status_code == status, path
    completed = f"/api/chat/operations/{operation_id}/complete"
    for headers, status in ((of_globex, 404), (of_acme, 202)):
        assert (await http.post(completed, json={"success": True}, headers=headers)).status_code == status
    export = await http.get("/api/chat/people/export", params={"user_id": "org:acme:ada"}, headers=of_globex)
    assert [json.loads(line)["kind"] for line in export.text.splitlines()] == ["end"]
    assert (await http.post("/api/chat/sessions", json={"id": "s-crm"}, headers=of_acme)).status_code == 201
    assert (await _say(http, "s-crm", of_acme)).status_code == 429  # its turns count with those of all of acme
    assert await database.fetchval("SELECT user_id FROM sessions WHERE id = 's-crm'") == "org:acme:service:crm"
    assert (await _get(http, "/api/ops/queues", of_acme))[1]["code"] == "SCOPE_MISSING"
    # Where no organisations are told apart nothing could keep it to its own.
    async with client_of(await services.gateway(JWT_SECRET=SECRET)) as elsewhere:
        status, problem = await _get(elsewhere, "/api/chat/sessions", of_acme)
        assert (status, problem["code"]) == (401, "INVALID_API_KEY")
        assert "JWT_ORG_CLAIM" in problem["detail"]


async def test_what_a_person_asks_for_is_sent_behind_the_wall_and_what_a_key_asks_for_is_not(
    http: httpx.AsyncClient, database: Database
) -> None:
    """The role loses its right to a table, in which nobody but who stands behind the wall notices that."""
    await _begin(http, "s", bearer("ada", **ACME))
    key = await add_key(database, "reads", ["read"])
    await database.execute("REVOKE SELECT ON sessions FROM sluiceway_walled")
    for headers in (bearer("ada", **ACME), bearer("cat"), await anonymous(http)):
        assert (await _get(http, "/api/chat/sessions", headers))[0] == 503
    assert (await _get(http, "/api/chat/sessions/s", key))[0] == 200
    await database.execute("GRANT SELECT ON sessions TO sluiceway_walled")
    assert (await _get(http, "/api/chat/sessions/s", bearer("ada", **ACME)))[0] == 200


async def test_all_people_of_an_organisation_together_have_so_many_turns(
    http: httpx.AsyncClient, database: Database
) -> None:
    async def ask(number: int) -> httpx.Response:
        headers = bearer(f"user-{number}", **ACME)
        await http.post("/api/chat/sessions", json={"id": f"s-{number}"}, headers=headers)
        return await _say(http, f"s-{number}", headers)

    async def is_waited_for() -> bool:
        waiting = "SELECT count(*) FROM pg_locks WHERE classid = $1 AND NOT granted"
        return bool(await database.fetchval(waiting, _ORG_LOCK))

    # Whether several count at once is chance; that they wait for one another is not.
    await database.execute("SELECT pg_advisory_lock($1, hashtext('acme'))", _ORG_LOCK)
    asking = asyncio.gather(*(ask(number) for number in range(8)))
    await wait_until(is_waited_for, 20, "a turn waits until the others of its organisation are counted")
    await database.execute("SELECT pg_advisory_unlock($1, hashtext('acme'))", _ORG_LOCK)
    answers = await asking
    assert sorted(answer.status_code for answer in answers) == [202] * 2 + [429] * 6
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert (refused.json()["code"], refused.json()["max_turns"]) == ("TOO_MANY_TASKS", 2)
    assert "organisation" in refused.json()["detail"]
    assert int(refused.headers["retry-after"]) > 0
    # Nobody else waits for them.
    await _begin(http, "s-globex", bearer("bob", **GLOBEX))
    await _begin(http, "s-cat", bearer("cat"))
    await database.execute("UPDATE tasks SET status = 'cancelled', ended_at = now() WHERE user_id LIKE 'org:acme:%'")
    assert (await ask(8)).status_code == 202
    assert (await http.get("/config")).json()["limits"]["max_turns_per_org"] == 2


async def test_what_was_begun_before_signing_in_to_an_organisation_is_brought_along(http: httpx.AsyncClient) -> None:
    cookie = await anonymous(http)
    for session in ("asked-for", "written-into"):
        await _begin(http, session, cookie)
    await _begin(http, "private", bearer("ada"))
    ada = {**bearer("ada", **ACME), **cookie}
    assert (await http.post("/api/chat/sessions/asked-for/claim", headers=ada)).status_code == 200
    assert (await _say(http, "written-into", ada)).status_code in (202, 429)
    stranger = {**bearer("bob", **ACME), **await anonymous(http)}
    for session, headers, status in (
        ("private", stranger, 403),
        ("private", bearer("ada", **ACME), 200),
        ("private", bearer("bob", **GLOBEX), 403),
    ):
        assert (await http.post(f"/api/chat/sessions/{session}/claim", headers=headers)).status_code == status
    told = (await _get(http, "/api/chat/sessions", bearer("ada", **ACME)))[1]
    assert {one["id"] for one in told["sessions"]} == {"asked-for", "written-into", "private"}
    for elsewhere in (bearer("ada"), bearer("ada", **GLOBEX), cookie):
        assert (await _get(http, "/api/chat/sessions", elsewhere))[1]["sessions"] == []
    # An id that is taken in another organisation is taken.
    taken = await http.post("/api/chat/sessions", json={"id": "private"}, headers=bearer("bob", **GLOBEX))
    assert (taken.status_code, taken.json()["code"]) == (409, "SESSION_EXISTS")


async def test_a_cookie_and_a_stream_token_stay_in_the_organisation_they_were_made_in(http: httpx.AsyncClient) -> None:
    task = await _begin(http, "s", bearer("ada", **ACME))
    made = await http.post("/api/auth/session", headers=bearer("ada", **ACME))
    assert (made.status_code, made.json()["user_id"]) == (201, "org:acme:ada")
    cookie = {"cookie": f"sluiceway-user={http.cookies['sluiceway-user']}"}
    assert [one["id"] for one in (await _get(http, "/api/chat/sessions", cookie))[1]["sessions"]] == ["s"]
    url = (await http.post(f"/api/chat/tasks/{task}/stream-token", headers=cookie)).json()["stream_url"]
    async with http.stream("GET", url) as stream:
        assert stream.status_code == 200
    assert (await http.post(f"/api/chat/tasks/{task}/stream-token", headers=bearer("ada", **GLOBEX))).status_code == 403
