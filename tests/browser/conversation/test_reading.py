"""What a person does while the page reads the history is done when it has been read, in a real browser."""

import re
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from playwright.async_api import Page, Route, expect

from harness.model_server import ModelServer, answer_to
from harness.processes.services import Services
from tests.browser.chat import Chat
from tests.browser.holding import Holding, comes, holding
from tests.browser.scripted import ScriptedChat, Turn
from tests.browser.turns import BEGIN, END, begin, text

pytestmark = pytest.mark.requirement("GW-8", "CH-22")

_HISTORY = re.compile("/api/chat/sessions/[^/?]+$")
_GATED = "from another device [[tokens=8 rate=0 gate_after=4:elsewhere]]"


def _session(page: Page) -> str:
    base, _, session_id = page.url.partition("#/c/")
    return f"{base}api/chat/sessions/{session_id}"


async def _choose_what_is_shown(page: Page) -> None:
    newest = await page.locator("[data-message-id]").last.get_attribute("data-message-id")
    shown = await page.request.post(f"{_session(page)}/branch", data={"message_id": newest})
    assert shown.ok, await shown.text()


@asynccontextmanager
async def _reading(page: Page, history: Holding, told: Awaitable[None] | None = None) -> AsyncIterator[None]:
    """The page reads the history, since it was told that it has changed, and gets it at the end."""
    async with history.next() as asked:
        await (told or _choose_what_is_shown(page))
        await comes(asked)
        yield


async def test_what_is_done_while_the_history_is_read_is_done_behind_it(services: Services, chat: Chat) -> None:
    page = chat.page
    history = await holding(page, _HISTORY)
    await chat.open((await services.whole()).url)
    await chat.send("say this")
    await chat.sees_answers(answer_to("say this"))
    async with _reading(page, history):
        await chat.answers.last.get_by_role("button", name="Answer again").click()
    await expect(chat.answers.last.get_by_role("group", name="Version 2 of 2")).to_be_visible()
    await chat.sees_answers(answer_to("say this"))
    async with _reading(page, history):
        await chat.answers.last.get_by_role("button", name="Earlier version").click()
    await expect(chat.answers.last.get_by_role("group", name="Version 1 of 2")).to_be_visible()
    box = page.get_by_role("textbox", name="Edit your message")
    async with _reading(page, history):
        await chat.questions.last.get_by_role("button", name="Edit").click()
        await box.fill("say that")
        await page.keyboard.press("Enter")
        # It is seen that it is not on its way yet.
        await expect(box).to_have_value("say that")
        await expect(box).not_to_be_editable()
    await chat.sees_questions("say that")
    await chat.sees_answers(answer_to("say that"))
    await expect(chat.box).to_be_focused()


async def test_an_edit_that_another_devices_message_comes_before_stays_in_its_box(
    services: Services, model: ModelServer, chat: Chat
) -> None:
    page = chat.page
    history = await holding(page, _HISTORY)
    await chat.open((await services.whole()).url)
    await chat.send("say this")
    await chat.sees_answers(answer_to("say this"))
    box = page.get_by_role("textbox", name="Edit your message")
    async with _reading(page, history):
        await chat.questions.last.get_by_role("button", name="Edit").click()
        await box.fill("say that")
        sent = await page.request.post(f"{_session(page)}/messages", data={"message": _GATED})
        assert sent.ok, await sent.text()
        await page.keyboard.press("Enter")
    await expect(chat.text_of(chat.questions)).to_have_text([_GATED])
    await expect(chat.questions.first.get_by_role("button", name="Send")).to_be_disabled()
    await expect(box).to_be_editable()
    await page.keyboard.press("Enter")
    await model.open_gate("elsewhere")
    await chat.sees_answers(answer_to("say this"), answer_to(_GATED, 8))
    await expect(box).to_have_value("say that")
    await page.keyboard.press("Enter")
    await chat.sees_questions("say that")
    await chat.sees_answers(answer_to("say that"))


async def test_of_another_branch_that_came_while_it_read_nothing_older_stays(
    chat: Chat, scripted: ScriptedChat
) -> None:
    scripted.session_id = "long"

    def say(what: str) -> None:
        scripted.messages.clear()
        for number in range(60):
            scripted.store(f"{what}{number}", "user", [{"type": "text", "text": f"{what} {number}"}])

    say("before")
    history = await holding(chat.page, _HISTORY)
    await chat.page.goto(f"{scripted.url}/#/c/long")
    await chat.page.get_by_text("before 10", exact=True).scroll_into_view_if_needed()
    await expect(chat.questions).to_have_count(60)
    async with _reading(chat.page, history, scripted.tell("turn-ended", Turn("elsewhere", "m", []))):
        say("after")
        # Of it the list is read, too: the page has heard it.
        async with chat.page.expect_request("**/api/chat/sessions"):
            await scripted.tell("session-changed")
    await expect(chat.text_of(chat.questions).last).to_have_text("after 59")
    await expect(chat.questions.filter(has_text="before")).to_have_count(0)


async def test_what_was_taken_back_elsewhere_is_not_back_with_an_older_answer(
    services: Services, model: ModelServer, chat: Chat
) -> None:
    page = chat.page
    history = await holding(page, _HISTORY)
    await chat.open((await services.whole()).url)
    await chat.send(_GATED)
    await expect(chat.text_of(chat.answers).last).not_to_be_empty()
    waits = f"{_session(page)}/messages"
    async with AsyncExitStack() as held:
        older = await held.enter_async_context(history.next(delivered=True))
        sent = await page.request.post(waits, data={"id": "elsewhere", "message": "and then"})
        assert sent.ok, await sent.text()
        await comes(older)
        async with page.expect_response(_HISTORY):
            taken = await page.request.delete(f"{waits}/elsewhere")
            assert taken.ok, await taken.text()
        # Of two questions it asks which one is answered, and shows what it knows then.
        async with page.expect_response(re.compile("/api/chat/tasks/[^/]+$")):
            await held.aclose()
    await page.evaluate("() => new Promise(requestAnimationFrame)")
    await chat.sees_questions(_GATED)
    await model.open_gate("elsewhere")
    await chat.sees_answers(answer_to(_GATED, 8))


async def test_an_answer_that_has_come_whole_with_its_history_is_not_followed_as_well(
    chat: Chat, scripted: ScriptedChat
) -> None:
    """Between the end of a turn and what the server says of it."""
    turn = await begin(chat, scripted)
    await turn.say(BEGIN, *text("Said once."), END)
    await expect(chat.text_of(chat.answers)).to_have_text(["Said once."])
    scripted.store(turn.message_id, "assistant", turn.parts(), {"taskId": turn.task_id, "status": "completed"})
    followed = 0

    async def count(route: Route) -> None:
        nonlocal followed
        followed += 1
        await route.continue_()

    await chat.page.route("**/stream", count)
    for _ in range(2):
        async with chat.page.expect_response(_HISTORY):
            await chat.page.reload()
    await scripted.finish()
    await expect(chat.stop_button).to_have_count(0)
    await chat.sees_answers("Said once.")
    assert followed == 0
