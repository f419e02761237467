"""The page for everybody: nothing that axe-core finds, in any state; and with a person's own colours."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from playwright.async_api import Page, Route, expect

from tests.browser.axe import check_axe
from tests.browser.chat import Chat
from tests.browser.scripted import ScriptedChat
from tests.browser.turns import BEGIN, END, MARKDOWN, TOOLS, agent, approval, begin, call, failure, progress, text

pytestmark = pytest.mark.requirement("GW-8")

_TIME = "2026-11-22T04:00:00Z"
_LINK = "/#/s/" + "x" * 43
_CONFIG: dict[str, Any] = {
    "models": [],
    "auth": "jwt",
    "share_links": True,
    "suggestions": ["What is a sluice?"],
    "file_types": ["text/plain"],
    "limits": {"max_files_per_message": 5, "max_file_bytes": 5000, "max_queued_per_session": 5},
}
# Elements that can be pressed and look like text alone: neither a border nor a line below.
_UNSEEN_BUTTONS = """() => [...document.querySelectorAll("button, a.button, label#attach")]
    .filter((one) => one.checkVisibility({ opacityProperty: true, visibilityProperty: true }))
    .filter((one) => {
        const style = getComputedStyle(one);
        return style.borderTopStyle === "none" && !style.textDecorationLine.includes("underline")
            && !one.querySelector("svg") && style.outlineStyle === "none";
    }).map((one) => one.outerHTML.slice(0, 120))"""
# Where the focus is, and whether one sees it there: on the element, or on the box around it.
_FOCUS = """() => {
    const at = document.activeElement;
    const seen = [at, at.closest("form, label")].some((one) => {
        if (!one) return false;
        const { outlineStyle, outlineWidth } = getComputedStyle(one);
        return outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
    });
    return [at === document.body ? "" : at.outerHTML.slice(0, 120), seen];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1100])
async def test_axe_finds_nothing(chat: Chat, scripted: ScriptedChat, scheme: Any, width: int) -> None:
    scripted.tools = TOOLS
    await chat.page.set_viewport_size({"width": width, "height": 800})
    await chat.page.emulate_media(color_scheme=scheme)
    await chat.open(scripted.url)
    await check_axe(chat.page)
    turn = await begin(chat, scripted)
    reasoning = [{"type": f"reasoning-{event}", "id": "r", "delta": "Well."} for event in ("start", "delta", "end")]
    await turn.say(BEGIN, *reasoning, *text(MARKDOWN), *call("delete_file", path="/tmp/x"), *call("bad", "c3"))
    await turn.say(*call("slow", "c2"), progress(30, "Still at it", call_id="c2"), failure("TIMEOUT: Too long.", "c3"))
    await turn.say(agent(1, "start", ""), agent(2, "thought", "Hm."), approval())
    await expect(chat.page.get_by_role("button", name="Approve")).to_be_visible()
    await expect(chat.page.locator("math")).to_have_count(1)
    await check_axe(chat.page)
    await chat.box.focus()
    await chat.page.keyboard.type("/")
    await expect(chat.page.get_by_role("option")).to_have_count(3)
    await check_axe(chat.page)
    await chat.page.keyboard.press("Escape")
    await chat.page.keyboard.press("Control+/")
    await expect(chat.page.get_by_role("dialog")).to_be_visible()
    await check_axe(chat.page)


@pytest.mark.parametrize(("scheme", "width"), [("light", 360), ("dark", 1100)])
async def test_axe_finds_nothing_in_dialogs_and_where_something_is_refused(
    chat: Chat, scripted: ScriptedChat, scheme: Any, width: int
) -> None:
    page = chat.page
    scripted.config = _CONFIG
    await _answer_the_rest(page)
    await page.set_viewport_size({"width": width, "height": 800})
    await page.emulate_media(color_scheme=scheme)
    scripted.refusal = ({"code": "MESSAGE_TOO_LONG", "detail": "No.", "max_message_chars": 32_000}, 413)
    await chat.open(scripted.url)
    await chat.send("far too long")
    await expect(page.get_by_role("alert")).to_be_visible()
    # There is nothing of a conversation that was refused.
    await expect(page.locator("#title")).to_have_text("New chat")
    await check_axe(chat.page)
    scripted.refusal = None
    await page.keyboard.press("Enter")
    turn = await scripted.asked()
    await turn.say(BEGIN, *text("Half"))
    scripted.failure = {"code": "MODEL_REFUSED", "message": "MODEL_REFUSED: The model gave no answer."}
    await scripted.finish("error", status="failed")
    await expect(chat.answers.last.locator(".failure")).to_be_visible()
    await check_axe(chat.page)

    await _open_list(page)
    await page.get_by_role("searchbox", name="Search").fill("river")
    await expect(page.get_by_role("region", name="In messages")).to_be_visible()
    await check_axe(chat.page)
    await page.get_by_role("searchbox", name="Search").fill("")
    await chat.conversations.first.hover()
    await chat.conversations.first.get_by_role("button").click()
    await check_axe(chat.page)
    await page.get_by_role("button", name="Share").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("button", name="Make a link").click()
    await expect(dialog.get_by_label("Link", exact=True)).to_be_visible()
    await check_axe(chat.page)
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Settings").click()
    await expect(dialog.get_by_role("listitem")).to_have_count(2)
    await check_axe(chat.page)
    await dialog.get_by_role("button", name="Sign in").click()
    await page.get_by_label("Token").fill("wrong")
    await page.keyboard.press("Enter")
    await expect(dialog.get_by_role("alert")).to_be_visible()
    await check_axe(chat.page)


