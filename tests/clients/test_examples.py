"""The examples are whole programs for the packages that the other tests use, and do what README says of them."""

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from playwright.async_api import Page, async_playwright

from harness.model_server import ModelServer
from harness.processes.node import find_node
from harness.processes.services import Services
from tests.browser.chromium import find_chromium
from tests.clients.pages import served

_PACKAGES = Path(__file__).parent / "node_modules"
_ROOT = Path(__file__).parents[2]
_EXAMPLES = _ROOT / "examples"
_QUESTION = 'What is a "sluice" \\ gate? [[tokens=30 rate=100]]'
# The dev servers of Vite and Next hand what is asked of their own origin on to the gateway.
_HANDED_ON = """
const { fetch: ownFetch } = globalThis;
globalThis.fetch = (asked, init) => ownFetch(String(asked).startsWith("/") ? "%s" + asked : asked, init);
"""


@pytest.mark.requirement("GW-2")
async def test_the_pages_of_the_examples_and_the_fetch_that_is_to_be_copied_can_be_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = [_EXAMPLES / "use-chat" / "main.jsx", *(_EXAMPLES / "use-chat-next" / "app").rglob("*.jsx")]
    assert len(pages) == 4
    await _built(pages, tmp_path / "pages", monkeypatch, "--external:next/*")
    copied = ("resumingFetch.ts", "events.ts", "problem.ts", "waiting.ts")
    said = next(line for line in (_ROOT / "web" / "README.md").read_text().splitlines() if "copy `src/client/`" in line)
    for name in copied:
        assert f"`{name}`" in said
        shutil.copy(_ROOT / "web" / "src" / "client" / name, tmp_path)
    await _built([tmp_path / "resumingFetch.ts"], tmp_path / "copied", monkeypatch)


@pytest.mark.requirement("GW-2", "GW-3")
async def test_the_examples_show_a_whole_answer(
    services: Services, model: ModelServer, tmp_path: Path, server_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(tmp_path) as origin:
        system = await services.whole(CORS_ORIGINS=json.dumps([origin]))
        handed_on = f"--banner:js={_HANDED_ON % system.url}"
        await _built([_EXAMPLES / "use-chat" / "main.jsx"], tmp_path, monkeypatch, handed_on)
        for page in ("event_source.html", "sessions.html", "use-chat/index.html"):
            shutil.copy(_EXAMPLES / page, tmp_path)
        (tmp_path / "main.js").rename(tmp_path / "main.jsx")
        told, _ = await asyncio.gather(_programs(system.url), _in_chromium(system.url, origin, server_directory))
    by_curl, by_python = told
    answer = json.loads(by_curl.splitlines()[-1])["messages"]
    assert [message["parts"][0]["text"] for message in answer if message["role"] == "user"] == [_QUESTION]
    assert "data: [DONE]" in by_curl
    assert len(by_python.split()) == 30


async def _programs(url: str) -> tuple[str, str]:
    by_curl = _run(url, "sh", _EXAMPLES / "curl.sh", _QUESTION)
    by_python = _run(url, sys.executable, _EXAMPLES / "httpx_sse_client.py", _QUESTION)
    return await asyncio.gather(by_curl, by_python)


async def _run(url: str, *command: str | Path) -> str:
    environment = {**os.environ, "GATEWAY": url, "no_proxy": "*"}
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0, output
    return output.decode()


async def _in_chromium(url: str, origin: str, directory: Path) -> None:
    chromium = find_chromium(directory)
    arguments = ("--headless", "--no-sandbox", "--disable-gpu", "--no-proxy-server")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium.path, args=arguments, env=chromium.environment
        )
        sessions, events, chat = [await browser.new_page() for _ in range(3)]
        await sessions.goto(f"{origin}/sessions.html?gateway={url}")
        await events.goto(f"{origin}/event_source.html?gateway={url}")
        await events.wait_for_function("document.getElementById('said').textContent.split(' ').length > 5")
        await sessions.wait_for_selector("li:has-text(': idle')")
        await _chats(chat, origin)
        await browser.close()


async def _chats(page: Page, origin: str) -> None:
    """A message, a reload in the middle of its answer, and a stop in the middle of the next."""
    await page.goto(f"{origin}/index.html")
    await page.get_by_label("Message").fill("one [[tokens=60 rate=30]]")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("p:has-text('assistant: ') >> nth=0")
    await page.get_by_role("button", name="Stop").wait_for()
    await page.reload()
    await page.get_by_role("button", name="Stop").wait_for()
    await page.get_by_role("button", name="Stop").wait_for(state="detached")
    assert len((await page.locator("p").nth(1).inner_text()).split()) == 1 + 60
    await page.get_by_label("Message").fill("two [[tokens=4000 rate=30]]")
    await page.keyboard.press("Enter")
    await page.get_by_role("button", name="Stop").click()
    await page.get_by_role("button", name="Stop").wait_for(state="detached")
    assert await page.locator("p").count() == 4


async def _built(sources: list[Path], into: Path, monkeypatch: pytest.MonkeyPatch, *more: str) -> None:
    monkeypatch.setenv("NODE_PATH", str(_PACKAGES))
    node = find_node()
    options = ("--bundle", "--format=esm", "--jsx=automatic", "--log-level=warning", f"--outdir={into}", *more)
    esbuild = _PACKAGES / "esbuild" / "bin" / "esbuild"
    code, output = await node.run(node.node, esbuild, *sources, *options, directory=_ROOT)
    assert (code, output) == (0, "")
