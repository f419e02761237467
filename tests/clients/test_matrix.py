"""Every stock client in every situation: what is on its screen is what the server has, and what the model was told.

`src/matrix.mjs` has the cells, `src/readers.mjs` what reads events without the AI SDK. All run at once against one
system, in Node with a document of happy-dom, and in a real Chromium on a page of another origin. What a client does
wrong by itself is in docs/clients.md.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpx_sse import aconnect_sse
from playwright.async_api import async_playwright

from harness.clients.calling import TOOLS_DIR, answers, call, calls_tools, offered
from harness.model_server import ModelServer
from harness.processes.node import find_node
from harness.processes.services import Services, System
from tests.browser.chromium import find_chromium
from tests.clients.pages import served
from tests.gateway.callers import SECRET, bearer

_ROOT = Path(__file__).parent
_BUILT = _ROOT / "node_modules" / ".built"
_REQUIRE = 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);'
_AT_ONCE = 12
# By whom the model is not asked with just what is on the screen: commands, and neighbours that are told as one.
_NOT_TOLD_SO = ("approval", "error", "client tool", "file", "idle", "stop")


def _asked_by_each(question: str, situation: str) -> list[str]:
    clients = ("useChat-6", "useChat-7", "assistant-ui")
    return [f"{question} {run}-{client}-{situation}" for run in ("node", "page") for client in clients]


_CLIENT_TOOL = _asked_by_each("client tool", "client-tool")
_THREE_TOOLS = _asked_by_each("three tools", "client-tools-an-approval-a-reload")
_FILE = _asked_by_each("file", "file")
_TWO_APPROVALS = _asked_by_each("two approvals", "approval-two")
_READ = "reads [[tokens=6 rate=0 stall_after=3 stall_for=1.5]]"


@pytest.mark.requirement("GW-2", "GW-3", "CH-18", "CH-22")
async def test_every_client_in_every_situation_shows_what_the_server_has(
    services: Services, model: ModelServer, server_directory: Path
) -> None:
    with served(_BUILT) as origin:
        starting = services.whole(
            tool_runners=1, TOOLS_DIR=str(TOOLS_DIR), CORS_ORIGINS=json.dumps([origin]), HEARTBEAT_SECONDS="0.4"
        )
        guarded = services.gateway(JWT_SECRET=SECRET, CORS_ORIGINS=json.dumps([origin]))
        system, gateway, _ = await asyncio.gather(starting, guarded, _build())
        signed_in = {"base": gateway.url, "headers": bearer("ada")}
        await offered(system.url, "careful")
        await _script(model)
        found = await asyncio.gather(
            _in_node(system, signed_in), _in_chromium(system, signed_in, origin, server_directory), _others(system)
        )
    in_node, in_chromium, others = found
    _check_readers(in_node["readers"] | others, "eventsource of npm", "httpx-sse", "curl -N")
    _check_readers(in_chromium["readers"], "EventSource of the browser")
    for report in (in_node, in_chromium):
        await _check_cells(report["results"], model)
        _check_page(report["results"])
    await _check_client_tools(model)
    await _check_files(model)


async def _script(model: ModelServer) -> None:
    for question in _CLIENT_TOOL:
        await calls_tools(model, question, call("where_am_i", "call_w", exact=True), says="Where?")
        await answers(model, question, "There.")
    for question in _THREE_TOOLS:
        careful = call("careful", "call_c", 2, text="hello")
        await calls_tools(model, question, call("where_am_i", "call_w"), call("ask_me", "call_a", 1), careful)
        await answers(model, question, "All three.")
    for question in _FILE:
        await answers(model, question, "A file.")
    for question in _TWO_APPROVALS:
        calls = [call("careful", f"call_{number}", number, text="hello") for number in range(2)]
        await calls_tools(model, question, *calls)
        await answers(model, question, "Both.")


async def _build() -> None:
    """Bundles for both: the clients' own code as it is published, and the fetch of `web/`, which is TypeScript."""
    node, esbuild = find_node(), _ROOT / "node_modules" / "esbuild" / "bin" / "esbuild"
    common = ("--bundle", "--format=esm", "--splitting", "--log-level=warning", f"--outdir={_BUILT}")
    for_node = ("src/node.mjs", "--platform=node", "--external:happy-dom", f"--banner:js={_REQUIRE}")
    for options in (for_node, ("src/page.mjs", "--chunk-names=page-[hash]")):
        code, output = await node.run(node.node, esbuild, *options, *common, directory=_ROOT)
        assert code == 0, output
    (_BUILT / "index.html").write_text(
        '<!doctype html><title>clients</title><script type="module" src="page.js"></script>'
    )


