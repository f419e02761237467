"""Titles, search in messages, and what is known about a person, in a real browser against real services."""

import pytest
from playwright.async_api import expect

from harness.model_server import ModelServer, answer_to
from harness.processes.services import Services
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
