"""What the page makes of answers and of its list, with a back end that says what the test says."""

import asyncio
import re
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Route, expect

from harness.waiting import wait_until
from tests.browser.axe import check_axe
from tests.browser.chat import Chat
from tests.browser.scripted import ScriptedChat, Turn
from tests.browser.turns import BEGIN, END, MARKDOWN, TICKS, TOOLS, begin, call, delta, output, text

pytestmark = pytest.mark.requirement("GW-8")

_SINCE = "2026-11-26T17:00:00.000Z"
_WIDE = f"""{TICKS}python
def gate({"level, " * 60}): ...
{TICKS}

{"| word" * 12} |
{"|---" * 12}|
{"| wordwordwordword" * 12} |

See [the source](https://example.org)."""
_WIDER_THAN_THE_PAPER = """message => [...message.querySelectorAll("pre, table, p")]
    .filter(one => one.scrollWidth > one.clientWidth + 1 || one.getBoundingClientRect().right > innerWidth)
    .map(one => one.outerHTML)"""


async def growing(chat: Chat, scripted: ScriptedChat) -> Turn:
    turn = await begin(chat, scripted)
    await turn.say(BEGIN, {"type": "text-start", "id": "t"})
    return turn


async def test_markdown_is_rendered_and_code_can_be_copied(
    chat: Chat, scripted: ScriptedChat, context: BrowserContext
) -> None:
    await context.grant_permissions(["clipboard-read", "clipboard-write"])
    turn = await begin(chat, scripted)
    await turn.say(BEGIN, *text(MARKDOWN), END)
    await scripted.finish()
    answer = chat.answers.last
    await expect(answer.get_by_role("heading", name="Rivers")).to_be_visible()
    await expect(answer.get_by_role("cell")).to_have_text(["Rhine", "1233 km"])
    await expect(answer.locator("math")).to_have_count(1)
    await expect(answer).to_contain_text("it costs $5 or $6.")
    # A picture from elsewhere would tell its server who reads this.
    await expect(answer.get_by_role("link")).to_have_text(["the source", "a picture"])
    await expect(answer.locator("img")).to_have_count(0)
    await expect(answer.locator(".hljs-keyword").first).to_have_text("def")
    await answer.get_by_role("button", name="Copy code").click()
    copied: str = await chat.page.evaluate("navigator.clipboard.readText()")
    assert copied.splitlines()[1:] == [rf"{TICKS}[^x]*\|b {TICKS}", "    return level > 3.5"]
    await answer.get_by_role("button", name="Copy", exact=True).click()
    assert await chat.page.evaluate("navigator.clipboard.readText()") == MARKDOWN


async def test_what_is_wider_than_a_phone_is_scrolled_by_itself(chat: Chat, scripted: ScriptedChat) -> None:
    page = chat.page
    await page.set_viewport_size({"width": 360, "height": 640})
    formula = f"$$ {' + '.join('abcdefghijklmnopqrstuvwxyz' * 2)} $$"
    display = formula.replace(" $$", "\n$$").replace("$$ ", "$$\n")
    scripted.store("q", "user", [{"type": "text", "text": "wide"}])
    said = f"{_WIDE}\n\nIt is {formula}.\n\n- {formula}\n- {'w' * 90}\n\n{display}"
    scripted.store("a", "assistant", [{"type": "text", "text": said}])
    await page.goto(f"{scripted.url}/#/c/s1")
    await expect(chat.answers.locator("math")).to_have_count(3)
    await expect(chat.answers.locator("[aria-busy]")).to_have_count(0)
    assert await chat.log.evaluate("log => log.scrollWidth - log.clientWidth") == 0


