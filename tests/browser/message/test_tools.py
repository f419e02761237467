"""Tools, approvals and agents on the chat page, in a real browser, against real services."""

import json
import re
from dataclasses import replace

import pytest
from playwright.async_api import Browser, expect
from redis.asyncio import Redis

from harness.clients.calling import TOOLS_DIR, answers, call, calls_tools
from harness.model_server import ModelServer, answer_to
from harness.processes.services import Services, System
from harness.waiting import wait_until
from tests.browser.chat import TIMEOUT_MS, Chat
from tests.browser.conftest import one_browser


async def start(services: Services, chat: Chat, needing_approval: str = "[]", **settings: str) -> System:
    """The tools are offered before there is a chat worker: it remembers for a moment what it was told."""
    settings |= {"TOOLS_DIR": str(TOOLS_DIR), "TOOLS_NEEDING_APPROVAL": needing_approval}
    runner = await services.tool_runner(**settings)
    await wait_until(lambda: "tools_offered" in runner.output, what="the tools are offered")
    system = replace(await services.whole(), tool_runners=[runner])
    await chat.open(system.url)
    return system


async def open_gate(redis: Redis, name: str) -> None:
    await redis.set(f"test:{{{name}}}", "1", ex=60)


@pytest.mark.requirement("GW-8")
async def test_a_tool_is_seen_running_and_after_a_reload_in_the_middle(
    services: Services, chat: Chat, redis: Redis
) -> None:
    await start(services, chat)
    await chat.send("/wait_at lock")
    tool = chat.tool("Wait at")
    await chat.sees_state(tool, "Running")
    await expect(tool).to_contain_text("waiting at the gate (30 %)")
    await chat.page.reload()
    await expect(tool.get_by_role("progressbar")).to_have_attribute("value", "30", timeout=TIMEOUT_MS)
    await expect(tool).to_contain_text("waiting at the gate (30 %)")
    await open_gate(redis, "lock")
    await chat.sees_answers(answer_to("/wait_at lock"))
    for _ in range(2):
        await chat.sees_state(tool, "Done")
        await tool.get_by_text("Wait at", exact=True).click()
        await expect(tool.get_by_role("region", name="Arguments")).to_have_text('{ "gate": "lock" }')
        await expect(tool.get_by_role("region", name="Result")).to_have_text("through lock")
        await chat.page.reload()
        await chat.sees_answers(answer_to("/wait_at lock"))


@pytest.mark.requirement("GW-8", "CH-19")
async def test_a_tool_that_never_blocks_is_seen_running_behind_the_answer(
    services: Services, chat: Chat, redis: Redis
) -> None:
    await start(services, chat, TOOLS_IN_BACKGROUND='["wait_at"]')
    await chat.send("/wait_at lock")
    tool = chat.tool("Wait at")
    await chat.sees_answers(answer_to("/wait_at lock"))
    for _ in range(2):
        await expect(tool).to_contain_text("waiting at the gate (30 %)", timeout=TIMEOUT_MS)
        await chat.sees_state(tool, "Running")
        await chat.page.reload()
        await chat.sees_answers(answer_to("/wait_at lock"))
    await open_gate(redis, "lock")
    await expect(chat.answers).to_have_count(2, timeout=TIMEOUT_MS)
    await chat.sees_state(tool, "Done")


@pytest.mark.requirement("GW-8")
async def test_a_tool_outlives_its_runner(services: Services, chat: Chat, redis: Redis) -> None:
    system = await start(services, chat)
    await chat.send("/wait_at lock")
    tool = chat.tool("Wait at")
    await chat.sees_state(tool, "Running")
    system.tool_runners[0].kill9()
    await open_gate(redis, "lock")
    await system.tool_runners[0].start()
    await chat.sees_answers(answer_to("/wait_at lock"))
    await chat.sees_state(tool, "Done")


