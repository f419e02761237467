"""What the chat page makes of tool calls, approvals and agents, with a back end that says what the test says."""

import re
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Locator, expect

from harness.waiting import wait_until
from tests.browser.chat import Chat
from tests.browser.scripted import Chunk, ScriptedChat
from tests.browser.turns import (
    BEGIN,
    END,
    TOOLS,
    agent,
    approval,
    begin,
    call,
    failure,
    output,
    progress,
    text,
)


async def test_a_call_is_seen_from_its_first_word_to_its_result(chat: Chat, scripted: ScriptedChat) -> None:
    turn = await begin(chat, scripted)
    await turn.say(BEGIN, {"type": "tool-input-start", "toolCallId": "c1", "toolName": "word_count"})
    await turn.say({"type": "tool-input-delta", "toolCallId": "c1", "inputTextDelta": '{"text": "a wo'})
    tool = chat.tool("Word count")
    await chat.sees_state(tool, "Asked for")
    await expect(chat.status).to_have_text("Calling Word count…")
    await tool.get_by_text("Word count", exact=True).click()
    await expect(tool.get_by_role("region", name="Arguments")).to_have_text('{ "text": "a wo" }')
    await turn.say(*call("word_count", text="a <b>bold</b> word")[1:], progress(message="Counting"))
    await chat.sees_state(tool, "Running")
    await expect(tool.get_by_role("region", name="Arguments")).to_have_text('{ "text": "a <b>bold</b> word" }')
    bar = tool.get_by_role("progressbar", name="Progress of Word count")
    await expect(bar).not_to_have_attribute("value", re.compile(""))
    await turn.say(progress(40, "Counting words"))
    await expect(bar).to_have_attribute("value", "40")
    await expect(bar).to_have_attribute("aria-valuetext", "Counting words")
    await expect(tool).to_contain_text("Counting words (40 %)")
    await turn.say(output({"words": 3}), END, BEGIN, *text("Three."), END)
    await chat.sees_state(tool, "Done")
    await expect(bar).to_be_hidden()
    for _ in range(2):
        await expect(tool.get_by_role("region", name="Result")).to_have_text('{ "words": 3 }')
        await scripted.finish()
        await chat.sees_answers("Three.")
        # What was unfolded stays so when the history takes the place of the stream.
        await expect(tool.get_by_role("region", name="Result")).to_be_visible()


async def test_results_that_are_text_are_shown_as_text_and_large_ones_in_bounds(
    chat: Chat, scripted: ScriptedChat
) -> None:
    turn = await begin(chat, scripted)
    await turn.say(
        BEGIN, *call("read"), *call("other", "c2"), output("line <i>1</i>\nline 2"), output("x" * 60_000, "c2")
    )
    first, second = chat.tool("Read"), chat.tool("Other")
    await first.get_by_text("Read", exact=True).click()
    await expect(first.get_by_role("region", name="Arguments")).to_be_hidden()
    shown = first.get_by_role("region", name="Result")
    assert await shown.evaluate("it => it.textContent") == "line <i>1</i>\nline 2"
    await second.get_by_text("Other", exact=True).click()
    large = second.get_by_role("region", name="Result")
    await expect(large).to_contain_text("(not all of it is shown)")
    assert await large.evaluate("it => it.clientHeight") < 400
    assert await chat.page.locator("article i").count() == 0


async def test_parallel_calls_each_have_their_state(chat: Chat, scripted: ScriptedChat) -> None:
    turn = await begin(chat, scripted)
    await turn.say(BEGIN, *text("Let me see."), *call("one"), *call("two", "c2"), *call("three", "c3"), END)
    await turn.say(progress(10, call_id="c2"), output(1), failure("TIMEOUT: It took longer than 60 s.", "c3"))
    await chat.sees_state(chat.tool("One"), "Done")
    await chat.sees_state(chat.tool("Two"), "Running")
    await chat.sees_state(chat.tool("Three"), "Failed")
    await _is_told_in_words(chat.tool("Three"), "It took longer than 60 s.")
    await expect(chat.stop_button).to_be_visible()
    await turn.say(output(2, "c2"), BEGIN, *text("That is all."), END)
    await scripted.finish()
    await chat.sees_answers("Let me see.", "That is all.")
    await chat.page.reload()
    await chat.sees_answers("Let me see.", "That is all.")
    order = "all => all.map(one => one.className + ' ' + (one.dataset.state ?? ''))"
    parts = await chat.answers.last.locator(".body > *").evaluate_all(order)
    assert [part.strip() for part in parts] == ["text", "tool done", "tool done", "tool failed", "text"]
    await _is_told_in_words(chat.tool("Three"), "It took longer than 60 s.")


