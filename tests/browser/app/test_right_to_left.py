"""The page in a language that is written from right to left: turned around as a whole, and still told apart by axe."""

import asyncio

import pytest
from playwright.async_api import Locator, Route, expect

from tests.browser.axe import check_axe
from tests.browser.chat import Chat
from tests.browser.holding import comes, holding
from tests.browser.scripted import ScriptedChat
from tests.browser.turns import BEGIN, END, call, output, text

pytestmark = pytest.mark.requirement("GW-8")


# What begins with code or in another block is right to left for the words behind that.
_ANSWER = """مرحبًا بك.

An English paragraph.

- `make run;` شغّل
- English, with a full stop.

> اقتباس

1. `SELECT 1;` اكتب

| النهر | km |
|---|---|
| الراين | 1233 |
"""


async def _right(locator: Locator) -> float:
    box = await locator.bounding_box()
    assert box is not None
    return box["x"] + box["width"]


async def _left(locator: Locator) -> float:
    box = await locator.bounding_box()
    assert box is not None
    return box["x"]


async def test_arabic_turns_the_page_around_and_texts_keep_their_own_direction(
    chat: Chat, scripted: ScriptedChat
) -> None:
    page = chat.page
    await chat.open(scripted.url)
    await page.get_by_role("button", name="Settings").click()
    await page.get_by_label("Language").select_option("ar")
    await expect(page.locator("html")).to_have_attribute("dir", "rtl")
    await expect(page.get_by_role("dialog", name="الإعدادات")).to_be_visible()
    await page.reload()
    assert await _left(page.get_by_role("navigation", name="المحادثات")) > await _left(page.get_by_role("main"))
    box = page.get_by_role("textbox", name="الرسالة")
    await expect(box).to_be_focused()
    await page.keyboard.type("hello there")
    await page.keyboard.press("Enter")
    turn = await scripted.asked()
    await turn.say(BEGIN, *text(_ANSWER), *call("current_time"), output("15:04"), END)
    await scripted.finish()
    await expect(chat.answers.last.get_by_role("button", name="إجابة جيدة")).to_be_visible()
    paragraphs = chat.answers.last.locator(".text > *")
    directions = [await one.evaluate("one => getComputedStyle(one).direction") for one in await paragraphs.all()]
    assert directions == ["rtl", "ltr", "rtl", "rtl", "rtl", "rtl"]
    # A line of the other direction within a block: in its own order, and at the block's side, where its mark is.
    english = paragraphs.nth(2).get_by_role("listitem").last
    assert await english.evaluate("one => getComputedStyle(one).unicodeBidi") == "plaintext"
    assert await english.evaluate("one => getComputedStyle(one).textAlign") == "right"
    assert await paragraphs.locator("code").evaluate_all("all => all.map(one => getComputedStyle(one).direction)") == [
        "ltr",
        "ltr",
    ]
    table = paragraphs.last.get_by_role("table")
    assert await _right(table) == pytest.approx(await _right(paragraphs.first), abs=1)
    # A title of the other direction stands at the page's side.
    await expect(page.locator("#title")).to_have_text("hello there")
    assert await page.locator("#title").evaluate("one => getComputedStyle(one).textAlign") == "right"
    for width in (1100, 360):
        await page.set_viewport_size({"width": width, "height": 800})
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        await check_axe(page)


async def test_the_words_of_a_language_come_beside_the_program_and_before_anything_is_said(
    chat: Chat, scripted: ScriptedChat
) -> None:
    page = chat.page
    program, words = asyncio.Event(), asyncio.Event()

    async def held(route: Route) -> None:
        await (words if "/ar-" in route.request.url else program).wait()
        await route.continue_()

    await page.add_init_script("Object.defineProperty(navigator, 'languages', { get: () => ['ar-EG', 'en'] })")
    await page.route("**/assets/index-*.js", held)
    await page.route("**/assets/ar-*.js", held)
    async with page.expect_request("**/assets/ar-*.js"):
        await page.goto(scripted.url, wait_until="commit")
    async with page.expect_request("**/assets/talk-*.js"):
        program.set()
    await expect(page.get_by_role("button")).to_have_count(0)
    words.set()
    await expect(page.locator("html")).to_have_attribute("dir", "rtl")
    await expect(page.get_by_role("button", name="إرسال")).to_be_visible()
    # Where they do not come it is English, as a whole.
    await page.unroute("**/assets/ar-*.js")
    await page.route("**/assets/ar-*.js", lambda route: route.abort())
    await page.reload()
    await expect(page.get_by_role("button", name="Send", exact=True)).to_be_visible()
    await expect(page.locator("html")).to_have_attribute("dir", "ltr")
    # Where they come late, what else was chosen meanwhile holds.
    german = await holding(page, "**/assets/de-*.js")
    await page.get_by_role("button", name="Settings").click()
    async with german.next() as asked:
        await page.get_by_label("Language").select_option("de")
        await comes(asked)
        await page.get_by_label("Appearance").select_option("dark")
    await expect(page.get_by_role("dialog", name="Einstellungen")).to_be_visible()
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
