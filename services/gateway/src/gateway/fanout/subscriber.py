"""One browser that follows one stream: a cursor and a sink.

Guarantees: every entry after the cursor that it may see is written once, in order; the cursor moves
with what was written or is bound to be; while the connection takes what is written, the hub writes, without a task
switch; when it does not, the subscriber leaves the live set, waits for its connection and catches up from Redis, and
no more than about 128 KiB of it wait in memory. One that takes nothing for `slow_seconds` is broken.
A stream that cannot go on is broken off by `StreamBroken`, never ended: a clean end means that all was said.
"""

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, cast

from sluiceway.errors import RedisUnavailable
from starlette.types import Message, Receive, Send

from gateway.fanout.follow import PAGE_ENTRIES, Follow
from gateway.fanout.frames import BeginningLost, EntryId, Page, RawEntry, frame_entries, merge_deltas, parse_id
from gateway.fanout.stepping import DONE, Rest, step

if TYPE_CHECKING:
    from gateway.fanout.hub import Hub

_DONE_FRAME = b"data: [DONE]\n\n"
_PAGE_BYTES = 256 * 1024


class StreamBroken(Exception):
    """An open stream ends before its end. It leaves the ASGI app, so that the body stays unterminated.

    `stuck`: the browser takes nothing, so there is no use in waiting for what is still to be written.
    """

    def __init__(self, reason: str, *, stuck: bool = False) -> None:
        super().__init__(reason)
        self.stuck = stuck


class Subscription:
    """A subscriber that the hub has let in. `run` serves it; everything else is the hub's side."""

    __slots__ = (
        "_calls",
        "_hub",
        "_left",
        "_merge",
        "_page",
        "_parked",
        "_retracted",
        "_send",
        "_skip",
        "_stalled",
        "_task",
        "broken",
        "cursor",
        "ended",
        "key",
        "live",
        "page_type",
        "view",
    )

    def __init__(self, hub: "Hub", follow: Follow, page: Page, skip: int) -> None:
        self.key = follow.events_key.encode()
        self.cursor = page.after
        self.page_type, self.view = follow.page_type, follow.view
        self.live = self.ended = self._left = False
        self.broken: StreamBroken | None = None
        self._hub = hub
        self._merge = follow.merge
        self._skip = skip
        # Who has seen the beginning of an abandoned step gets the rest of it, with what closes its parts.
        whole = () if follow.start_index is not None else follow.retracted
        self._retracted = tuple(pair for pair in whole if follow.cursor <= pair[0])
        self._page: Page | None = page
        self._send: Send | None = None
        self._task: asyncio.Task[Any] | None = None
        self._stalled: Rest | None = None
        self._parked = False
        self._calls = 0

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
            self._offer({"type": "http.response.body", "body": _DONE_FRAME, "more_body": False})
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
            # What refers to the connection must not outlive it: the exception's frames may keep this object.
            self._send = self._task = self._page = None

    async def _catch_up(self) -> None:
        """Write from Redis until the hub goes on by itself, or to the end."""
        await self._finish_stalled()
        page, self._page = self._page, None
        while True:
            if page is None:
                page = await self._hub.read(self, PAGE_ENTRIES)
            for piece in page.pieces():
                self._offer_frames(piece, self._replayed(piece))
                await self._finish_stalled()
            if page.ended:
                self.ended = True
                return
            if not page.full and self._hub.attach(self):
                return
            page = await self._hub.read(self, _fitting(page))

    async def _finish_stalled(self) -> None:
        """Wait for a write that did not fit, and raise StreamBroken when there is no use in waiting."""
        if self._stalled is not None:
            try:
                async with asyncio.timeout(self._hub.slow_seconds):
                    await self._stalled
            except TimeoutError:
                raise StreamBroken("the client takes nothing", stuck=True) from None
            self._stalled = None
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

    def break_off(self, reason: str) -> None:
        """Break the stream, whatever it is waiting for."""
        if self.broken is None and self._task is not None:
            self.broken = StreamBroken(reason)
            self._hub.detach(self)
            if self._task is not asyncio.current_task():
                self._cancel()

    def _call(self) -> None:
        """Have the request's own task go on. The wait that is cancelled is its wait for the client's leaving."""
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
        if waits_for is not DONE:
            self._stalled = Rest(sending, waits_for)
            if self.live:
                self._hub.slow += 1
                self._call()

    # What of a page this one sees.

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


def _fitting(page: Page) -> int:
    """How many entries to read next, so that large ones do not pile up in memory."""
    if page.size <= _PAGE_BYTES:
        return PAGE_ENTRIES
    return max(1, len(page.entries) * _PAGE_BYTES // page.size)
