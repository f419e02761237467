"""Two devices of one person, in real browsers against real services: each knows what is done on the other."""

from collections.abc import AsyncIterator

import httpx
import pytest
from playwright.async_api import Browser, expect

from harness.clients.calling import TOOLS_DIR, answers, call, calls_tools, offered
from harness.model_server import ModelServer, answer_to
from harness.processes.services import Services
from harness.waiting import wait_until
from tests.browser.chat import Chat
from tests.browser.conftest import one_browser
from tests.browser.scripted import ScriptedChat

pytestmark = pytest.mark.requirement("GW-9", "GW-8")

_SLEEP_WITH_THE_LOCK = """() => {
    const asleep = navigator.locks.request("sluiceway.person-events", { steal: true }, () => new Promise(() => {}));
    asleep.catch(() => {});
}"""


@pytest.fixture
async def phone(browser: Browser) -> AsyncIterator[Chat]:
    """A tab of another device, which shares nothing with the first but the server."""
    async with one_browser(browser) as context:
        yield Chat(await context.new_page())


async def test_what_is_done_on_one_device_is_seen_on_the_other(
    services: Services, model: ModelServer, chat: Chat, phone: Chat
) -> None:
    system = await services.whole(tool_runners=1, TOOLS_DIR=str(TOOLS_DIR))
    await offered(system.url, "careful")
    await chat.open(system.url)
    await phone.open(system.url)
    listed = phone.page.locator("#sessions")
    running, unread, needs = (
        listed.get_by_role("img", name=name) for name in ("An answer is being written", "A new answer", "Waits for you")
    )
    # Those in which the tool was asked for.
    async with httpx.AsyncClient(base_url=system.url, trust_env=False) as client:
        begun = len((await client.get("/api/chat/sessions")).json()["sessions"])
    await expect(phone.conversations).to_have_count(begun)

    # A conversation that begins on one device is in the other's list, with what becomes of it.
    await model.script({"tokens": 3, "rate": 0}, {"gate": "first"}, {"text": " done"}, match="first words")
    await chat.send("first words")
    await expect(phone.conversations).to_have_count(begun + 1)
    await expect(running).to_be_visible()
    await model.open_gate("first")
    await expect(unread).to_be_visible()
    await expect(running).to_have_count(0)

    # Who opens it there has the answer, and then attaches by himself to what is asked on the first one.
    await phone.conversations.first.get_by_role("link").click()
    await phone.sees_questions("first words")
    await expect(unread).to_have_count(0)
    await model.script({"tokens": 3, "rate": 0}, {"gate": "second"}, {"text": " done"}, match="and then")
    await chat.send("and then")
    await phone.sees_questions("first words", "and then")
    await expect(phone.stop_button).to_be_visible()
    await expect(phone.answers.last).to_have_attribute("aria-busy", "true")
    # What waits there is seen here while the turn runs, and is taken back on either.
    waiting, seen = (one.questions.filter(has_text="Queued.") for one in (chat, phone))
    for number, text in enumerate(("not this", "nor that"), 1):
        await chat.send(text)
        await expect(seen).to_have_count(number)
        await expect(seen.last).to_contain_text(text)
    await seen.first.get_by_role("button", name="Take it back").click()
    await expect(waiting).to_have_count(1)
    await expect(waiting).to_contain_text("nor that")
    await waiting.get_by_role("button", name="Take it back").click()
    await expect(seen).to_have_count(0)
    await phone.sees_questions("first words", "and then")
    await model.open_gate("second")
    await expect(phone.stop_button).to_be_hidden()
    await expect(phone.text_of(phone.answers.last).last).to_contain_text("done")

    # What waits for a person can be answered on either.
    await calls_tools(model, "carefully", call("careful", "call_c", text="hello"), says="May I?")
    await chat.send("carefully now")
    await expect(needs).to_be_visible()
    await answers(model, "carefully", "Said.")
    await phone.page.get_by_role("button", name="Approve").click()
    await expect(chat.text_of(chat.answers.last).last).to_have_text("Said.")
    await expect(needs).to_have_count(0)

    # A title, and the end of it.
    await chat.conversations.first.hover()
    await chat.conversations.first.get_by_role("button").click()
    await chat.page.get_by_role("button", name="Rename").click()
    await chat.page.get_by_role("textbox", name="New title").fill("A better name")
    await chat.page.keyboard.press("Enter")
    await expect(phone.page.get_by_role("heading", name="A better name")).to_be_visible()
    await chat.box.fill("half a thought")
    await phone.conversations.first.hover()
    await phone.conversations.first.get_by_role("button").click()
    await phone.page.get_by_role("button", name="Delete", exact=True).click()
    await expect(chat.conversations).to_have_count(begun, timeout=20_000)
    await expect(chat.questions).to_have_count(0)
    await expect(chat.page.get_by_role("alert")).to_contain_text("deleted in another window")
    await expect(chat.box).to_be_focused()
    await expect(chat.box).to_have_value("half a thought")


async def test_a_tab_that_is_looked_at_takes_over_from_one_that_is_asleep_and_that_one_waits_for_its_turn(
    chat: Chat, scripted: ScriptedChat
) -> None:
    await chat.page.clock.install()
    await chat.open(scripted.url)
    await wait_until(lambda: scripted.is_followed)
    # It has the lock, and does nothing with it.
    asleep = await chat.page.context.new_page()
    await asleep.goto(f"{scripted.url}/api/chat/sessions")
    await asleep.evaluate(_SLEEP_WITH_THE_LOCK)
    await wait_until(lambda: not scripted.is_followed, what="the first tab has given way")
    await chat.page.clock.run_for(40_000)
    await wait_until(lambda: scripted.is_followed, what="it has taken over again")


async def test_tabs_of_one_browser_follow_on_one_connection_and_another_takes_it_over_when_one_is_closed(
    services: Services, chat: Chat
) -> None:
    system = await services.whole()
    await chat.open(system.url)
    others = [Chat(await chat.page.context.new_page()) for _ in range(7)]
    for other in others:
        # More than a browser opens connections for: they would wait for one another.
        await other.open(system.url)
    await chat.page.close()
    await others[0].page.bring_to_front()
    await others[0].send("hello")
    for other in others[1:]:
        await expect(other.conversations).to_have_text(["hello"])
    await others[0].sees_answers(answer_to("hello"))
