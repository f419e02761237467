"""A real Chromium for tests of the chat page. A page that throws, or breaks its own content policy, fails its test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright, expect

from tests.browser.chat import Chat
from tests.browser.chromium import find_chromium
from tests.browser.scripted import ScriptedChat, scripted_chat

_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# Of a click and of what is expected alike: how long a page takes says how busy the machine is.
_PATIENCE_MS = 20_000
expect.set_options(timeout=_PATIENCE_MS)


@pytest.fixture
async def browser(server_directory: Path) -> AsyncIterator[Browser]:
    chromium = find_chromium(server_directory)
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(
            executable_path=chromium.path, args=_ARGUMENTS, env=chromium.environment
        )
        yield started
        await started.close()


@pytest.fixture
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    async with one_browser(browser) as opened:
        yield opened


@asynccontextmanager
async def one_browser(browser: Browser) -> AsyncIterator[BrowserContext]:
    """One person's browser: its tabs share what it stores."""
    complaints: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        # A gateway that a test has killed cannot be reached: that, and only that, browsers report by themselves.
        if message.type in {"error", "warning"} and not message.text.startswith("Failed to load resource"):
            complaints.append(message.text)

    def on_page(page: Page) -> None:
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(f"a dialog: {dialog.message}"))

    # Without a graphics card an animation costs a good part of the core that the services need.
    opened = await browser.new_context(viewport={"width": 1100, "height": 800}, reduced_motion="reduce")
    opened.set_default_timeout(_PATIENCE_MS)
    opened.on("console", on_console)
    opened.on("page", on_page)
    yield opened
    await opened.close()
    assert not complaints, complaints


@pytest.fixture
async def chat(context: BrowserContext) -> Chat:
    """A tab in which the chat page can be opened."""
    return Chat(await context.new_page())


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedChat]:
    """A back end that says what the test says."""
    async with scripted_chat() as chat:
        yield chat