async def test_axe_finds_nothing_on_the_pages_beside_the_conversation(chat: Chat, scripted: ScriptedChat) -> None:
    page = chat.page
    await _answer_the_rest(page)
    await page.goto(scripted.url + _LINK)
    await expect(page.get_by_text("A file that is not shared.")).to_be_visible()
    await expect(page.locator("math")).to_have_count(1)
    await check_axe(chat.page)
    await page.route("**/api/chat/shared/*", _always({"code": "SHARE_NOT_FOUND"}, 404))
    await page.reload()
    await expect(page.get_by_role("alert")).to_have_text("This link does not open anything any more.")
    await check_axe(chat.page)
    for mark, address, told in (
        ("true", "/", "You are signed out."),
        ("false", "/#/sign-in/unavailable", "Nobody can sign in at the moment."),
    ):
        await page.evaluate(f"localStorage.setItem('sluiceway.signed-out', '{mark}')")
        await page.goto("about:blank")
        await page.goto(scripted.url + address)
        await expect(page.get_by_text(told)).to_be_visible()
        await check_axe(chat.page)


async def test_with_a_persons_own_colours_buttons_and_the_focus_are_seen(chat: Chat, scripted: ScriptedChat) -> None:
    page = chat.page
    scripted.config = _CONFIG
    await _answer_the_rest(page)
    await page.emulate_media(forced_colors="active")
    turn = await begin(chat, scripted)
    await turn.say(BEGIN, *text(MARKDOWN), *call("delete_file", path="/tmp/x"), approval(), END)
    await scripted.finish("tool-calls")
    await expect(page.get_by_role("button", name="Approve")).to_be_visible()
    assert await page.evaluate(_UNSEEN_BUTTONS) == []
    await page.locator(".skip").focus()
    passed: set[str] = set()
    for _ in range(60):
        element, seen = await page.evaluate(_FOCUS)
        assert seen or not element, element
        if element in passed:
            break
        passed.add(element)
        await page.keyboard.press("Tab")
    assert len(passed) > 30
    await page.keyboard.press("Control+/")
    await expect(page.get_by_role("dialog")).to_be_visible()
    assert await page.evaluate(_UNSEEN_BUTTONS) == []


async def _open_list(page: Page) -> None:
    if await page.locator("#menu").get_attribute("aria-expanded") == "false":
        await page.locator("#menu").click()


async def _answer_the_rest(page: Page) -> None:
    """The routes that the scripted back end does not have."""
    named = {"id": "s0", "title": "Rivers", "created_at": _TIME, "updated_at": _TIME}
    sessions = [{**named, "id": f"s{n}", "title": f"River {n}", "awaits_you": n == 1} for n in range(9)]
    found = {"session_id": "s0", "session_title": "Rivers", "message_id": "m0", "snippet": "of the river and its locks"}
    share = {"token": "x" * 43, "path": _LINK, "shared_at": _TIME}
    said = [
        {"role": "user", "sequence": 1, "parts": [{"type": "text", "text": "Well?"}, {"type": "data-withheld"}]},
        {"role": "assistant", "sequence": 2, "parts": [{"type": "text", "text": MARKDOWN}]},
    ]

    async def shares(route: Route) -> None:
        made = route.request.method == "PUT"
        await route.fulfill(json=share if made else {"code": "SHARE_NOT_FOUND"}, status=200 if made else 404)

    answers: dict[str, Any] = {
        "sessions": {"sessions": sessions, "next_cursor": None},
        "search?*": {"messages": [found]},
        "me/understanding": {"facts": {"name": "Ada", "likes": "rivers"}},
        "shared/*": {"title": "Rivers", "shared_at": _TIME, "has_more": True, "messages": said},
    }
    for path, answer in answers.items():
        await page.route(f"**/api/chat/{path}", _always(answer))
    await page.route("**/api/chat/sessions/*/share", shares)
    await page.route("**/api/auth/session", _always({}, 401))


def _always(answer: Any, status: int = 200) -> Callable[[Route], Awaitable[None]]:
    async def fulfill(route: Route) -> None:
        await route.fulfill(status=status, json=answer)

    return fulfill
