"""The routes of usage, and budgets."""

import httpx
import pytest
from sluiceway.ids import new_call_id
from sluiceway.store import Store
from sluiceway.store.people.usage import ModelCall

from harness.databases.database import Database
from harness.processes.services import Services
from tests.gateway.callers import SECRET, add_key, bearer
from tests.gateway.conftest import client_of


async def _use(http: httpx.AsyncClient, store: Store, session_id: str, **headers: str) -> str:
    """A turn of the caller's with one call of a model; its id."""
    await http.post("/api/chat/sessions", json={"id": session_id}, headers=headers)
    sent = await http.post(f"/api/chat/sessions/{session_id}/messages", json={"message": "hi"}, headers=headers)
    assert sent.status_code == 202, sent.text
    task = await store.turns.get(sent.json()["task_id"])
    assert task is not None
    await store.usage.charge(task, [ModelCall(new_call_id(), 1, "answer", "m", "answered", 70, 30, 10, 20, 0.25)])
    return task.id


@pytest.mark.requirement("CH-20")
async def test_usage_is_told_by_day_by_session_by_turn_and_to_operators_of_all(
    services: Services, database_url: str, database: Database
) -> None:
    gateway = await services.gateway(JWT_SECRET=SECRET)
    ada, grace = bearer("ada"), bearer("grace")
    looker = await add_key(database, "looker", ["ops:look"])
    async with (
        client_of(gateway) as http,
        Store.open(database_url, max_size=2, application_name="test") as store,
    ):
        task_id = await _use(http, store, "s", **ada)
        await _use(http, store, "t", **grace)

        own = (await http.get("/api/chat/usage", headers=ada)).json()
        assert own["total"] == {
            "calls": 1,
            "input_tokens": 70,
            "output_tokens": 30,
            "reasoning_tokens": 10,
            "cached_tokens": 20,
            "cost": 0.25,
            "unpriced_calls": 0,
        }
        assert [(day["model"], day["calls"]) for day in own["days"]] == [("m", 1)]
        assert (own["budget"]["daily_tokens"], own["budget"]["used_tokens"]) == (0, 100)
        assert 0 < own["budget"]["resets_in_seconds"] <= 86_400
        session = (await http.get("/api/chat/sessions/s/usage", headers=ada)).json()
        assert [(one["purpose"], one["calls"]) for one in session["models"]] == [("answer", 1)]
        task = (await http.get(f"/api/chat/tasks/{task_id}/usage", headers=ada)).json()
        assert [(one["step"], one["outcome"], one["cost"]) for one in task["calls"]] == [(1, "answered", 0.25)]
        everybody = (await http.get("/api/chat/usage/users", headers=looker)).json()
        assert sorted(one["user_id"] for one in everybody["users"]) == ["ada", "grace"]


@pytest.mark.requirement("CH-20")
async def test_days_that_are_none_are_refused_and_of_too_many_the_last_are_told(http: httpx.AsyncClient) -> None:
    for query in ({"from": "2026-02-30"}, {"from": "soon"}):
        assert (await http.get("/api/chat/usage", params=query)).status_code == 400
    many = (await http.get("/api/chat/usage", params={"from": "2020-01-01", "to": "2026-01-01"})).json()
    assert (many["first_day"], many["last_day"]) == ("2025-01-01", "2026-01-01")
    none = await http.get("/api/chat/usage", params={"from": "2026-01-02", "to": "2026-01-01"})
    assert (none.status_code, none.json()["days"]) == (200, [])
    one_day = await http.get("/api/chat/usage", params={"from": "2026-01-01", "to": "2026-01-01"})
    assert (one_day.status_code, one_day.json()["days"]) == (200, [])
    assert (await http.get("/api/chat/usage", params={"to": "0001-01-02"})).status_code == 200


@pytest.mark.requirement("CH-20")
async def test_a_budget_that_is_used_up_refuses_the_next_message_before_it_is_stored(
    services: Services, database_url: str
) -> None:
    gateway = await services.gateway(DAILY_TOKENS_PER_USER="100")
    asking = await services.gateway(DAILY_COST_PER_USER="0.2", BUDGET_REACHED="ask")
    async with (
        client_of(gateway) as http,
        client_of(asking) as other,
        Store.open(database_url, max_size=2, application_name="test") as store,
    ):
        await _use(http, store, "s")

        message = {"message": "more", "over_budget": True}
        refused = await http.post("/api/chat/sessions/s/messages", json=message)
        assert (refused.status_code, refused.json()["code"]) == (429, "BUDGET_REACHED")
        assert 0 < int(refused.headers["retry-after"]) <= 86_400
        assert (refused.json()["daily_tokens"], refused.json()["used_tokens"]) == (100, 100)
        sdk = {"id": "s", "messages": [{"id": "n", "role": "user", "parts": [{"type": "text", "text": "more"}]}]}
        told = await http.post("/api/chat", json=sdk, headers={"accept": "*/*"})
        assert (told.status_code, told.headers["x-error-code"]) == (429, "BUDGET_REACHED")
        assert len((await http.get("/api/chat/sessions/s")).json()["messages"]) == 1
        # The other setting asks: whoever says that he wants to go on may.
        asked = await other.post("/api/chat/sessions/s/messages", json={"message": "more"})
        assert (asked.status_code, asked.json()["may_go_on"], refused.json()["may_go_on"]) == (429, True, False)
        assert (await other.post("/api/chat/sessions/s/messages", json=message)).status_code == 202
        budget = (await other.get("/api/chat/usage")).json()["budget"]
        assert (budget["when_reached"], budget["daily_cost"], budget["used_cost"]) == ("ask", 0.2, 0.25)
        assert (await http.get("/config")).json()["limits"]["daily_tokens_per_user"] == 100