@pytest.mark.requirement("GW-8")
async def test_parallel_calls_of_the_model_and_what_went_wrong_with_one(
    services: Services, chat: Chat, model: ModelServer
) -> None:
    await start(services, chat)
    calls = [call("echo", "a", 0, text="hello"), call("broken", "b", 1, text="it")]
    await calls_tools(model, "both", *calls, says="I try both.")
    await answers(model, "both", "One of them worked.")
    await chat.send("both")
    await chat.sees_answers("I try both.", "One of them worked.")
    for _ in range(2):
        await chat.sees_state(chat.tool("Echo"), "Done")
        await chat.sees_state(chat.tool("Broken"), "Failed")
        await expect(chat.tool("Broken").locator(".note")).to_have_text("cannot say it")
        await chat.page.reload()
        await chat.sees_answers("I try both.", "One of them worked.")


@pytest.mark.requirement("GW-8", "CH-16")
@pytest.mark.parametrize(("button", "state", "reloaded"), [("Approve", "Done", False), ("Deny", "Denied", True)])
async def test_a_person_is_asked_and_the_same_answer_continues(
    services: Services, chat: Chat, button: str, state: str, reloaded: bool
) -> None:
    await start(services, chat)
    await chat.send("/careful now")
    tool = chat.tool("Careful")
    await chat.sees_state(tool, "Waiting for you")
    await expect(chat.stop_button).to_be_hidden()
    if reloaded:
        await chat.page.reload()
    await expect(chat.status).to_have_text("A tool waits for your approval.")
    await tool.get_by_label("Reason").fill("because")
    await tool.get_by_role("button", name=button).click()
    await chat.sees_answers(answer_to("/careful now"))
    await expect(chat.answers).to_have_count(1)
    for _ in range(2):
        await chat.sees_state(tool, state)
        await expect(chat.page.locator(".tool")).to_have_count(1)
        await chat.page.reload()
        await chat.sees_answers(answer_to("/careful now"))


@pytest.mark.requirement("GW-8", "CH-16")
async def test_a_reload_while_an_approved_tool_runs(services: Services, chat: Chat, redis: Redis) -> None:
    await start(services, chat, '["wait_at"]')
    await chat.send("/wait_at lock")
    tool = chat.tool("Wait at")
    await tool.get_by_role("button", name="Approve").click(timeout=TIMEOUT_MS)
    await chat.sees_state(tool, "Running")
    await chat.page.reload()
    await chat.sees_state(tool, "Running")
    await expect(tool).to_contain_text("waiting at the gate (30 %)")
    await expect(chat.page.locator(".tool")).to_have_count(1)
    await open_gate(redis, "lock")
    await chat.sees_answers(answer_to("/wait_at lock"))
    await chat.sees_state(tool, "Done")


@pytest.mark.requirement("GW-8", "CH-16")
@pytest.mark.parametrize(("name", "button", "state"), [("careful", "Approve", "Done"), ("careful", "Deny", "Denied")])
async def test_a_reload_when_the_tool_has_its_output_and_the_model_does_not_answer_yet(
    services: Services, chat: Chat, model: ModelServer, name: str, button: str, state: str
) -> None:
    await start(services, chat)
    await calls_tools(model, "held", call(name, "a", 0, text="hello"), says="May I?")
    await model.script({"gate": "held"}, {"text": "Said."}, {"finish": "stop"}, match="held")
    await chat.send("held")
    tool = chat.tool(name.capitalize())
    await tool.get_by_role("button", name=button).click(timeout=TIMEOUT_MS)
    await chat.sees_state(tool, state)
    await chat.page.reload()
    await chat.sees_state(tool, state)
    await model.open_gate("held")
    await chat.sees_answers("May I?", "Said.")
    await chat.sees_state(tool, state)
    await expect(chat.page.locator(".tool")).to_have_count(1)


