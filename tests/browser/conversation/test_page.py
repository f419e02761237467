"""The chat page, in a real browser, against real services and a fake model that waits at gates where a test says so."""

import asyncio
import re

import pytest
from playwright.async_api import BrowserContext, Locator, Route, expect

from harness.databases.valkey import Valkey
from harness.model_server import ModelServer, answer_to
from harness.processes.services import Services
from harness.waiting import wait_until
from tests.browser.chat import TIMEOUT_MS, Chat

# Twenty words come at once, the others when the gate is opened: the middle of an answer lasts as long as a test likes.
GATED = "water goes through a gate [[tokens=60 rate=0 gate_after=20:middle]]"
BEGINNING = answer_to(GATED, 20)
WHOLE = answer_to(GATED, 60)
LINES_BELOW = "log => (log.scrollHeight - log.scrollTop - log.clientHeight) / 25"
SENTENCE = re.compile(r"^[A-Z].{15,}[.!]$")


async def test_an_answer_grows_while_it_is_written(services: Services, model: ModelServer, chat: Chat) -> None:
    system = await services.whole()
    await chat.open(system.url)
    await expect(chat.box).to_be_focused()
    await chat.send(GATED)
    await chat.sees_questions(GATED)
    await chat.sees_beginning(BEGINNING)
    await expect(chat.status).to_have_text("Answering…")
    await chat.watch_last_answer()
    await model.open_gate("middle")
    await chat.sees_answers(WHOLE)
    await chat.saw_nothing_but_beginnings_of(WHOLE)
    await expect(chat.status).to_have_text("")
    await expect(chat.box).to_be_focused()
    await expect(chat.box).to_have_value("")
    await expect(chat.conversations).to_have_count(1)
    await expect(chat.conversations.first).to_contain_text("water goes through a gate")


async def test_a_reload_in_mid_answer_shows_the_whole_answer_once(
    services: Services, model: ModelServer, chat: Chat
) -> None:
    system = await services.whole()
    await chat.open(system.url)
    await chat.send(GATED)
    await chat.sees_beginning(BEGINNING)
    await chat.page.reload()
    await chat.sees_questions(GATED)
    await chat.sees_beginning(BEGINNING)
    await model.open_gate("middle")
    await chat.sees_answers(WHOLE)
    await chat.page.reload()
    await chat.sees_answers(WHOLE)


@pytest.mark.requirement("CH-13")
async def test_stop_keeps_what_was_said(services: Services, model: ModelServer, chat: Chat) -> None:
    system = await services.whole()
    await chat.open(system.url)
    await chat.send(GATED)
    await chat.sees_beginning(BEGINNING)
    await chat.stop_button.click()
    await chat.sees_answers(BEGINNING)
    await expect(chat.answers.last).to_contain_text("Stopped.")
    await expect(chat.box).to_be_focused()
    await chat.page.reload()
    await chat.sees_answers(BEGINNING)
    await expect(chat.answers.last).to_contain_text("Stopped.")
    await model.wait_for(lambda request: request.client_closed_at)


async def test_a_second_tab_shows_the_same_and_hears_of_what_comes(
    services: Services, model: ModelServer, chat: Chat, context: BrowserContext
) -> None:
    system = await services.whole()
    await chat.open(system.url)
    await chat.send(GATED)
    await chat.sees_beginning(BEGINNING)
    second = Chat(await context.new_page())
    await second.open(chat.page.url)
    await second.sees_beginning(BEGINNING)
    await model.open_gate("middle")
    await chat.sees_answers(WHOLE)
    await second.sees_answers(WHOLE)
    await second.send("and then")
    await chat.sees_questions(GATED, "and then")
    await chat.sees_answers(WHOLE, answer_to("and then"))
    await second.sees_answers(WHOLE, answer_to("and then"))


