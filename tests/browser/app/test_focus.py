"""What is clicked or pressed moves the focus before the next key: what is typed at once goes where it belongs."""

import pytest

from harness.model_server import answer_to
from harness.processes.services import Services
from tests.browser.chat import Chat
from tests.browser.scripted import ScriptedChat
from tests.browser.turns import TOOLS

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


async def test_the_caret_is_behind_a_tool_that_was_picked(scripted: ScriptedChat, chat: Chat) -> None:
    scripted.tools = TOOLS
    await chat.open(scripted.url)
    await chat.page.keyboard.type("/")
    tool = chat.page.get_by_role("option", name="/current_time")
    assert await tool.evaluate(_CLICK) == ["text", [14, 14]]
