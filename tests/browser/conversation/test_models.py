"""The choice of a model on the chat page: only what the server offers, kept with the conversation."""

from typing import Any

import pytest
from playwright.async_api import expect

from harness.processes.services import Services
from tests.browser.chat import Chat
from tests.browser.scripted import ScriptedChat
from tests.browser.turns import BEGIN, END, text

pytestmark = pytest.mark.requirement("GW-8", "CH-5")


def offered(*models: str, default: str | None = None) -> dict[str, Any]:
    limits = {"max_files_per_message": 10, "max_file_bytes": 2**20, "max_queued_per_session": 20}
    return {"models": list(models), "default_model": default, "file_types": [], "limits": limits}


async def _asks(chat: Chat, scripted: ScriptedChat, question: str) -> None:
    await chat.send(question)
    turn = await scripted.asked()
    await turn.say(BEGIN, *text("Said."), END)
    await scripted.finish()
    await expect(chat.stop_button).to_be_hidden()


async def test_the_chosen_model_is_asked_for_now_and_after_a_reload(chat: Chat, scripted: ScriptedChat) -> None:
    scripted.config = offered("small", "large", default="small")
    await chat.open(scripted.url)
    picker = chat.page.get_by_role("combobox", name="Model")
    await expect(picker).to_have_value("small")
    await _asks(chat, scripted, "one")
    await picker.select_option("large")
    await chat.box.focus()
    await _asks(chat, scripted, "two")
    await chat.answers.last.get_by_role("button", name="Answer again").click()
    await scripted.asked()
    await scripted.finish()
    await chat.page.reload()
    await expect(picker).to_have_value("large")
    # While the history is read a message is posted by itself.
    await expect(chat.text_of(chat.answers).first).to_have_text("Said.")
    await expect(chat.stop_button).to_be_hidden()
    await _asks(chat, scripted, "three")
    assert [one.get("model") for one in scripted.triggers] == [None, "large", "large", "large"]
    scripted.config = offered("small", "other", default="small")
    await chat.page.reload()
    await expect(picker).to_have_value("small")
    await expect(chat.text_of(chat.answers).first).to_have_text("Said.")
    await _asks(chat, scripted, "four")
    assert "model" not in scripted.triggers[-1]


async def test_without_a_choice_there_is_nothing_to_pick(chat: Chat, scripted: ScriptedChat) -> None:
    scripted.config = offered("small", default="small")
    await chat.open(scripted.url)
    await _asks(chat, scripted, "one")
    await expect(chat.page.get_by_role("combobox", name="Model")).to_have_count(0)
    scripted.config = offered("small")
    await chat.page.reload()
    picker = chat.page.get_by_role("combobox", name="Model")
    await expect(picker.get_by_role("option")).to_have_text(["Default", "small"])


async def test_the_models_of_the_settings_are_offered_and_asked(services: Services, chat: Chat) -> None:
    models = {"MODEL": "small", "MODELS": '["large"]'}
    gateway = await services.gateway(**models)
    await services.chat_worker(**models)
    await chat.open(gateway.url)
    await chat.page.get_by_role("combobox", name="Model").select_option("large")
    await chat.box.focus()
    await chat.send("hello [[tokens=3 rate=0]]")
    details = chat.answers.last.get_by_role("button", name="Details")
    await details.click()
    await expect(chat.answers.last.locator(".usage")).to_contain_text("large")
