"""Who is an operator: by a key's scopes, or by a role of a user's token; and how that is told apart from users."""

import pytest

from harness.databases.database import Database
from harness.processes.services import Service, Services
from harness.waiting import wait_until
from tests.gateway.callers import SECRET, add_key, anonymous, bearer
from tests.gateway.conftest import client_of

ROLES = {
    "AUTH_REQUIRED": "false",
    "JWT_ROLES_CLAIM": "roles",
    "OPS_LOOK_ROLES": '["on-call", "admin"]',
    "OPS_ACT_ROLES": '["admin"]',
}


@pytest.mark.requirement("OP-6")
async def test_a_role_of_a_token_opens_what_a_scope_of_a_key_does_and_no_more(
    services: Services, database: Database
) -> None:
    gateway = await services.gateway(JWT_SECRET=SECRET, **ROLES)
    async with client_of(gateway) as http:
        callers = {
            "on-call": (bearer("carol", roles=["on-call"]), 200, 403),
            "admin": (bearer("dave", roles="admin on-call"), 200, 404),
            "another role": (bearer("erin", roles=["editor"]), 403, 403),
            "no role": (bearer("alice"), 403, 403),
            "anonymous": (await anonymous(http), 401, 401),
            "nobody": ({}, 401, 401),
            "looking key": (await add_key(database, "look", ["ops:look"]), 200, 403),
            "acting key": (await add_key(database, "act", ["ops:act"]), 403, 404),
            "other key": (await add_key(database, "read", ["read", "turns"]), 403, 403),
        }
        for caller, (headers, looks, acts) in callers.items():
            http.cookies.clear()
            for path in ("/api/ops/queues", "/api/ops/doctor", "/api/chat/webhooks"):
                assert (await http.get(path, headers=headers)).status_code == looks, (caller, path)
            for path in ("/api/ops/turns/nobody-s/cancel", "/api/ops/dead-letters/1/replay"):
                assert (await http.post(path, headers=headers)).status_code == acts, (caller, path)


@pytest.mark.requirement("OP-6")
async def test_what_an_operator_did_is_logged_with_his_name_and_dead_letters_are_purged_by_queue(
    services: Services, database: Database
) -> None:
    gateway = await services.gateway(JWT_SECRET=SECRET, **ROLES)
    for queue, entry in (("chat", "1-0"), ("chat", "2-0"), ("completions", "3-0")):
        await database.execute(
            "INSERT INTO dead_letters (queue, entry_id, body, reason, deliveries) VALUES ($1, $2, 'x', 'why', 6)",
            f"sw:q:{queue}:0",
            entry,
        )
    admin = bearer("dave", roles="admin")
    async with client_of(gateway) as http:
        page = (await http.get("/api/ops/dead-letters?limit=2", headers=admin)).json()
        assert [one["queue"] for one in page["dead_letters"]] == ["completions", "chat"]
        rest = await http.get(f"/api/ops/dead-letters?cursor={page['next_cursor']}", headers=admin)
        assert [one["queue"] for one in rest.json()["dead_letters"]] == ["chat"]
        first = page["dead_letters"][0]["id"]
        # It is no job that anybody could read: replaying it would bring it back.
        refused = await http.post(f"/api/ops/dead-letters/{first}/replay", headers=admin)
        assert (refused.status_code, refused.json()["code"]) == (409, "NOT_REPLAYABLE")
        purged = await http.delete("/api/ops/dead-letters?queue=chat", headers=admin)
        assert purged.json() == {"removed": 2}
        kept = await http.delete("/api/ops/dead-letters?queue=completions&older_than_hours=1", headers=admin)
        assert kept.json() == {"removed": 0}
        assert (await http.delete(f"/api/ops/dead-letters/{first}", headers=admin)).json() == {"removed": 1}
        assert (await http.delete(f"/api/ops/dead-letters/{first}", headers=admin)).status_code == 404
    assert await database.fetchval("SELECT count(*) FROM dead_letters") == 0
    told = [("dave", 2), ("dave", 0), ("dave", 1)]
    await wait_until(lambda: _purges(gateway) == told, what="it is logged who did it")


def _purges(gateway: Service) -> list[tuple[str, int]]:
    return [(line["operator"], line["removed"]) for line in gateway.log_lines if line["event"] == "operator_purged"]
