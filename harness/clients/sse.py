"""A server-sent events client on a real socket, for tests.

It parses frames by itself, keeps every event with its id, and knows how the response ended: `clean` (the server
finished it) or `broken` (the connection went away in mid-response). The difference is the point: a stream that must
end early is broken on purpose, so that nobody takes half an answer for a whole one.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import httpx

Chunk = dict[str, Any]


@dataclass(frozen=True)
class Event:
    """One frame with data: `id` is the stream's cursor, `data` is verbatim."""

    id: str | None
    data: str

    @property
    def chunk(self) -> Chunk:
        value = json.loads(self.data)
        assert isinstance(value, dict)
        return value

    @property
    def type(self) -> str:
        """The chunk's type, or [DONE]."""
        return "[DONE]" if self.data == "[DONE]" else str(self.chunk["type"])


class SseStream:
    """One response. Read it with `read_until` or `read_to_end`; everything that came is in `events`."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.events: list[Event] = []
        self.comments: list[str] = []
        self.retry_ms: int | None = None
        self.end: Literal["open", "clean", "broken"] = "open"
        self._lines = response.aiter_lines()
        self._block: list[str] = []

    @property
    def status(self) -> int:
        return self.response.status_code

    @property
    def chunks(self) -> list[Chunk]:
        return [event.chunk for event in self.events if event.type != "[DONE]"]

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.events]

    @property
    def text(self) -> str:
        """All text deltas so far, in order."""
        return "".join(chunk["delta"] for chunk in self.chunks if chunk["type"] == "text-delta")

    @property
    def last_event_id(self) -> str | None:
        """What an EventSource would send as Last-Event-ID."""
        return next((event.id for event in reversed(self.events) if event.id is not None), None)

    @property
    def done(self) -> bool:
        return bool(self.events) and self.events[-1].data == "[DONE]"

    async def next_event(self) -> Event | None:
        """The next event; None at the end of the response, of which `end` tells the kind."""
        while self.end == "open":
            try:
                line = await anext(self._lines, None)
            except httpx.TransportError:
                self.end = "broken"
            else:
                if line is None:
                    self.end = "clean"
                elif (event := self._take(line)) is not None:
                    return event
        return None

    async def read_until(self, wanted: str | Callable[[Event], bool], timeout: float = 30.0) -> Event:
        """Read on until an event of that type, or one of which `wanted` is true, and return it."""
        async with asyncio.timeout(timeout):
            while (event := await self.next_event()) is not None:
                if event.type == wanted if isinstance(wanted, str) else wanted(event):
                    return event
        raise AssertionError(f"the stream ended ({self.end}) before {wanted!r}: {self.types}")

    async def read_text(self, length: int, timeout: float = 30.0) -> str:
        """Read on until at least that many characters of the answer have come in all."""
        if len(self.text) < length:
            await self.read_until(lambda _: len(self.text) >= length, timeout)
        return self.text

    async def read_to_end(self, timeout: float = 60.0) -> list[Event]:
        """Read all that still comes; every event of this response."""
        async with asyncio.timeout(timeout):
            while await self.next_event() is not None:
                pass
        return self.events

    def _take(self, line: str) -> Event | None:
        """Comments and `retry:` count when they come; what comes after the last blank line is no event."""
        name, _, value = line.partition(":")
        if line == "":
            block, self._block = self._block, []
            return self._event_of(block)
        if name == "":
            self.comments.append(value.removeprefix(" "))
        elif name == "retry":
            self.retry_ms = int(value)
        else:
            self._block.append(line)
        return None

    def _event_of(self, block: list[str]) -> Event:
        fields: dict[str, list[str]] = {}
        for line in block:
            name, _, value = line.partition(":")
            fields.setdefault(name, []).append(value.removeprefix(" "))
        assert "event" not in fields, f"a named event kills the stock client: {block}"
        assert "data" in fields, f"some clients take a block without data for an event: {block}"
        event = Event(fields["id"][-1] if "id" in fields else None, "\n".join(fields["data"]))
        self.events.append(event)
        return event


@asynccontextmanager
async def follow(
    url: str,
    *,
    method: str = "GET",
    json: Any = None,
    last_event_id: str | None = None,
    protocol: int | None = None,
    headers: dict[str, str] | None = None,
) -> AsyncIterator[SseStream]:
    """Open an event stream on a connection of its own, which is closed with the context, in mid-stream if need be."""
    # Problems as JSON: without asking for it, those of the AI SDK's routes are sentences.
    sent = {"accept": "text/event-stream, application/problem+json", **(headers or {})}
    if last_event_id is not None:
        sent["last-event-id"] = last_event_id
    if protocol is not None:
        sent["x-ui-message-stream-version"] = str(protocol)
    timeout = httpx.Timeout(10, read=None)
    async with (
        httpx.AsyncClient(trust_env=False, verify=False, timeout=timeout) as client,
        client.stream(method, url, json=json, headers=sent) as response,
    ):
        if response.status_code != 200:
            await response.aread()
        yield SseStream(response)


async def replay(url: str, *, protocol: int | None = None, last_event_id: str | None = None) -> SseStream:
    """A whole stream, read from the beginning (or after a cursor) to its clean end."""
    async with follow(url, protocol=protocol, last_event_id=last_event_id) as stream:
        assert stream.status == 200, stream.response.text
        await stream.read_to_end()
    assert stream.end == "clean", f"the stream broke after {stream.types}"
    return stream


async def follow_to_the_end(
    urls: Sequence[str], *, last_event_id: str | None = None, protocol: int | None = None, timeout: float = 90.0
) -> list[Event]:
    """Follow a stream as EventSource does: whenever the connection breaks, go on after the last id at the next URL.

    Returns every event seen over all connections. Fails where the server answers anything but 200 or 5xx; a 204 would
    be the answer to a cursor at the end, which is never sent.
    """
    seen: list[Event] = []
    turn = 0
    async with asyncio.timeout(timeout):
        while True:
            events, end = await _one_connection(urls[turn % len(urls)], last_event_id, protocol)
            seen += events
            last_event_id = next((event.id for event in reversed(events) if event.id is not None), last_event_id)
            if end == "clean":
                return seen
            turn += 1
            await asyncio.sleep(0.1)


async def _one_connection(url: str, last_event_id: str | None, protocol: int | None) -> tuple[list[Event], str]:
    try:
        async with follow(url, last_event_id=last_event_id, protocol=protocol) as stream:
            if stream.status >= 500:
                return [], "broken"
            assert stream.status == 200, f"{stream.status}: {stream.response.text}"
            await stream.read_to_end(timeout=120)
            return stream.events, stream.end
    except httpx.TransportError:
        return [], "broken"
