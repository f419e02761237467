"""The list of conversations and changes to what was said, in a real browser against real services."""

import pytest
from playwright.async_api import Browser, BrowserContext, expect

from harness.model_server import answer_to
from harness.processes.services import Services, System
from tests.browser.chat import Chat
from tests.browser.holding import holding
from tests.browser.scripted import ScriptedChat

pytestmark = pytest.mark.requirement("GW-8")


async def _with_one(services: Services, chat: Chat, question: str) -> System:
    system = await services.whole()
    await chat.open(system.url)
    await chat.send(question)
    await chat.sees_answers(answer_to(question))
    return system


async def test_a_conversation_is_renamed_and_other_tabs_hear_of_it(
    services: Services, chat: Chat, context: BrowserContext
) -> None:
    await _with_one(services, chat, "first words")
    second = Chat(await context.new_page())
    await second.open(chat.page.url)
    await expect(second.conversations).to_have_text(["first words"])
    await chat.conversations.first.hover()
    await chat.page.get_by_role("button", name="Options of first words").click()
    await chat.page.get_by_role("button", name="Rename").click()
    await chat.page.get_by_role("textbox", name="New title").fill("A better name")
    await chat.page.keyboard.press("Enter")
    for one in (chat, second):
        await expect(one.conversations).to_have_text(["A better name"])
        await expect(one.page.get_by_role("heading", name="A better name")).to_be_visible()


async def test_an_archived_conversation_is_out_of_every_list_until_it_is_brought_back(
    services: Services, chat: Chat, context: BrowserContext
) -> None:
    await _with_one(services, chat, "to be kept")
    page = chat.page
    second = Chat(await context.new_page())
    lists = await holding(second.page, "**/api/chat/sessions")
    await second.open(page.url)
    await expect(second.conversations).to_have_text(["to be kept"])

    async def archive() -> None:
        await page.get_by_role("button", name="Options of to be kept").click()
        await page.get_by_role("button", name="Archive", exact=True).press("Enter")
        await expect(chat.conversations).to_have_count(0)

    await archive()
    # It is there for a while only, and two keys away, however long the list is.
    await expect(chat.box).to_be_focused()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("button", name="Undo")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(chat.conversations).to_have_text(["to be kept"])
    await archive()
    # Who leaves has decided.
    await page.reload()
    await expect(second.conversations).to_have_count(0)
    await expect(second.page.get_by_role("note")).to_contain_text("archived")
    await page.get_by_role("button", name="Settings").click()
    await page.get_by_role("button", name="Archived chats").click()
    dialog = page.get_by_role("dialog", name="Archived chats")
    await expect(dialog.get_by_role("link")).to_have_text(["to be kept"])
    await dialog.get_by_role("button", name="Bring it back").press("Enter")
    await expect(dialog.get_by_role("list")).to_be_focused()
    await expect(dialog).to_contain_text("Nothing is archived.")
    await expect(second.page.get_by_role("note")).to_have_count(0)
    for one in (chat, second):
        await expect(one.conversations).to_have_text(["to be kept"])
    await page.keyboard.press("Escape")
    await expect(chat.box).to_be_focused()
    # Elsewhere it goes when that is heard, before the list is read again.
    address = second.page.url.replace("#/c/", "api/chat/sessions/")
    async with lists.next():
        told = await page.request.patch(address, data={"archived": True})
        assert told.ok, await told.text()
        await expect(second.conversations).to_have_count(0)


_GROUPS = """sections => sections.map(one => [one.getAttribute("aria-label"), one.querySelectorAll("li").length])"""


async def test_days_are_the_persons_own_and_end_while_the_page_stands_open(
    browser: Browser, scripted: ScriptedChat
) -> None:
    """A day of 25 hours and one of 23."""
    page = await browser.new_page(timezone_id="Europe/Berlin")
    times = ["2026-10-25T12:00:00Z", "2026-10-24T22:30:00Z", "2026-10-24T21:30:00Z"]

    async def sees(*groups: list[object]) -> None:
        await expect(page.locator("#sessions h2")).to_have_text([str(name) for name, _ in groups])
        assert await page.locator("#sessions section").evaluate_all(_GROUPS) == list(groups)

    def listed() -> dict[str, object]:
        return {
            "next_cursor": None,
            "sessions": [{"id": at, "title": at, "created_at": at, "updated_at": at} for at in times],
        }

    await page.route("**/api/chat/sessions", lambda route: route.fulfill(json=listed()))
    # Nothing is heard, and so the list is not read again.
    await page.route("**/api/chat/events*", lambda _: None)
    # No answer says what time it is elsewhere.
    await page.route("**/config", lambda route: route.fulfill(status=404, json={}))
    await page.clock.install(time="2026-10-25T22:30:00Z")
    await page.goto(scripted.url)
    await sees(["Today", 2], ["Yesterday", 1])
    await page.clock.fast_forward(31 * 60_000)
    await sees(["Yesterday", 2], ["Previous 7 days", 1])
    times = ["2026-03-29T21:30:00Z", "2026-03-28T22:30:00Z", "2026-03-21T23:30:00Z"]
    await page.clock.set_system_time("2026-03-29T21:30:00Z")
    await page.reload()
    await sees(["Today", 1], ["Yesterday", 1], ["Previous 7 days", 1])
    await page.clock.fast_forward(61 * 60_000)
    await sees(["Yesterday", 1], ["Previous 7 days", 1], ["Earlier", 1])
    await page.close()


