"""For whom a model is asked, as its server is told."""

from typing import Any

import pytest
from sluiceway_llm.asking.server_options import ServerOptions

from harness.model_server import ModelServer
from harness.model_server.record import Record
from tests.llm.llm_client import adapter, events_of, finished, request

pytestmark = pytest.mark.requirement("CH-5")

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
WHO = {"user": "ada@example.org", "session_id": "ses_1", "traceparent": PARENT}


async def asked(model: ModelServer, **options: Any) -> Record:
    async with adapter(model, **options) as llm:
        assert finished(await events_of(llm, request("Hi [[tokens=1 rate=0]]", **WHO))).reason == "stop"
    return (await model.requests())[-1]


def of_dialect(name: str, **more: Any) -> dict[str, Any]:
    return {"options": ServerOptions.model_validate({"dialect": name, **more})}


async def test_a_user_is_told_by_a_hash_that_is_the_same_each_time_and_the_name_only_where_that_is_wanted(
    model: ModelServer,
) -> None:
    hashed = (await asked(model)).body["user"]
    assert hashed == (await asked(model)).body["user"]
    assert len(hashed) == 32
    assert "ada" not in str(await asked(model)).lower()
    assert (await asked(model, user="raw")).body["user"] == WHO["user"]
    assert "user" not in (await asked(model, user="none")).body


@pytest.mark.parametrize("dialect", ["generic", "openai", "mistral", "gemini", "ollama"])
async def test_session_and_trace_go_along_in_headers_which_no_server_refuses(model: ModelServer, dialect: str) -> None:
    record = await asked(model, **of_dialect(dialect))
    assert (record.headers["x-session-id"], record.headers["traceparent"]) == ("ses_1", PARENT)
    assert not {"metadata", "session_id"} & record.body.keys()


async def test_servers_that_look_into_the_body_find_them_there(model: ModelServer) -> None:
    assert (await asked(model, **of_dialect("openrouter"))).body["session_id"] == "ses_1"
    metadata = (await asked(model, **of_dialect("litellm"))).body["metadata"]
    assert metadata == {"session_id": "ses_1", "trace_id": TRACE}


async def test_a_server_that_refuses_them_is_asked_without_and_settings_leave_them_out(model: ModelServer) -> None:
    await model.strict("no:metadata")
    assert "metadata" not in (await asked(model, **of_dialect("litellm"))).body
    record = await asked(model, **of_dialect("generic", drop=["x-session-id", "traceparent", "user"]))
    assert not {"x-session-id", "traceparent"} & record.headers.keys()
    assert "user" not in record.body


async def test_a_header_of_the_settings_takes_the_place_of_the_key(model: ModelServer) -> None:
    """Of a server behind a proxy that asks for a name and a password."""
    record = await asked(model, options=ServerOptions(headers={"Authorization": "Basic bWU6cGE="}))
    assert record.headers["authorization"] == "Basic bWU6cGE="


async def test_nothing_is_told_of_nobody(model: ModelServer) -> None:
    async with adapter(model, **of_dialect("litellm")) as llm:
        await events_of(llm, request("Hi [[tokens=1 rate=0]]"))
    record = (await model.requests())[-1]
    assert not {"user", "metadata"} & record.body.keys()
    assert "x-session-id" not in record.headers


async def test_gateways_find_them_under_names_of_their_own(model: ModelServer) -> None:
    """PostHog's, Helicone's and others: headers and fields of the settings, filled in."""
    headers = {
        "x-posthog-distinct-id": "{user}",
        "helicone-session-id": "{session_id}",
        "x-trace": "trace {trace_id}",
        "x-app": "chat {braces}",
    }
    body = {"metadata": {"user_id": "{user}", "tags": ["{session_id}", 7, None]}, "user": "{user}"}
    record = await asked(model, user="raw", options=ServerOptions(headers=headers, extra_body=body))
    sent = [record.headers[name] for name in headers]
    assert sent == [WHO["user"], "ses_1", f"trace {TRACE}", "chat {braces}"]
    assert record.body["metadata"] == {"user_id": WHO["user"], "tags": ["ses_1", 7, None]}

    async with adapter(model, options=ServerOptions(headers=headers, extra_body=body)) as llm:
        await events_of(llm, request("Hi [[tokens=1 rate=0]]", session_id="a\r\nx-evil: 1"))
    record = (await model.requests())[-1]
    assert not {*headers, "x-evil"} - {"x-app"} & record.headers.keys(), (
        "what is not known, or fits no header, is left out"
    )
    assert record.body["metadata"] == {"tags": ["a\r\nx-evil: 1", 7, None]}
    assert "user" not in record.body