@pytest.mark.requirement("GW-1")
async def test_an_answer_outlives_its_gateway(services: Services, model: ModelServer, chat: Chat) -> None:
    system = await services.whole()
    await chat.open(system.url)
    await chat.send(GATED)
    await chat.sees_beginning(BEGINNING)
    await chat.watch_last_answer()
    system.gateway.kill9()
    await expect(chat.status).to_contain_text("Reconnecting…")
    await model.open_gate("middle")
    await system.gateway.start("/healthz")
    await chat.sees_answers(WHOLE)
    await chat.saw_nothing_but_beginnings_of(WHOLE)


async def test_an_answer_outlives_its_worker(services: Services, model: ModelServer, chat: Chat) -> None:
    system = await services.whole()
    await chat.open(system.url)
    await chat.send(GATED)
    await chat.sees_beginning(BEGINNING)
    await chat.watch_last_answer()
    system.worker.kill9()
    await model.open_gate("middle")
    await system.worker.start()
    await chat.sees_answers(WHOLE)
    await chat.saw_nothing_but_beginnings_of(WHOLE)
    await chat.page.reload()
    await chat.sees_answers(WHOLE)


@pytest.mark.requirement("OP-7")
@pytest.mark.requirement("TS-12")
async def test_an_answer_outlives_everything_that_redis_knew(
    services: Services, model: ModelServer, chat: Chat, valkey: Valkey
) -> None:
    system = await services.whole()
    await chat.open(system.url)
    await chat.send(GATED)
    await chat.sees_beginning(BEGINNING)
    await chat.watch_last_answer()
    valkey.flush()
    await model.open_gate("middle")
    await chat.sees_answers(WHOLE)
    await chat.saw_nothing_but_beginnings_of(WHOLE)
    await chat.page.reload()
    await chat.sees_answers(WHOLE)


@pytest.mark.requirement("CH-1")
async def test_old_conversations_are_there_after_a_restart_of_everything(services: Services, chat: Chat) -> None:
    system = await services.whole()
    await chat.open(system.url)
    await chat.send("the first conversation")
    await chat.sees_answers(answer_to("the first conversation"))
    await chat.page.get_by_role("link", name="New chat").click()
    await expect(chat.questions).to_have_count(0)
    await chat.send("the second one\nhas two lines")
    await chat.sees_answers(answer_to("the second one\nhas two lines"))
    for service in (system.gateway, system.worker, system.consumer):
        await service.restart("/healthz" if service is system.gateway else "/readyz")
    await chat.open(system.url)
    await expect(chat.conversations).to_have_text(["the second one has two lines", "the first conversation"])
    await chat.conversations.last.get_by_role("link").click()
    await chat.sees_questions("the first conversation")
    await chat.sees_answers(answer_to("the first conversation"))
    await chat.page.go_back()
    await expect(chat.questions).to_have_count(0)


async def test_a_message_that_finds_no_gateway_goes_when_there_is_one(services: Services, chat: Chat) -> None:
    system = await services.whole()
    await chat.open(system.url)
    system.gateway.kill9()
    await chat.send("is anybody there")
    await expect(chat.questions.last).to_contain_text("Not sent yet.", timeout=TIMEOUT_MS)
    await expect(chat.page.get_by_role("button", name="Try again")).to_be_visible()
    await system.gateway.start("/healthz")
    await chat.sees_answers(answer_to("is anybody there"))
    await chat.sees_questions("is anybody there")


@pytest.mark.requirement("CH-12")
async def test_a_second_message_waits_for_the_first(services: Services, model: ModelServer, chat: Chat) -> None:
    system = await services.whole()
    await chat.open(system.url)
    await chat.send(GATED)
    await chat.sees_beginning(BEGINNING)
    await chat.send("and the next")
    await expect(chat.questions.last).to_contain_text("Queued.")
    await chat.page.reload()
    await chat.sees_questions(GATED, "and the next")
    await chat.sees_beginning(BEGINNING)
    await model.open_gate("middle")
    await chat.sees_answers(WHOLE, answer_to("and the next"))
    order = await chat.page.locator("article").evaluate_all("all => all.map(one => one.classList.contains('user'))")
    assert order == [True, False, True, False]