async def test_a_pinned_conversation_stays_above_the_days_in_every_tab(
    services: Services, chat: Chat, context: BrowserContext
) -> None:
    await _with_one(services, chat, "to be kept")
    second = Chat(await context.new_page())
    await second.open(chat.page.url)
    await chat.page.get_by_role("link", name="New chat").click()
    await chat.send("said later")
    await chat.sees_answers(answer_to("said later"))
    await expect(second.conversations).to_have_text(["said later", "to be kept"])
    options = chat.page.get_by_role("button", name="Options of to be kept")
    await options.focus()
    await chat.page.keyboard.press("Enter")
    await chat.page.keyboard.press("Tab")
    await chat.page.keyboard.press("Enter")
    await expect(options).to_be_focused()
    for one in (chat, second):
        pinned = one.page.get_by_role("region", name="Pinned").get_by_role("listitem")
        await expect(pinned).to_have_text(["to be kept"])
        await expect(one.conversations).to_have_text(["to be kept", "said later"])
    await second.page.reload()
    await second.page.get_by_role("button", name="Options of to be kept").click()
    await second.page.get_by_role("button", name="Unpin").click()
    for one in (chat, second):
        await expect(one.page.get_by_role("region", name="Pinned")).to_have_count(0)
        await expect(one.conversations).to_have_text(["said later", "to be kept"])


@pytest.mark.parametrize("undone", [True, False])
async def test_a_deleted_conversation_can_be_brought_back_for_a_while(
    services: Services, chat: Chat, undone: bool
) -> None:
    system = await _with_one(services, chat, "to be deleted")
    await chat.conversations.first.hover()
    await chat.page.get_by_role("button", name="Options of to be deleted").click()
    await chat.page.get_by_role("button", name="Delete", exact=True).click()
    await expect(chat.conversations).to_have_count(0)
    await expect(chat.questions).to_have_count(0)
    undo = chat.page.get_by_role("button", name="Undo")
    if undone:
        await undo.click()
        await chat.sees_questions("to be deleted")  # it was open, and is so again
    else:
        await expect(undo).to_have_count(0, timeout=15_000)
    await chat.open(system.url)
    await expect(chat.conversations).to_have_text(["to be deleted"] if undone else [])


@pytest.mark.requirement("CH-22", "GW-8")
async def test_what_an_edit_and_another_answer_replace_is_gone_back_to_with_the_keyboard(
    services: Services, chat: Chat
) -> None:
    await _with_one(services, chat, "say this")
    await chat.answers.last.get_by_role("button", name="Answer again").click()
    versions = chat.answers.last.get_by_role("group", name="Version 2 of 2")
    await expect(versions).to_contain_text("2 / 2")
    await chat.sees_answers(answer_to("say this"))
    second = await chat.answers.last.get_attribute("data-message-id")
    await versions.get_by_role("button", name="Earlier version").focus()
    await chat.page.keyboard.press("Enter")
    # Where it goes on: at the one button there that leads anywhere.
    back = chat.answers.last.get_by_role("group", name="Version 1 of 2").get_by_role("button", name="Later version")
    await expect(back).to_be_focused()
    assert await chat.answers.last.get_attribute("data-message-id") != second

    await chat.questions.last.get_by_role("button", name="Edit").click()
    await chat.page.get_by_role("textbox", name="Edit your message").fill("say that")
    await chat.page.keyboard.press("Enter")
    await chat.sees_questions("say that")
    await chat.sees_answers(answer_to("say that"))
    await chat.page.reload()
    await chat.sees_questions("say that")
    await expect(chat.answers.last.get_by_role("group", name="Version")).to_have_count(0)
    await chat.questions.last.get_by_role("button", name="Earlier version").click()
    await chat.sees_questions("say this")
    await expect(chat.answers.last.get_by_role("group", name="Version 1 of 2")).to_be_visible()
    await chat.questions.last.get_by_role("button", name="Later version").click()
    await chat.sees_questions("say that")

    # Nothing of what is typed behind a click is lost.
    await chat.page.get_by_role("link", name="New chat").click()
    await chat.page.keyboard.type("at once")
    await expect(chat.box).to_have_value("at once")
    await expect(chat.questions).to_have_count(0)


async def test_the_list_is_grouped_by_days(services: Services, chat: Chat) -> None:
    await _with_one(services, chat, "something")
    await expect(chat.page.get_by_role("heading", name="Today")).to_be_visible()


async def test_an_address_of_no_conversation_says_so(services: Services, chat: Chat) -> None:
    system = await services.whole(workers=0, consumers=0)
    page = chat.page
    for address in ("nothing-here", "%20no%20id"):
        await page.goto(f"{system.url}/#/c/{address}")
        await expect(page.get_by_role("alert")).to_have_text("This conversation does not exist, or is not yours.")
        await expect(page.get_by_role("heading", level=1)).to_have_text("No conversation")
        await expect(page.get_by_role("textbox", name="Message")).to_have_count(0)
    await page.keyboard.press("Enter")
    await expect(chat.box).to_be_focused()
    await expect(page.get_by_role("heading", level=1)).to_have_text("New chat")


async def test_a_conversation_is_printed_whole(services: Services, chat: Chat) -> None:
    await _with_one(services, chat, "to be printed")
    await chat.page.emulate_media(media="print")
    await expect(chat.box).to_be_hidden()
    await expect(chat.page.get_by_role("navigation")).to_be_hidden()
    await expect(chat.answers.last).to_be_visible()