async def test_a_step_that_begins_anew_leaves_the_steps_before_it(chat: Chat, scripted: ScriptedChat) -> None:
    turn = await begin(chat, scripted)
    await turn.say(BEGIN, *call("one"), END, output(1), BEGIN, *call("two", "c2"), *text("half an ans"))
    await expect(chat.tool("Two")).to_be_visible()
    await turn.say({"type": "reset-step"}, *text("A whole answer."))
    await expect(chat.tool("Two")).to_have_count(0)
    await chat.sees_state(chat.tool("One"), "Done")
    await turn.say(END)
    await scripted.finish()
    await chat.sees_answers("A whole answer.")


async def test_chunks_of_unknown_types_or_calls_change_nothing(chat: Chat, scripted: ScriptedChat) -> None:
    turn = await begin(chat, scripted)
    await turn.say(BEGIN, {"type": "tool-dance", "toolCallId": "c1"}, {"type": "data-weather", "data": 1})
    await turn.say(output(1, "nobody"), failure("x", "nobody"), approval("nobody"), *text("Still here."))
    await expect(chat.text_of(chat.answers.last)).to_have_text("Still here.")
    assert await chat.page.locator(".tool").count() == 0


async def test_a_document_grows_and_is_read_as_text(chat: Chat, scripted: ScriptedChat) -> None:
    turn = await begin(chat, scripted)
    beginning = "# Water\n\nIt *flows*, **always**.\n\n## Wh"
    await turn.say(BEGIN, *call("generate_document", prompt="water"), END)
    await turn.say(progress(30, "Section 1", {"markdown": beginning}))
    tool = chat.tool("Generate document")
    await expect(tool.get_by_role("heading", name="Water")).to_be_visible()
    await expect(tool.get_by_role("paragraph").filter(has_text="It flows, always.")).to_be_visible()
    await tool.get_by_role("heading", name="Water").evaluate("it => it.dataset.mine = 'yes'")
    whole = (
        f"{beginning}ere\n\n- to the <img src=x onerror=alert(1)> sea\n- [down](https://example.org)\n"
        "- [not this](javascript:alert(1))\n\n```\ncode *as* it is\n```\n"
    )
    await turn.say(output({"title": "Water", "markdown": whole, "word_count": 9}))
    await expect(tool.get_by_role("heading", name="Where")).to_be_visible()
    await expect(tool.get_by_role("listitem")).to_have_text(
        ["to the <img src=x onerror=alert(1)> sea", "down", "not this"]
    )
    await expect(tool.get_by_role("link")).to_have_count(1)
    await expect(tool.locator(".document pre")).to_have_text("code *as* it is")
    # What had been there already is not built again.
    await expect(tool.get_by_role("heading", name="Water")).to_have_attribute("data-mine", "yes")
    await tool.get_by_text("Generate document", exact=True).click()
    await expect(tool.get_by_role("region", name="Result")).to_have_text('{ "title": "Water", "word_count": 9 }')
    await scripted.finish()
    await chat.page.reload()
    await expect(tool.get_by_role("heading", name="Where")).to_be_visible()


async def test_a_reload_in_the_middle_shows_how_far_it_is(chat: Chat, scripted: ScriptedChat) -> None:
    turn = await begin(chat, scripted)
    await turn.say(BEGIN, *text("Well."), *call("long_one"), END, progress(30, "Still at it"))
    await expect(chat.tool("Long one")).to_contain_text("Still at it (30 %)")
    await chat.page.reload()
    await expect(chat.tool("Long one")).to_contain_text("Still at it (30 %)")
    await expect(chat.stop_button).to_be_visible()
    await turn.say(output("done"), BEGIN, *text("There."), END)
    await scripted.finish()
    await chat.sees_answers("Well.", "There.")
    await expect(chat.page.locator(".tool")).to_have_count(1)


