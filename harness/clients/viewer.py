"""A page that follows a turn until it has seen its end, as ours does: it goes on after its last id whenever the
connection breaks, and begins again where it is told that what follows is no longer there (409)."""

import asyncio
from types import TracebackType
from typing import Self

import httpx

from harness.clients.folding import Message, fold
from harness.clients.sse import Event, SseStream, follow
from harness.waiting import wait_until


class Viewer:
    """`async with Viewer(url) as viewer`. `events`: since it began last. `restarts`: how often it had to."""

    def __init__(self, *urls: str, protocol: int = 6) -> None:
        self.protocol = protocol
        self.events: list[Event] = []
        self.restarts = 0
        self.connections = 0
        self.ended = False
        self._urls = urls
        self._stream: SseStream | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="viewer")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])
        if kind is None and not self._task.cancelled():
            self._task.result()

    @property
    def cursor(self) -> str | None:
        return next((event.id for event in reversed(self._seen) if event.id is not None), None)

    @property
    def message(self) -> Message:
        return fold(self._seen, self.protocol)

    async def shows(self, text: str, timeout: float = 30) -> None:
        await wait_until(lambda: self._alive() and self.message.text == text, timeout, f"a viewer sees {text!r}")

    async def end(self, timeout: float = 60) -> Message:
        """The message as it was shown at the end."""
        await wait_until(lambda: self._alive() and self.ended, timeout, "a viewer sees the end")
        return self.message

    @property
    def _seen(self) -> list[Event]:
        return self.events + (self._stream.events if self._stream is not None else [])

    def _alive(self) -> bool:
        """Raises what has ended it."""
        if self._task is not None and self._task.done():
            self._task.result()
        return True

    async def _run(self) -> None:
        while not self.ended:
            try:
                await self._connection()
            except httpx.TransportError:
                await asyncio.sleep(0.1)

    async def _connection(self) -> None:
        url = self._urls[self.connections % len(self._urls)]
        self.connections += 1
        async with follow(url, last_event_id=self.cursor, protocol=self.protocol) as stream:
            if stream.status == 409:
                assert stream.response.json()["code"] == "STREAM_TRUNCATED"
                self.events = []
                self.restarts += 1
                return
            if stream.status >= 500:
                await asyncio.sleep(0.1)
                return
            assert stream.status == 200, f"{stream.status}: {stream.response.text}"
            self._stream = stream
            try:
                await stream.read_to_end(timeout=120)
            finally:
                self.events, self._stream = self._seen, None
        self.ended = stream.end == "clean"
        await asyncio.sleep(0.05)
