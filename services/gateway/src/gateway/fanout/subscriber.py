"""One browser that follows one stream: a cursor and a sink.

Guarantees: every entry after the cursor that it may see is written once, in order; the cursor moves
with what was written or is bound to be; while the connection takes what is written, the hub writes, without a task
switch; when it does not, the subscriber leaves the live set, waits for its connection and catches up from Redis.
While it waits it keeps its cursor and nothing else: what was read ahead is dropped, and one or two pieces are in the
connection's buffer. One that takes nothing for `slow_seconds` is broken, and so is one that would make what waits in
all connections together more than `Backlog` allows (a piece can be one large entry).
A stream that cannot continue is broken off by `StreamBroken`, never ended: a clean end means that all was said.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Protocol, cast

from sluiceway.errors import RedisUnavailable
from starlette.types import Message, Receive, Send

from gateway.fanout.follow import FIRST_ENTRIES, Follow, next_count
from gateway.fanout.frames import BeginningLost, EntryId, Page, RawEntry, frame_entries, merge_deltas, parse_id
from gateway.fanout.stepping import DONE, Rest, step

_DONE_FRAME = b"data: [DONE]\n\n"
# Of an answer whose turn went into the background: what is in its stream behind that is not for this one.
_BACKGROUND_FRAME = b'data: {"type":"finish","finishReason":"tool-calls"}\n\n'


class StreamBroken(Exception):
    """An open stream ends before its end. It leaves the ASGI app, so that the body stays unterminated.

    `stuck`: the browser takes nothing, so there is no use in waiting for what is still to be written.
    """

    def __init__(self, reason: str, *, stuck: bool = False) -> None:
        super().__init__(reason)
        self.stuck = stuck


@dataclass(slots=True)
class Backlog:
    """How much waits in the connections of a process that take nothing, and how much may."""

    most_bytes: int
    bytes: int = 0


class Feed(Protocol):
    """What a subscriber needs of the hub that has let it in."""

    slow_seconds: float
    backlog: Backlog
    events_sent: int
    bytes_sent: int
    slow: int
    broken: int

    async def read(self, subscription: "Subscription", count: int) -> Page:
        """What comes next for one that catches up. Raises BeginningLost, RedisUnavailable."""

    def attach(self, subscription: "Subscription") -> bool:
        """Take it into the live set. False when the set is already ahead: it has to read again."""

    def detach(self, subscription: "Subscription") -> None:
        """Take it out of the live set."""

    def opened(self, subscription: "Subscription") -> None:
        """It is being served. Raises StreamBroken when the process drains."""

    def closed(self, subscription: "Subscription") -> None:
        """It is served no more."""


class Subscription:
    """A subscriber that the hub has let in. `run` serves it; everything else is the hub's side."""

    __slots__ = (
        "_answer_only",
        "_calls",
        "_count",
        "_cut",
        "_hub",
        "_last_bytes",
        "_left",
        "_merge",
        "_page",
        "_parked",
        "_retracted",
        "_send",
        "_skip",
        "_stalled",
        "_task",
        "_waiting_bytes",
        "broken",
        "cursor",
        "ended",
        "key",
        "live",
        "page_type",
        "view",
        "waits",
    )

    def __init__(self, hub: Feed, follow: Follow, page: Page, skip: int) -> None:
        self.key = follow.events_key.encode()
        self.cursor = page.after
        self.page_type, self.view = follow.page_type, follow.view
        self.live = self.ended = self._left = False
        self.broken: StreamBroken | None = None
        self._hub = hub
        self.waits = follow.waits
        self._merge = follow.merge
        self._answer_only, self._cut = follow.answer_only, False
        self._skip = skip
        # A client that has seen the beginning of an abandoned step gets the rest of it, with what closes its parts.
        whole = () if follow.start_index is not None else follow.retracted
        self._retracted = tuple(pair for pair in whole if follow.cursor <= pair[0])
        self._page: Page | None = page
        self._send: Send | None = None
        self._task: asyncio.Task[Any] | None = None
        self._stalled: Rest | None = None
        self._parked = False
        self._calls = self._last_bytes = self._waiting_bytes = 0
        self._count = FIRST_ENTRIES

    # The request's side.

    async def run(self, receive: Receive, send: Send) -> None:
        """Serve the stream until its end is written or the client is gone. Raises StreamBroken."""
        self._send, self._task = send, asyncio.current_task()
        self._hub.opened(self)
        try:
            while not self.ended:
                await self._catch_up()
                if not self.ended and await self._client_left(receive):
                    self._left = True
                    return
            await self._finish_stalled()
            end = _BACKGROUND_FRAME + _DONE_FRAME if self._cut else _DONE_FRAME
            self._offer({"type": "http.response.body", "body": end, "more_body": False})
            await self._finish_stalled()
        except asyncio.CancelledError:
            if self.broken is None or not self._was_called():
                raise
            raise self.broken from None
        except RedisUnavailable as error:
            raise StreamBroken("Redis is away") from error
        except BeginningLost as error:
            raise StreamBroken(str(error)) from error
        finally:
            self._hub.broken += not self.ended and not self._left
            self._hub.closed(self)
            if self._stalled is not None:
                self._stalled.close()
                self._note_waiting(0)
            # What refers to the connection must not outlive it: the exception's frames may keep this object.
            self._send = self._task = self._page = None

    async def _catch_up(self) -> None:
        """Write from Redis until the hub takes over, or to the end."""
        await self._finish_stalled()
        while True:
            whole, ended, full = self._offer_page(await self._next_page())
            await self._finish_stalled()
            if whole and ended:
                self.ended = True
                return
            if whole and not full and self._hub.attach(self):
                return

    async def _next_page(self) -> Page:
        page, self._page = self._page, None
        return page if page is not None else await self._hub.read(self, self._count)

    def _offer_page(self, page: Page) -> tuple[bool, bool, bool]:
        """Write a page as far as the connection takes it: whether all of it, whether it ends the stream, whether there
        is more. The caller must not keep the page, nor any of it: whoever stalls holds nothing."""
        offered, page = 0, self._for_this_one(page)
        for piece in page.pieces():
            self._offer_frames(piece, self._replayed(piece))
            offered += len(piece.entries)
            if self._stalled is not None and self.cursor != page.last:
                # What is left is read again when there is room for it, and then not much at once.
                self._count = max(1, offered)
                return False, False, True
            if self.broken is not None:
                return False, False, True
        self._count = next_count(page, self._count)
        return True, page.ended, page.full

    async def _finish_stalled(self) -> None:
        """Wait for a write that did not fit, and raise StreamBroken when there is no use in waiting."""
        if self._stalled is not None and self.broken is None:
            try:
                async with asyncio.timeout(self._hub.slow_seconds):
                    await self._stalled
            except TimeoutError:
                raise StreamBroken("the client takes nothing", stuck=True) from None
            self._stalled = None
            self._note_waiting(0)
        if self.broken is not None:
            raise self.broken

    async def _client_left(self, receive: Receive) -> bool:
        """Wait while the hub writes. True: the client is gone; False: the hub has called."""
        self._parked = True
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
        except asyncio.CancelledError:
            if self.broken is not None or not self._was_called():
                raise
            return False
        finally:
            self._parked = False
        return True

    # The hub's side. Nothing here awaits, and nothing here may raise.

    def accept(self, page: Page) -> None:
        """Write what of a page lies ahead of the cursor."""
        page = self._for_this_one(page)
        if self.cursor == page.after and not self._retracted and not self._skip:
            self._offer_frames(page, page.body(self.view))
        elif self.cursor < page.last:
            self._offer_frames(page, frame_entries(self._select(page)))
        if page.ended:
            self.ended = True
            self._call()

    def say(self, text: bytes) -> None:
        """Write something that is no entry: a comment, a `retry:`."""
        self._offer({"type": "http.response.body", "body": text, "more_body": True})

    def break_off(self, reason: str, *, stuck: bool = False) -> None:
        """Break the stream, whatever it is waiting for."""
        if self.broken is None and self._task is not None:
            self.broken = StreamBroken(reason, stuck=stuck)
            self._hub.detach(self)
            if self._task is not asyncio.current_task():
                self._cancel()

    def _call(self) -> None:
        """Wake the request's own task. The wait that is cancelled is its wait for the client's leaving."""
        self._hub.detach(self)
        if self._parked:
            self._parked = False
            self._cancel()

    def _cancel(self) -> None:
        if self._task is not None:
            self._calls += 1
            self._task.cancel()

    def _was_called(self) -> bool:
        """Whether the cancellation that has come is ours alone. Ours are taken back."""
        calls, self._calls = self._calls, 0
        left = 1
        for _ in range(calls):
            left = self._task.uncancel() if self._task is not None else 1
        return left == 0

    def _offer_frames(self, page: Page, frames: bytes) -> None:
        self.cursor = page.last
        if frames:
            self._hub.events_sent += len(page.entries)
            self._hub.bytes_sent += len(frames)
            self._offer({"type": "http.response.body", "body": frames, "more_body": True})

    def _offer(self, message: Message) -> None:
        """Write, if the connection takes it now; else keep the rest for the request's own task."""
        if self._stalled is not None or self._send is None:
            return
        sending = cast(Coroutine[Any, Any, None], self._send(message))
        try:
            waits_for = step(sending)
        except Exception as error:  # noqa: BLE001 - one dead connection must not cost the others an event
            self.break_off(f"writing failed: {error!r}")
            return
        before, self._last_bytes = self._last_bytes, len(message["body"])
        if waits_for is not DONE:
            self._stalled = Rest(sending, waits_for)
            # The one before it is what fills the connection's buffer.
            self._note_waiting(before + self._last_bytes)
            if self.live:
                self._hub.slow += 1
                self._call()

    def _note_waiting(self, waiting_bytes: int) -> None:
        backlog = self._hub.backlog
        backlog.bytes += waiting_bytes - self._waiting_bytes
        self._waiting_bytes = waiting_bytes
        if waiting_bytes and backlog.bytes > backlog.most_bytes:
            self.break_off("too much waits for clients that take nothing", stuck=True)

    # What of a page this one sees.

    def _for_this_one(self, page: Page) -> Page:
        if not self._answer_only or page.answer_entries is None:
            return page
        self._cut = True
        return page.answer()

    def _replayed(self, page: Page) -> bytes:
        if self._merge:
            return frame_entries(merge_deltas(self._select(page)))
        if self._retracted or self._skip:
            return frame_entries(self._select(page))
        return page.body(self.view)

    def _select(self, page: Page) -> list[RawEntry]:
        entries = [entry for entry_id, entry in page.visible(self.view) if entry_id > self.cursor]
        if self._skip:
            skipped = min(self._skip, len(entries))
            self._skip -= skipped
            entries = entries[skipped:]
        if self._retracted:
            entries = [entry for entry in entries if not self._is_retracted(parse_id(entry[0]))]
            self._retracted = tuple(pair for pair in self._retracted if pair[1] > page.last)
        return entries

    def _is_retracted(self, entry_id: EntryId) -> bool:
        return any(kept < entry_id < resumed for kept, resumed in self._retracted)
