"""What a person does with an answer and a conversation beside reading it: thumbs, and a link for others."""

import re

import pytest
from playwright.async_api import Browser, expect

from harness.databases.database import Database
from harness.model_server import answer_to
from harness.processes.services import Services
from harness.waiting import wait_until
from tests.browser.chat import TIMEOUT_MS, Chat
from tests.gateway.callers import add_key

pytestmark = pytest.mark.requirement("GW-8")


@pytest.mark.requirement("SE-1")
async def test_thumbs_and_a_link_that_others_read_and_that_is_revoked(
    services: Services, chat: Chat, browser: Browser, database: Database
) -> None:
    system = await services.whole()
    await chat.open(system.url)
    await chat.send("hello [[tokens=3 rate=0]]")
    await chat.sees_answers(answer_to("hello", 3))
    answer = chat.answers.last

    down, up = (answer.get_by_role("button", name=f"{word} answer") for word in ("Bad", "Good"))
    await down.click()
    await expect(down).to_have_attribute("aria-pressed", "true")
    await chat.page.keyboard.type("Too short.")
    await chat.page.keyboard.press("Enter")
    await wait_until(lambda: _comments(database, ["Too short."]))
    await chat.page.reload()
    await expect(down).to_have_attribute("aria-pressed", "true")
    operator = await add_key(database, "looks", ["ops:look"])
    await _sees_feedback(chat, system.url, operator["x-api-key"], "Too short.")
    await chat.open(system.url + "/")
    await chat.conversations.first.get_by_role("link").click()
    await up.click()
    await expect(down).to_have_attribute("aria-pressed", "false")
    await up.click()
    await expect(up).to_have_attribute("aria-pressed", "false")
    await wait_until(lambda: _comments(database, []))

    await chat.conversations.first.hover()
    await chat.conversations.first.get_by_role("button").click()
    await chat.page.get_by_role("button", name="Share").click()
    dialog = chat.page.get_by_role("dialog", name="Share")
    await dialog.get_by_role("button", name="Make a link").click()
    link = await dialog.get_by_label("Link", exact=True).input_value()
    assert re.fullmatch(re.escape(system.url) + r"/#/s/[\w-]{43}", link)

    # Somebody else's browser.
    stranger = await browser.new_context()
    page = await stranger.new_page()
    await page.goto(link)
    await expect(page.get_by_text(answer_to("hello", 3))).to_be_visible(timeout=TIMEOUT_MS)
    await expect(page.get_by_role("textbox")).to_have_count(0)
    await expect(page.locator("article.user .text")).to_have_text("hello [[tokens=3 rate=0]]")
    await dialog.get_by_role("button", name="Stop sharing").click()
    await expect(dialog.get_by_role("button", name="Make a link")).to_be_visible()
    await page.reload()
    await expect(page.get_by_role("alert")).to_have_text("This link does not open anything any more.")
    await stranger.close()


async def _comments(database: Database, expected: list[str]) -> bool:
    return [row["comment"] for row in await database.fetch("SELECT comment FROM feedback")] == expected


async def _sees_feedback(chat: Chat, url: str, key: str, comment: str) -> None:
    await chat.page.goto(f"{url}/ops")
    await chat.page.get_by_label("API key").fill(key)
    await chat.page.get_by_role("button", name="Look").click()
    table = chat.page.get_by_role("region", name="Bad answers").get_by_role("row")
    await expect(table.nth(1)).to_contain_text(comment)