@pytest.mark.requirement("CH-12", "GW-8")
async def test_what_waits_is_changed_taken_back_or_stopped_with_the_rest(
    services: Services, model: ModelServer, chat: Chat
) -> None:
    system = await services.whole()
    await chat.open(system.url)
    await chat.send(GATED)
    await chat.sees_beginning(BEGINNING)
    waiting = chat.questions.filter(has_text="Queued.")
    for text in ("one", "two", "three"):
        await chat.send(text)
        await expect(waiting.last).to_contain_text(text)
    await waiting.filter(has_text="two").get_by_role("button", name="Take it back").click()
    await expect(waiting).to_have_count(2)
    await waiting.filter(has_text="one").get_by_role("button", name="Change it").click()
    await expect(chat.box).to_have_value("one")
    await chat.box.fill("")
    await chat.page.keyboard.press("ArrowUp")
    await expect(chat.box).to_have_value("three")
    await expect(waiting).to_have_count(0)
    await chat.page.reload()
    await chat.sees_questions(GATED)
    await chat.sees_beginning(BEGINNING)
    await expect(chat.box).to_have_value("three")
    await chat.page.keyboard.press("Enter")
    await expect(waiting).to_have_count(1)
    await chat.send("four")
    await expect(waiting).to_have_count(2)

    # Its answer begins while it is being taken back: that is told, and it is answered.
    held = asyncio.Event()

    async def late(route: Route) -> None:
        await held.wait()
        await route.continue_()

    await chat.page.route("**/messages/*", late)
    await waiting.first.get_by_role("button", name="Take it back").click()
    await model.script({"text": "It says "}, {"gate": "second"}, {"text": "more"}, match="three")
    await model.open_gate("middle")
    await expect(chat.text_of(chat.answers.last)).to_have_text("It says ", timeout=TIMEOUT_MS)
    held.set()
    await expect(chat.page.get_by_role("alert")).to_contain_text("its answer has begun")
    await chat.page.unroute("**/messages/*")

    await chat.page.get_by_role("button", name="Stop all").click()
    await expect(chat.box).to_have_value("four")
    await expect(chat.stop_button).to_be_hidden(timeout=TIMEOUT_MS)
    await chat.sees_questions(GATED, "three")
    await expect(chat.answers.last).to_contain_text("Stopped.")


async def test_a_failure_is_told_in_a_sentence_and_stays_in_the_history(services: Services, chat: Chat) -> None:
    system = await services.whole()
    await chat.open(system.url)
    await chat.send("no entry [[status=401]]")
    notice = chat.answers.last.locator(".failure")
    await expect(notice).to_have_text(SENTENCE, timeout=TIMEOUT_MS)
    said = await notice.text_content()
    await expect(chat.stop_button).to_be_hidden()
    await chat.page.reload()
    await expect(chat.answers.last.locator(".failure")).to_have_text(said or "")


async def test_markup_is_shown_as_the_text_that_it_is(services: Services, chat: Chat) -> None:
    markup = "<img src=x onerror=alert(1)><b>bold</b><script>alert(2)</script>"
    system = await services.whole()
    await chat.open(system.url)
    await chat.send(f"{markup} [[reasoning=3]]")
    await chat.sees_questions(f"{markup} [[reasoning=3]]")
    await chat.sees_answers(answer_to(markup))
    assert await chat.page.locator("article :is(img, b, script)").count() == 0