async def test_a_diagram_that_is_complete_is_a_picture_above_its_source(
    browser: Browser, scripted: ScriptedChat
) -> None:
    """Drawn in a frame of its own, which is fetched with the first one; what is none stays code. What stands in it runs
    nothing and fetches nothing: the frame's policy says no to it, which a browser complains of."""
    page, asked, complaints, dialogs = await browser.new_page(), list[str](), list[str](), list[str]()
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    chat = Chat(page)
    turn = await growing(chat, scripted)
    flow = "flowchart LR\n  A[Spring] --> B[\"<img src='https://evil.example/x' onerror='alert(1)'> Sea\"]\n"
    await turn.say(delta(f"```mermaid\n{flow}"))
    await expect(chat.answers.last.locator("pre")).to_contain_text("Spring")
    assert not [url for url in asked if "diagram" in url]
    await turn.say(delta("```\n\n```mermaid\nflowchart LR\n  A[[[ -->\n```\n\nThat is all."), END)
    await scripted.finish()
    picture = chat.answers.last.get_by_role("img", name="Diagram")
    await expect(picture).to_have_count(1)
    assert await picture.evaluate("img => img.decode().then(() => img.naturalWidth > 50)")
    await expect(chat.answers.last.locator("pre:visible")).to_have_text(["flowchart LR\n  A[[[ -->\n"])
    light = await picture.get_attribute("src")
    await page.emulate_media(color_scheme="dark")
    await expect(picture).not_to_have_attribute("src", light or "")
    await chat.answers.last.get_by_text("Source", exact=True).click()
    await expect(chat.answers.last.locator("pre:visible").first).to_have_text(flow)
    await page.emulate_media(media="print")
    await expect(picture).to_be_visible()
    assert not [url for url in asked if not url.startswith((scripted.url, "data:"))]
    refused = [one for one in complaints if "Content Security Policy" in one]
    assert all(one.startswith("Executing inline event handler") for one in refused), refused
    assert dialogs == []
    await page.close()


async def test_of_an_answer_that_grows_only_the_last_block_is_rendered_again(
    chat: Chat, scripted: ScriptedChat
) -> None:
    turn = await growing(chat, scripted)
    await turn.say(delta("# One\n\nTwo *two*.\n\n```python\nthree = 3\n```\n\nFo"))
    await expect(chat.answers.last.locator(".hljs-number")).to_have_text("3")
    await chat.page.evaluate(
        """() => {
            const body = document.querySelector("article.assistant .text");
            const last = () => body.lastElementChild;
            window.elsewhere = 0;
            new MutationObserver(all => {
                for (const { target } of all) if (target !== body && !last().contains(target)) window.elsewhere += 1;
            }).observe(body, { subtree: true, childList: true, characterData: true, attributes: true });
        }"""
    )
    for _ in range(30):
        await turn.say(delta("ur and more"))
    await turn.say({"type": "text-end", "id": "t"}, END)
    await scripted.finish()
    await expect(chat.answers.last).to_contain_text("and more")
    await expect(chat.stop_button).to_be_hidden()
    assert await chat.page.evaluate("window.elsewhere") == 0


async def test_many_small_chunks_are_few_renderings(chat: Chat, scripted: ScriptedChat) -> None:
    """What a browser does grows with the frames, not with the chunks."""
    turn = await growing(chat, scripted)
    await chat.page.evaluate(
        "() => { window.changes = 0; new MutationObserver(() => window.changes += 1)"
        ".observe(document.getElementById('messages'), { subtree: true, childList: true, characterData: true }) }"
    )
    words = [delta(f"word{n} " if n % 40 else f"\n\nword{n} **bold** ") for n in range(10_000)]
    await turn.say(*words, {"type": "text-end", "id": "t"}, END)
    await expect(chat.answers.last).to_contain_text("word9999", timeout=60_000)
    await scripted.finish()
    await expect(chat.stop_button).to_be_hidden()
    assert await chat.page.evaluate("window.changes") < 1_000


async def test_what_a_person_asked_a_tool_for_is_shown_openly(chat: Chat, scripted: ScriptedChat) -> None:
    scripted.tools = TOOLS
    turn = await begin(chat, scripted, "/current_time")
    told = {"utc": "2026-11-26T17:00:00Z", "zone": "UTC"}
    await turn.say(BEGIN, *call("current_time"), output(told), END, BEGIN, *text("It is late."), END)
    await scripted.finish()
    tool = chat.tool("Current time")
    await expect(tool.get_by_role("definition")).to_have_text(["2026-11-26T17:00:00Z", "UTC"])
    await expect(tool.get_by_role("region", name="Result")).to_be_hidden()


