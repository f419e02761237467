"""Films README's moving picture: `.venv/bin/python -m tests.browser.moving_picture` writes docs/images/page.webp.

The page is the real one (`make page` has built it) in a real Chromium; what is said to it is a script. In the middle of
an answer the page is reloaded, and the answer continues. Chromium makes a WebP of each frame; an animated one is a file
with those frames in a row.
"""

import asyncio
import base64
import struct
from pathlib import Path

from playwright.async_api import CDPSession, Page, Route, ViewportSize, expect

from tests.browser.chat import Chat
from tests.browser.picture import stage
from tests.browser.scripted import ScriptedChat, Turn
from tests.browser.turns import BEGIN, END, TOOLS, call, delta, output, progress

PLACE = Path(__file__).parents[2] / "docs" / "images" / "page.webp"
MOST_BYTES = 300_000
_VIEWPORT: ViewportSize = {"width": 780, "height": 440}
_QUALITY = 55
_QUESTION = "What time is it in Berlin? And write a few lines about rivers."
_FIRST = "It is **15:04** in Berlin. And about rivers:\n\n"
_SECOND = (
    "A river is a path that water keeps taking. ",
    "Where it meets a stone it does not stop; ",
    "it goes around, and what comes behind it ",
    "arrives at the same sea.\n\n",
    "> The page was reloaded in the middle of this answer. ",
    "Nothing was lost, and nothing was said twice.",
)


class Film:
    """Frames, each with the milliseconds that it is shown."""

    def __init__(self, session: CDPSession) -> None:
        self._session = session
        self.frames: list[tuple[bytes, int]] = []

    async def shoot(self, shown_ms: int) -> None:
        shot = await self._session.send("Page.captureScreenshot", {"format": "webp", "quality": _QUALITY})
        self.frames.append((base64.b64decode(shot["data"]), shown_ms))


async def play(page: Page, scripted: ScriptedChat, film: Film) -> None:
    scripted.tools = TOOLS
    chat = Chat(page)
    await chat.open(scripted.url)
    await page.keyboard.type(_QUESTION)
    await film.shoot(1200)
    await page.keyboard.press("Enter")
    turn = await scripted.asked()
    await _tools(chat, turn, film)
    said = _FIRST
    await turn.say(BEGIN, {"type": "text-start", "id": "t"}, delta(_FIRST))
    for number, piece in enumerate(_SECOND):
        said += piece
        await turn.say(delta(piece))
        await expect(chat.answers.last).to_contain_text(piece.strip("> \n"))
        await film.shoot(500)
        if number == 2:
            await _reload(page, film)
            await expect(chat.answers.last).to_contain_text(piece.strip())
            await film.shoot(1000)
    await turn.say({"type": "text-end", "id": "t"}, END)
    await scripted.finish()
    await expect(chat.stop_button).to_be_hidden()
    await film.shoot(3500)


async def _reload(page: Page, film: Film) -> None:
    """Filmed as it is over a slow network: for a moment there is nothing but the box."""
    there = asyncio.Event()

    async def held(route: Route) -> None:
        await there.wait()
        await route.continue_()

    await page.route("**/assets/*.js", held)
    await page.reload(wait_until="commit")
    await expect(page.get_by_role("textbox")).to_be_visible()
    await film.shoot(700)
    there.set()


async def _tools(chat: Chat, turn: Turn, film: Film) -> None:
    time = {"date": "2026-11-26", "time": "15:04:02", "weekday": "Thursday", "timezone": "Europe/Berlin"}
    await turn.say(BEGIN, *call("current_time", "c1", timezone="Europe/Berlin"))
    await turn.say(*call("web_search", "c2", query="rivers"))
    for percent, message in ((20, "Looking for pages"), (70, "Reading the third of four")):
        await turn.say(progress(percent, message, call_id="c2"))
        await expect(chat.page.get_by_role("progressbar")).to_have_attribute("value", str(percent))
        await film.shoot(700)
    await turn.say(output(time, "c1"), output("4 pages", "c2"), END)
    await chat.sees_state(chat.tool("Web search"), "Done")
    await film.shoot(500)


def animated(frames: list[tuple[bytes, int]], size: ViewportSize) -> bytes:
    """An animated WebP, as the specification of its container has it:
    developers.google.com/speed/webp/docs/riff_container."""
    width, height = _uint24(size["width"] - 1), _uint24(size["height"] - 1)
    head = _chunk(b"VP8X", b"\x02\0\0\0" + width + height) + _chunk(b"ANIM", b"\xff\xff\xff\xff\0\0")
    body = b"".join(
        _chunk(b"ANMF", bytes(6) + width + height + _uint24(shown_ms) + b"\x02" + _picture(frame))
        for frame, shown_ms in frames
    )
    return _chunk(b"RIFF", b"WEBP" + head + body)


def _picture(webp: bytes) -> bytes:
    """The chunks of a still one that are its picture, without what describes the file."""
    found, at = b"", 12
    while at < len(webp):
        name, length = webp[at : at + 4], struct.unpack_from("<I", webp, at + 4)[0]
        if name in (b"VP8 ", b"VP8L", b"ALPH"):
            found += _chunk(name, webp[at + 8 : at + 8 + length])
        at += 8 + length + length % 2
    return found


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def _uint24(value: int) -> bytes:
    return struct.pack("<I", value)[:3]


async def main() -> None:
    PLACE.parent.mkdir(exist_ok=True)
    async with stage(_VIEWPORT) as (page, scripted):
        film = Film(await page.context.new_cdp_session(page))
        await play(page, scripted, film)
    PLACE.write_bytes(animated(film.frames, _VIEWPORT))
    size = PLACE.stat().st_size
    print(f"{PLACE.relative_to(Path.cwd())}: {len(film.frames)} frames, {size // 1024} KB")
    assert size <= MOST_BYTES, "too large for a page that people open"


if __name__ == "__main__":
    asyncio.run(main())
