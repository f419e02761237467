"""Files on the page: chosen, dropped and pasted, looked at, taken back, sent, and there after a reload."""

import base64

import pytest
from playwright.async_api import FilePayload, expect

from harness.clients.calling import answers
from harness.model_server import ModelServer
from harness.processes.services import Services
from tests.browser.chat import Chat
from tests.browser.holding import comes, holding

pytestmark = pytest.mark.requirement("GW-8", "CH-17")

# One pixel.
PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
_AWAITED = "It is sent as soon as its files are there."
_DROP = """([kind, name, base64]) => {
    const bytes = Uint8Array.from(atob(base64), (sign) => sign.charCodeAt(0));
    const given = new DataTransfer();
    given.items.add(new File([bytes], name, { type: "image/png" }));
    const box = document.getElementById("text");
    const event = kind === "drop"
        ? new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: given })
        : new ClipboardEvent("paste", { bubbles: true, cancelable: true, clipboardData: given });
    box.dispatchEvent(event);
}"""


async def test_files_are_attached_shown_taken_back_sent_and_there_after_a_reload(
    services: Services, chat: Chat, model: ModelServer
) -> None:
    system = await services.whole(MODEL_PICTURES="yes", MAX_FILE_BYTES="5000", MAX_FILES_PER_MESSAGE="3")
    await answers(model, "what is it?", "A pixel.")
    await chat.open(system.url)
    page = chat.page
    chosen = page.get_by_role("list", name="Files that go with the message").get_by_role("listitem")
    picture = base64.b64encode(PICTURE).decode()
    at_once: list[int] = [0]
    page.on("request", lambda one: at_once.append(at_once[-1] + ("/files?" in one.url)))
    page.on("requestfinished", lambda one: at_once.append(at_once[-1] - ("/files?" in one.url)))
    await page.get_by_label("Attach files").set_input_files(
        [
            FilePayload(name="notes.txt", mimeType="text/plain", buffer="größe".encode()),
            FilePayload(name="large.txt", mimeType="text/plain", buffer=b"x" * 5001),
            FilePayload(name="lie.png", mimeType="image/png", buffer=b"<html>"),
            FilePayload(name="program.exe", mimeType="application/x-msdownload", buffer=b"MZ"),
        ]
    )
    await page.evaluate(_DROP, ["drop", "dropped.png", picture])
    await page.evaluate(_DROP, ["paste", "pasted.png", picture])
    await expect(chosen).to_have_count(6)
    await expect(chosen.nth(1)).to_contain_text("larger")
    await expect(chosen.nth(2)).to_contain_text("What is in it is not what its name says.")
    await expect(chosen.nth(3)).to_contain_text("can be read here: GIF, JPEG, PNG, WEBP, PDF, text.")
    # There were too many before them, and are no more.
    await expect(page.locator("#chosen .failure")).to_have_count(3)
    await expect(chosen.nth(4).locator("img")).to_have_js_property("naturalWidth", 1)
    for name in ("lie.png", "program.exe", "pasted.png"):
        await page.get_by_role("button", name=f"Remove {name}").click()
    await expect(chosen).to_have_count(3)
    await expect(page.locator("#chosen [aria-busy]")).to_have_count(0)
    assert max(at_once) == 1
    # What cannot go along is not silently left out.
    await chat.send("what is it?")
    await expect(page.get_by_role("alert")).to_contain_text("Not sent")
    await expect(chat.box).to_have_value("what is it?")
    await expect(page.get_by_role("button", name="Send without")).to_be_focused()
    await page.get_by_role("button", name="Remove large.txt").click()
    await expect(page.get_by_role("alert")).to_have_count(0)
    await page.get_by_label("Attach files").set_input_files(
        FilePayload(name="large.txt", mimeType="text/plain", buffer=b"x" * 5001)
    )
    await expect(chosen.nth(2)).to_contain_text("larger")
    await expect(page.get_by_role("alert")).to_have_count(0)
    await page.get_by_role("button", name="Send", exact=True).click()
    await page.keyboard.press("Enter")

    await chat.sees_answers("A pixel.")
    await expect(chosen).to_have_count(0)
    [asked] = await model.requests("what is it?")
    kinds = [part["type"] for part in asked.body["messages"][-1]["content"]]
    assert kinds == ["text", "text", "image_url", "text"]
    for _ in range(2):
        await expect(chat.questions.get_by_role("img", name="dropped.png")).to_have_js_property("naturalWidth", 1)
        await expect(chat.questions.get_by_role("link", name="notes.txt")).to_be_visible()
        await page.reload()
    # A message of a file alone.
    await expect(page.get_by_role("button", name="Attach files")).to_be_visible()
    await page.evaluate(_DROP, ["drop", "alone.png", picture])
    await expect(chosen.nth(0)).not_to_have_attribute("aria-busy", "true")
    await page.get_by_role("button", name="Send", exact=True).click()
    await expect(chat.questions.get_by_role("img", name="alone.png")).to_be_visible()
    await expect(chat.answers).to_have_count(2)
    await expect(chat.stop_button).to_be_hidden()


