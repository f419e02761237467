"""What a person looks for on any chat page, and finds here: to copy what he wrote, to have a question answered that was
not, the rest of an answer, the list out of the way, something to begin with, a table whose words are whole."""

from typing import Any

import pytest
from playwright.async_api import BrowserContext, expect

from tests.browser.chat import Chat
from tests.browser.scripted import ScriptedChat
from tests.browser.turns import BEGIN, END, begin, text

pytestmark = pytest.mark.requirement("GW-8")

_CONFIG: dict[str, Any] = {
    "models": [],
    "auth": "none",
    "file_types": [],
    "suggestions": ["What is a sluice?", "/help me"],
    "limits": {"max_files_per_message": 1, "max_file_bytes": 1, "max_queued_per_session": 1},
}
_TABLE = """| Name | What it is good for | Price | Address |
|---|---|---:|---|
| Alpha | some words that may stand on several lines | 12.00 | https://example.com/an-address-that-is-rather-long |

$$\\frac{1}{2}$$
"""
# How many lines the words of a table's first cells take.
_LINES = """() => [...document.querySelectorAll("td:first-child, td:nth-child(3)")].map((cell) => {
    const style = getComputedStyle(cell);
    const inside = cell.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom);
    const range = document.createRange();
    range.selectNodeContents(cell);
    return range.getClientRects().length * (inside > 0);
})"""


async def test_a_question_without_an_answer_is_copied_and_asked_again_and_an_answer_cut_short_continues(
    chat: Chat, scripted: ScriptedChat, context: BrowserContext
) -> None:
    await context.grant_permissions(["clipboard-read", "clipboard-write"])
    turn = await begin(chat, scripted, "What is a sluice?")
    await chat.stop_button.click()
    await turn.end({"type": "abort"})
    question = chat.questions.last
    await expect(question).to_contain_text("It was not answered.")
    await expect(chat.page.locator("#announced")).to_contain_text("It was not answered.")
    await question.get_by_role("button", name="Copy your message").click()
    assert await chat.page.evaluate("navigator.clipboard.readText()") == "What is a sluice?"
    await question.get_by_role("button", name="Answer it").click()
    again = await scripted.asked()
    assert scripted.triggers[-1]["trigger"] == "regenerate-message"
    await expect(question).not_to_contain_text("It was not answered.")
    await again.say(BEGIN, *text("A gate for"), END)
    await scripted.finish("length")
    await chat.answers.last.get_by_role("button", name="Continue").click()
    rest = await scripted.asked()
    await rest.say(BEGIN, *text("water."), END)
    await scripted.finish()
    await chat.sees_answers("A gate for", "water.")
    await chat.sees_questions("What is a sluice?", "Please continue.")
    await expect(chat.answers.first.get_by_role("button", name="Continue")).to_have_count(0)


async def test_the_list_is_put_away_for_good_a_table_keeps_its_words_and_a_suggestion_is_put_into_the_box(
    chat: Chat, scripted: ScriptedChat
) -> None:
    page = chat.page
    scripted.config = _CONFIG
    conversations = page.get_by_role("navigation", name="Conversations")
    turn = await begin(chat, scripted, "A table, please.")
    await turn.say(BEGIN, *text(_TABLE), END)
    await scripted.finish()
    await expect(chat.answers.last.locator("math[display=block]")).to_be_visible()
    toggle = page.get_by_role("button", name="Conversations")
    await expect(toggle).to_have_attribute("aria-expanded", "true")
    await page.keyboard.press("Control+Shift+S")
    await expect(conversations).to_be_hidden()
    await page.reload()
    await expect(chat.answers.last.get_by_role("cell").first).to_be_visible()
    await expect(conversations).to_be_hidden()
    await expect(toggle).to_have_attribute("aria-expanded", "false")
    await page.set_viewport_size({"width": 360, "height": 640})
    assert await page.evaluate(_LINES) == [1, 1]
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await page.set_viewport_size({"width": 1100, "height": 800})
    await page.get_by_role("main").get_by_role("button", name="New chat").click()
    await expect(chat.questions).to_have_count(0)
    await page.get_by_role("list", name="Suggestions").get_by_role("button", name="/help me").click()
    await expect(chat.box).to_be_focused()
    await expect(chat.box).to_have_value("/help me")
    await toggle.click()
    await expect(conversations).to_be_visible()


async def test_an_answer_is_read_aloud_once_block_by_block_and_what_was_there_is_not(
    chat: Chat, scripted: ScriptedChat
) -> None:
    """As a screen reader hears it: the changes of the one region that is announced."""
    scripted.store("q", "user", [{"type": "text", "text": "before"}])
    scripted.store("a", "assistant", [{"type": "text", "text": "An old answer."}])
    await chat.open(f"{scripted.url}/#/c/s")
    await expect(chat.answers).to_have_count(1)
    await expect(chat.page.get_by_role("log")).to_have_attribute("aria-live", "off")
    await chat.page.evaluate("""() => {
        const region = document.getElementById("announced"), heard = window.heard = [];
        new MutationObserver(() => region.textContent && heard.push(region.textContent))
            .observe(region, { childList: true, characterData: true, subtree: true });
    }""")
    await chat.send("please")
    turn = await scripted.asked()
    one = {"type": "text-delta", "id": "t"}
    await turn.say(BEGIN, {"type": "text-start", "id": "t"}, one | {"delta": "The **first** block.\n\nThe sec"})
    await expect(chat.page.locator("#announced")).to_have_text("Assistant: The first block.")
    await turn.say(one | {"delta": "ond block."}, {"type": "text-end", "id": "t"}, END)
    await scripted.finish()
    await expect(chat.page.locator("#announced")).to_have_text("The second block.")
    await chat.answers.last.get_by_role("button", name="Copy", exact=True).click()
    await expect(chat.page.locator("#announced")).to_have_text("Copied")
    heard = await chat.page.evaluate("window.heard")
    assert heard == ["Assistant: The first block.", "The second block.", "Copied"]
