"""The OpenAPI document: that it is one, that it is complete, and that the gateway keeps to it.

The last is what schemathesis tries: valid and invalid requests to every route, from the document alone, also in
sequences that follow from one answer to the next request. A stand-in answers every turn at once, so that streams are
read like any other response, to their end.
"""

import asyncio
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateway.routing.examples import BODIES
from gateway.routing.glossary import WORDS

from harness.databases.database import Database
from harness.processes.services import Service, Services
from tests.gateway.callers import SECRET, add_key, bearer
from tests.gateway.stand_in import StandIn

# Of each operation and phase. With a --max-time it would go on until that is over.
_EXAMPLES = 3
_EXAMPLES_SIGNED_IN = 2
_MOST_SECONDS = 240
_AS_OFTEN_AS_THEY_LIKE = {
    "MAX_REQUESTS_PER_MINUTE": "0",
    "MAX_REQUESTS_PER_MINUTE_PER_KEY": "0",
    "MAX_SESSIONS_PER_HOUR": "0",
    "MAX_TURNS_PER_USER": "0",
}
_CONFIGURATION = Path(__file__).parents[1] / "schemathesis.toml"
# The document itself, and the routes that the configuration leaves out.
_NOT_TRIED = 1 + _CONFIGURATION.read_text().count("\nenabled = false")


@pytest.mark.requirement("GW-7")
async def test_nothing_is_answered_that_the_document_does_not_say_and_nothing_breaks(
    gateway: Service, http: httpx.AsyncClient, worker: StandIn, tmp_path: Path
) -> None:
    answering = asyncio.create_task(worker.answer_everything())
    report = await _tried(gateway, tmp_path, "examples,coverage,fuzzing", _EXAMPLES)
    answering.cancel()
    assert _number(r"Tested: (\d+)", report) == len(await _operations(http)) - _NOT_TRIED, report
    assert _number(r"(\d+) generated", report) > 300, report
    assert [line for line in gateway.log_lines if line["level"] == "error"] == []


@pytest.mark.requirement("GW-7", "SE-6")
async def test_who_has_signed_in_and_programs_with_every_scope_find_nothing_else(
    services: Services, worker: StandIn, database: Database, tmp_path: Path
) -> None:
    """What nobody in particular is refused at the door, they reach: statements, owners, operators' routes."""
    gateway = await services.gateway(JWT_SECRET=SECRET, **_AS_OFTEN_AS_THEY_LIKE)
    callers = {
        "user": bearer("ada"),
        "program": await add_key(database, "program", ["turns", "read", "webhooks", "ops:look", "ops:act"]),
    }
    answering = asyncio.create_task(worker.answer_everything())
    directories = {name: tmp_path / name for name in callers}
    for directory in directories.values():
        directory.mkdir()
    reports = await asyncio.gather(
        *(
            _tried(gateway, directories[name], "fuzzing", _EXAMPLES_SIGNED_IN, headers)
            for name, headers in callers.items()
        )
    )
    answering.cancel()
    for report in reports:
        assert _number(r"(\d+) generated", report) > 100, report
    assert [line for line in gateway.log_lines if line["level"] == "error"] == []