async def test_what_it_waits_for_is_told(chat: Chat, scripted: ScriptedChat) -> None:
    turn = await begin(chat, scripted)
    await expect(chat.status).to_have_text("Waiting for the answer…")
    await turn.say({"type": "data-queue", "data": {"position": 3, "wait_seconds": 12.4}, "transient": True})
    await expect(chat.status).to_have_text("3 answers are before yours, about 13 s.")
    await turn.say({"type": "data-queue", "data": {"position": 0, "wait_seconds": 1}, "transient": True})
    await expect(chat.status).to_have_text("Your answer is next.")
    await turn.say({"type": "data-queue", "data": {"position": 0, "workers": 0}, "transient": True})
    await expect(chat.status).to_have_text(re.compile("^No worker is ready yet"))
    await turn.say({"type": "data-status", "data": {"message": "The model is loading."}, "transient": True})
    await expect(chat.status).to_have_text("The model is loading.")
    away = {"state": "waiting", "waitsFor": "model", "code": "MODEL_TIMEOUT", "message": "No.", "since": _SINCE}
    await turn.say({"type": "data-status", "data": away, "transient": True})
    await expect(chat.status).to_have_text(re.compile(r"^The model has been away since .+\. The answer goes on"))
    in_line = {**away, "code": "MODEL_IN_LINE", "message": "Yours is in line."}
    await turn.say({"type": "data-status", "data": in_line, "transient": True})
    await expect(chat.status).to_have_text("Yours is in line.")
    await turn.say(BEGIN, *text("Here."), END)
    await scripted.finish()
    await chat.sees_answers("Here.")
    await expect(chat.status).to_have_text("")


async def test_a_refused_first_message_keeps_its_text_and_says_the_number(chat: Chat, scripted: ScriptedChat) -> None:
    said = {"code": "MESSAGE_TOO_LONG", "detail": "The message is longer than this service takes."}
    scripted.refusal = ({**said, "max_message_chars": 32_000}, 413)
    await chat.open(scripted.url)
    await chat.send("far too long")
    await expect(chat.page.get_by_role("alert")).to_have_text(
        "Not sent. The message is longer than the 32,000 characters that are allowed."
    )
    await expect(chat.box).to_have_value("far too long")
    await expect(chat.questions).to_have_count(0)
    assert "#/c/" not in chat.page.url
    scripted.refusal = None
    await chat.page.keyboard.press("Enter")
    await scripted.asked()
    await chat.sees_questions("far too long")
    await expect(chat.page.get_by_role("alert")).to_have_count(0)


async def test_a_message_that_is_refused_for_now_outlives_a_reload(chat: Chat, scripted: ScriptedChat) -> None:
    scripted.refusal = ({"detail": "No."}, 429)
    await chat.open(scripted.url)
    await chat.send("once more")
    refused = "Not sent. That was too much at once."
    await expect(chat.questions).to_contain_text(refused)
    await chat.page.reload()
    await expect(chat.questions).to_contain_text(refused)
    scripted.refusal = None
    await chat.page.get_by_role("button", name="Try again").click()
    await scripted.asked()
    await chat.sees_questions("once more")


async def test_a_draft_is_kept_per_conversation_and_through_reloads(chat: Chat, scripted: ScriptedChat) -> None:
    turn = await begin(chat, scripted)
    await turn.say(BEGIN, *text("Yes."), END)
    await scripted.finish()
    await chat.sees_answers("Yes.")
    await chat.page.reload()
    await expect(chat.box).to_be_focused()
    await chat.page.keyboard.type("half a thou")
    await chat.page.reload()
    await expect(chat.box).to_have_value("half a thou")
    await chat.page.get_by_role("link", name="New chat").click()
    await expect(chat.box).to_have_value("")
    await chat.page.keyboard.type("another")
    await chat.page.go_back()
    await expect(chat.box).to_have_value("half a thou")
    await chat.page.go_forward()
    await expect(chat.box).to_have_value("another")


