"""From Enter on nothing that was typed is lost by a reload, whatever the moment, in a real browser."""

import re

import pytest
from playwright.async_api import Page, Route, expect

from harness.model_server import answer_to
from harness.processes.services import Services
from tests.browser.chat import Chat
from tests.browser.holding import Holding, comes, holding
from tests.browser.scripted import ScriptedChat
from tests.browser.turns import BEGIN, END, MARKDOWN, begin, text

pytestmark = pytest.mark.requirement("GW-8")

_POST = "**/api/chat"
_DIAGRAM = "```mermaid\nflowchart LR\n  A --> B\n```\n"


async def _reload_before_it_arrives(page: Page, sending: Holding, *, delivered: bool) -> None:
    """Send what is in the box, and reload the page before it has an answer. `delivered`: the server has it by then."""
    async with sending.next(delivered=delivered) as held:
        await page.keyboard.press("Enter")
        await comes(held)
        await page.reload()


async def test_a_first_message_and_an_edit_are_there_after_a_reload_at_any_moment(
    services: Services, chat: Chat
) -> None:
    system = await services.whole()
    page = chat.page
    sending = await holding(page, _POST)
    await chat.open(system.url)
    for number in range(4):
        text = f"moment {number} [[tokens=2 rate=0]]"
        await page.keyboard.type(text)
        if number < 2:
            await _reload_before_it_arrives(page, sending, delivered=number == 1)
        elif number == 2:
            async with page.expect_response(_POST):
                await page.keyboard.press("Enter")
            await page.reload()
        else:
            await page.keyboard.press("Enter")
            assert "#/c/" in page.url
            await page.reload()
        await chat.sees_questions(text)
        await chat.sees_answers(answer_to(text, 2))
        await expect(chat.box).to_have_value("")
        await expect(chat.conversations).to_have_count(number + 1)
        await page.get_by_role("link", name="New chat").click()
        await expect(chat.questions).to_have_count(0)

    await chat.conversations.first.get_by_role("link").click()
    for number in range(2):
        await chat.questions.last.get_by_role("button", name="Edit").click()
        text = f"edit {number} [[tokens=2 rate=0]]"
        await page.get_by_role("textbox", name="Edit your message").fill(text)
        await _reload_before_it_arrives(page, sending, delivered=number == 1)
        await chat.sees_questions(text)
        await chat.sees_answers(answer_to(text, 2))
        await expect(chat.questions.last.get_by_role("group", name=f"Version {number + 2} of")).to_be_visible()


async def test_a_message_that_may_be_sent_again_is_there_after_a_reload(chat: Chat, scripted: ScriptedChat) -> None:
    said = {"code": "BUDGET_REACHED", "detail": "It is used up.", "may_go_on": True}
    scripted.refusal = (said, 429)
    await chat.open(scripted.url)
    await chat.send("all the same")
    again = chat.page.get_by_role("button", name="Go on all the same")
    await expect(again).to_be_visible()
    await chat.page.reload()
    await expect(chat.questions).to_contain_text(["all the same"])
    await expect(again).to_be_visible()
    scripted.refusal = None
    await again.click()
    await scripted.asked()
    await chat.sees_questions("all the same")


@pytest.mark.parametrize("gone", ["the network", "its version"])
async def test_a_page_whose_program_does_not_come_is_there_when_it_does_with_what_was_typed(
    services: Services, chat: Chat, gone: str
) -> None:
    gateway = await services.gateway()
    tries = 0

    async def twice_not(route: Route) -> None:
        nonlocal tries
        tries += 1
        if tries > 2:
            await route.continue_()
        elif gone == "the network":
            await route.abort()
        else:
            await route.fulfill(status=404)

    await chat.page.route("**/assets/index-*.js", twice_not)
    await chat.page.goto(gateway.url)
    await expect(chat.page.locator("textarea")).to_be_focused()
    await chat.page.keyboard.type("typed before")
    await expect(chat.page.get_by_role("link", name="New chat")).to_be_visible()
    await expect(chat.box).to_have_value("typed before")
    assert tries == 3


async def test_a_page_that_is_of_a_version_which_is_gone_becomes_the_new_one_and_keeps_the_draft(
    services: Services, chat: Chat
) -> None:
    gateway = await services.gateway()
    documents = 0

    async def of_two_versions(route: Route) -> None:
        nonlocal documents
        documents += route.request.is_navigation_request()
        page = await (await route.fetch()).text()
        # The first page is the old one's; whoever asks from there is answered by the new one.
        old = documents == 1 and not route.request.is_navigation_request()
        await route.fulfill(body=page.replace("/assets/index-", "/assets/index-new-") if old else page)

    async def gone_with_the_old_one(route: Route) -> None:
        if documents > 1:
            await route.continue_()
        else:
            await chat.box.fill("a draft")
            await route.fulfill(status=404)

    await chat.page.route("**/assets/talk-*.js", gone_with_the_old_one)
    await chat.page.route(f"{gateway.url}/", of_two_versions)
    async with chat.page.expect_response(lambda answer: "/assets/talk-" in answer.url and answer.ok):
        await chat.page.goto(gateway.url)
    await expect(chat.page.get_by_role("link", name="New chat")).to_be_visible()
    await expect(chat.box).to_have_value("a draft")
    assert documents == 2


