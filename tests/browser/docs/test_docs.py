"""The routes, tried from the page that describes them."""

import re

import pytest
from playwright.async_api import Locator, Page, expect

from harness.processes.services import Services
from tests.browser.axe import check_axe
from tests.browser.chat import Chat

pytestmark = pytest.mark.requirement("GW-7", "GW-8")

_PHONE_WIDTH = 360


async def _try(page: Page, operation: str, body: str | None = None, **fields: str) -> Locator:
    """Send what is filled in, or these; what was answered."""
    article = page.locator(f"article#{operation}")
    details = article.locator("details").filter(has=page.locator("form"))
    if not await details.evaluate("one => one.open"):
        await article.get_by_text("Try it", exact=True).click()
    for name, value in fields.items():
        await article.get_by_label(name, exact=True).fill(value)
    if body is not None:
        await article.get_by_label("Body").fill(body)
    await article.get_by_role("button", name="Send").click()
    return article


async def _said(article: Locator, status: str) -> Locator:
    await expect(article.get_by_role("status")).to_contain_text(re.compile(rf"^{status}"))
    return article.locator(".answer")


async def test_every_kind_of_route_can_be_tried_on_a_phone(services: Services, chat: Chat) -> None:
    system = await services.whole()
    page = chat.page
    await page.set_viewport_size({"width": _PHONE_WIDTH, "height": 740})
    await page.goto(f"{system.url}/docs")
    assert await page.evaluate("document.documentElement.scrollWidth") <= _PHONE_WIDTH
    # With a body that is there already, then with one of a person's own.
    await expect(await _said(await _try(page, "create_session"), "201")).to_contain_text('"id": "my-session"')
    sent = await _said(await _try(page, "post_message", '{"message": "hello [[tokens=3 rate=0]]"}'), "202")
    task_id = re.search(r"task_[0-9a-f]{32}", await sent.inner_text())
    assert task_id is not None
    # A stream is shown as it comes; one that does not end is stopped.
    followed = await _try(page, "follow_task", task_id=task_id[0])
    await expect(await _said(followed, "200")).to_contain_text("[DONE]")
    events = await _try(page, "follow_me")
    await expect(await _said(events, "200")).to_contain_text("ready")
    await events.get_by_role("button", name="Stop").click()
    await expect(events.get_by_role("status")).to_have_text("Stopped.")
    # A file, there and back; a list, a choice, a refusal.
    upload = page.locator("article#upload_file")
    await upload.get_by_text("Try it", exact=True).click()
    await upload.get_by_label("File").set_input_files({"name": "a.txt", "mimeType": "text/plain", "buffer": b"a weir"})
    await upload.get_by_role("button", name="Send").click()
    file_id = re.search(r'"id": "([^"]+)"', await (await _said(upload, "201")).inner_text())
    assert file_id is not None
    await expect(await _said(await _try(page, "download_file", file_id=file_id[1]), "200")).to_contain_text("a weir")
    await expect(await _said(await _try(page, "list_sessions", limit="1"), "200")).to_contain_text("my-session")
    exported = page.locator("article#export_session")
    await exported.get_by_text("Try it", exact=True).click()
    await exported.get_by_label("format").select_option("markdown")
    await exported.get_by_role("button", name="Send").click()
    await expect(await _said(exported, "200")).to_contain_text("hello")
    await expect(await _said(await _try(page, "get_task", task_id="nothing"), "404")).to_contain_text("TASK_NOT_FOUND")
    # What removes something is sent when a person says so.
    removed = await _try(page, "delete_session")
    await expect(removed.get_by_role("status")).to_have_text("")
    await removed.get_by_role("checkbox").check()
    await removed.get_by_role("button", name="Send").click()
    await _said(removed, "204")
    # As somebody else than the browser's own person.
    await page.get_by_label("Its value, which is kept nowhere").fill("no-key")
    await page.get_by_label("Sign in by").select_option("key")
    await expect(await _said(await _try(page, "list_sessions"), "401")).to_contain_text("INVALID_API_KEY")
    assert await page.evaluate("document.documentElement.scrollWidth") <= _PHONE_WIDTH
    await check_axe(page)