@pytest.mark.requirement("GW-8", "CH-16")
async def test_another_message_takes_the_question_away(services: Services, chat: Chat) -> None:
    await start(services, chat)
    await chat.send("/careful now")
    tool = chat.tool("Careful")
    await chat.sees_state(tool, "Waiting for you")
    await chat.box.focus()
    await chat.send("never mind [[tokens=3 rate=0]]")
    await chat.sees_answers(answer_to("never mind", 3))
    await chat.sees_state(tool, "Cancelled")
    await expect(tool.get_by_role("button")).to_have_count(0)


@pytest.mark.requirement("GW-8", "CH-13")
async def test_stop_ends_a_turn_whose_tool_runs(services: Services, chat: Chat) -> None:
    await start(services, chat)
    await chat.send("/wait_at never")
    tool = chat.tool("Wait at")
    await chat.sees_state(tool, "Running")
    await chat.stop_button.click()
    await expect(chat.stop_button).to_be_hidden()
    for _ in range(2):
        await chat.sees_state(tool, "Cancelled")
        await expect(chat.answers.last).to_contain_text("Stopped.")
        await chat.page.reload()


@pytest.mark.requirement("GW-8")
async def test_the_tools_that_are_offered_can_be_picked_by_keyboard(services: Services, chat: Chat) -> None:
    await start(services, chat)
    await chat.page.keyboard.type("/ech")
    option = chat.page.get_by_role("listbox", name="Tools").get_by_role("option")
    await expect(option).to_have_text("/echo Say the text again.")
    await chat.page.keyboard.press("Enter")
    await expect(chat.box).to_have_value("/echo ")
    await chat.send("hello")
    await chat.sees_answers(answer_to("/echo hello"))
    await chat.sees_questions("/echo hello")
    await chat.sees_state(chat.tool("Echo"), "Done")


@pytest.mark.requirement("GW-8", "AG-5")
async def test_a_team_of_agents_is_seen_at_work_also_by_who_chats_on(
    services: Services, model: ModelServer, chat: Chat
) -> None:
    await start(services, chat)
    await model.script({"text": "Of steel."}, {"gate": "team"}, match="step by step")
    await chat.send("/run_agents build a gate")
    events = chat.page.get_by_role("list", name="What the agents do").get_by_role("listitem")
    engineer = events.filter(has_text="Engineer").first
    await expect(engineer).to_be_visible(timeout=TIMEOUT_MS)
    await chat.send("meanwhile [[tokens=3 rate=0]]")
    await expect(chat.text_of(chat.answers).last).to_have_text(answer_to("meanwhile", 3), timeout=TIMEOUT_MS)
    for _ in range(2):
        await expect(engineer).to_be_visible(timeout=TIMEOUT_MS)
        await expect(events.first).to_have_text(re.compile("Product manager begins"))
        await chat.page.reload()
    await model.open_gate("team")
    await expect(events.last).to_have_text(re.compile("all done"), timeout=TIMEOUT_MS)
    await expect(events.first).to_have_text(re.compile("begins"))
    await expect(chat.stop_button).to_be_hidden(timeout=TIMEOUT_MS)
    told = await events.all_text_contents()
    await chat.page.reload()
    await expect(events).to_have_text(told)


@pytest.mark.requirement("GW-8")
async def test_a_document_is_read_while_it_is_written(services: Services, model: ModelServer, chat: Chat) -> None:
    await start(services, chat)
    await model.script({"text": "Water flows "}, {"gate": "middle"}, {"text": "down."}, match="Between banks")
    outline = {"title": "Water", "sections": [{"heading": "Between banks"}]}
    await chat.send(f"/generate_document {json.dumps({'outline': outline})}")
    document = chat.page.locator(".tool .document")
    await expect(document.get_by_role("paragraph")).to_have_text("Water flows", timeout=TIMEOUT_MS)
    await expect(document.get_by_role("heading")).to_have_count(2)
    await expect(chat.page.locator(".tool .state")).to_have_text("Running")
    await model.open_gate("middle")
    await expect(chat.page.locator(".tool .state")).to_have_text("Done", timeout=TIMEOUT_MS)
    await expect(document.get_by_role("paragraph").first).to_have_text("Water flows down.")
    await expect(chat.stop_button).to_be_hidden(timeout=TIMEOUT_MS)
    whole = await document.inner_text()
    await chat.page.reload()
    await expect(document.get_by_role("heading").nth(1)).to_be_visible(timeout=TIMEOUT_MS)
    assert await document.inner_text() == whole