async def test_reasoning_is_folded_away_with_its_time_and_can_be_read(services: Services, chat: Chat) -> None:
    system = await services.whole()
    await chat.open(system.url)
    await chat.send("think first [[reasoning=4 tokens=2]]")
    await chat.sees_answers(answer_to("think first", 2))
    reasoning = chat.answers.last.locator("details")
    await expect(reasoning.locator(".text")).to_be_hidden()
    await reasoning.get_by_text("Reasoning").click()
    await expect(reasoning.locator(".text")).to_have_text(answer_to("think first", 4))
    took = re.compile(r"^Reasoning · \d+ s$")
    await expect(reasoning.locator("summary")).to_have_text(took)
    await chat.page.reload()
    await expect(reasoning.locator("summary")).to_have_text(took)


async def test_the_newest_line_stays_in_sight_unless_the_reader_scrolls_away(
    services: Services, model: ModelServer, chat: Chat
) -> None:
    system = await services.whole()
    await chat.open(system.url)
    long = "a long answer [[tokens=3000 rate=0 gate_after=1500:middle]]"
    await chat.send(long)
    await chat.sees_beginning(answer_to(long, 1500))
    newest = chat.page.get_by_role("button", name="Newest")
    await expect(newest).to_be_hidden()
    messages = chat.page.get_by_role("log")
    await _is_at_the_end(messages)
    await messages.hover()
    await chat.page.mouse.wheel(0, -600)
    await expect(newest).to_be_visible()
    await model.open_gate("middle")
    await chat.sees_answers(answer_to(long, 3000))
    assert await messages.evaluate(LINES_BELOW) > 20
    await newest.click()
    await expect(newest).to_be_hidden()
    await _is_at_the_end(messages)


async def _is_at_the_end(messages: Locator) -> None:
    """It follows what has grown with the next frame."""

    async def look() -> bool:
        return bool(await messages.evaluate(LINES_BELOW) < 1)

    await wait_until(look, what="the newest line is in sight")


async def test_what_is_older_comes_before_the_reader_reaches_it(services: Services, chat: Chat) -> None:
    system = await services.whole(DEFAULT_PAGE_SIZE="4")
    await chat.open(system.url)
    texts = ["one", "two", "three"]
    for count in range(1, 4):
        await chat.send(texts[count - 1])
        await chat.sees_answers(*(answer_to(text) for text in texts[:count]))
    await chat.page.reload()
    await chat.sees_questions(*texts)
    await chat.sees_answers(*(answer_to(text) for text in texts))
    for text in ("a", "b", "c", "d"):
        await chat.page.get_by_role("link", name="New chat").click()
        await expect(chat.questions).to_have_count(0)
        await chat.send(text)
        await chat.sees_answers(answer_to(text))
    await chat.page.reload()
    await expect(chat.conversations).to_have_text(["d", "c", "b", "a", "one"])


async def test_the_page_fits_a_phone(services: Services, chat: Chat) -> None:
    system = await services.whole()
    await chat.page.set_viewport_size({"width": 360, "height": 640})
    await chat.open(system.url)
    await chat.box.focus()
    await chat.send("a" * 120)
    await chat.sees_answers(answer_to("a" * 120))
    assert await chat.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    list_of_conversations = chat.page.get_by_role("navigation", name="Conversations")
    await expect(list_of_conversations).to_be_hidden()
    await chat.page.get_by_role("button", name="Conversations").click()
    await expect(list_of_conversations.get_by_role("link", name="New chat")).to_be_focused()
    await chat.page.keyboard.press("Escape")
    await expect(list_of_conversations).to_be_hidden()


async def test_the_page_is_dark_where_the_machine_is(services: Services, chat: Chat) -> None:
    system = await services.whole(workers=0, consumers=0)
    await chat.open(system.url)
    light, dark = [await _background(chat, scheme) for scheme in ("light", "dark")]
    assert min(light) > 200
    assert max(dark) < 60


async def _background(chat: Chat, scheme: str) -> list[int]:
    await chat.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # a literal, through the loop above
    color: str = await chat.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    return [int(part) for part in color.removeprefix("rgb(").removesuffix(")").split(",")]