@pytest.mark.parametrize("reloaded", [False, True])
@pytest.mark.parametrize("approved", [False, True])
async def test_a_person_answers_and_the_same_message_continues(
    chat: Chat, scripted: ScriptedChat, approved: bool, reloaded: bool
) -> None:
    tool = await _asked_for_approval(chat, scripted)
    if reloaded:
        await chat.page.reload()
    await chat.sees_state(tool, "Waiting for you")
    await expect(chat.status).to_have_text("A tool waits for your approval.")
    await expect(chat.stop_button).to_be_hidden()
    await expect(tool.get_by_role("region", name="Arguments")).to_have_text('{ "path": "/tmp/x" }')
    await tool.get_by_label("Reason").fill("I have <b>reasons</b>")
    await tool.get_by_role("button", name="Approve" if approved else "Deny").click()
    await chat.sees_state(tool, "Approved" if approved else "Denied")
    await expect(tool.get_by_role("button")).to_have_count(0)
    await expect(chat.stop_button).to_be_visible()
    await expect(tool.locator("summary")).to_be_focused()
    answer = {"task_id": "task-1", "call": "c1", "approved": approved, "reason": "I have <b>reasons</b>"}
    assert scripted.approvals == [answer]
    turn = scripted.turn
    await turn.say(output("gone") if approved else {"type": "tool-output-denied", "toolCallId": "c1"})
    await expect(chat.status).to_have_text(f"Delete file {'is done' if approved else 'was not allowed'}.")
    await turn.say(BEGIN, *text("So be it."), END)
    await scripted.finish()
    await chat.sees_answers("I will delete it.", "So be it.")
    await expect(chat.answers).to_have_count(1)
    await chat.sees_state(tool, "Done" if approved else "Denied")
    await chat.page.reload()
    await chat.sees_answers("I will delete it.", "So be it.")
    await chat.sees_state(tool, "Done" if approved else "Denied")
    if not approved:
        await expect(tool).to_contain_text("I have <b>reasons</b>")


def elicitation(**told: Any) -> Chunk:
    data = {"toolCallId": "c1", "source": "printer", "message": "Which one?", "content": {}, **told}
    return {"type": "data-elicitation", "id": "approval-c1", "data": data}


@pytest.mark.requirement("CH-10")
async def test_what_a_service_asks_is_told_in_its_words_and_answered_with_one_of_its_options(
    chat: Chat, scripted: ScriptedChat
) -> None:
    turn = await begin(chat, scripted)
    field = {"name": "which", "title": "Printer", "type": "string", "options": ["blue", "red"]}
    told = elicitation(field=field, content={"copies": 2}, problem="Printer is needed.", url="https://print.example/x")
    await turn.say(BEGIN, *call("print"), END, told, approval())
    await scripted.finish("tool-calls")
    tool = chat.tool("Print")
    asked = tool.get_by_role("group", name="Approval of Print")
    for words in ("printer asks you:", "Which one?", "Printer is needed.", "copies", "2"):
        await expect(asked).to_contain_text(words)
    await expect(asked.get_by_role("link")).to_have_attribute("href", "https://print.example/x")
    await expect(asked.get_by_role("button", name="Approve")).to_be_disabled()
    await asked.get_by_label("Printer").select_option("red")
    await asked.get_by_role("button", name="Approve").click()
    await wait_until(lambda: [one["reason"] for one in scripted.approvals] == ["red"], what="its value is sent")


@pytest.mark.requirement("CH-10")
async def test_what_a_service_asks_for_in_words_goes_with_enter(chat: Chat, scripted: ScriptedChat) -> None:
    turn = await begin(chat, scripted)
    told = elicitation(field={"name": "which", "title": "Printer", "type": "string", "options": []})
    await turn.say(BEGIN, *call("print"), END, told, approval())
    await scripted.finish("tool-calls")
    box = chat.tool("Print").get_by_label("Printer")
    await box.press("Enter")
    await box.fill("red")
    await box.press("Enter")
    await wait_until(lambda: [one["reason"] for one in scripted.approvals] == ["red"], what="its value is sent")


async def test_a_reload_while_an_approved_tool_runs_shows_what_was_before_and_continues(
    chat: Chat, scripted: ScriptedChat
) -> None:
    tool = await _asked_for_approval(chat, scripted)
    await tool.get_by_role("button", name="Approve").click()
    await chat.sees_state(tool, "Approved")
    await scripted.turn.say(progress(50, "Half"))
    await expect(tool).to_contain_text("Half (50 %)")
    await chat.page.reload()
    await expect(tool).to_contain_text("Half (50 %)")
    await expect(chat.page.locator(".tool")).to_have_count(1)
    await scripted.turn.say(output("gone"), BEGIN, *text("Gone."), END)
    await scripted.finish()
    await chat.sees_answers("I will delete it.", "Gone.")


async def test_another_window_sees_the_question_and_what_comes_of_it(
    chat: Chat, scripted: ScriptedChat, context: BrowserContext
) -> None:
    await _asked_for_approval(chat, scripted)
    second = Chat(await context.new_page())
    await second.open(chat.page.url)
    await second.sees_state(second.tool("Delete file"), "Waiting for you")
    await second.tool("Delete file").get_by_role("button", name="Deny").click()
    await second.sees_state(second.tool("Delete file"), "Denied")
    await scripted.tell("turn-started", scripted.turn)
    await chat.sees_state(chat.tool("Delete file"), "Denied")
    await expect(chat.stop_button).to_be_visible()
    await scripted.turn.say({"type": "tool-output-denied", "toolCallId": "c1"}, BEGIN, *text("So be it."), END)
    await scripted.finish()
    for window in (chat, second):
        await window.sees_answers("I will delete it.", "So be it.")