async def test_a_page_that_is_old_is_whole_without_what_is_gone_says_so_and_is_renewed_with_the_draft(
    chat: Chat, scripted: ScriptedChat
) -> None:
    page, answer, documents = chat.page, chat.answers.last, 0

    async def of_two_versions(route: Route) -> None:
        nonlocal documents
        documents += route.request.is_navigation_request()
        body = await (await route.fetch()).text()
        # Who asks from an old page is answered by the new version.
        old = documents < 3 and not route.request.is_navigation_request()
        await route.fulfill(body=body.replace("/assets/index-", "/assets/index-new-") if old else body)

    async def gone(route: Route) -> None:
        there = documents > (2 if "/de-" in route.request.url else 1)
        await (route.continue_() if there else route.fulfill(status=404))

    await page.route(f"{scripted.url}/", of_two_versions)
    await page.route(re.compile(r"/assets/(highlight|math|de)-"), gone)
    turn = await begin(chat, scripted)
    await turn.say(BEGIN, *text(MARKDOWN), END)
    await scripted.finish()
    await expect(page.get_by_role("note")).to_contain_text("There is a newer version of this page.")
    await expect(answer.locator("pre").first).to_contain_text("return level > 3.5")
    await expect(answer).to_contain_text("x^2")
    await expect(answer.locator(".hljs-keyword, math")).to_have_count(0)
    await chat.box.fill("a draft")
    await page.get_by_role("button", name="Reload").click()
    await expect(answer.locator(".hljs-keyword").first).to_have_text("def")
    await expect(answer.locator("math")).to_have_count(1)
    await expect(page.get_by_role("note")).to_have_count(0)
    # Another language is wanted of the whole page: it is renewed at once.
    await page.get_by_role("button", name="Settings").click()
    await page.get_by_label("Language").select_option("de")
    await expect(page.get_by_role("link", name="Neuer Chat")).to_be_visible()
    await expect(page.locator("#text")).to_have_value("a draft")
    await expect(answer.locator(".hljs-keyword").first).to_have_text("def")
    await expect(answer.locator("math")).to_have_count(1)
    assert documents == 3


async def test_what_is_loaded_later_may_be_long_in_coming_or_come_on_the_second_try(
    chat: Chat, scripted: ScriptedChat
) -> None:
    page, answer, failed = chat.page, chat.answers.last, list[str]()

    async def not_at_first(route: Route) -> None:
        [part] = re.findall(r"/assets/([a-z]+)", route.request.url)
        is_second = part in failed
        failed.append(part)
        await (route.continue_() if is_second else route.abort() if part == "highlight" else route.fulfill(status=404))

    # Not in the frame of diagrams, which has no origin.
    language = """localStorage["sluiceway.preferences"] = '{"language": "de"}'"""
    await page.add_init_script(f"if (window === top) {language}")
    words, talk = await holding(page, "**/assets/de-*.js"), await holding(page, "**/assets/talk-*.js")
    await page.route(re.compile("/assets/(highlight|math|flow)"), not_at_first)
    await page.clock.install()
    async with words.next() as no_words, talk.next() as no_program:
        await page.goto(scripted.url)
        await comes(no_words)
        await comes(no_program)
        await page.clock.fast_forward(6000)
        await page.clock.resume()
        await page.get_by_role("button", name="Settings").click()
        await expect(page.locator("#alert")).to_have_text("Loading…")
        await expect(page.get_by_role("dialog")).to_have_count(0)
        talk.release()
        await expect(page.get_by_role("dialog")).to_be_visible()
        await expect(page.locator("#alert")).to_have_count(0)
        await page.keyboard.press("Escape")
        await chat.box.focus()
        await chat.send("please")
        turn = await scripted.asked()
        await turn.say(BEGIN, *text(MARKDOWN + _DIAGRAM), END)
        await scripted.finish()
        await expect(answer.locator(".hljs-keyword").first).to_have_text("def")
        await expect(answer.locator("math")).to_have_count(1)
        await expect(answer.get_by_role("img", name="Diagram")).to_be_visible()
        await expect(page.get_by_role("note")).to_have_count(0)
    await expect(page.get_by_role("link", name="Neuer Chat")).to_be_visible()
    assert {"flow", "highlight", "math"} == {part for part in failed if failed.count(part) > 1}
