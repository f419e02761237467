"""Titles, search in messages, and what is known about a person, in a real browser against real services."""

import pytest
from playwright.async_api import expect

from harness.clients.asking import questions
from harness.model_server import ModelServer, answer_to
from harness.processes.services import Services
from harness.waiting import wait_until
from tests.browser.chat import TIMEOUT_MS, Chat


@pytest.mark.requirement("CH-3", "CH-1", "CH-4")
async def test_a_title_comes_while_the_answer_is_written_and_messages_are_found(
    services: Services, chat: Chat, model: ModelServer
) -> None:
    system = await services.whole(TITLES="true")
    await model.script({"tokens": 3, "rate": 0}, {"gate": "titled"}, {"tokens": 3, "rate": 0}, match="of the river")
    await model.script({"text": "The <i>long</i> river"}, match="of the river")
    await chat.open(system.url)
    await chat.send("Tell me of the river and its locks")
    await expect(chat.page.get_by_role("heading", name="The long river")).to_be_visible(timeout=TIMEOUT_MS)
    await expect(chat.conversations).to_have_text(["The long river"])
    await model.open_gate("titled")
    await expect(chat.answers).to_have_count(1)

    for number in range(8):
        await chat.page.get_by_role("link", name="New chat").click()
        await expect(chat.answers).to_have_count(0)
        await chat.send(f"word{number} [[tokens=2 rate=0]]")
        await chat.sees_answers(answer_to(f"word{number} [[tokens=2 rate=0]]", 2))
    await chat.page.get_by_role("searchbox").fill("locks")
    match = chat.page.get_by_role("link", name="Tell me of the river and its locks")
    await match.click()
    await expect(chat.text_of(chat.questions)).to_have_text(["Tell me of the river and its locks"])
    await expect(chat.questions).to_be_focused()

    await chat.page.request.put(f"{system.url}/api/chat/me/understanding", data={"name": "Ada", "likes": "rivers"})
    await chat.page.get_by_role("button", name="Settings").click()
    known = chat.page.get_by_role("region", name="What is known about you")
    await expect(known.get_by_role("listitem")).to_have_count(2)
    await known.get_by_role("button", name="Forget “name”").click()
    await expect(known.get_by_role("listitem")).to_have_count(1)
    await expect(known).to_contain_text("rivers")


@pytest.mark.requirement("CH-4", "CH-1", "LC-3")
async def test_a_temporary_chat_is_in_no_list_and_knows_the_persons_instructions_alone(
    services: Services, chat: Chat, model: ModelServer
) -> None:
    system = await services.whole()
    page = chat.page
    await chat.open(system.url)
    await page.request.put(f"{system.url}/api/chat/me/understanding", data={"name": "Ada"})
    await page.get_by_role("button", name="Settings").click()
    box = page.get_by_role("textbox", name="Your instructions")
    await box.fill("Answer in metric units.")
    # What is not saved is a draft.
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Settings").click()
    await expect(box).to_have_value("Answer in metric units.")
    await expect(page.get_by_role("dialog").get_by_role("status")).to_have_text("Not saved yet.")
    await box.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog").get_by_role("status")).to_have_text("Saved")
    await page.keyboard.press("Escape")

    toggle = page.get_by_role("button", name="Temporary chat", pressed=False)
    await chat.box.fill("a secret river")
    await toggle.focus()
    await page.keyboard.press("Enter")
    note = page.get_by_role("note")
    await expect(note).to_contain_text("deleted a day after its last message")
    # What was written stays, and a reload is still in a temporary chat.
    await page.reload()
    await expect(note).to_be_visible()
    await expect(chat.box).to_have_value("a secret river")
    await chat.box.press("Enter")
    await chat.sees_answers(answer_to("a secret river"))
    system_prompt = (await questions(model))[-1].body["messages"][0]["content"]
    assert "Answer in metric units." in system_prompt
    assert "Ada" not in system_prompt
    await page.reload()
    await chat.sees_answers(answer_to("a secret river"))
    await expect(page.get_by_role("heading", level=1)).to_have_text("Temporary chat")
    await expect(chat.conversations).to_have_count(0)
    kept = await page.evaluate("JSON.stringify(localStorage)")
    assert "secret" not in kept
    found = await page.request.get(f"{system.url}/api/chat/search?q=secret")
    assert await found.json() == {"sessions": [], "messages": []}

    session = f"{system.url}/api/chat/sessions/{page.url.rpartition('/')[2]}"
    assert (await (await page.request.get(session)).json())["temporary"] is True
    await page.get_by_role("button", name="Delete it now").click()
    await expect(chat.questions).to_have_count(0)
    await expect(chat.box).to_be_focused()
    await expect(note).to_have_count(0)

    async def is_gone() -> bool:
        return (await page.request.get(session)).status == 404

    await wait_until(is_gone, what="the session is deleted")


@pytest.mark.requirement("CH-20")
async def test_a_person_is_asked_when_the_budget_of_the_day_is_used_up_and_may_continue(
    services: Services, chat: Chat
) -> None:
    system = await services.whole(DAILY_TOKENS_PER_USER="1", BUDGET_REACHED="ask")
    await chat.open(system.url)
    await chat.send("one [[tokens=2 rate=0]]")
    await chat.sees_answers(answer_to("one [[tokens=2 rate=0]]", 2))

    await chat.send("two [[tokens=2 rate=0]]")
    await expect(chat.log.get_by_text("What you may use within a day is used up.")).to_be_visible()
    await chat.page.get_by_role("button", name="Go on all the same").click()

    await chat.sees_answers(*(answer_to(f"{word} [[tokens=2 rate=0]]", 2) for word in ("one", "two")))