async def test_the_turn_continues_when_the_last_of_several_answers_is_there(chat: Chat, scripted: ScriptedChat) -> None:
    turn = await begin(chat, scripted)
    await turn.say(BEGIN, *call("first"), *call("second", "c2"), approval(), approval("c2"), END)
    await scripted.finish("tool-calls")
    await expect(chat.status).to_have_text("A tool waits for your approval.")
    scripted.remaining = 1
    await chat.tool("First").get_by_role("button", name="Approve").click()
    await chat.sees_state(chat.tool("First"), "Approved")
    await chat.sees_state(chat.tool("Second"), "Waiting for you")
    await expect(chat.status).to_have_text("A tool waits for your approval.")
    scripted.remaining = 0
    await chat.tool("Second").get_by_role("button", name="Deny").click()
    await chat.sees_state(chat.tool("Second"), "Denied")
    await expect(chat.stop_button).to_be_visible()
    assert [answer["call"] for answer in scripted.approvals] == ["c1", "c2"]


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (404, "Nobody asks for this approval any more."),
        (409, "It was answered before, perhaps in another window."),
        (410, "It is too late: the request for approval has expired or was taken back."),
    ],
)
async def test_an_answer_that_is_not_wanted_is_told_in_words(
    chat: Chat, scripted: ScriptedChat, status: int, sentence: str
) -> None:
    tool = await _asked_for_approval(chat, scripted)
    scripted.approval_status = status
    await tool.get_by_role("button", name="Approve").click()
    await expect(chat.page.get_by_role("alert")).to_have_text(sentence)
    await expect(tool.get_by_role("button", name="Approve")).to_be_enabled()


async def test_stop_works_while_a_tool_runs(chat: Chat, scripted: ScriptedChat) -> None:
    turn = await begin(chat, scripted)
    await turn.say(BEGIN, *call("long_one"), END, progress(30, "Still at it"))
    await chat.sees_state(chat.tool("Long one"), "Running")
    await chat.stop_button.click()
    await wait_until(lambda: turn.cancelled)
    await turn.say(failure("CANCELLED: The turn was stopped."), {"type": "abort"})
    await scripted.finish("other", status="cancelled")
    await expect(chat.stop_button).to_be_hidden()
    await chat.sees_state(chat.tool("Long one"), "Cancelled")
    await expect(chat.answers.last).to_contain_text("Stopped.")


async def test_what_agents_do_is_a_list_that_grows_without_repeats(chat: Chat, scripted: ScriptedChat) -> None:
    turn = await begin(chat, scripted)
    await turn.say(BEGIN, *call("run_agents"), END, agent(1, "start", ""), agent(2, "thought", "Is <b>this</b> right?"))
    events = chat.page.get_by_role("list", name="What the agents do").get_by_role("listitem")
    await expect(events).to_have_text(["Engineer begins", re.compile(r"Engineer thinks\s*Is <b>this</b> right\?")])
    await turn.say(agent(2, "thought", "This is right."), agent(3, "output", "Yes.", "Reviewer"))
    await expect(events.nth(1)).to_have_text(re.compile(r"Engineer thinks\s*This is right\."))
    await expect(events).to_have_count(3)
    await expect(events.last).to_have_text(re.compile(r"Reviewer says\s*Yes\."))
    await turn.say(output("built"), BEGIN, *text("Built."), END)
    await scripted.finish()
    await chat.sees_answers("Built.")
    await chat.page.reload()
    await chat.sees_answers("Built.")
    await expect(events).to_have_count(3)