@pytest.mark.requirement("GW-8", "CH-12")
async def test_what_is_written_while_a_tool_runs_can_be_added_or_interrupts(
    services: Services, chat: Chat, browser: Browser, model: ModelServer, redis: Redis
) -> None:
    await start(services, chat)
    await calls_tools(model, "to be steered", call("wait_at", "s", 0, gate="steered"), says="Let me see.")
    await answers(model, "and briefly", "Briefly, then.")
    await chat.send("to be steered")
    await chat.sees_state(chat.tool("Wait at"), "Running")
    add = chat.page.get_by_role("button", name="Add to the answer")
    await expect(add).to_have_count(0)
    await chat.page.keyboard.type("and briefly")
    await add.click()
    await expect(chat.log.get_by_text("The answer takes it in at its next step.")).to_be_visible()
    async with one_browser(browser) as elsewhere:
        other = Chat(await elsewhere.new_page())
        await other.open(chat.page.url)
        await expect(other.log.get_by_text("The answer takes it in at its next step.")).to_be_visible()
    await open_gate(redis, "steered")
    await chat.sees_answers("Let me see.", "Briefly, then.")
    await chat.sees_questions("to be steered", "and briefly")

    await chat.send("/wait_at never")
    await chat.sees_state(chat.tool("Wait at").last, "Running")
    await chat.page.keyboard.type("stop that [[tokens=3 rate=0]]")
    await chat.page.get_by_role("button", name="Interrupt").click()
    await expect(chat.text_of(chat.answers.last)).to_have_text(answer_to("stop that", 3), timeout=TIMEOUT_MS)
    await chat.sees_state(chat.tool("Wait at").last, "Cancelled")


@pytest.mark.requirement("CH-19", "GW-8")
async def test_chatting_on_while_a_tool_runs_and_its_results_come_by_themselves_also_after_a_reload(
    services: Services, chat: Chat, model: ModelServer, redis: Redis
) -> None:
    await start(services, chat)
    for gate in ("one", "two"):
        await calls_tools(model, f"go through {gate}", call("wait_at", f"call_{gate}", gate=gate), says=f"To {gate}.")
        await answers(model, f"call_{gate}", f"Through {gate}.")
    await chat.send("go through one")
    tool = chat.tool("Wait at").first
    await chat.sees_state(tool, "Running")
    await chat.send("meanwhile [[tokens=3 rate=0]]")
    await chat.sees_answers("To one.", answer_to("meanwhile", 3))
    for _ in range(2):
        await chat.sees_state(tool, "Running")
        await expect(tool).to_contain_text("waiting at the gate (30 %)", timeout=TIMEOUT_MS)
        await chat.page.reload()
    await expect(tool).to_contain_text("waiting at the gate (30 %)", timeout=TIMEOUT_MS)
    await open_gate(redis, "one")
    await chat.sees_answers("To one.", answer_to("meanwhile", 3), "Through one.")
    await chat.sees_state(tool, "Done")
    await expect(chat.page.get_by_text("The results are there.")).to_have_count(1)
    await chat.sees_questions("go through one", "meanwhile [[tokens=3 rate=0]]")

    await chat.send("go through two")
    await chat.sees_state(chat.tool("Wait at").last, "Running")
    await chat.send("and now? [[tokens=3 rate=0]]")
    await chat.sees_answers("To one.", answer_to("meanwhile", 3), "Through one.", "To two.", answer_to("and now?", 3))
    await chat.page.get_by_role("button", name="End it").click()
    await chat.sees_state(chat.tool("Wait at").last, "Cancelled")
    await expect(chat.page.get_by_role("button", name="End it")).to_have_count(0)
