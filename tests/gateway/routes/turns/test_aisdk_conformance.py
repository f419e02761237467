"""The published `ai` package, both major versions that browsers have, against a running system.

The packages are installed from their lock file into `.cache/aisdk`, once; the checks are those of `conformance.mjs`.
"""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from harness.clients.asking import asked
from harness.clients.calling import TOOLS_DIR, call, calls_tools, offered
from harness.model_server import ModelServer
from harness.processes.node import Node, find_node
from harness.processes.services import Services

_ROOT = Path(__file__).parents[4]
_SOURCE = _ROOT / "tests" / "aisdk"
_CACHE = _ROOT / ".cache" / "aisdk"
# One pixel.
_PICTURE = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
# Long enough for every cut point, short enough for every time limit of the checks.
# Long enough that a busy machine, which joins deltas, still makes more events of it than the check cuts behind.
_QUESTION = "tell me of rivers [[tokens=150 rate=100]]"


async def _installed(version: str, node: Node) -> Path:
    """The directory with the package installed as locked, made where it is not there or not the locked one."""
    source, target = _SOURCE / version, _CACHE / version
    stamp = target / "node_modules" / ".installed"
    lock = (source / "package-lock.json").read_text()
    if not stamp.exists() or stamp.read_text() != lock:
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
        code, output = await node.run(*node.npm, "ci", "--force", "--no-audit", "--no-fund", directory=target)
        assert code == 0, output
        stamp.write_text(lock)
    return target


@pytest.mark.requirement("GW-2", "GW-3")
@pytest.mark.parametrize("version", ["v6", "v7"])
async def test_the_stock_ai_sdk_client_works(services: Services, version: str) -> None:
    node = find_node()
    package, system = await asyncio.gather(_installed(version, node), services.whole())
    options = ["--base", system.url, "--ai", str(package / "node_modules" / "ai"), "--message", _QUESTION]
    options += ["--stop-path", "/api/chat/{id}/stop", "--after-finish", "replay", "--json"]
    report = await _checked(node, *options)
    assert report["ok"] > 100
    assert _groups(report) == {"send", "none", "midway", "drop", "finished", "stop"}


@pytest.mark.requirement("GW-2", "CH-15", "CH-16")
@pytest.mark.parametrize("version", ["v6", "v7"])
async def test_the_stock_client_works_with_tools_and_approvals(services: Services, version: str) -> None:
    node = find_node()
    starting = services.whole(tool_runners=1, TOOLS_DIR=str(TOOLS_DIR))
    package, system = await asyncio.gather(_installed(version, node), starting)
    await offered(system.url, "careful")
    common = ["--base", system.url, "--ai", str(package / "node_modules" / "ai"), "--json"]
    tool = [*common, "--message", f"/echo {_QUESTION}", "--stop-path", "/api/chat/{id}/stop"]
    report = await _checked(node, *tool, "--after-finish", "replay")
    assert _groups(report) == {"send", "none", "midway", "drop", "finished", "stop"}
    for answer in ("yes", "no"):
        careful = [*common, "--message", "/careful hello [[tokens=5 rate=0]]", "--approve", answer, "--only", "send"]
        names = {result["name"] for result in (await _checked(node, *careful))["results"]}
        assert "approval continues the same assistant message" in names


@pytest.mark.requirement("GW-2", "CH-17")
@pytest.mark.parametrize("version", ["v6", "v7"])
async def test_the_stock_client_sends_a_picture(services: Services, model: ModelServer, version: str) -> None:
    node = find_node()
    package, system = await asyncio.gather(_installed(version, node), services.whole(MODEL_PICTURES="yes"))
    options = ["--base", system.url, "--ai", str(package / "node_modules" / "ai"), "--message", "hello", "--json"]
    picture = {"type": "file", "mediaType": "image/png", "filename": "a.png", "url": _PICTURE}
    options += ["--files", json.dumps([picture]), "--only", "send"]
    names = {result["name"] for result in (await _checked(node, *options))["results"]}
    assert "one user + one assistant message" in names
    [asked] = await model.requests("hello")
    assert asked.body["messages"][-1]["content"] == [
        {"type": "text", "text": '[The picture "a.png":]'},
        {"type": "image_url", "image_url": {"url": _PICTURE}},
        {"type": "text", "text": "hello"},
    ]


@pytest.mark.requirement("CH-19", "GW-2")
@pytest.mark.parametrize("version", ["v6", "v7"])
async def test_the_stock_client_chats_on_while_a_tool_runs(
    services: Services, model: ModelServer, redis: Redis, version: str
) -> None:
    node = find_node()
    starting = services.whole(tool_runners=1, TOOLS_DIR=str(TOOLS_DIR))
    package, system = await asyncio.gather(_installed(version, node), starting)
    await offered(system.url, "wait_at")
    await calls_tools(model, "go through it", call("wait_at", "call_stock", gate="stock"), says="I go.")
    options = ["--base", system.url, "--ai", str(package / "node_modules" / "ai"), "--json", "--only", "chaton"]
    options += ["--message", "go through it", "--meanwhile", "and meanwhile? [[tokens=3 rate=0]]"]
    checking = asyncio.create_task(_checked(node, *options))
    await asked(model, lambda record: "and meanwhile?" in str(record.body) and record.finished_at is not None)
    await redis.set("test:{stock}", "1", ex=60)
    names = {result["name"] for result in (await checking)["results"]}
    assert {"two questions, two answers", "a reload sees it come", "replaces nothing"} <= names


async def _checked(node: Node, *options: str) -> dict[str, Any]:
    """The report of a run of the checks, none of which may fail or warn."""
    code, output = await node.run(node.node, _SOURCE / "conformance.mjs", *options, directory=_ROOT)
    report: dict[str, Any] = json.loads(output.splitlines()[-1])
    failed = [result for result in report["results"] if result["level"] in ("fail", "warn")]
    assert not failed, json.dumps(failed, indent=1)
    assert code == 0
    return report


def _groups(report: dict[str, Any]) -> set[str]:
    return {result["group"].partition("@")[0] for result in report["results"]}
