"""A tab of Chromium that counts what a person would feel: tasks that block it, late frames, and what moves."""

import json
from collections import Counter, defaultdict
from dataclasses import dataclass

from playwright.async_api import Browser, Page

# Bytes a second and milliseconds of a poor mobile network.
LONG_MS = 50
SLOW_BYTES_PER_SECOND = 200_000
SLOW_ROUND_TRIP_MS = 300
_WATCH = """() => {
    window.shift = 0;
    const moved = one => { if (!one.hadRecentInput) window.shift += one.value; };
    new PerformanceObserver(list => list.getEntries().forEach(moved))
        .observe({ type: "layout-shift", buffered: true });
    const reached = there => new Promise(done => {
        const look = () => {
            const [paint] = performance.getEntriesByName("first-paint");
            if (paint && there()) done(performance.now()); else requestAnimationFrame(look);
        };
        look();
    });
    const box = () => document.querySelector("textarea");
    document.addEventListener("keydown", event => {
        if (event.key === "Enter") window.entered ??= performance.now();
    }, true);
    window.typable = reached(() => box() && document.activeElement === box());
    window.worded = reached(() => document.querySelector("article.assistant .text")?.textContent);
    window.whole = reached(() => ["send", "new-chat", "hint"].every(id => document.getElementById(id)?.innerText));
}"""
# Frames while the log is scrolled by half a screen a frame, from its end towards its beginning.
_SCROLL = """async () => {
    const log = document.getElementById("log"), frames = [];
    let last = await new Promise(requestAnimationFrame);
    while (log.scrollTop > 0 && frames.length < 400) {
        log.scrollTop -= log.clientHeight / 2;
        const now = await new Promise(requestAnimationFrame);
        frames.push(now - last);
        last = now;
    }
    return frames;
}"""


@dataclass(frozen=True)
class Felt:
    """Of the tasks of the page's own thread: how many took more than 50 ms of processor time, and the longest."""

    long_tasks: int
    longest_ms: float


async def open_tab(browser: Browser, *, slow: bool = False) -> Page:
    """With nothing in its cache. `slow`: over a poor network."""
    context = await browser.new_context(viewport={"width": 1100, "height": 800}, reduced_motion="reduce")
    page = await context.new_page()
    await page.add_init_script(f"({_WATCH})()")
    if slow:
        session = await context.new_cdp_session(page)
        await session.send("Network.enable")
        rate = {"downloadThroughput": SLOW_BYTES_PER_SECOND, "uploadThroughput": SLOW_BYTES_PER_SECOND}
        await session.send(
            "Network.emulateNetworkConditions", {"offline": False, "latency": SLOW_ROUND_TRIP_MS, **rate}
        )
    return page


async def typable_ms(page: Page) -> float:
    """From asking for the page until its first paint is over and what a person types is kept."""
    # Playwright's own waiting is text that is run as a program, which the page's policy forbids.
    return float(await page.evaluate("window.typable"))


async def whole_ms(page: Page) -> float:
    """Until the program draws: the box sends, and the list of conversations, the buttons and their words are there."""
    return float(await page.evaluate("window.whole"))


async def entered_ms(page: Page) -> float:
    """When the first Enter was pressed. What comes before it is the typing of this program."""
    return float(await page.evaluate("window.entered"))


async def worded_ms(page: Page) -> float:
    """When the first word of an answer was drawn: to the frame, where asking again and again has steps of a second."""
    return float(await page.evaluate("window.worded"))


async def begin_watching(browser: Browser) -> None:
    await browser.start_tracing(categories=["toplevel", "__metadata"])


async def felt(browser: Browser) -> Felt:
    """Since the watching began. By the processor's time, which does not depend on what else the machine does."""
    events = json.loads(await browser.stop_tracing())["traceEvents"]
    names = {(one["pid"], one["tid"]): one["args"]["name"] for one in events if one["name"] == "thread_name"}
    took: dict[tuple[int, int], list[float]] = defaultdict(list)
    for one in events:
        thread = (one["pid"], one["tid"])
        if names.get(thread) == "CrRendererMain" and "tdur" in one:
            took[thread].append(one["tdur"] / 1000)
    # The one tab is what works most.
    busiest = Counter({thread: sum(each) for thread, each in took.items()}).most_common(1)
    tasks = took[busiest[0][0]] if busiest else []
    return Felt(sum(1 for each in tasks if each > LONG_MS), max(tasks, default=0))


async def shift(page: Page) -> float:
    return float(await page.evaluate("window.shift"))


async def now_ms(page: Page) -> float:
    return float(await page.evaluate("performance.now()"))


async def scrolled(page: Page) -> list[float]:
    """Milliseconds of each frame, on the way from the end of the log towards its beginning."""
    return list(await page.evaluate(_SCROLL))
