"""What the chat page is like in a real Chromium: how soon it can be used, and whether it ever stands still.

    python -m bench.page [--quick]

Medians of three (`--quick`: of one), as a table. `make page` has built the page; the back end is scripted, so that the
page alone is measured. Nothing else should run on the machine meanwhile.
"""

import argparse
import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, async_playwright, expect

from bench.page.watched import (
    begin_watching,
    entered_ms,
    felt,
    now_ms,
    open_tab,
    scrolled,
    shift,
    typable_ms,
    whole_ms,
    worded_ms,
)
from bench.reporting import row
from tests.browser.chat import Chat
from tests.browser.chromium import find_chromium
from tests.browser.scripted import ScriptedChat, Turn, scripted_chat
from tests.browser.turns import BEGIN, END, MARKDOWN, begin, delta

_ARGUMENTS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-proxy-server")
_PATIENCE_MS = 120_000
_CHUNKS = 10_000
_MESSAGES = 2_000
_LARGE_BYTES = 5 * 1024 * 1024
Numbers = dict[str, float]


async def first_use(browser: Browser, scripted: ScriptedChat) -> Numbers:
    page = await open_tab(browser, slow=True)
    await page.goto(scripted.url)
    typable, whole = await typable_ms(page), await whole_ms(page)
    await page.keyboard.type("Hello")
    await page.keyboard.press("Enter")
    turn = await scripted.asked()
    sent = await now_ms(page)
    await turn.say(BEGIN, {"type": "text-start", "id": "t"}, delta("Hi"))
    seen, entered = await worded_ms(page), await entered_ms(page)
    await turn.end()
    times = {"typable": typable, "whole": whole, "seen": seen}
    found = {name: each / 1000 for name, each in times.items()}
    return found | {"sent_ms": sent - entered, "shift": await shift(page)}


async def many_chunks(browser: Browser, scripted: ScriptedChat) -> Numbers:
    lines = [delta(f"word{n} " if n % 40 else f"\n\n- word{n} **bold** `code` ") for n in range(_CHUNKS)]
    return await _answered(browser, scripted, [*[delta(MARKDOWN)], *lines])


async def large_answer(browser: Browser, scripted: ScriptedChat) -> Numbers:
    block = f"{MARKDOWN}\n\n" + "Some words of a paragraph that is rather long. " * 40
    blocks = _LARGE_BYTES // len(block)
    return await _answered(browser, scripted, [delta(f"{block}\n\n") for _ in range(blocks)])


async def many_messages(browser: Browser, scripted: ScriptedChat) -> Numbers:
    for n in range(1, _MESSAGES + 1):
        said = f"Question {n}?" if n % 2 else MARKDOWN
        scripted.messages.append(_stored(n, "user" if n % 2 else "assistant", said))
    page = await open_tab(browser)
    await page.goto(f"{scripted.url}/#/c/long")
    await expect(page.locator("article").last).to_be_visible(timeout=_PATIENCE_MS)
    await typable_ms(page)
    opened = await now_ms(page)
    await begin_watching(browser)
    frames = sorted(await scrolled(page))
    found = await felt(browser)
    late = {"p95": frames[len(frames) * 95 // 100], "longest": frames[-1]}
    return {"opened": opened / 1000, **late, "long_tasks": found.long_tasks, "longest_task": found.longest_ms}


def _stored(sequence: int, role: str, said: str) -> dict[str, object]:
    parts = [{"type": "text", "text": said}]
    known = {"id": f"m{sequence}", "role": role, "parts": parts, "sequence": sequence}
    return known | {"created_at": "2026-11-22T04:00:00Z", "metadata": None}


async def _answered(browser: Browser, scripted: ScriptedChat, deltas: list[dict[str, object]]) -> Numbers:
    page = await open_tab(browser)
    chat = Chat(page)
    turn = await begin(chat, scripted)
    await turn.say(BEGIN, {"type": "text-start", "id": "t"})
    await begin_watching(browser)
    await _say_over_time(turn, deltas)
    await turn.say({"type": "text-end", "id": "t"}, END)
    await scripted.finish()
    await expect(chat.stop_button).to_be_hidden(timeout=_PATIENCE_MS)
    found = await felt(browser)
    return {"long_tasks": found.long_tasks, "longest": found.longest_ms, "shift": await shift(page)}


async def _say_over_time(turn: Turn, deltas: list[dict[str, object]]) -> None:
    """In two hundred pieces, as models and networks deliver them, and not in one."""
    size = max(1, len(deltas) // 200)
    for start in range(0, len(deltas), size):
        await turn.say(*deltas[start : start + size])
        await asyncio.sleep(0.02)


Measure = Callable[[Browser, ScriptedChat], Awaitable[Numbers]]


async def _report(browser: Browser, runs: int, measure: Measure) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for _ in range(runs):
        async with scripted_chat() as scripted:
            for name, value in (await measure(browser, scripted)).items():
                found.setdefault(name, []).append(value)
    return found


@asynccontextmanager
async def _chromium() -> AsyncIterator[Browser]:
    with tempfile.TemporaryDirectory(prefix="sluiceway-bench-") as directory:
        chromium = find_chromium(Path(directory))
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=chromium.path, args=_ARGUMENTS, env=chromium.environment
            )
            yield browser
            await browser.close()


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.page")
    parser.add_argument("--quick", action="store_true", help="one run of each measurement instead of three")
    parser.add_argument("--disk", action="store_true", help="for `make bench`; there is no database here")
    runs = 1 if parser.parse_args().quick else 3
    async with _chromium() as browser:
        use = await _report(browser, runs, first_use)
        row("the chat page at 300 ms and 200 KB/s, until a person can type, s", use["typable"], "{:.2f}", "<= 1.0")
        row("  until all that is seen is there and works, s", use["whole"], "{:.2f}", "<= 1.0")
        row("  from Enter until a message that is written at once is with the server, ms", use["sent_ms"], "{:.0f}")
        row("  until the first word of its answer is seen, where it comes at once, s", use["seen"], "{:.2f}")
        row("  layout shift", use["shift"], "{:.4f}", "<= 0.03")
        for what, measure in ((f"{_CHUNKS:,} chunks of markdown", many_chunks), ("an answer of 5 MB", large_answer)):
            numbers = await _report(browser, runs, measure)
            row(f"{what}: tasks of more than 50 ms", numbers["long_tasks"], "{:.0f}", "0" if "chunks" in what else "")
            row("  the longest, ms", numbers["longest"], "{:.0f}")
            row("  layout shift", numbers["shift"], "{:.4f}", "<= 0.03")
        numbers = await _report(browser, runs, many_messages)
        row(f"{_MESSAGES:,} messages: until they are shown, s", numbers["opened"], "{:.1f}")
        row("  scrolled through: a frame, p95, ms", numbers["p95"], "{:.0f}", "<= 34")
        row("  the longest frame, ms", numbers["longest"], "{:.0f}")
        row("  tasks of more than 50 ms", numbers["long_tasks"], "{:.0f}", "0")
        row("  the longest task, ms", numbers["longest_task"], "{:.0f}")


if __name__ == "__main__":
    asyncio.run(main())