async def test_a_message_written_offline_goes_when_the_network_is_back(
    chat: Chat, scripted: ScriptedChat, context: BrowserContext
) -> None:
    await chat.open(scripted.url)
    await context.set_offline(True)
    await chat.send("are you there")
    await expect(chat.questions.last).to_contain_text("It is sent when the network is back.")
    await expect(chat.status).to_contain_text("You are offline.")
    # The network is there and the server is not: nothing says any more that one is offline.
    scripted.refusal = ({"detail": "No."}, 503)
    await context.set_offline(False)
    await expect(chat.status).to_contain_text("Trying again…")
    await expect(chat.questions.last).not_to_contain_text("offline")
    scripted.refusal = None
    turn = await scripted.asked()
    await turn.say(BEGIN, *text("Yes."), END)
    await scripted.finish()
    await chat.sees_answers("Yes.")
    await chat.sees_questions("are you there")
    assert len(scripted.turns) == 1


async def test_a_message_that_was_not_sent_yet_outlives_a_reload(chat: Chat, scripted: ScriptedChat) -> None:
    scripted.refusal = ({"detail": "No."}, 503)
    await begin_unheard(chat, scripted, "still to be sent")
    await chat.page.reload()
    # Taken by the page that is there now: the one before may have tried once more while it was left.
    await expect(chat.status).to_contain_text("Trying again…")
    scripted.refusal = None
    await scripted.asked()
    await chat.sees_questions("still to be sent")
    assert len(scripted.turns) == 1


async def begin_unheard(chat: Chat, scripted: ScriptedChat, question: str) -> None:
    await chat.open(scripted.url)
    await chat.send(question)
    await expect(chat.status).to_contain_text("Trying again…")


async def test_keys_alone_do_everything(chat: Chat, scripted: ScriptedChat) -> None:
    turn = await begin(chat, scripted, "first question")
    keyboard = chat.page.keyboard
    await turn.say(BEGIN, *text("Half an ans"))
    await expect(chat.text_of(chat.answers.last)).to_have_text("Half an ans")
    await keyboard.press("Escape")
    await wait_until(lambda: turn.cancelled)
    await turn.say({"type": "abort"}, END)
    await scripted.finish("other", status="cancelled")
    await expect(chat.stop_button).to_be_hidden()
    await expect(chat.box).to_be_focused()
    await keyboard.press("ArrowUp")
    box = chat.page.get_by_role("textbox", name="Edit your message")
    await expect(box).to_be_focused()
    await expect(box).to_have_value("first question")
    await keyboard.press("Escape")
    await expect(chat.box).to_be_focused()
    await keyboard.press("Control+/")
    sheet = chat.page.get_by_role("dialog", name="Keys")
    await expect(sheet).to_be_visible()
    await keyboard.press("Escape")
    await expect(sheet).to_have_count(0)
    await keyboard.press("Control+Shift+O")
    await expect(chat.questions).to_have_count(0)
    await expect(chat.box).to_be_focused()


async def test_the_first_thing_on_the_page_leads_to_the_box(chat: Chat, scripted: ScriptedChat) -> None:
    await begin(chat, scripted)
    await scripted.finish()
    await expect(chat.stop_button).to_be_hidden()
    await chat.page.evaluate("document.querySelector('a, button, input, textarea, [tabindex]').focus()")
    skip = chat.page.get_by_role("link", name="Skip to the message box")
    await expect(skip).to_be_focused()
    await expect(skip).to_be_in_viewport()
    # The list of conversations, which may be long, stands behind the box.
    before = "text.compareDocumentPosition(sidebar) & Node.DOCUMENT_POSITION_FOLLOWING"
    assert await chat.page.evaluate(before)
    await chat.page.keyboard.press("Enter")
    await expect(chat.box).to_be_focused()
    await expect(chat.box).to_have_value("")


@pytest.mark.parametrize("how", [{"isComposing": True}, {"keyCode": 229}])
async def test_enter_of_an_input_method_sends_nothing(chat: Chat, scripted: ScriptedChat, how: dict[str, Any]) -> None:
    await chat.open(scripted.url)
    await chat.page.keyboard.type("/")
    event = {"key": "Enter", "bubbles": True, "cancelable": True, **how}
    for written in ("nihon", "にほん"):
        await chat.box.fill(written)
        await chat.box.dispatch_event("keydown", event)
        await expect(chat.box).to_have_value(written)
    await expect(chat.questions).to_have_count(0)


