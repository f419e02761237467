"""What is found in a message leads to that message, however far back it stands."""

import pytest
from playwright.async_api import expect

from tests.browser.chat import Chat
from tests.browser.scripted import ScriptedChat

pytestmark = pytest.mark.requirement("GW-8", "CH-4")

_TIME = "2026-11-22T04:00:00Z"


async def test_a_match_opens_the_conversation_at_its_message_and_leads_there_again(
    chat: Chat, scripted: ScriptedChat
) -> None:
    for number in range(1, 161):
        role = "user" if number % 2 else "assistant"
        scripted.store(
            f"m{number}", role, [{"type": "text", "text": f"Word {number}.\n\n" + "more\n\n" * (number % 7)}]
        )
    page = chat.page
    listed = [{"id": f"s{n}", "title": f"River {n}", "created_at": _TIME, "updated_at": _TIME} for n in range(9)]
    found = [
        {"session_id": "s7", "session_title": "River 7", "message_id": f"m{n}", "snippet": f"Word {n}."}
        for n in (12, 31)
    ]
    await page.route(
        "**/api/chat/sessions", lambda route: route.fulfill(json={"sessions": listed, "next_cursor": None})
    )
    await page.route("**/api/chat/search?*", lambda route: route.fulfill(json={"messages": found}))
    await chat.open(scripted.url)
    await expect(page.get_by_role("searchbox")).to_be_visible()
    await page.keyboard.press("Control+k")
    await expect(page.get_by_role("searchbox")).to_be_focused()
    await page.keyboard.type("word")
    matches = page.get_by_role("region", name="In messages").get_by_role("link")
    messages = {name: page.locator(f"[data-message-id={name}]") for name in ("m12", "m31", "m160")}

    # One of a conversation that is read for it; then another one of the same; and after a reload.
    for match, name in ((0, "m12"), (1, "m31"), (None, "m31")):
        if match is None:
            await page.reload()
        else:
            await matches.nth(match).click()
        await expect(messages[name]).to_be_focused()
        await expect(messages[name]).to_be_in_viewport()
        await expect(messages["m160"]).not_to_be_in_viewport()

    # Who goes away from it is brought back by the same link.
    await page.get_by_role("searchbox").fill("word")
    await page.get_by_role("button", name="Newest").click()
    await expect(messages["m160"]).to_be_in_viewport()
    await matches.nth(1).click()
    await expect(messages["m31"]).to_be_focused()
    await expect(messages["m31"]).to_be_in_viewport()