async def test_files_that_come_before_the_limits_are_known_are_judged_by_the_server(
    services: Services, chat: Chat
) -> None:
    system = await services.whole(MAX_FILE_BYTES="1024")
    await chat.page.route("**/config", lambda route: route.abort())
    await chat.open(system.url)
    chosen = chat.page.get_by_role("list", name="Files that go with the message").get_by_role("listitem")
    await chat.page.evaluate(_DROP, ["drop", "dropped.png", base64.b64encode(PICTURE).decode()])
    await chat.page.evaluate(_DROP, ["paste", "lie.png", base64.b64encode(b"<html>").decode()])
    await chat.page.evaluate(_DROP, ["paste", "large.png", base64.b64encode(PICTURE * 20).decode()])
    await expect(chosen).to_have_count(3)
    await expect(chosen.nth(0)).not_to_have_attribute("aria-busy", "true")
    await expect(chosen.nth(1)).to_contain_text("its content is text/plain")
    await expect(chosen.nth(2)).to_contain_text("larger")
    for name in ("lie.png", "large.png"):
        await chat.page.get_by_role("button", name=f"Remove {name}").click()
    # Without a network one waits for it, and so does a message that is sent with it.
    await chat.page.context.set_offline(True)
    await chat.page.evaluate(_DROP, ["drop", "later.png", base64.b64encode(PICTURE).decode()])
    await expect(chosen.nth(1)).to_contain_text("You are offline. Trying again…")
    await chat.send("look at it")
    await expect(chat.page.get_by_text(_AWAITED).last).to_be_visible()
    await expect(chat.box).to_have_value("look at it")
    await chat.page.context.set_offline(False)
    await chat.sees_questions("look at it")
    await expect(chat.questions.get_by_role("img", name="later.png")).to_be_visible()
    await expect(chat.box).to_have_value("")


async def test_a_message_waits_for_its_files_unless_it_is_changed_or_one_is_refused(
    services: Services, chat: Chat
) -> None:
    gateway = await services.gateway()
    uploads = await holding(chat.page, "**/files?*")
    await chat.open(gateway.url)
    page = chat.page
    awaited, send = page.locator("#composer").get_by_text(_AWAITED), page.get_by_role("button", name="Send", exact=True)
    chosen = page.get_by_role("list", name="Files that go with the message").get_by_role("listitem")

    async def choose(name: str, content: bytes) -> None:
        await page.evaluate(_DROP, ["drop", name, base64.b64encode(content).decode()])

    # What is changed is not ready to go, and neither is one that has lost its file.
    async with uploads.next() as asked:
        await choose("first.png", PICTURE)
        await comes(asked)
        await chat.send("look")
        await expect(awaited).to_be_visible()
        await page.keyboard.type(" at it")
        await expect(awaited).to_have_count(0)
        await send.click()
        await expect(awaited).to_be_visible()
        await expect(chat.box).to_be_focused()
        await page.get_by_role("button", name="Remove first.png").click()
        await expect(awaited).to_have_count(0)
        await expect(chat.box).to_have_value("look at it")
    # A refused one asks the person, and takes the focus from nobody.
    async with uploads.next() as asked:
        await choose("lie.png", b"<html>")
        await comes(asked)
        await send.click()
        await expect(awaited).to_be_visible()
    await expect(page.get_by_role("alert")).to_contain_text("Not sent")
    await expect(chat.box).to_be_focused()
    await expect(chat.questions).to_have_count(0)
    # Without it, and with another that is on its way.
    async with uploads.next() as asked:
        await choose("last.png", PICTURE)
        await comes(asked)
        await page.get_by_role("button", name="Send without").click()
        await expect(page.get_by_role("alert")).to_have_count(0)
        await expect(awaited).to_be_visible()
        await page.get_by_role("button", name="Remove last.png").focus()
    await expect(chat.questions.get_by_role("img", name="last.png")).to_be_visible()
    await expect(chat.questions).to_have_count(1)
    await expect(chosen).to_have_count(0)
    await expect(chat.box).to_be_focused()
    await expect(chat.box).to_have_value("")
