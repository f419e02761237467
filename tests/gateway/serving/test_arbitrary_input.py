"""Arbitrary JSON, text and bytes at every route of the document: never a 5xx, never what the document does not say."""

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, quote_from_bytes

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.databases.database import Database
from harness.processes.services import Service, Services
from tests.gateway.callers import SECRET, add_key, bearer
from tests.gateway.outside import webhook_gateway

_EXAMPLES, _OF_AN_ORGANISATION = 250, 100
_text = st.text(st.characters(codec=None), max_size=30)
_numbers = st.integers() | st.floats() | st.sampled_from([2**31, 2**63, -(2**63) - 1, 10**400])
_json: Any = st.recursive(
    st.none() | st.booleans() | _numbers | _text,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(_text, inner, max_size=5),
    max_leaves=20,
)
_members = st.sampled_from(
    [
        "id",
        "message",
        "messages",
        "title",
        "trigger",
        "messageId",
        "policy",
        "model",
        "approved",
        "reason",
        "role",
        "parts",
    ]
)
_near = st.dictionaries(_members, _json, max_size=6)
_message = st.fixed_dictionaries(
    {"id": _text, "role": st.sampled_from(["user", "assistant", "x"]), "parts": st.lists(_near)}
)
_chat = st.fixed_dictionaries({"id": _text, "messages": st.lists(_message | _json, max_size=3)})
_body = (_json | _near | _chat).map(lambda value: json.dumps(value).encode()) | st.binary(max_size=200)
_segment = (
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).map(lambda text: quote(text, safe=""))
    | st.binary(min_size=1, max_size=20).map(lambda raw: quote_from_bytes(raw, safe=""))
    | st.sampled_from(["a", "task_" + "0" * 32, "..", "%00", "%ed%a0%80", "x" * 300])
)
_value = _segment | st.sampled_from(["0-0", "1-1", "99999999999999999999-1", "-1", "1e9", "", "MDAwMS0wMS0wMSBz"])
_header = st.binary(max_size=40).map(lambda raw: bytes(byte for byte in raw if byte == 9 or 32 <= byte != 127).strip())


@pytest.mark.requirement("CH-24", "SE-3", "GW-7")
async def test_nothing_that_is_sent_makes_a_route_fail_or_say_what_is_not_documented(services: Services) -> None:
    gateway = await webhook_gateway(services)
    await _throw_at_every_route(gateway, [{}], _EXAMPLES)


@pytest.mark.requirement("SE-6", "SE-1")
async def test_nor_does_what_users_operators_and_keys_of_an_organisation_send(
    services: Services, database: Database
) -> None:
    roles = {"JWT_ROLES_CLAIM": "roles", "OPS_LOOK_ROLES": '["ops"]', "OPS_ACT_ROLES": '["ops"]'}
    most = ("REQUESTS_PER_MINUTE", "REQUESTS_PER_MINUTE_PER_KEY", "SESSIONS_PER_HOUR", "STREAMS_PER_USER")
    unlimited = {f"MAX_{name}": "0" for name in most}
    gateway = await webhook_gateway(services, JWT_SECRET=SECRET, JWT_ORG_CLAIM="org", **roles, **unlimited)
    scopes = ("webhooks", "turns", "read", "ops:look", "ops:act")
    named = {"org": "acme: 100 %"}
    callers = [bearer("ada", **named), bearer("olga", roles=["ops"], **named)]
    callers.append(await add_key(database, "crm", scopes, org=named["org"]))
    await _throw_at_every_route(gateway, callers, _OF_AN_ORGANISATION)


async def _throw_at_every_route(gateway: Service, callers: Sequence[Mapping[str, str]], examples: int) -> None:
    async with httpx.AsyncClient(base_url=gateway.url, trust_env=False) as http:
        document = (await http.get("/openapi.json")).json()
    routes = [
        (method.upper(), path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if path.startswith("/api")
    ]
    await asyncio.to_thread(_nul_in_each_parameter, gateway, routes, callers[-1])
    await asyncio.to_thread(_throw, gateway, routes, callers, examples)
    assert [line for line in gateway.log_lines if line["level"] == "error"] == []


def _nul_in_each_parameter(
    gateway: Service, routes: list[tuple[str, str, dict[str, Any]]], caller: Mapping[str, str]
) -> None:
    """What Postgres refuses in every text; too rare to be left to chance."""
    with httpx.Client(base_url=gateway.url, trust_env=False, timeout=20, headers=dict(caller)) as http:
        for method, path, operation in routes:
            for parameter in operation["parameters"]:
                name, within = parameter["name"], parameter["in"] == "path"
                filled = re.sub(r"{\w+}", "a", path.replace(f"{{{name}}}", "%00") if within else path)
                json_body = {"content-type": "application/json"} if "requestBody" in operation else {}
                url = filled if within else f"{filled}?{name}=%00"
                with http.stream(method, url, headers=json_body) as response:
                    if not response.headers.get("content-type", "").startswith("text/event-stream"):
                        response.read()
                    _judge(operation, response, elsewhere=False)


def _throw(
    gateway: Service,
    routes: list[tuple[str, str, dict[str, Any]]],
    callers: Sequence[Mapping[str, str]],
    examples: int,
) -> None:
    few = settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    with httpx.Client(base_url=gateway.url, trust_env=False, timeout=20) as http:

        @few
        @given(st.sampled_from(routes), st.data())
        def one(route: tuple[str, str, dict[str, Any]], data: st.DataObject) -> None:
            method, path, operation = route
            filled = re.sub(r"{\w+}", lambda _: data.draw(_segment), path)
            asked = [each["name"] for each in operation["parameters"] if each["in"] == "query"]
            named = [each["name"] for each in operation["parameters"] if each["in"] == "header"]
            query = "&".join(f"{name}={data.draw(_value)}" for name in asked if data.draw(st.booleans()))
            headers = {
                name.encode(): data.draw(_header) for name in [*named, "authorization"] if data.draw(st.booleans())
            }
            shown = data.draw(st.sampled_from(callers))
            headers |= {name.encode(): value.encode() for name, value in shown.items()}
            headers[b"content-type"] = data.draw(st.sampled_from([b"application/json", b"text/plain", b"\xff"]))
            body = data.draw(_body) if "requestBody" in operation else b""
            url = f"{gateway.url}{filled}?{query}"
            # Of a stream only the head: some wait for what never begins.
            with http.stream(method, url, content=body, headers=headers) as response:
                if not response.headers.get("content-type", "").startswith("text/event-stream"):
                    response.read()
                _judge(operation, response, elsewhere=bool({".", ".."} & set(filled.split("/"))))

        one()


def _judge(operation: dict[str, Any], response: httpx.Response, *, elsewhere: bool) -> None:
    """`elsewhere`: an id that is a step in a path led to a route that may not be this one."""
    assert response.status_code < 500, (response.request.url, response.text)
    if elsewhere:
        return
    if response.status_code == 404 and "ROUTE_NOT_FOUND" in response.text:
        return  # an id that leads to another path
    if response.status_code in (307, 405):
        return
    documented = operation["responses"].get(str(response.status_code))
    assert documented is not None, (response.request.url, response.status_code)
    if "content" in documented:
        assert response.headers["content-type"].partition(";")[0] in documented["content"]