async def _tried(
    gateway: Service, directory: Path, phases: str, examples: int, headers: Mapping[str, str] | None = None
) -> str:
    """What schemathesis says, which has found nothing."""
    command = [str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(_CONFIGURATION), "run"]
    options = ["--max-examples", str(examples), "--phases", phases, "--request-timeout", "10", "--seed", "2"]
    for name, value in (headers or {}).items():
        options += ["--header", f"{name}: {value}"]
    process = await asyncio.create_subprocess_exec(
        *command,
        f"{gateway.url}/openapi.json",
        "--continue-on-failure",
        *options,
        cwd=directory,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(_MOST_SECONDS):
        output, _ = await process.communicate()
    report = output.decode(errors="replace")
    assert process.returncode == 0, report
    return report


@pytest.mark.requirement("GW-7")
async def test_the_document_describes_every_route_with_its_problems(http: httpx.AsyncClient) -> None:
    document = (await http.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    operations = await _operations(http)
    assert len({operation["operationId"] for operation in operations.values()}) == len(operations)
    for (method, path), operation in operations.items():
        named = set(re.findall(r"{(\w+)}", path))
        declared = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
        assert declared == named, path
        codes = _codes(operation)
        assert "INTERNAL_ERROR" in codes
        # Signing out takes a cookie away, whoever asks; a link that was shared is for whoever has it.
        for_all = {("DELETE", "/api/auth/session"), ("GET", "/api/chat/shared/{token}")}
        asks_who = path.startswith("/api/") and (method, path) not in for_all
        assert ("UNAUTHENTICATED" in codes) == asks_who, path
        takes_json = "application/json" in operation.get("requestBody", {}).get("content", {})
        assert takes_json == ("MALFORMED_JSON" in codes), (method, path)
        assert ("requestBody" in operation) == ("BODY_TOO_SLOW" in codes), (method, path)
    streams = [operation for operation in operations.values() if "text/event-stream" in str(operation["responses"])]
    assert len(streams) >= 5


@pytest.mark.requirement("GW-7")
async def test_bounds_of_parameters_and_bodies_are_in_the_document(http: httpx.AsyncClient) -> None:
    operations = await _operations(http)
    [limit] = [each for each in operations["GET", "/api/chat/sessions"]["parameters"] if each["name"] == "limit"]
    assert (limit["schema"]["minimum"], limit["schema"]["maximum"]) == (1, 200)
    follow = operations["GET", "/api/chat/tasks/{task_id}/stream"]["parameters"]
    assert {each["name"] for each in follow} >= {"Last-Event-ID", "after", "startIndex", "protocol"}
    schemas = (await http.get("/openapi.json")).json()["components"]["schemas"]
    assert schemas["NewMessage"]["properties"]["message"]["maxLength"] == 32_000
    assert schemas["NewMessage"]["properties"]["model"]["enum"] == ["fake", None]
    assert "messageId" in schemas["AiSdkRequest"]["properties"]


@pytest.mark.requirement("GW-7")
async def test_every_operation_parameter_and_member_is_described_and_no_word_is_left_over(
    http: httpx.AsyncClient,
) -> None:
    document = (await http.get("/openapi.json")).json()
    said = {
        f"{operation['operationId']}.{each['name']}": each.get("description")
        for operation in (await _operations(http)).values()
        for each in ({"name": "", **operation}, *operation["parameters"])
    }
    schemas = document["components"]["schemas"].items()
    said |= {
        f"{model}.{name}": member.get("description")
        for model, schema in schemas
        for name, member in schema.get("properties", {}).items()
    }
    assert [name for name, description in said.items() if not description] == []
    used = set(said.items()) | {(name.partition(".")[2], description) for name, description in said.items()}
    assert [name for name, meaning in WORDS.items() if (name, meaning) not in used] == []


@pytest.mark.requirement("GW-7")
async def test_every_example_is_taken_as_it_stands(http: httpx.AsyncClient, worker: StandIn) -> None:
    """In their order, with the ids that they name: what is of no such id, or asks for a seal, is refused for that."""
    answering = asyncio.create_task(worker.answer_everything())
    statuses = {}
    for (method, path), operation in (await _operations(http)).items():
        body = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if body is None:
            continue
        filled = {each["name"]: each.get("example", "none") for each in operation["parameters"]}
        response = await http.request(method, path.format_map(filled), json=body["example"])
        statuses[operation["operationId"]] = response.status_code
    answering.cancel()
    assert set(statuses) == set(BODIES)
    assert {name for name, status in statuses.items() if status not in (401, 403, 404, 409)} >= {
        *("create_session", "change_session", "post_message", "stream_message", "chat", "write_understanding"),
        *("fork_session", "show_branch"),
    }
    assert {name: status for name, status in statuses.items() if status in (400, 413, 415, 422) or status >= 500} == {}


@pytest.mark.requirement("GW-7")
async def test_the_documentation_page_shows_every_route_and_loads_nothing(http: httpx.AsyncClient) -> None:
    page = await http.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in (await http.get("/docs", headers={"accept-encoding": "identity"})).headers
    for method, path in await _operations(http):
        assert f"{method} {path}" in page.text
    assert "<script src" not in page.text
    assert not re.findall(r"(?:src|href)=['\"]https?:", page.text)
    policy = page.headers["content-security-policy"]
    assert re.search(r"style-src 'sha256-[^']+='", policy)
    assert re.search(r"script-src 'sha256-[^']+='", policy)
    assert "unsafe" not in policy


def _number(pattern: str, report: str) -> int:
    found = re.search(pattern, report)
    assert found is not None, report
    return int(found[1])


async def _operations(http: httpx.AsyncClient) -> dict[tuple[str, str], dict[str, Any]]:
    paths = (await http.get("/openapi.json")).json()["paths"]
    return {(method.upper(), path): operation for path, item in paths.items() for method, operation in item.items()}


def _codes(operation: dict[str, Any]) -> set[str]:
    schemas = [
        content["schema"]
        for response in operation["responses"].values()
        for media_type, content in response.get("content", {}).items()
        if media_type == "application/problem+json"
    ]
    return {code for schema in schemas for code in schema["allOf"][1]["properties"]["code"]["enum"]}
