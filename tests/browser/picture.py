"""Takes README's picture of the chat page: `.venv/bin/python -m tests.browser.picture` writes docs/images/page.png.

The page is the real one (`make page` has built it) in a real Chromium; what it shows is said by a script, so that the
picture is the same each time.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from playwright.async_api import Page, ViewportSize, async_playwright, expect

from tests.browser.chat import Chat
from tests.browser.chromium import find_chromium
from tests.browser.scripted import ScriptedChat, scripted_chat
from tests.browser.turns import BEGIN, END, TOOLS, call, output, progress, text

PLACE = Path(__file__).parents[2] / "docs" / "images" / "page.png"
_VIEWPORT: ViewportSize = {"width": 1040, "height": 520}
_QUESTION = "What time is it in Berlin? And please write a short text about rivers."
_ANSWER = (
    "It is **15:04** in Berlin, a Thursday. The text about rivers is being written: reload this page, close it, or "
    "kill the process that writes it. The answer continues."
)


async def conversation(page: Page, scripted: ScriptedChat) -> None:
    """An answer in the middle: one tool has its result, another says how far it is."""
    scripted.tools = TOOLS
    chat = Chat(page)
    await chat.open(scripted.url)
    await chat.send(_QUESTION)
    turn = await scripted.asked()
    time = {"date": "2026-11-26", "time": "15:04:02", "weekday": "Thursday", "timezone": "Europe/Berlin"}
    await turn.say(BEGIN, *call("current_time", "c1", timezone="Europe/Berlin"), output(time, "c1"), END)
    await turn.say(BEGIN, *text(_ANSWER), *call("generate_document", "c2", prompt="a short text about rivers"))
    await turn.say(progress(60, "Section 3 of 5: where rivers end", call_id="c2"), END)
    await expect(page.get_by_role("progressbar")).to_have_attribute("value", "60")


@contextlib.asynccontextmanager
async def stage(viewport: ViewportSize) -> AsyncIterator[tuple[Page, ScriptedChat]]:
    """A page of the real Chromium, and the back end that speaks for it."""
    with tempfile.TemporaryDirectory(prefix="sluiceway-picture-") as directory:
        chromium = find_chromium(Path(directory))
        async with async_playwright() as playwright, scripted_chat() as scripted:
            arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--no-proxy-server"]
            browser = await playwright.chromium.launch(
                executable_path=chromium.path, args=arguments, env=chromium.environment
            )
            yield await browser.new_page(viewport=viewport, reduced_motion="reduce", color_scheme="light"), scripted
            await browser.close()


async def main() -> None:
    PLACE.parent.mkdir(exist_ok=True)
    async with stage(_VIEWPORT) as (page, scripted):
        await conversation(page, scripted)
        await page.screenshot(path=PLACE)
    print(f"{PLACE.relative_to(Path.cwd())}: {PLACE.stat().st_size // 1024} KB")


if __name__ == "__main__":
    asyncio.run(main())
