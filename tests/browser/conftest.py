"""A real Chromium for tests of the chat page. A page that throws, or breaks its own content policy, fails its test."""

import shutil
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright

from tests.browser.chat import Chat

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
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


def chromium() -> str:
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.fail("Chromium is not installed, and these tests drive a real one. On Debian: apt-get install chromium")
    return found


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=chromium(), args=_ARGUMENTS)
        yield started
        await started.close()


@pytest.fixture
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
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
    opened.set_default_timeout(20_000)
    opened.on("console", on_console)
    opened.on("page", on_page)
    yield opened
    await opened.close()
    assert not complaints, complaints


@pytest.fixture
async def chat(context: BrowserContext) -> Chat:
    """A tab in which the chat page can be opened."""
    return Chat(await context.new_page())