async def test_the_tools_are_offered_and_picked_by_keyboard(chat: Chat, scripted: ScriptedChat) -> None:
    scripted.tools = TOOLS
    await chat.open(scripted.url)
    box, keyboard = chat.page.get_by_label("Message", exact=True), chat.page.keyboard
    options = chat.page.get_by_role("listbox", name="Tools").get_by_role("option")
    await keyboard.type("/")
    await expect(options).to_have_count(3)
    await expect(box).to_have_attribute("aria-haspopup", "listbox")
    await expect(box).to_have_attribute("aria-controls", await options.locator("..").first.get_attribute("id") or "")
    for key, name in (("ArrowDown", "generate_document"), ("ArrowUp", "current_time"), ("ArrowUp", "generate_outline")):
        await keyboard.press(key)
        selected = options.and_(chat.page.locator("[aria-selected=true]"))
        await expect(selected).to_contain_text(f"/{name}")
        await expect(box).to_have_attribute("aria-activedescendant", await selected.get_attribute("id") or "")
    await keyboard.press("Escape")
    await expect(options).to_have_count(0)
    await expect(chat.box).to_have_value("/")
    await keyboard.type("doc")
    await expect(options).to_contain_text(["/generate_document Document: Writes a document."])
    await keyboard.press("Tab")
    await expect(chat.box).to_have_value("/generate_document ")
    await expect(chat.box).to_be_focused()
    await keyboard.type("about water")
    await expect(options).to_have_count(0)
    await keyboard.press("Enter")
    await chat.sees_questions("/generate_document about water")


async def test_enter_completes_a_name_and_sends_a_whole_one(chat: Chat, scripted: ScriptedChat) -> None:
    scripted.tools = TOOLS
    await chat.open(scripted.url)
    await chat.page.keyboard.type("/cur")
    await expect(chat.page.get_by_role("option")).to_have_count(1)
    await chat.page.keyboard.press("Enter")
    await expect(chat.box).to_have_value("/current_time ")
    await chat.page.keyboard.press("Backspace")
    await expect(chat.page.get_by_role("option")).to_have_count(1)
    await chat.page.keyboard.press("Enter")
    await chat.sees_questions("/current_time")
    await expect(chat.page.get_by_role("option")).to_have_count(0)


async def test_a_tool_can_be_picked_with_the_mouse(chat: Chat, scripted: ScriptedChat) -> None:
    scripted.tools = TOOLS
    await chat.open(scripted.url)
    await chat.page.keyboard.type("/")
    await chat.page.get_by_role("option", name="/generate_outline").click()
    await expect(chat.box).to_have_value("/generate_outline ")
    await expect(chat.box).to_be_focused()


async def test_without_a_list_of_tools_a_command_is_sent_as_it_is(chat: Chat, scripted: ScriptedChat) -> None:
    await begin(chat, scripted, "/current_time")
    await chat.sees_questions("/current_time")
    await expect(chat.page.get_by_role("listbox")).to_be_hidden()


async def _is_told_in_words(tool: Locator, sentence: str) -> None:
    """The code before it is for programs."""
    await expect(tool.locator(".note")).to_have_text(sentence)


async def _asked_for_approval(chat: Chat, scripted: ScriptedChat) -> Locator:
    turn = await begin(chat, scripted)
    await turn.say(BEGIN, *text("I will delete it."), *call("delete_file", path="/tmp/x"), approval(), END)
    await scripted.finish("tool-calls")
    tool = chat.tool("Delete file")
    await chat.sees_state(tool, "Waiting for you")
    return tool


async def test_the_arguments_of_a_tool_are_a_form_and_the_end_stays_in_sight_when_it_goes(
    chat: Chat, scripted: ScriptedChat
) -> None:
    zone = {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}
    arguments = {"zone": zone, "hours": {"type": "integer"}, "exact": {"type": "boolean"}}
    scripted.tools = [TOOLS[0] | {"parameters": {"properties": arguments, "required": ["hours"]}}]
    for n in range(20):
        scripted.store(f"m{n}", "assistant" if n % 2 else "user", [{"type": "text", "text": f"Word {n}.\n\nMore."}])
    page = chat.page
    await page.goto(f"{scripted.url}/#/c/long")
    await expect(chat.text_of(chat.answers.last)).to_contain_text("Word 19.")
    await expect(chat.box).to_be_focused()
    await page.keyboard.type("/current_time ")
    form = page.get_by_role("form", name="Arguments of Clock")
    await form.get_by_label("Zone").fill("Europe/Berlin")
    await form.get_by_label("Hours").fill("2")
    await form.get_by_label("Exact").check()
    await form.get_by_role("button", name="Insert").click()
    await expect(chat.box).to_have_value('/current_time {"zone":"Europe/Berlin","hours":2,"exact":true}')
    await expect(form).to_have_count(0)
    await chat.box.fill("/current_time ")
    await expect(form).to_be_visible()
    await page.keyboard.press("Enter")
    turn = await scripted.asked()
    await turn.say(BEGIN, *text("Some more words.\n\n" * 20))
    await expect(chat.text_of(chat.answers.last)).to_contain_text("Some more words.")
    await expect(chat.answers.last.locator("p").last).to_be_in_viewport()
    await expect(page.get_by_role("button", name="Newest")).to_have_count(0)
    await scripted.finish()