async def _in_node(system: System, signed_in: dict[str, Any]) -> Any:
    node = find_node()
    options = json.dumps({"bases": [system.url] * _AT_ONCE, "run": "node", "signedIn": signed_in})
    code, output = await node.run(node.node, _BUILT / "node.js", options, directory=_ROOT)
    assert code == 0, output
    return json.loads(output.splitlines()[-1])


async def _in_chromium(system: System, signed_in: dict[str, Any], origin: str, directory: Path) -> Any:
    chromium = find_chromium(directory)
    port = system.url.rpartition(":")[2]
    bases = [f"http://client{number}.localhost:{port}" for number in range(_AT_ONCE)]
    arguments = ("--headless", "--no-sandbox", "--disable-gpu", "--no-proxy-server", "--disable-background-networking")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium.path, args=arguments, env=chromium.environment
        )
        page = await browser.new_page()
        await page.goto(origin)
        await page.wait_for_function("Boolean(globalThis.runAll)")
        report = await page.evaluate(
            "options => runAll(options)", {"bases": bases, "run": "page", "signedIn": signed_in}
        )
        await browser.close()
    return report


async def _others(system: System) -> dict[str, list[str]]:
    async with httpx.AsyncClient(base_url=system.url, trust_env=False, timeout=30) as client:
        by_httpx, by_curl = await asyncio.gather(_by_httpx(client), _by_curl(client))
    return {"httpx-sse": by_httpx, "curl -N": by_curl}


async def _turn(client: httpx.AsyncClient, session_id: str) -> str:
    await client.post("/api/chat/sessions", json={"id": session_id})
    sent = await client.post(f"/api/chat/sessions/{session_id}/messages", json={"message": f"others {_READ}"})
    return str(sent.json()["stream_url"])


async def _by_httpx(client: httpx.AsyncClient) -> list[str]:
    async with aconnect_sse(client, "GET", await _turn(client, "by-httpx")) as stream:
        return [event.data async for event in stream.aiter_sse()]


async def _by_curl(client: httpx.AsyncClient) -> list[str]:
    """As somebody reads it on a terminal: the lines that begin with `data: `."""
    url = f"{client.base_url}{await _turn(client, 'by-curl')}".replace("//api", "/api")
    process = await asyncio.create_subprocess_exec("curl", "-sN", "--noproxy", "*", url, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    return [line.removeprefix("data: ") for line in output.decode().split("\n") if line.startswith("data: ")]


def _check_readers(read: dict[str, list[str]], *names: str) -> None:
    """No event has empty data, or none that are JSON: what every tutorial does with them works."""
    assert {*names} <= set(read)
    for name, events in read.items():
        assert events[-1] == "[DONE]", (name, events)
        chunks = [json.loads(event) for event in events[:-1]]
        assert chunks[0]["type"] == "start", name
        assert len("".join(chunk.get("delta", "") for chunk in chunks).split()) == 6, name


async def _check_client_tools(model: ModelServer) -> None:
    """The model knew of the client's tool, and was told what the client had given."""
    for question in _CLIENT_TOOL:
        first, second = await model.requests(question)
        assert first.body["tools"][-1]["function"]["name"] == "where_am_i"
        assert second.body["messages"][-1] == {"role": "tool", "tool_call_id": "call_w", "content": '{"lat": 1}'}


async def _check_files(model: ModelServer) -> None:
    """The model was told what is in them."""
    for question in _FILE:
        [asked] = await model.requests(question)
        assert "a sluice" in json.dumps(asked.body["messages"][-1]["content"]), question


def _check_page(results: list[dict[str, Any]]) -> None:
    """The page for people marks just those cells that were tried."""
    text = (_ROOT.parents[1] / "docs" / "clients.md").read_text()
    table = next(part for part in text.split("\n\n") if part.startswith("| |"))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    clients = rows[0][1:]
    marked = {
        (client, row[0]) for row in rows[2:] for client, cell in zip(clients, row[1:], strict=True) if cell == "✓"
    }
    assert marked == {(one["client"], one["situation"]) for one in results if one["client"] in clients}


async def _check_cells(results: list[dict[str, Any]], model: ModelServer) -> None:
    failed = [f"{one['client']}: {one['situation']}: {one['failure']}" for one in results if "failure" in one]
    assert not failed, "\n".join(failed)
    assert len(results) > 50
    asked = [one for one in await model.requests() if one.path.endswith("/chat/completions")]
    told = {one.body["messages"][-1]["content"]: one.body["messages"] for one in asked}
    for one in results:
        if not one["situation"].startswith(_NOT_TOLD_SO):
            _check_told(one["screen"], told)


def _check_told(screen: list[list[str]], told: dict[str, list[dict[str, str]]]) -> None:
    """What the model was asked last in this chat is what was on the screen before its answer."""
    messages = [(one["role"], one["content"].strip()) for one in told[screen[-2][1]] if one["role"] != "system"]
    assert messages == [(role, text.strip()) for role, text in screen[:-1]]
