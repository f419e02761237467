"""The page for operators: from a key to the explanation of a turn in two clicks, and what can be done about it."""

import pytest
from playwright.async_api import BrowserContext, Request, expect
from sluiceway import keys

from harness.clients.chat import Chat
from harness.databases.database import Database
from harness.databases.valkey import Valkey
from harness.processes.services import Services
from tests.browser.axe import check_axe
from tests.gateway.callers import add_key


@pytest.mark.requirement("OP-6")
async def test_an_operator_sees_what_does_not_end_asks_why_and_cancels_it(
    services: Services, database: Database, context: BrowserContext, valkey: Valkey
) -> None:
    gateway = await services.gateway()
    headers = await add_key(database, "night-shift", ["ops:look", "ops:act"])
    page = await context.new_page()
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request))
    await page.clock.install()
    await page.goto(f"{gateway.url}/ops")
    await expect(page.get_by_label("API key")).to_be_focused()
    count = len(asked)
    await page.clock.run_for(60_000)
    assert len(asked) == count, "who gave no key is not asked for every two seconds"
    await page.clock.resume()
    await page.get_by_label("API key").fill("swk_wrong")
    await page.get_by_role("button", name="Look").click()
    await expect(page.get_by_role("alert")).to_contain_text("The x-api-key is not good")
    await expect(page.get_by_label("API key")).to_be_focused()
    await page.get_by_label("API key").fill(headers["x-api-key"])
    await page.get_by_role("button", name="Look").click()
    await expect(page.get_by_text("No chat worker is ready: turns wait for the first one.")).to_be_visible()

    unfit = page.get_by_role("region", name="Not fit")
    await expect(unfit).to_contain_text("probe: chat_workers: none is running")
    async with Chat(gateway.url) as chat:
        first, second = [await chat.ask(text) for text in ("one", "two")]
        # It comes by itself: the page is live.
        turns = page.get_by_role("table").first
        await expect(turns.get_by_role("button", name=first.task_id)).to_be_visible()
        age = turns.get_by_role("columnheader", name="Age")
        await age.get_by_role("button").click()
        await expect(age).to_have_attribute("aria-sort", "ascending")
        await expect(turns.get_by_role("row").nth(1)).to_contain_text(second.task_id)
        await age.get_by_role("button").click()
        await expect(turns.get_by_role("row").nth(1)).to_contain_text(first.task_id)

        # Twice: the second click may not meet a button of what has opened.
        await turns.get_by_role("button", name=first.task_id).dblclick()
        why = page.get_by_role("region", name=f"Turn {first.task_id}")
        await expect(why).to_contain_text("for a chat worker, and none is ready.")
        await expect(why).to_contain_text("Postgres: queued, attempt 0")
        assert await chat.status(first.task_id) == "queued"
        for width in (360, 1100):
            await page.set_viewport_size({"width": width, "height": 800})
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            await check_axe(page)
        await why.get_by_role("button", name="Cancel the turn").click()
        await expect(page.get_by_role("status")).to_have_text(f"{first.task_id} is cancelled.")
        await expect(why).to_contain_text("It was cancelled")
        await expect(turns.get_by_role("button", name=first.task_id)).to_have_count(0)
        assert await chat.status(first.task_id) == "cancelled"
        assert await chat.status(second.task_id) == "queued"
        # One that has ended stands in no list: it is asked about by its id.
        await why.get_by_role("button", name="Close").click()
        # What it was opened by is gone: the next row has the focus.
        await expect(turns.get_by_role("button", name=second.task_id)).to_be_focused()
        await page.get_by_label("Turn", exact=True).fill(first.task_id)
        await page.get_by_role("button", name="Explain it").click()
        await expect(why).to_contain_text("It was cancelled")
        users = page.get_by_role("region", name="Users of the last 15 minutes")
        await expect(users.get_by_role("row").nth(1)).to_contain_text("(nobody)210$0.0000")

        await database.execute(
            "INSERT INTO dead_letters (queue, entry_id, body, reason, deliveries)"
            " VALUES ($1, '1-1', $2, 'no use', 9), ($1, '2-1', $2, 'no use', 9)",
            keys.work_queue(keys.CHAT),
            b'{"task_id": "task_gone"}',
        )
        await page.get_by_role("region", name="Dead letters").get_by_role("button", name="Letter 1").click()
        letter = page.get_by_role("region", name="Letter 1")
        await expect(letter).to_contain_text("no use")
        await expect(letter).to_contain_text('{"task_id": "task_gone"}')
        await expect(letter).to_be_focused()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("button", name="Letter 1")).to_be_focused()
        # The focus of a row that goes is the next one's, and of the last row the table's.
        letters = page.get_by_role("region", name="Dead letters")
        await letters.get_by_role("button", name="Forget").first.press("Enter")
        await expect(letters.get_by_role("button", name="Letter 1")).to_be_focused()
        await letters.get_by_role("button", name="Letter 1").press("Enter")
        await expect(page.get_by_role("region", name="Letter 1")).to_be_focused()
        await database.execute("DELETE FROM dead_letters")
        await expect(letters.get_by_role("button", name="Letter 1")).to_have_count(0)
        await page.keyboard.press("Escape")
        await expect(letters).to_be_focused()

        # What is away is told, and what is not is shown.
        valkey.stop()
        await expect(unfit).to_contain_text("probe: redis")
        await expect(unfit).to_contain_text("asking queues")
        # What could not be asked is not "None".
        await expect(page.get_by_role("region", name="Queues")).to_contain_text("Not known: it could not be asked.")
        await expect(users.get_by_role("row").nth(1)).to_contain_text("(nobody)210$0.0000")


@pytest.mark.requirement("OP-6", "SE-1")
async def test_who_may_look_and_not_act_is_told_so(
    services: Services, database: Database, context: BrowserContext
) -> None:
    gateway = await services.gateway()
    headers = await add_key(database, "looks", ["ops:look"])
    page = await context.new_page()
    await page.goto(f"{gateway.url}/ops")
    await page.get_by_label("API key").fill(headers["x-api-key"])
    await page.get_by_role("button", name="Look").click()
    async with Chat(gateway.url) as chat:
        turn = await chat.ask("one")
        await page.get_by_role("button", name=turn.task_id).click()
        await page.get_by_role("button", name="Cancel the turn").click()
        await expect(page.get_by_role("alert").first).to_contain_text("ops:act")
        assert await chat.status(turn.task_id) == "queued"
