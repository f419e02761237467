"""What is clicked or pressed moves the focus before the next key: what is typed at once goes where it belongs."""

import pytest
from playwright.async_api import expect

from harness.model_server import answer_to
from harness.processes.services import Services
from tests.browser.chat import Chat
from tests.browser.scripted import ScriptedChat
from tests.browser.turns import BEGIN, END, TOOLS, begin, text

pytestmark = pytest.mark.requirement("GW-8")

# Click it, and say what has the focus then, and where its caret is: before the browser draws anything.
_CLICK = """async element => {
    element.click();
    await null;
    const { id, ariaLabel, textContent, value, selectionStart, selectionEnd } = document.activeElement;
    const caret = value === undefined ? null : [selectionStart, selectionEnd];
    return [id || ariaLabel || textContent, caret];
}"""
_PRESS = """async ([element, key]) => {
    element.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
    await null;
    return document.activeElement.id || document.activeElement.ariaLabel;
}"""


async def test_the_focus_is_where_it_belongs_before_the_next_key(services: Services, chat: Chat) -> None:
    system = await services.whole()
    await chat.open(system.url)
    await chat.send("four words of mine")
    await chat.sees_answers(answer_to("four words of mine"))

    edit = chat.questions.last.get_by_role("button", name="Edit")
    assert await edit.evaluate(_CLICK) == ["Edit your message", [18, 18]]
    await chat.page.keyboard.press("Escape")

    options = chat.page.get_by_role("button", name="Options of four words of mine")
    await options.evaluate("one => one.click()")
    rename = chat.page.get_by_role("button", name="Rename")
    assert await rename.evaluate(_CLICK) == ["New title", [0, 18]]
    title = await chat.page.get_by_role("textbox", name="New title").element_handle()
    assert await chat.page.evaluate(_PRESS, [title, "Escape"]) == "Options of four words of mine"

    # What goes with a click gives the focus to what comes in its place.
    page = chat.page
    await page.get_by_role("button", name="Bad answer").click()
    await page.keyboard.type("too short")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Bad answer")).to_be_focused()
    await options.click()
    await page.get_by_role("button", name="Share").click()
    await page.get_by_role("button", name="Make a link").press("Enter")
    await expect(page.get_by_role("textbox", name="Link")).to_be_focused()
    await page.get_by_role("button", name="Stop sharing").press("Enter")
    await expect(page.get_by_role("button", name="Make a link")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(options).to_be_focused()
    await page.keyboard.press("Control+Shift+S")
    await expect(page.locator("#menu")).to_be_focused()
    await page.get_by_role("button", name="Answer again").press("Enter")
    await expect(chat.box).to_be_focused()
    await expect(page.get_by_role("button", name="Answer again")).to_be_visible()

    # An Escape that empties the search is not for the answer that is being written.
    await page.keyboard.press("Control+k")
    await page.keyboard.type("words")
    search = page.get_by_role("searchbox")
    assert (
        await search.evaluate("""async box => {
        let passed = false;
        document.addEventListener("keydown", () => (passed = true), { once: true });
        const key = { key: "Escape", bubbles: true, cancelable: true };
        box.dispatchEvent(new KeyboardEvent("keydown", key));
        return passed;
    }""")
        is False
    )
    await expect(search).to_have_value("")


async def test_the_caret_is_behind_a_tool_that_was_picked(scripted: ScriptedChat, chat: Chat) -> None:
    scripted.tools = TOOLS
    await chat.open(scripted.url)
    await chat.page.keyboard.type("/")
    tool = chat.page.get_by_role("option", name="/current_time")
    assert await tool.evaluate(_CLICK) == ["text", [14, 14]]


async def test_the_box_of_an_edit_is_in_sight_above_a_long_answer_and_what_is_written_in_it_outlives_a_reload(
    scripted: ScriptedChat, chat: Chat
) -> None:
    turn = await begin(chat, scripted)
    await turn.say(BEGIN, *text("\n\n".join(["One line."] * 60)), END)
    await scripted.finish()
    await expect(chat.stop_button).to_be_hidden()
    await expect(chat.answers.get_by_role("button", name="Answer again")).to_be_in_viewport()
    await chat.page.keyboard.press("ArrowUp")
    box = chat.page.get_by_role("textbox", name="Edit your message")
    await expect(box).to_be_focused()
    asked = await box.input_value()
    # The log would follow its newest line in the frames behind this one.
    await chat.page.evaluate("() => new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    await expect(box).to_be_in_viewport()

    await chat.page.keyboard.type(", and more")
    await chat.page.reload()
    edit = chat.questions.get_by_role("button", name="Edit", exact=True)
    await edit.click()
    await expect(box).to_have_value(f"{asked}, and more")
    # Given up, it is not kept.
    await chat.page.keyboard.press("Escape")
    await edit.click()
    await expect(box).to_have_value(asked)