async def test_the_tab_tells_that_an_answer_is_done(chat: Chat, scripted: ScriptedChat) -> None:
    # As on phones, where a page may not make one: the title tells all the same.
    await chat.page.add_init_script(
        """localStorage.setItem("sluiceway.preferences", '{"notify":true}');
        window.asked = [];
        window.Notification = class {
            static permission = "granted";
            constructor(title, { body }) { window.asked.push(title + ": " + body); throw new TypeError("No."); }
        };"""
    )
    turn = await begin(chat, scripted, "tell me")
    await expect(chat.page).to_have_title(re.compile("^tell me"))
    await _look(chat, "hidden")
    await turn.say(BEGIN, *text("Told."), END)
    await scripted.finish()
    await expect(chat.page).to_have_title(re.compile("^● tell me"))
    assert await chat.page.evaluate("window.asked") == ["The answer is there: tell me"]
    await expect(chat.page.locator("link[rel=icon]")).to_have_attribute("href", re.compile("icon-done"))
    await _look(chat, "visible")
    await expect(chat.page).to_have_title(re.compile("^tell me"))
    # One of another conversation.
    await _look(chat, "hidden")
    scripted.session_id = "another"
    await scripted.tell("turn-ended", turn)
    await expect(chat.page).to_have_title(re.compile("^● tell me"))


async def test_a_long_conversation_is_printed_and_saved_whole(chat: Chat, scripted: ScriptedChat) -> None:
    turn = await begin(chat, scripted, "the last question")
    await turn.say(BEGIN, *text("the last answer"), END)
    await scripted.finish()
    await chat.sees_answers("the last answer")
    last = scripted.messages
    scripted.messages = []
    for number in range(60):
        scripted.store(f"q{number}", "user", [{"type": "text", "text": f"question {number}"}])
        scripted.store(f"a{number}", "assistant", [{"type": "text", "text": f"answer {number}\n\n" + "more\n\n" * 20}])
    scripted.store("wide", "assistant", [{"type": "text", "text": _WIDE}])
    for message in last:
        scripted.store(message["id"], message["role"], message["parts"])
    await chat.page.add_init_script("window.print = () => window.printed = document.querySelectorAll('article').length")
    await chat.page.reload()
    await expect(chat.answers.last).to_contain_text("the last answer")
    assert await chat.page.locator("article").count() < 123
    await chat.page.keyboard.press("Control+p")
    await wait_until(lambda: chat.page.evaluate("window.printed === 123"), what="the whole is printed")
    await chat.page.emulate_media(media="print")
    await chat.page.set_viewport_size({"width": 700, "height": 900})  # A4
    wide = chat.page.locator("[data-message-id=wide]")
    assert await wide.locator(":is(pre, .table)").count() == 2
    assert await wide.evaluate(_WIDER_THAN_THE_PAPER) == []
    address = wide.get_by_role("link", name="the source")
    assert await address.evaluate("one => getComputedStyle(one, '::after').content") == '" (https://example.org)"'
    await chat.page.emulate_media(media="screen")
    await chat.page.set_viewport_size({"width": 1100, "height": 800})
    await chat.page.reload()
    await expect(chat.answers.last).to_contain_text("the last answer")
    await chat.page.get_by_role("button", name="Settings").click()
    async with chat.page.expect_download() as saving:
        await chat.page.get_by_role("button", name="Save this conversation as a file").click()
    saved = (await (await saving.value).path()).read_text()
    assert saved.count("\n## ") == 123
    assert saved.index("question 0\n") < saved.index("answer 59\n") < saved.index("the last answer")


async def _look(chat: Chat, state: str) -> None:
    await chat.page.evaluate(
        "state => { Object.defineProperty(document, 'visibilityState', { configurable: true, get: () => state });"
        "document.dispatchEvent(new Event('visibilitychange')) }",
        state,
    )


