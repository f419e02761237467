"""The routes of what is known about the caller."""

import httpx
import pytest

from harness.processes.services import Services
from tests.gateway.callers import SECRET, bearer
from tests.gateway.conftest import client_of

PATH = "/api/chat/me/understanding"


@pytest.mark.requirement("CH-4")
async def test_each_person_reads_writes_and_removes_what_is_known_about_him(services: Services) -> None:
    gateway = await services.gateway(JWT_SECRET=SECRET)
    ada, grace = bearer("ada"), bearer("grace")
    async with client_of(gateway) as http:
        nothing = (await http.get(PATH, headers=ada)).json()
        assert (nothing["facts"], nothing["updated_at"], nothing["max_facts"]) == ({}, None, 100)
        facts = {"name": "Ada", "likes": ["rivers", {"of": "the Alps"}]}
        written = await http.put(PATH, json=facts, headers=ada)
        assert (written.status_code, written.json()["facts"]) == (200, facts)
        assert (await http.get(PATH, headers=grace)).json()["facts"] == {}
        assert (await http.delete(PATH, params={"fact": "likes"}, headers=ada)).status_code == 204
        assert (await http.get(PATH, headers=ada)).json()["facts"] == {"name": "Ada"}
        assert (await http.delete(PATH, headers=ada)).status_code == 204
        assert (await http.get(PATH, headers=ada)).json()["facts"] == {}


@pytest.mark.requirement("CH-4", "LC-3")
async def test_instructions_are_written_read_exported_and_erased_with_the_person(http: httpx.AsyncClient) -> None:
    path = "/api/chat/me/instructions"
    assert (await http.get(path)).json() == {"text": "", "max_chars": 2000}
    written = await http.put(path, json={"text": "  Be brief. 🌊\n"})
    assert (written.status_code, written.json()["text"]) == (200, "Be brief. 🌊")
    assert (await http.put(path, json={"text": "x" * 2001})).status_code == 422
    assert (await http.delete(PATH)).status_code == 204
    assert (await http.get(path)).json()["text"] == "Be brief. 🌊"
    assert "Be brief." in (await http.get("/api/chat/me/export")).text
    assert (await http.delete("/api/chat/me")).status_code == 200
    assert (await http.get(path)).json()["text"] == ""


@pytest.mark.requirement("CH-4", "CH-24")
async def test_what_is_too_large_or_no_object_is_refused_and_changes_nothing(http: httpx.AsyncClient) -> None:
    await http.put(PATH, json={"name": "Ada"})

    large = await http.put(PATH, json={"fact": "x" * 20_000})
    many = await http.put(PATH, json={f"fact {number}": 1 for number in range(101)})
    text = await http.put(PATH, json=["x"])

    assert (large.status_code, large.json()["code"]) == (413, "UNDERSTANDING_TOO_LARGE")
    assert [response.status_code for response in (many, text)] == [422, 422]
    assert (await http.get(PATH)).json()["facts"] == {"name": "Ada"}
    odd = r'{"na\u0000me": "\ud800 A\u0000da"}'
    taken = await http.put(PATH, content=odd, headers={"content-type": "application/json"})
    assert taken.status_code in (200, 400, 422), taken.text
