"""On a slow network whatever is clicked is seen to be at work, and what comes then moves nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Locator, Page, Route, expect

from tests.browser.chat import Chat
from tests.browser.scripted import ScriptedChat

pytestmark = pytest.mark.requirement("GW-8")

_TIME = "2026-11-22T04:00:00Z"
_SESSION = {"id": "s1", "title": "River", "created_at": _TIME, "updated_at": _TIME}
_LOADING = "Loading…"


@contextlib.asynccontextmanager
async def _held(page: Page, address: str, answer: Any, status: int = 200) -> AsyncIterator[None]:
    """What is asked there is answered when this ends."""
    released = asyncio.Event()

    async def wait(route: Route) -> None:
        await released.wait()
        await route.fulfill(status=status, json=answer)

    await page.route(address, wait)
    yield
    released.set()


async def test_what_is_asked_for_is_seen_to_be_on_its_way(chat: Chat, scripted: ScriptedChat) -> None:
    page = chat.page
    scripted.config = {"share_links": True, "models": [], "file_types": [], "limits": {}}
    for message_id, role in (("m1", "user"), ("m2", "assistant")):
        scripted.store(message_id, role, [{"type": "text", "text": "word\n\n" * 60}])
    scripted.messages[0]["siblings"] = ["m0", "m1"]
    async with _held(page, "**/api/chat/sessions", {"sessions": [_SESSION], "next_cursor": None}):
        await chat.open(f"{scripted.url}/#/c/s1")
        await expect(page.locator("#sessions")).to_have_text(_LOADING)
    await expect(page.locator("#sessions").get_by_role("link", name="River")).to_be_visible()
    # The log alone is scrolled, and not the page behind it.
    await expect(page.locator("article")).to_have_count(2)
    assert await page.evaluate("document.documentElement.scrollHeight <= innerHeight")

    # What could not be read comes when it can.
    await page.route("**/api/chat/me/*", lambda route: route.abort())
    await page.get_by_role("button", name="Settings").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_text("The server cannot be reached. Trying again…")).to_have_count(2)
    await page.unroute("**/api/chat/me/*")
    await page.route("**/api/chat/me/instructions", lambda route: route.fulfill(json={"text": "", "max_chars": 9}))
    await page.route("**/api/chat/me/understanding", lambda route: route.fulfill(json={"facts": {}}))
    await expect(dialog.get_by_text("Trying again…")).to_have_count(0)
    await page.keyboard.press("Escape")

    below = dialog.get_by_role("heading", name="What is known about you")
    async with (
        _held(page, "**/api/chat/me/understanding", {"facts": {}}),
        _held(page, "**/api/chat/me/instructions", {"text": "Be short.", "max_chars": 100}),
    ):
        await page.get_by_role("button", name="Settings").click()
        await expect(dialog.get_by_text(_LOADING)).to_be_visible()
        before = await _top(below)
    instructions = dialog.get_by_role("textbox", name="Your instructions")
    await expect(instructions).to_have_value("Be short.")
    await expect(dialog.get_by_text("Nothing is known yet.")).to_be_visible()
    assert await _top(below) == before
    await instructions.fill("Be long.")
    async with _held(page, "**/api/chat/me/instructions", {"text": "Be long.", "max_chars": 100}):
        await dialog.get_by_role("button", name="Save", exact=True).click()
        await expect(dialog.get_by_text("Saving…")).to_be_visible()
    await expect(dialog.get_by_text("Saved", exact=True)).to_be_visible()
    async with _held(page, "**/api/chat/sessions?archived=true", {"sessions": [], "next_cursor": None}):
        await dialog.get_by_role("button", name="Archived chats").click()
        await expect(dialog).to_contain_text(_LOADING)
    await expect(dialog).to_contain_text("Nothing is archived.")
    await page.keyboard.press("Escape")

    await page.get_by_role("button", name="Options of River").click()
    async with _held(page, "**/api/chat/sessions/s1/share", {"code": "SHARE_NOT_FOUND"}, 404):
        await page.get_by_role("button", name="Share", exact=True).click()
        await expect(dialog).to_contain_text(_LOADING)
    make = dialog.get_by_role("button", name="Make a link")
    await expect(make).to_be_visible()
    share = {"token": "t", "path": "/#/shared/t", "shared_at": _TIME}
    async with _held(page, "**/api/chat/sessions/s1/share", share):
        await make.click()
        await expect(make).to_have_attribute("aria-busy", "true")
    await expect(dialog.get_by_role("textbox", name="Link")).to_be_visible()
    await page.keyboard.press("Escape")

    async with _held(page, "**/api/chat/search?*", {"messages": []}):
        await page.get_by_role("searchbox").fill("nothing like it")
        await expect(page.locator("#sessions")).to_have_text(_LOADING)
    await expect(page.locator("#sessions")).to_have_text("Nothing is found.")
    # Where it could not be looked for, nobody knows that.
    await page.route("**/api/chat/search?*", lambda route: route.abort())
    await page.get_by_role("searchbox").fill("nothing like it, again")
    await expect(page.locator("#sessions")).to_have_text("The server cannot be reached.")
    await page.get_by_role("searchbox").fill("")

    async with _held(page, "**/api/chat/sessions/s1/branch", None, 204):
        await page.get_by_role("button", name="Earlier version").click()
        await expect(chat.status).to_have_text(_LOADING)
    await expect(chat.status).to_have_text("")


async def _top(of: Locator) -> float:
    box = await of.bounding_box()
    assert box is not None
    return box["y"]