async def test_language_and_theme_are_chosen_and_kept(chat: Chat, scripted: ScriptedChat) -> None:
    await chat.open(scripted.url)
    await chat.page.get_by_role("button", name="Settings").click()
    await chat.page.get_by_label("Language").select_option("de")
    await chat.page.get_by_label("Aussehen").select_option("dark")
    await chat.page.keyboard.press("Escape")
    for _ in range(2):
        await expect(chat.page.get_by_role("textbox", name="Nachricht")).to_be_visible()
        assert await chat.page.evaluate("document.documentElement.lang") == "de"
        color: str = await chat.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        assert max(int(part) for part in re.findall(r"\d+", color)) < 60
        await chat.page.reload()


async def test_a_failed_answer_can_be_asked_for_again(chat: Chat, scripted: ScriptedChat) -> None:
    turn = await begin(chat, scripted)
    await turn.say(BEGIN, *text("Half"))
    scripted.failure = {"code": "MODEL_REFUSED", "message": "MODEL_REFUSED: The model gave no answer."}
    await scripted.finish("error", status="failed")
    await expect(chat.answers.last.locator(".failure")).to_have_text("The model gave no answer.")
    await chat.answers.last.get_by_role("button", name="Try again").click()
    await scripted.asked()
    assert scripted.triggers[-1] == {"trigger": "regenerate-message", "messageId": "answer-1"}


async def test_thumbs_come_to_the_server_one_after_the_other(chat: Chat, scripted: ScriptedChat) -> None:
    """It keeps the one that comes last."""
    page, first = chat.page, asyncio.Event()
    told: list[str] = []

    async def rated(route: Route) -> None:
        told.append(route.request.method)
        await first.wait()
        await route.fulfill(status=204)

    await page.route("**/feedback", rated)
    turn = await begin(chat, scripted)
    await turn.say(BEGIN, *text("Yes."), END)
    await scripted.finish()
    good = chat.answers.last.get_by_role("button", name="Good answer")
    for pressed in ("true", "false"):
        await good.click()
        await expect(good).to_have_attribute("aria-pressed", pressed)
    async with page.expect_request_finished(lambda request: request.method == "DELETE"):
        assert told == ["PUT"]
        first.set()
    assert told == ["PUT", "DELETE"]


async def _left_with_a_message_on_its_way(chat: Chat, scripted: ScriptedChat, **answer: Any) -> asyncio.Event:
    """Another conversation is shown. Once this is set the server answers the message so."""
    left = asyncio.Event()

    async def late(route: Route) -> None:
        await left.wait()
        await route.fulfill(**answer)

    await chat.page.route("**/messages", late)
    turn = await begin(chat, scripted)
    await turn.say(BEGIN, *text("Half"))
    await expect(chat.text_of(chat.answers)).to_have_text(["Half"])
    async with chat.page.expect_request("**/messages"):
        await chat.send("and then")
    await chat.page.get_by_role("link", name="New chat").click()
    await expect(chat.questions).to_have_count(0)
    return left


async def test_a_message_that_arrives_when_another_conversation_is_shown_leaves_its_address(
    chat: Chat, scripted: ScriptedChat
) -> None:
    left = await _left_with_a_message_on_its_way(chat, scripted, status=202, json={"position": 1})
    # The list is read again when the message has arrived.
    async with chat.page.expect_request("**/api/chat/sessions"):
        left.set()
    assert chat.page.url == f"{scripted.url}/#/"


async def test_a_message_that_is_refused_when_another_conversation_is_shown_is_there_when_one_is_back(
    chat: Chat, scripted: ScriptedChat
) -> None:
    refusal = {"code": "SESSION_BUSY", "detail": "No."}
    left = await _left_with_a_message_on_its_way(chat, scripted, status=409, json=refusal)
    async with chat.page.expect_response("**/messages"):
        left.set()
    await chat.page.go_back()
    await expect(chat.box).to_have_value("and then")
    await expect(chat.page.get_by_role("alert")).to_contain_text("Not sent.")


