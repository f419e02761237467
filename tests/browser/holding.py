"""Requests of a page that are let through, and held when a test says so.

This is in their way before the page asks for anything. What is put there in the last moment (`page.route` before a key)
may come too late: Chromium tells the page of it in another way than of the key.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Page, Route

# How long the page may take to ask.
_PATIENCE_SECONDS = 40


class Holding:
    """The requests of one address."""

    def __init__(self) -> None:
        self._delivered = False
        self._asked: asyncio.Event | None = None
        self._released = asyncio.Event()

    @asynccontextmanager
    async def next(self, *, delivered: bool = False) -> AsyncIterator[asyncio.Event]:
        """Hold the next one until the end; `delivered`: its answer. Tells when it is held."""
        self._delivered, self._asked, self._released = delivered, asyncio.Event(), asyncio.Event()
        yield self._asked
        self.release()

    def release(self) -> None:
        self._released.set()

    async def on_route(self, route: Route) -> None:
        asked, self._asked = self._asked, None
        if asked is not None:
            answer = await route.fetch() if self._delivered else None
            asked.set()
            await self._released.wait()
            if answer is not None:
                await route.fulfill(response=answer)
                return
        await route.continue_()


async def holding(page: Page, address: str | re.Pattern[str]) -> Holding:
    """Before the page asks for any of them, and best before it is opened."""
    one = Holding()
    await page.route(address, one.on_route)
    return one


async def comes(asked: asyncio.Event) -> None:
    async with asyncio.timeout(_PATIENCE_SECONDS):
        await asked.wait()