async def test_an_address_that_is_none_of_the_webs_is_a_name_and_a_picture_from_elsewhere_is_a_link(
    chat: Chat, scripted: ScriptedChat
) -> None:
    turn = await begin(chat, scripted)
    bad, away = "javascript:alert(1)", "https://example.org/a.png"
    files = [{"type": "file", "url": url, "mediaType": "image/png"} for url in (bad, away)]
    ours = {
        "type": "file",
        "mediaType": "text/plain",
        "filename": "ours.txt",
        "url": f"/api/chat/files/file_{'0' * 32}",
    }
    kept = {"files": [ours, ours | {"filename": "away.txt", "url": away}, ours | {"filename": "bad.txt", "url": bad}]}
    source = {"type": "source-url", "sourceId": "s", "url": bad, "title": "a source"}
    await turn.say(BEGIN, *files, *call("read_page"), output(kept), source, *text("Here."), END)
    await scripted.finish()
    await chat.sees_answers("Here.")
    answer = chat.answers.last
    await expect(answer.get_by_text("a source")).to_be_visible()
    await expect(answer.locator("img")).to_have_count(0)
    addresses = await answer.get_by_role("link").evaluate_all("all => all.map(one => one.getAttribute('href'))")
    assert addresses == [away, ours["url"]]


async def test_footnotes_and_where_links_lead_may_stand_at_the_end_of_an_answer(
    chat: Chat, scripted: ScriptedChat
) -> None:
    turn = await begin(chat, scripted)
    said = "Water flows[^1], see [the law][law].\n\nDown.[^2]\n\n[^1]: Seen *twice*.\n[^2]: Mostly.\n\n[law]: https://example.org"
    await turn.say(BEGIN, *text(said), END)
    await scripted.finish()
    answer = chat.text_of(chat.answers.last)
    await expect(answer.locator("p")).to_have_text(["Water flows1, see the law.", "Down.2"])
    await expect(answer.get_by_role("link", name="the law")).to_have_attribute("href", "https://example.org")
    notes = answer.get_by_role("listitem")
    await expect(notes).to_have_text(["Seen twice.", "Mostly."])
    address = chat.page.url
    await answer.locator("a[role=doc-noteref]").nth(1).click()
    await expect(notes.nth(1).locator("[data-note]")).to_be_focused()
    assert chat.page.url == address
    await check_axe(chat.page)


async def test_usage_is_shown_on_demand(chat: Chat, scripted: ScriptedChat) -> None:
    turn = await begin(chat, scripted)
    await turn.say(BEGIN, *text("Yes."), END)
    usage = {"prompt_tokens": 1200, "completion_tokens": 7}
    scripted.metadata = {"model": "small-one", "usage": usage, "cost": 0.000000123}
    await scripted.finish()
    await chat.sees_answers("Yes.")
    await expect(chat.answers.last).not_to_contain_text("small-one")
    await chat.answers.last.get_by_role("button", name="Details").click()
    await expect(chat.answers.last).to_contain_text("small-one")
    await expect(chat.answers.last).to_contain_text("1,200")
    await expect(chat.answers.last).to_contain_text("$0.000000123")


@pytest.mark.requirement("CH-6")
@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("summarised", "Earlier messages were summed up, to make room for new ones."),
        ("truncated", "Earlier messages were left out, to make room for new ones. Notes of them are still being made."),
        ("filling", "The conversation grows long; earlier messages will be summed up soon."),
    ],
)
async def test_how_a_long_conversation_was_made_to_fit_is_one_line_and_stays(
    chat: Chat, scripted: ScriptedChat, state: str, said: str
) -> None:
    turn = await begin(chat, scripted)
    context = {"state": state, "usedTokens": 921, "roomTokens": 1536, "windowTokens": 2048}
    context |= {"reason": "late"} if state == "truncated" else {}
    said += " The room that the model has for a conversation is 60 % full."
    await turn.say({"type": "data-context", "id": "context", "data": context}, BEGIN, *text("Well."), END)
    await scripted.finish()

    await expect(chat.answers.last.locator(".notice.context")).to_contain_text(said)
    await chat.page.reload()
    await expect(chat.answers.last.locator(".notice.context")).to_contain_text(said)
